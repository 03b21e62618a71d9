"""Changes of a run, as data, and how many of them are written at once.

The engine decides on lists of these, and the writer applies the lists of all runs that wait in one transaction. A
state is changed by compare-and-set: the row must be in a state from which the new one may be entered
(``model.states``), otherwise StateError is raised and nothing of the transaction happens.

Each statement takes any number of rows, as JSON: SQLite's own work is small, but at each statement the writer's
thread gives the interpreter away and has to wait for it again. With a statement a row, a commit of sixteen tasks
took twenty times as long while the event loop was busy.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar, Final, Protocol

from barbossad.errors import ConflictError, StateError
from barbossad.model import states
from barbossad.model.names import RunId
from barbossad.model.records import AttemptRecord, RunRecord, TaskRecord
from barbossad.store import rows

Event = tuple[int | None, str, int | None, str | None, str]
"""When, what, of which run and task, and the facts of it: the columns of ``events`` but for its number."""


class Change(Protocol):
    """One step of a run's life."""

    rank: ClassVar[int]
    """Its place among the steps that are written together: those of a lower rank come first."""

    @property
    def run_id(self) -> RunId:
        """The run that it concerns."""

    @staticmethod
    def write(tx: sqlite3.Connection, steps: Sequence[Any]) -> None:
        """Write the rows of some steps of this kind. Raise StateError if one is not in a state that allows it."""

    def events(self) -> Iterable[Event]:
        """Return what is told of it."""


_INSERT_EVENTS: Final = """
INSERT INTO events (at_ms, kind, run, task, data)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 FROM json_each(?)
"""


def apply_all(tx: sqlite3.Connection, changes: Sequence[Change]) -> None:
    """Write changes, those of one run in their order, and the events of all in the order of the list."""
    for stretch in _stretches(changes):
        for kind in sorted(stretch, key=lambda kind: kind.rank):
            kind.write(tx, stretch[kind])
    tx.execute(_INSERT_EVENTS, (json.dumps([event for change in changes for event in change.events()]),))


def _stretches(changes: Sequence[Change]) -> list[dict[type[Change], list[Change]]]:
    """Part the changes so that writing a part by rank keeps the order of each run's own steps."""
    stretches: list[dict[type[Change], list[Change]]] = []
    reached: dict[RunId, tuple[int, int]] = {}  # of each run: its stretch, and the rank of its last step in it
    for change in changes:
        stretch, rank = reached.get(change.run_id, (0, -1))
        if change.rank < rank or (change.rank == rank and isinstance(change, _ONCE_A_STRETCH)):
            stretch += 1
        reached[change.run_id] = stretch, change.rank
        while len(stretches) <= stretch:
            stretches.append(defaultdict(list))
        stretches[stretch][type(change)].append(change)
    return stretches


def _event(at_ms: int | None, kind: str, run_id: RunId, task: str | None, **data: Any) -> Event:
    facts = {name: value for name, value in data.items() if value is not None}
    return at_ms, kind, rows.number(run_id), task, rows.to_json(facts)


def _allowed(target: StrEnum, moves: Any) -> str:
    return ", ".join(f"'{state}'" for state in states.sources(moves, target))


def _write(tx: sqlite3.Connection, sql: str, values: Sequence[Sequence[Any]], otherwise: str) -> None:
    """Run a statement that changes one row for each of ``values``. Raise StateError if it changed fewer."""
    if tx.execute(sql, (json.dumps(values),)).rowcount != len(values):
        raise StateError(otherwise)


_INSERT_RUNS: Final = """
INSERT INTO runs (id, workflow, version, state, trigger, params, requested_by, idempotency_key, reason,
                  created_at_ms, started_at_ms, finished_at_ms)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7,
       value ->> 8, value ->> 9, value ->> 10, value ->> 11
FROM json_each(?)
"""


