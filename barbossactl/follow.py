"""Follow a run to its end: its states and its output over one connection, through a restart of the daemon.

One ``run.watch`` and some ``run.logs`` are always in flight, each a long poll, so that news arrives
when it happens and nothing is asked twice.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from barbossactl.client import LOST, PATIENCE_SECONDS, Answer, Client
from barbossactl.exits import CommandError, LostError
from barbossactl.interrupts import Interrupts
from barbossactl.pieces import Source, Tails
from barbossactl.records import TASK_ENDED, OutputPiece, Run, Task, piece_from, run_from

LONG_POLL_SECONDS: Final = 20
SHORT_POLL_SECONDS: Final = 0.5
"""How long a log may wait for news while other logs wait for their turn to be asked."""

RETRY_SECONDS: Final = 0.5
"""How long to wait before asking again a daemon that is there but stops."""

TASKS_A_SECOND: Final = 2000
"""A run of so many tasks and items is looked at once a second, a larger one less often: to tell of it is work too."""

LONGEST_PAUSE_SECONDS: Final = 5.0

LOGS_IN_FLIGHT: Final = 24
PIECES_A_CALL: Final = 1000


class View(Protocol):
    """Who shows what happens."""

    tick_seconds: float | None
    """How often ``tick`` is wanted while nothing happens, None for never."""

    def show(self, run: Run) -> None:
        """Take in the run as it stands."""

    def task_changed(self, task: Task) -> None:
        """Tell of a new state of a task; of an ended one after all of its output."""

    def output(self, source: Source, pieces: Sequence[OutputPiece]) -> None:
        """Show what a task has printed."""

    def tick(self) -> None:
        """Bring what depends on the clock up to date."""

    def note(self, words: str) -> None:
        """Tell the person something."""


class RunView(View, Protocol):
    """A view that can step aside for a question and knows how to end."""

    def suspend(self) -> None:
        """Leave the terminal to someone else."""

    def resume(self) -> None:
        """Take it back."""

    def finish(self, run: Run) -> None:
        """Show how it ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to follow: all of a run, or less."""

    output: bool = True
    task: str | None = None
    attempt: int | None = None
    stream: str | None = None

    def covers(self, source: Source) -> bool:
        """Say whether the output of ``source`` is wanted."""
        return (
            self.output
            and self.task in {None, source.task}
            and (self.attempt is None or self.attempt == source.attempt)
        )


@dataclass(slots=True)
class _Log:
    cursor: str | None = None
    is_finished: bool = False
    last_chances: int = 0
    """How often it was asked after the end of the run and had nothing: a log that never says it is finished."""


class Follower:
    """One run that is being followed; ``follow`` returns when all of it has been shown."""

    def __init__(
        self,
        client: Client,
        run_id: str,
        view: View,
        *,
        wanted: Wanted,
        interrupts: Interrupts,
        on_interrupt: Callable[[], None],
    ) -> None:
        self.tails = Tails()
        self._client = client
        self._run_id = run_id
        self._view = view
        self._wanted = wanted
        self._interrupts = interrupts
        self._on_interrupt = on_interrupt
        self.run: Run | None = None
        """The run as it was when it was last looked at."""

        self._revision: int | None = None
        self._logs: dict[Source, _Log] = {}
        self._turns: deque[Source] = deque()
        self._in_flight: dict[int, Source | None] = {}
        self._told: dict[str, tuple[str, str | None]] = {}
        self._lost_at: float | None = None
        self._told_at: str | None = None
        """When what is known of the run was so, by the daemon's clock."""

        self._look_at = 0.0
        """When the run is looked at next, by the monotonic clock."""

    def follow(self) -> Run:
        """Return the run as it ended. Raise what the daemon refuses, or what ``on_interrupt`` raises."""
        self._client.read_ahead()
        while True:
            try:
                if (run := self._finished_run()) is not None:
                    return run
                self._step()
            except LostError as error:
                self._recover(error)

    def _step(self) -> None:
        self._ask()
        answer = self._client.receive(self._patience(), self._interrupts.fileno())
        if self._interrupts.take():
            self._on_interrupt()
        if answer is None:
            self._view.tick()
        elif answer.identity in self._in_flight:
            source = self._in_flight.pop(answer.identity)
            self._hear(answer)
            if source is None:
                self._take_run(answer.result())
            else:
                self._take_output(source, answer)

    def _hear(self, answer: Answer) -> None:
        """Take note that the daemon answers. Raise ``LostError`` for one on its way out, as for a lost connection."""
        if answer.error is not None and answer.error.kind == "unavailable":
            raise LostError(str(answer.error), hint=answer.error.hint) from answer.error
        if self._lost_at is not None:
            self._lost_at = None
            self._view.note("the daemon answers again")

    def _ask(self) -> None:
        if self._is_to_look() and self._look_at <= time.monotonic():
            params: dict[str, Any] = {"run_id": self._run_id}
            if self._revision is not None:
                params |= {"after": self._revision, "wait_seconds": LONG_POLL_SECONDS}
            if self._told_at is not None and self._wanted.task is None:
                params["since"] = self._told_at
            self._in_flight[self._client.send("run.watch", params)] = None
        while self._turns and len(self._in_flight) <= LOGS_IN_FLIGHT:
            source = self._turns.popleft()
            identity = self._client.send("run.logs", self._log_params(source))
            self._in_flight[identity] = source

    def _is_to_look(self) -> bool:
        return None not in self._in_flight.values() and (self.run is None or not self.run.is_ended)

    def _patience(self) -> float | None:
        """Return how long to wait for an answer before something else is due."""
        tick = self._view.tick_seconds
        if not self._is_to_look():
            return tick
        left = max(0.0, self._look_at - time.monotonic())
        return left if tick is None else min(left, tick)

    def _log_params(self, source: Source) -> dict[str, Any]:
        is_crowded = len(self._in_flight) + len(self._turns) > LOGS_IN_FLIGHT
        params: dict[str, Any] = {
            "run_id": self._run_id,
            "task": source.task,
            "attempt": source.attempt,
            "limit": PIECES_A_CALL,
            "wait_seconds": SHORT_POLL_SECONDS if is_crowded else LONG_POLL_SECONDS,
        }
        if self._logs[source].cursor is not None:
            params["cursor"] = self._logs[source].cursor
        if self._wanted.stream is not None:
            params["stream"] = self._wanted.stream
        return params

    def _take_run(self, value: Any) -> None:
        self.run = run = run_from(value["run"])
        self._revision = value["revision"]
        self._told_at = value.get("told_at")
        self._look_at = time.monotonic() + min(run.size / TASKS_A_SECOND, LONGEST_PAUSE_SECONDS)
        if self._wanted.task is not None and all(task.id != self._wanted.task for task in run.tasks):
            names = ", ".join(task.id for task in run.tasks[:10])
            raise CommandError(f"run {run.id} has no task {self._wanted.task!r}", hint=f"it has: {names}")
        for task in run.tasks:
            for attempt in task.attempts:
                source = Source(task.id, attempt.number)
                if source not in self._logs and self._wanted.covers(source):
                    self._logs[source] = _Log(is_finished=attempt.is_silent)
                    if not attempt.is_silent:
                        self._turns.append(source)
        self._view.show(run)
        self._tell()

    def _take_output(self, source: Source, answer: Answer) -> None:
        if answer.error is not None and answer.error.kind == "not_found":
            del self._logs[source]  # the attempt is recorded, its log not yet: the next news of the run brings it
            return
        log = self._logs[source]
        value = answer.result()
        items = value["items"]
        log.cursor = value["next_cursor"] or log.cursor
        log.is_finished = bool(value["finished"])
        if not items and self.run is not None and self.run.is_ended:
            log.last_chances += 1
            log.is_finished = log.is_finished or log.last_chances > 1
        if not log.is_finished:
            self._turns.append(source)
            self._ask()  # the daemon reads on while we print
        if items:
            pieces = [piece_from(item) for item in items]
            self.tails.add(source, pieces)
            self._view.output(source, pieces)
        if log.is_finished:
            self._tell()

    def _tell(self) -> None:
        """Tell of each task whose state is new, in the order of time; of one that has ended once its output is out."""
        changed = [
            task
            for task in (self.run.tasks if self.run else ())
            if self._told.get(task.id) != (task.state, task.waits_for)
            and not (task.state in TASK_ENDED and self._has_more_output(task))
        ]
        for task in sorted(changed, key=_order):
            self._told[task.id] = (task.state, task.waits_for)
            self._view.task_changed(task)

    def _has_more_output(self, task: Task) -> bool:
        logs = (self._logs.get(Source(task.id, attempt.number)) for attempt in task.attempts)
        return any(log is not None and not log.is_finished for log in logs)

    def _finished_run(self) -> Run | None:
        run = self.run
        if run is None or not all(log.is_finished for log in self._logs.values()):
            return None
        only = next((task for task in run.tasks if task.id == self._wanted.task), None)
        if only is not None and (run.is_ended or only.state in TASK_ENDED):
            self._refuse_missing(only)
        if run.is_ended:
            return run
        is_attempt_over = self._wanted.attempt is not None and bool(self._logs)
        return run if only is not None and (only.state in TASK_ENDED or is_attempt_over) else None

    def _refuse_missing(self, task: Task) -> None:
        """Raise ``CommandError`` if an attempt is wanted that a task which has ended did not make."""
        wanted, had = self._wanted.attempt, len(task.attempts)
        if wanted is not None and wanted > max(had, 1):
            raise CommandError(f"task {task.id!r} had no attempt {wanted}", hint=f"it had {had}")

    def _recover(self, error: LostError) -> None:
        """Connect again and take up where we were; give up once the daemon has been away for too long."""
        now = time.monotonic()
        if self._lost_at is None:
            self._lost_at = now
            self._view.note(f"{LOST} (Ctrl-C to leave)")
        else:
            self._interrupts.pause(RETRY_SECONDS)
        if now - self._lost_at > PATIENCE_SECONDS:
            raise error
        self._client.reconnect(pause=self._interrupts.pause)
        self._in_flight.clear()
        self._turns = deque(source for source, log in self._logs.items() if not log.is_finished)
        self._revision = None


def _order(task: Task) -> tuple[str, bool, int]:
    """Sort tasks by when they changed: a group begins before what is in it, and ends after that."""
    if task.state in TASK_ENDED:
        return task.finished_at or "", not task.attempts, -len(task.id)
    return task.finished_at or task.started_at or "", False, len(task.id)
