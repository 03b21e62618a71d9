"""A run that has not ended, with everything of it that lives in this process only."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from barbossad.clock import seconds_between
from barbossad.engine import progress as progresses
from barbossad.engine.locks import Lineage
from barbossad.engine.progress import RunProgress
from barbossad.model.flow import CallRequest
from barbossad.model.names import RunId, WorkflowName
from barbossad.model.records import AttemptRecord, RunRecord
from barbossad.model.states import OnInterrupt, StopCause
from barbossad.process.launcher import LaunchSpec, Process
from barbossad.store.changes import Change
from barbossad.store.run_details import RunDetails

WOKEN_A_TURN: Final = 8

log = logging.getLogger(__name__)


@dataclass(slots=True)
class LiveAttempt:
    """The latest attempt of a task, from its ``starting`` to its end: a process, or the run that a task called."""

    index: int
    spec: LaunchSpec | None = None
    call: CallRequest | None = None
    child: RunId | None = None
    """The run that was called, once there is one."""

    process: Process | None = None
    stop_cause: StopCause | None = None
    stop_reason: str = ""
    stopped_at_ms: int | None = None
    """When it was first asked to end, as far as is known; what ended by itself before that tells its own end."""

    timeout: asyncio.TimerHandle | None = None


@dataclass(slots=True)
class ActiveRun:
    """One run: its progress, what is to be recorded of it, its live attempts, and who waits for it."""

    progress: RunProgress
    lineage: Lineage = frozenset()
    is_admitted: bool = False
    """Whether it has its place in its concurrency group, and its workflow's locks."""

    is_created: bool = True
    """False until its first commit, the only one that may be refused to the caller."""

    replaces: list[ActiveRun] = field(default_factory=list)
    """Those that make room for it as soon as it is created."""

    changes: list[Change] = field(default_factory=list)
    launches: list[LiveAttempt] = field(default_factory=list)
    finished: list[AttemptRecord] = field(default_factory=list)
    """The attempts whose end is about to be recorded."""

    ended: list[Process] = field(default_factory=list)
    """Their processes."""

    announced: bool = False
    """Whether what is about to be recorded tells of a process that runs."""

    live: dict[int, LiveAttempt] = field(default_factory=dict)
    timeout: asyncio.TimerHandle | None = None
    lateness: asyncio.TimerHandle | None = None
    timers: dict[tuple[int, int], asyncio.TimerHandle] = field(default_factory=dict)
    """By cell and instant: when something happens to a task by itself."""

    recording: asyncio.Future[None] | None = None
    """The last commit that was asked for; done when all that was decided before it is recorded."""

    outcome: RunDetails | None = None
    """The run as it ended, once somebody who waited for that has asked."""

    enders: set[asyncio.Future[None]] = field(default_factory=set)
    """Those who wait for the run's end."""

    changers: set[asyncio.Future[None]] = field(default_factory=set)
    """Those who wait for its next recorded change."""

    async def recorded(self) -> None:
        """Return when all that was decided so far is recorded."""
        while self.recording is not None and not self.recording.done():
            await asyncio.shield(self.recording)

    def disarm(self) -> None:
        """Let nothing happen to it by itself any more."""
        self.disarm_run()
        for timer in self.timers.values():
            timer.cancel()
        self.timers.clear()

    def disarm_run(self) -> None:
        """Let the run's own limits not come any more, as long as they are not armed anew."""
        for timer in (self.timeout, self.lateness):
            if timer is not None:
                timer.cancel()
        self.timeout = self.lateness = None

    def next_change(self) -> asyncio.Future[None]:
        """Return a future that is done at the next recorded change; it fails if the run cannot be created."""
        changed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.changers.add(changed)
        changed.add_done_callback(self.changers.discard)
        return changed

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


@dataclass(slots=True)
class Batch:
    """What one commit of a run sets free."""

    active: ActiveRun
    launches: list[LiveAttempt]
    finished: list[AttemptRecord]
    ended: list[Process]
    run: RunRecord
    """The run as it is then."""

    announced: bool
    is_end: bool