@dataclass(frozen=True, slots=True)
class RunCreated:
    """A run was asked for and accepted."""

    run: RunRecord
    rank: ClassVar[int] = 0

    @property
    def run_id(self) -> RunId:
        """See ``Change``."""
        return self.run.id

    @staticmethod
    def write(tx: sqlite3.Connection, steps: Sequence[RunCreated]) -> None:
        """Insert runs. Raise ConflictError if the idempotency key of the only one was used before."""
        values = [
            (
                rows.number(run.id),
                run.workflow,
                run.version,
                run.state,
                run.trigger,
                rows.to_json(run.params),
                rows.text(run.requested_by),
                rows.text(run.idempotency_key),
                rows.text(run.reason),
                run.created_at_ms,
                run.started_at_ms,
                run.finished_at_ms,
            )
            for run in (step.run for step in steps)
        ]
        try:
            _write(tx, _INSERT_RUNS, values, "a run could not be inserted")
        except sqlite3.IntegrityError as error:
            run = steps[0].run
            if error.sqlite_errorname != "SQLITE_CONSTRAINT_UNIQUE" or len(steps) > 1:
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
            run.id,
            None,
            workflow=run.workflow,
            version=run.version,
            state=run.state,
            trigger=run.trigger,
            requested_by=run.requested_by,
        )


_STOP_RUNS: Final = f"""
UPDATE runs SET stop_cause = new.value ->> 1, stop_reason = new.value ->> 2 FROM json_each(?) AS new
WHERE runs.id = new.value ->> 0 AND runs.stop_cause IS NULL
  AND runs.state NOT IN ({", ".join(f"'{state}'" for state in sorted(states.RUN_ENDED))})
"""


@dataclass(frozen=True, slots=True)
class RunStopping:
    """A run is to end before its time; recorded, so that a crash meanwhile does not forget it."""

    run: RunRecord
    at_ms: int
    rank: ClassVar[int] = 1

    @property
    def run_id(self) -> RunId:
        """See ``Change``."""
        return self.run.id

    @staticmethod
    def write(tx: sqlite3.Connection, steps: Sequence[RunStopping]) -> None:
        """Set why, once."""
        values = [(rows.number(s.run.id), s.run.stop_cause, rows.text(s.run.stop_reason)) for s in steps]
        _write(tx, _STOP_RUNS, values, f"{_named(steps)} is being ended already, or has ended")

    def events(self) -> Iterable[Event]:
        """See ``Change``."""
        run = self.run
        yield _event(self.at_ms, "run_stopping", run.id, None, cause=run.stop_cause, reason=run.stop_reason)


_SET_TASKS_RUNNING: Final = """
UPDATE tasks SET state = 'running', started_at_ms = new.value ->> 2 FROM json_each(?) AS new
WHERE tasks.run = new.value ->> 0 AND tasks.task = new.value ->> 1 AND tasks.state = 'starting'
"""
_SET_ATTEMPTS_RUNNING: Final = """
UPDATE attempts SET state = 'running', started_at_ms = new.value ->> 3, pid = new.value ->> 4,
    pid_started_ticks = new.value ->> 5
FROM json_each(?) AS new
WHERE attempts.run = new.value ->> 0 AND attempts.task = new.value ->> 1 AND attempts.number = new.value ->> 2
  AND attempts.state = 'starting'
"""


@dataclass(frozen=True, slots=True)
class AttemptRunning:
    """An attempt's process exists."""

    task: TaskRecord
    attempt: AttemptRecord
    rank: ClassVar[int] = 2

    @property
    def run_id(self) -> RunId:
        """See ``Change``."""
        return self.task.run_id

    @staticmethod
    def write(tx: sqlite3.Connection, steps: Sequence[AttemptRunning]) -> None:
        """Compare and set the states of tasks and attempts."""
        otherwise = f"{_named(steps)}: a task is not starting"
        tasks = [(rows.number(s.run_id), s.task.task_id, s.task.started_at_ms) for s in steps]
        _write(tx, _SET_TASKS_RUNNING, tasks, otherwise)
        attempts = [
            (*_place(s.attempt), s.attempt.started_at_ms, s.attempt.pid, s.attempt.pid_started_ticks) for s in steps
        ]
        _write(tx, _SET_ATTEMPTS_RUNNING, attempts, otherwise)

    def events(self) -> Iterable[Event]:
        """See ``Change``."""
        attempt = self.attempt
        yield _event(
            attempt.started_at_ms,
            "task_running",
            attempt.run_id,
            attempt.task_id,
            state=attempt.state,
            attempt=attempt.number,
        )


