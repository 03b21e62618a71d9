"""A run that has not ended, with everything of it that lives in this process only."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Final

from barbossad.engine.progress import RunProgress
from barbossad.model.records import LogRecord, RunRecord
from barbossad.model.states import StopCause
from barbossad.process.launcher import LaunchSpec, Process
from barbossad.store.changes import Change

WOKEN_A_TURN: Final = 8

log = logging.getLogger(__name__)


@dataclass(slots=True)
class LiveAttempt:
    """The latest attempt of a task, from its ``starting`` to its end."""

    position: int
    spec: LaunchSpec
    process: Process | None = None
    stop_cause: StopCause | None = None
    timeout: asyncio.TimerHandle | None = None


@dataclass(slots=True)
class ActiveRun:
    """One run: its progress, what is to be recorded of it, its live attempts, and who waits for it."""

    progress: RunProgress
    is_created: bool = True
    """False until its first commit, the only one that may be refused to the caller."""

    changes: list[Change] = field(default_factory=list)
    launches: list[LiveAttempt] = field(default_factory=list)
    ended_logs: list[LogRecord] = field(default_factory=list)
    """The output of attempts whose end is about to be recorded."""

    live: dict[int, LiveAttempt] = field(default_factory=dict)
    timeout: asyncio.TimerHandle | None = None
    recording: asyncio.Future[None] | None = None
    """The last commit that was asked for; done when all that was decided before it is recorded."""

    enders: set[asyncio.Future[None]] = field(default_factory=set)
    """Those who wait for the run's end."""

    changers: set[asyncio.Future[None]] = field(default_factory=set)
    """Those who wait for its next recorded change."""

    def disarm(self) -> None:
        """Let the run's own timeout not come any more."""
        if self.timeout is not None:
            self.timeout.cancel()

    def tell_change(self) -> None:
        """Wake those who wait for a change."""
        waiting, self.changers = self.changers, set()
        if waiting:
            _wake(list(waiting))

    def tell_end(self) -> None:
        """Wake everybody: the run has ended and that is recorded."""
        self.changers |= self.enders
        self.tell_change()

    def tell_refusal(self, error: BaseException) -> None:
        """Tell everybody that the run could not be recorded: it never was."""
        for future in self.changers | self.enders:
            if not future.done():
                future.set_exception(error)


def _wake(waiting: list[asyncio.Future[None]]) -> None:
    """Wake some in this turn of the loop and the rest in later ones: each makes an answer of a whole run."""
    for future in waiting[:WOKEN_A_TURN]:
        if not future.done():
            future.set_result(None)
    if len(waiting) > WOKEN_A_TURN:
        asyncio.get_running_loop().call_soon(_wake, waiting[WOKEN_A_TURN:])


def log_end(run: RunRecord) -> None:
    """Say how a run ended."""
    seconds = ((run.finished_at_ms or 0) - run.created_at_ms) / 1000
    log.info(
        "run %s of %s %s after %.3f s%s",
        run.id, run.workflow, run.state, seconds, f": {run.reason}" if run.reason else "",
        extra={"action": "run_finished", "run_id": run.id, "workflow": run.workflow, "state": run.state.value},
    )  # fmt: skip
