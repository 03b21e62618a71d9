"""Changes of a run, as data: each knows how to apply itself, with its event, to an open transaction.

The engine decides on lists of these and the writer applies a list in one transaction. A state is changed by
compare-and-set: the row must be in a state from which the new one may be entered (``model.states``), otherwise
StateError is raised and nothing of the list happens.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from barbossad.errors import ConflictError, StateError
from barbossad.model import states
from barbossad.model.records import AttemptRecord, RunRecord, TaskRecord
from barbossad.model.states import AttemptState, RunState, TaskState
from barbossad.store import rows

Event = tuple[int | None, str, int | None, str | None, str]
"""When, what, of which run and task, and the facts of it: the columns of ``events`` but for its number."""


class Change(Protocol):
    """One step of a run's life."""

    def apply(self, tx: sqlite3.Connection) -> None:
        """Write its rows. Raise StateError if they are not in a state from which it may happen."""

    def events(self) -> Iterable[Event]:
        """Return what is told of it."""


_INSERT_EVENTS: Final = """
INSERT INTO events (at_ms, kind, run, task, data)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 FROM json_each(?)
"""


def apply_all(tx: sqlite3.Connection, changes: Sequence[Change]) -> None:
    """Write changes in their order, and then all of their events, in one statement."""
    for change in changes:
        change.apply(tx)
    tx.execute(_INSERT_EVENTS, (json.dumps([event for change in changes for event in change.events()]),))


def _event(at_ms: int | None, kind: str, run: int | None, task: str | None, **data: Any) -> Event:
    facts = {name: value for name, value in data.items() if value is not None}
    return at_ms, kind, run, task, rows.to_json(facts)


def _allowed(target: RunState | TaskState | AttemptState, moves: Any) -> str:
    return ", ".join(f"'{state}'" for state in states.sources(moves, target))


_INSERT_RUN: Final = """
INSERT INTO runs (id, workflow, version, state, trigger, params, requested_by, idempotency_key, reason,
                  created_at_ms, started_at_ms, finished_at_ms)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""


@dataclass(frozen=True, slots=True)
class RunCreated:
    """A run was asked for and accepted."""

    run: RunRecord

    def apply(self, tx: sqlite3.Connection) -> None:
        """Insert the run. Raise ConflictError if its idempotency key was used before."""
        run = self.run
        key = rows.number(run.id)
        try:
            tx.execute(
                _INSERT_RUN,
                (
                    key,
                    run.workflow,
                    run.version,
                    run.state,
                    run.trigger,
                    rows.to_json(run.params),
                    run.requested_by,
                    run.idempotency_key,
                    rows.text(run.reason),
                    run.created_at_ms,
                    run.started_at_ms,
                    run.finished_at_ms,
                ),
            )
        except sqlite3.IntegrityError as error:
            if error.sqlite_errorname != "SQLITE_CONSTRAINT_UNIQUE":
                raise
            raise ConflictError(
                f"a run of {run.workflow!r} with the idempotency key {run.idempotency_key!r} exists"
            ) from error

    def events(self) -> Iterable[Event]:
        """See ``Change``."""
        run = self.run
        yield _event(
            run.created_at_ms,
            "run_created",
            rows.number(run.id),
            None,
            workflow=run.workflow,
            version=run.version,
            state=run.state,
            trigger=run.trigger,
            requested_by=run.requested_by,
        )


_UPDATE_RUN: Final = {
    target: f"UPDATE runs SET state = '{target}', reason = ?, started_at_ms = ?, finished_at_ms = ?"
    f" WHERE id = ? AND state IN ({_allowed(target, states.RUN_MOVES)})"
    for target in RunState
}


@dataclass(frozen=True, slots=True)
class RunMoved:
    """A run started or ended; ``run`` is what it is now."""

    run: RunRecord

    def apply(self, tx: sqlite3.Connection) -> None:
        """Compare and set the run's state."""
        run = self.run
        key = rows.number(run.id)
        done = tx.execute(_UPDATE_RUN[run.state], (rows.text(run.reason), run.started_at_ms, run.finished_at_ms, key))
        if done.rowcount != 1:
            raise StateError(f"run {run.id} could not become {run.state}: it is in no state that allows it")

    def events(self) -> Iterable[Event]:
        """See ``Change``."""
        run = self.run
        has_ended = run.state in states.RUN_ENDED
        kind = "run_finished" if has_ended else "run_started"
        at_ms = run.finished_at_ms if has_ended else run.started_at_ms
        yield _event(at_ms, kind, rows.number(run.id), None, state=run.state, reason=run.reason)