_END_ATTEMPTS: Final = {
    target: f"""
UPDATE attempts SET state = '{target}', pid = new.value ->> 3, pid_started_ticks = new.value ->> 4,
    exit_code = new.value ->> 5, signal = new.value ->> 6, reason = new.value ->> 7, started_at_ms = new.value ->> 8,
    finished_at_ms = new.value ->> 9, cpu_seconds = new.value ->> 10, peak_memory_bytes = new.value ->> 11,
    log_path = new.value ->> 12, log_size_bytes = new.value ->> 13, log_dropped_bytes = new.value ->> 14,
    log_dropped_at = new.value ->> 15
FROM json_each(?) AS new
WHERE attempts.run = new.value ->> 0 AND attempts.task = new.value ->> 1 AND attempts.number = new.value ->> 2
  AND attempts.state IN ({_allowed(target, states.ATTEMPT_MOVES)})
"""
    for target in states.ATTEMPT_ENDED
}
_END_TASKS: Final = {
    target: f"""
UPDATE tasks SET state = '{target}', reason = new.value ->> 2, outputs = new.value ->> 3,
    started_at_ms = new.value ->> 4, finished_at_ms = new.value ->> 5
FROM json_each(?) AS new
WHERE tasks.run = new.value ->> 0 AND tasks.task = new.value ->> 1 AND tasks.state IN ('starting', 'running')
"""
    for target in states.TASK_ENDED
}
_INSERT_LOG: Final = "INSERT INTO logs (run, task, number, text) VALUES (?, ?, ?, ?)"


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """An attempt ended, and its task with it."""

    task: TaskRecord
    attempt: AttemptRecord
    rank: ClassVar[int] = 3

    @property
    def run_id(self) -> RunId:
        """See ``Change``."""
        return self.task.run_id

    @staticmethod
    def write(tx: sqlite3.Connection, steps: Sequence[AttemptEnded]) -> None:
        """Compare and set the states of attempts and tasks; keep small logs."""
        otherwise = f"{_named(steps)}: a task is not running"
        for attempt_state, some in _by_state(steps, "attempt").items():
            _write(tx, _END_ATTEMPTS[attempt_state], [_end_of(step.attempt) for step in some], otherwise)
        for task_state, some in _by_state(steps, "task").items():
            values = [_task_values(step.task, with_state=False) for step in some]
            _write(tx, _END_TASKS[task_state], values, otherwise)
        for attempt in (step.attempt for step in steps):
            if attempt.log and attempt.log.text:
                tx.execute(_INSERT_LOG, (*_place(attempt), attempt.log.text))

    def events(self) -> Iterable[Event]:
        """See ``Change``."""
        task, attempt = self.task, self.attempt
        yield _event(
            task.finished_at_ms,
            "task_finished",
            task.run_id,
            task.task_id,
            state=task.state,
            reason=task.reason,
            attempt=attempt.number,
            exit_code=attempt.exit_code,
            signal=attempt.signal,
        )


_UNSTARTED_ENDS: Final = states.TASK_MOVES[states.TaskState.PENDING] & states.TASK_ENDED
_INSERT_TASKS: Final = """
INSERT INTO tasks (run, task, state, reason, outputs, started_at_ms, finished_at_ms)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6 FROM json_each(?)
"""


@dataclass(frozen=True, slots=True)
class TasksEndedUnstarted:
    """Pending tasks of a run that will never start: cancelled, or with a dependency that did not succeed."""

    tasks: Sequence[TaskRecord]
    rank: ClassVar[int] = 4

    @property
    def run_id(self) -> RunId:
        """See ``Change``."""
        return self.tasks[0].run_id

    @staticmethod
    def write(tx: sqlite3.Connection, steps: Sequence[TasksEndedUnstarted]) -> None:
        """Insert their rows. Raise StateError if one is there, for then it is not pending."""
        tasks = [task for step in steps for task in step.tasks]
        for task in tasks:
            if task.state not in _UNSTARTED_ENDS:
                raise StateError(f"task {task.task_id} of run {task.run_id} cannot become {task.state} without a start")
        _insert_tasks(tx, tasks)

    def events(self) -> Iterable[Event]:
        """See ``Change``."""
        for task in self.tasks:
            yield _event(
                task.finished_at_ms, "task_finished", task.run_id, task.task_id, state=task.state, reason=task.reason
            )


# The plus keeps the planner from walking all runs of a state (in the index on it) instead of finding each by its id.
_MOVE_RUNS: Final = {
    target: f"""
UPDATE runs SET state = '{target}', reason = new.value ->> 1, started_at_ms = new.value ->> 2,
    finished_at_ms = new.value ->> 3
FROM json_each(?) AS new
WHERE runs.id = new.value ->> 0 AND +runs.state IN ({_allowed(target, states.RUN_MOVES)})
"""
    for target in states.RunState
}