@dataclass(slots=True)
class Left:
    """What an earlier daemon left of a run's live attempts, by the cells of their tasks."""

    live: dict[int, LaunchSpec] = field(default_factory=dict)
    """They go on, or have ended with everything kept."""

    unstarted: dict[int, LaunchSpec] = field(default_factory=dict)
    """They are recorded, and nothing was ever started of them."""

    interrupted: dict[int, tuple[AttemptRecord, OnInterrupt]] = field(default_factory=dict)
    """Nobody knows how they ended; and what follows from that."""

    calls: list[int] = field(default_factory=list)
    """They called other runs, which are looked for."""


class Watching:
    """What the outside may ask of the runs that have not ended."""

    def __init__(self) -> None:
        self._active: dict[RunId, ActiveRun] = {}

    async def wait(self, run_id: RunId) -> RunDetails | None:
        """Return the run when it has ended and that is recorded; None at once if it is not active."""
        active = self._active.get(run_id)
        if active is None:
            return None
        ended = asyncio.get_running_loop().create_future()
        active.enders.add(ended)
        ended.add_done_callback(active.enders.discard)
        await ended
        if active.outcome is None:  # the first of all who wait
            active.outcome = progresses.details(active.progress)
        return active.outcome

    def next_change(self, run_id: RunId) -> asyncio.Future[None] | None:
        """Return a future that is done at the run's next recorded change; None if it is not active."""
        active = self._active.get(run_id)
        return active.next_change() if active else None

    def progress(self, run_id: RunId) -> RunProgress | None:
        """Return where an active run stands; some of that may not be recorded yet."""
        active = self._active.get(run_id)
        return active.progress if active else None

    def process(self, run_id: RunId, task_id: str) -> Process | None:
        """Return the live process of a task, if it has one."""
        active = self._active.get(run_id)
        if active is None:
            return None
        for live in active.live.values():
            if live.spec is not None and live.spec.key.task_id == task_id:
                return live.process
        return None


def _wake(waiting: list[asyncio.Future[None]]) -> None:
    """Wake some in this turn of the loop and the rest in later ones: each makes an answer of a whole run."""
    for future in waiting[:WOKEN_A_TURN]:
        if not future.done():
            future.set_result(None)
    if len(waiting) > WOKEN_A_TURN:
        asyncio.get_running_loop().call_soon(_wake, waiting[WOKEN_A_TURN:])


def log_ends(attempts: Iterable[AttemptRecord], run: RunRecord) -> None:
    """Say how attempts ended, and then their run, if that has."""
    for attempt in attempts:
        _log_attempt(attempt, run.workflow)
    if run.finished_at_ms is not None:
        _log_run(run)


def _log_attempt(attempt: AttemptRecord, workflow: WorkflowName) -> None:
    seconds = seconds_between(attempt.started_at_ms, attempt.finished_at_ms) or 0.0
    log.info(
        "task %s of run %s %s after %.3f s%s",
        attempt.task_id, attempt.run_id, attempt.state, seconds, f": {attempt.reason}" if attempt.reason else "",
        extra={
            "action": "attempt_finished", "run_id": attempt.run_id, "workflow": workflow, "task": attempt.task_id,
            "attempt": attempt.number, "state": attempt.state.value, "exit_code": attempt.exit_code, "seconds": seconds,
        },
    )  # fmt: skip


def _log_run(run: RunRecord) -> None:
    seconds = seconds_between(run.created_at_ms, run.finished_at_ms) or 0.0
    log.info(
        "run %s of %s %s after %.3f s%s",
        run.id, run.workflow, run.state, seconds, f": {run.reason}" if run.reason else "",
        extra={"action": "run_finished", "run_id": run.id, "workflow": run.workflow, "state": run.state.value},
    )  # fmt: skip