_UPDATE_STOP: Final = f"""
UPDATE runs SET stop_cause = ?, stop_reason = ? WHERE id = ? AND stop_cause IS NULL AND state NOT IN
    ({", ".join(f"'{state}'" for state in sorted(states.RUN_ENDED))})"""


@dataclass(frozen=True, slots=True)
class RunStopping:
    """A run is to end before its time; recorded, so that a crash meanwhile does not forget it."""

    run: RunRecord
    at_ms: int

    def apply(self, tx: sqlite3.Connection) -> None:
        """Set why, once."""
        run = self.run
        key = rows.number(run.id)
        if tx.execute(_UPDATE_STOP, (run.stop_cause, rows.text(run.stop_reason), key)).rowcount != 1:
            raise StateError(f"run {run.id} is being ended already, or has ended")

    def events(self) -> Iterable[Event]:
        """See ``Change``."""
        run = self.run
        yield _event(
            self.at_ms, "run_stopping", rows.number(run.id), None, cause=run.stop_cause, reason=run.stop_reason
        )


_INSERT_TASK: Final = """
INSERT INTO tasks (run, task, state, reason, outputs, started_at_ms, finished_at_ms) VALUES (?, ?, ?, ?, ?, ?, ?)
"""


def _task_values(task: TaskRecord) -> tuple[Any, ...]:
    return (
        rows.number(task.run_id),
        task.task_id,
        task.state,
        rows.text(task.reason),
        None if task.outputs is None else rows.to_json(task.outputs),
        task.started_at_ms,
        task.finished_at_ms,
    )


_ENDED_UNSTARTED: Final = states.TASK_MOVES[TaskState.PENDING] & states.TASK_ENDED


@dataclass(frozen=True, slots=True)
class TasksEndedUnstarted:
    """Pending tasks that will never start: cancelled, or with a dependency that did not succeed."""

    tasks: Sequence[TaskRecord]

    def apply(self, tx: sqlite3.Connection) -> None:
        """Insert their rows. Raise StateError if one is there, for then it is not pending."""
        for task in self.tasks:
            if task.state not in _ENDED_UNSTARTED:
                raise StateError(f"task {task.task_id} of run {task.run_id} cannot become {task.state} unstarted")
        try:
            tx.executemany(_INSERT_TASK, [_task_values(task) for task in self.tasks])
        except sqlite3.IntegrityError as error:
            raise StateError(f"a task of run {self.tasks[0].run_id} is not pending: {error}") from error

    def events(self) -> Iterable[Event]:
        """See ``Change``."""
        for task in self.tasks:
            yield _event(
                task.finished_at_ms,
                "task_finished",
                rows.number(task.run_id),
                task.task_id,
                state=task.state,
                reason=task.reason,
            )


_INSERT_ATTEMPT: Final = """
INSERT INTO attempts (run, task, number, state, launcher, unit, boot_id, started_at_ms)
VALUES (?, ?, ?, 'starting', ?, ?, ?, ?)
"""


@dataclass(frozen=True, slots=True)
class AttemptStarting:
    """An attempt is about to be launched: recorded before anything is spawned."""

    task: TaskRecord
    attempt: AttemptRecord

    def apply(self, tx: sqlite3.Connection) -> None:
        """Insert the task's row and its attempt."""
        attempt = self.attempt
        key = rows.number(attempt.run_id)
        try:
            tx.execute(_INSERT_TASK, _task_values(self.task))
        except sqlite3.IntegrityError as error:
            raise StateError(f"task {attempt.task_id} of run {attempt.run_id} is not pending: {error}") from error
        tx.execute(
            _INSERT_ATTEMPT,
            (
                key,
                attempt.task_id,
                attempt.number,
                attempt.launcher,
                attempt.unit,
                attempt.boot_id,
                attempt.started_at_ms,
            ),
        )

    def events(self) -> Iterable[Event]:
        """See ``Change``."""
        task, attempt = self.task, self.attempt
        yield _event(
            task.started_at_ms,
            "task_starting",
            rows.number(task.run_id),
            task.task_id,
            state=task.state,
            attempt=attempt.number,
        )