@dataclass(frozen=True, slots=True)
class RunMoved:
    """A run started or ended; ``run`` is what it is now."""

    run: RunRecord
    rank: ClassVar[int] = 5

    @property
    def run_id(self) -> RunId:
        """See ``Change``."""
        return self.run.id

    @staticmethod
    def write(tx: sqlite3.Connection, steps: Sequence[RunMoved]) -> None:
        """Compare and set the states of runs."""
        for state, some in _by_state(steps, "run").items():
            values = [
                (rows.number(run.id), rows.text(run.reason), run.started_at_ms, run.finished_at_ms)
                for run in (step.run for step in some)
            ]
            otherwise = f"{_named(some)} could not become {state}: it is in no state that allows it"
            _write(tx, _MOVE_RUNS[state], values, otherwise)

    def events(self) -> Iterable[Event]:
        """See ``Change``."""
        run = self.run
        has_ended = run.state in states.RUN_ENDED
        kind = "run_finished" if has_ended else "run_started"
        at_ms = run.finished_at_ms if has_ended else run.started_at_ms
        yield _event(at_ms, kind, run.id, None, state=run.state, reason=run.reason)


_INSERT_ATTEMPTS: Final = """
INSERT INTO attempts (run, task, number, state, launcher, unit, boot_id, started_at_ms)
SELECT value ->> 0, value ->> 1, value ->> 2, 'starting', value ->> 3, value ->> 4, value ->> 5, value ->> 6
FROM json_each(?)
"""


@dataclass(frozen=True, slots=True)
class AttemptStarting:
    """An attempt is about to be launched: recorded before anything is spawned."""

    task: TaskRecord
    attempt: AttemptRecord
    rank: ClassVar[int] = 6

    @property
    def run_id(self) -> RunId:
        """See ``Change``."""
        return self.task.run_id

    @staticmethod
    def write(tx: sqlite3.Connection, steps: Sequence[AttemptStarting]) -> None:
        """Insert the rows of tasks and their attempts. Raise StateError if a task is not pending."""
        _insert_tasks(tx, [step.task for step in steps])
        values = [
            (*_place(attempt), attempt.launcher, attempt.unit, attempt.boot_id, attempt.started_at_ms)
            for attempt in (step.attempt for step in steps)
        ]
        _write(tx, _INSERT_ATTEMPTS, values, "an attempt could not be inserted")

    def events(self) -> Iterable[Event]:
        """See ``Change``."""
        task = self.task
        yield _event(
            task.started_at_ms,
            "task_starting",
            task.run_id,
            task.task_id,
            state=task.state,
            attempt=self.attempt.number,
        )


_ONCE_A_STRETCH: Final = (RunCreated, RunStopping, RunMoved)
"""Kinds that change the one row of a run: two of them in one statement would be one."""


def _by_state(steps: Sequence[Any], member: str) -> Mapping[Any, list[Any]]:
    """Return steps by the state of their run, task or attempt: each state has a statement of its own."""
    found: dict[StrEnum, list[Any]] = {}
    for step in steps:
        found.setdefault(getattr(step, member).state, []).append(step)
    return found


def _named(steps: Sequence[Change]) -> str:
    return f"run {steps[0].run_id}" if len(steps) == 1 else f"one of {len(steps)} runs"


def _insert_tasks(tx: sqlite3.Connection, tasks: Sequence[TaskRecord]) -> None:
    try:
        _write(tx, _INSERT_TASKS, [_task_values(task) for task in tasks], "a task could not be inserted")
    except sqlite3.IntegrityError as error:
        raise StateError(f"a task of run {tasks[0].run_id} is not pending: {error}") from error


def _place(attempt: AttemptRecord) -> tuple[int, str, int]:
    return rows.number(attempt.run_id), attempt.task_id, attempt.number


def _task_values(task: TaskRecord, *, with_state: bool = True) -> tuple[Any, ...]:
    return (
        rows.number(task.run_id),
        task.task_id,
        *((task.state,) if with_state else ()),
        rows.text(task.reason),
        None if task.outputs is None else rows.to_json(task.outputs),
        task.started_at_ms,
        task.finished_at_ms,
    )


def _end_of(attempt: AttemptRecord) -> tuple[Any, ...]:
    log = attempt.log
    return (
        *_place(attempt),
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
    )