_SET_TASK_RUNNING: Final = (
    "UPDATE tasks SET state = 'running', started_at_ms = ? WHERE run = ? AND task = ? AND state = 'starting'"
)
_SET_ATTEMPT_RUNNING: Final = """
UPDATE attempts SET state = 'running', started_at_ms = ?, pid = ?, pid_started_ticks = ?
WHERE run = ? AND task = ? AND number = ? AND state = 'starting'
"""


@dataclass(frozen=True, slots=True)
class AttemptRunning:
    """An attempt's process exists."""

    task: TaskRecord
    attempt: AttemptRecord

    def apply(self, tx: sqlite3.Connection) -> None:
        """Compare and set both states."""
        attempt = self.attempt
        key = rows.number(attempt.run_id)
        done = tx.execute(_SET_TASK_RUNNING, (self.task.started_at_ms, key, attempt.task_id))
        done_too = tx.execute(
            _SET_ATTEMPT_RUNNING,
            (
                attempt.started_at_ms,
                attempt.pid,
                attempt.pid_started_ticks,
                key,
                attempt.task_id,
                attempt.number,
            ),
        )
        if done.rowcount != 1 or done_too.rowcount != 1:
            raise StateError(f"task {attempt.task_id} of run {attempt.run_id} is not starting")

    def events(self) -> Iterable[Event]:
        """See ``Change``."""
        task, attempt = self.task, self.attempt
        yield _event(
            attempt.started_at_ms,
            "task_running",
            rows.number(task.run_id),
            task.task_id,
            state=attempt.state,
            attempt=attempt.number,
        )


_END_ATTEMPT: Final = {
    target: f"""
UPDATE attempts SET state = '{target}', pid = ?, pid_started_ticks = ?, exit_code = ?, signal = ?, reason = ?,
    started_at_ms = ?, finished_at_ms = ?, cpu_seconds = ?, peak_memory_bytes = ?,
    log_path = ?, log_size_bytes = ?, log_dropped_bytes = ?, log_dropped_at = ?
WHERE run = ? AND task = ? AND number = ? AND state IN ({_allowed(target, states.ATTEMPT_MOVES)})
"""
    for target in states.ATTEMPT_ENDED
}
_END_TASK: Final = {
    target: f"UPDATE tasks SET state = '{target}', reason = ?, outputs = ?, started_at_ms = ?, finished_at_ms = ?"
    " WHERE run = ? AND task = ? AND state IN ('starting', 'running')"
    for target in states.TASK_ENDED
}
_INSERT_LOG: Final = "INSERT INTO logs (run, task, number, text) VALUES (?, ?, ?, ?)"


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """An attempt ended, and its task with it."""

    task: TaskRecord
    attempt: AttemptRecord

    def apply(self, tx: sqlite3.Connection) -> None:
        """Compare and set both states; keep the log if it is small."""
        task, attempt = self.task, self.attempt
        key = rows.number(attempt.run_id)
        place = (key, attempt.task_id, attempt.number)
        log = attempt.log
        done = tx.execute(
            _END_ATTEMPT[attempt.state],
            (
                attempt.pid,
                attempt.pid_started_ticks,
                attempt.exit_code,
                attempt.signal,
                rows.text(attempt.reason),
                attempt.started_at_ms,
                attempt.finished_at_ms,
                attempt.cpu_seconds,
                attempt.peak_memory_bytes,
                log.path if log and log.text is None else None,
                log.size_bytes if log else 0,
                log.dropped_bytes if log else 0,
                log.dropped_at if log else None,
                *place,
            ),
        )
        _, _, _, reason, outputs, started_at_ms, finished_at_ms = _task_values(task)
        done_too = tx.execute(
            _END_TASK[task.state], (reason, outputs, started_at_ms, finished_at_ms, key, task.task_id)
        )
        if done.rowcount != 1 or done_too.rowcount != 1:
            raise StateError(f"task {task.task_id} of run {task.run_id} is not running")
        if log and log.text:
            tx.execute(_INSERT_LOG, (*place, log.text))

    def events(self) -> Iterable[Event]:
        """See ``Change``."""
        task, attempt = self.task, self.attempt
        yield _event(
            task.finished_at_ms,
            "task_finished",
            rows.number(task.run_id),
            task.task_id,
            state=task.state,
            reason=task.reason,
            attempt=attempt.number,
            exit_code=attempt.exit_code,
            signal=attempt.signal,
        )
