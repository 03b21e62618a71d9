"""Changes of tasks that are no attempt's doing: they begin, wait, end, or never start."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal

from barbossad.errors import StateError
from barbossad.model import states
from barbossad.model.names import RunId
from barbossad.model.records import TaskRecord
from barbossad.store import long_values, rows
from barbossad.store.change import Event, Statement, allowed, event, named
from barbossad.store.long_values import Parting

TaskNews = Literal[
    "task_began", "task_kept", "task_waiting", "task_released", "task_finished", "task_late", "task_stopping"
]
"""What may be told of a task beside its attempts."""

_UNSTARTED_ENDS: Final = states.TASK_MOVES[states.TaskState.PENDING] & states.TASK_ENDED
_INSERT_TASKS: Final = Statement("""
INSERT INTO tasks (run, task, state, reason, started_at_ms, finished_at_ms, waits_for, waits_until_ms,
                   kept_attempts, kept_exit_code, outputs, outputs_bytes, items, items_bytes, stdout, stdout_bytes)
SELECT $0, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15 $rows
""")


@dataclass(frozen=True, slots=True)
class TasksEntered:
    """Pending tasks began without an attempt: groups, loops, approvals; or an earlier run has done them."""

    tasks: Sequence[TaskRecord]
    at_ms: int
    kind: TaskNews
    rank: ClassVar[int] = 4

    @property
    def weight(self) -> int:
        """See ``Change``."""
        return sum(map(long_values.weight, self.tasks))

    @property
    def run_id(self) -> RunId:
        """See ``Change``."""
        return self.tasks[0].run_id

    @staticmethod
    def write(tx: sqlite3.Connection, steps: Sequence[TasksEntered]) -> None:
        """Insert their rows. Raise StateError if one is there, for then it is not pending."""
        insert_tasks(tx, [task for step in steps for task in step.tasks])

    def events(self) -> Iterable[Event]:
        """See ``Change``."""
        return _told(self.tasks, self.at_ms, self.kind)


@dataclass(frozen=True, slots=True)
class TasksEndedUnstarted:
    """Pending tasks of a run that will never start: cancelled, skipped, or with a dependency that failed."""

    tasks: Sequence[TaskRecord]
    rank: ClassVar[int] = 5

    @property
    def weight(self) -> int:
        """See ``Change``."""
        return len(self.tasks)

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
        insert_tasks(tx, tasks)

    def events(self) -> Iterable[Event]:
        """See ``Change``."""
        for task in self.tasks:
            yield from _told((task,), task.finished_at_ms, "task_finished")


_MOVE_TASKS: Final[Mapping[states.TaskState, Statement]] = {
    target: Statement(f"""
UPDATE tasks SET state = '{target}', reason = $2, started_at_ms = $3, finished_at_ms = $4,
    waits_for = $5, waits_until_ms = $6, late_at_ms = $7, outputs = $8, outputs_bytes = $9
$rows
WHERE tasks.run = $0 AND tasks.task = $1
  AND tasks.state IN ({allowed(target, states.TASK_MOVES, itself=target not in states.TASK_ENDED)})
""")
    for target in states.TaskState
    if target is not states.TaskState.PENDING
}


@dataclass(frozen=True, slots=True)
class TasksMoved:
    """Tasks that have a row went on without an attempt's doing; each is what it is now, and is named once."""

    tasks: Sequence[TaskRecord]
    at_ms: int
    kind: TaskNews
    rank: ClassVar[int] = 6

    @property
    def weight(self) -> int:
        """See ``Change``."""
        return sum(map(long_values.weight, self.tasks))

    @property
    def run_id(self) -> RunId:
        """See ``Change``."""
        return self.tasks[0].run_id

    @staticmethod
    def write(tx: sqlite3.Connection, steps: Sequence[TasksMoved]) -> None:
        """Compare and set. Raise StateError if a task is in no state that allows it."""
        moved: dict[states.TaskState, list[tuple[Any, ...]]] = {}
        parting = Parting()
        for task in (task for step in steps for task in step.tasks):
            moved.setdefault(task.state, []).append(_move_of(task, parting))
        for state, values in moved.items():
            _MOVE_TASKS[state].run(tx, values, f"{named(steps)}: a task could not become {state}")
        parting.insert(tx)

    def events(self) -> Iterable[Event]:
        """See ``Change``."""
        return _told(self.tasks, self.at_ms, self.kind)


def _told(tasks: Iterable[TaskRecord], at_ms: int | None, kind: TaskNews) -> Iterable[Event]:
    for task in tasks:
        yield event(at_ms, kind, task.run_id, task.task_id, state=task.state, reason=task.reason)


def _move_of(task: TaskRecord, parting: Parting) -> tuple[Any, ...]:
    return (
        rows.number(task.run_id),
        task.task_id,
        rows.text(task.reason),
        task.started_at_ms,
        task.finished_at_ms,
        task.waits_for,
        task.waits_until_ms,
        task.late_at_ms,
        *parting.outputs(task),
    )


def insert_tasks(tx: sqlite3.Connection, tasks: Sequence[TaskRecord]) -> None:
    """Insert the first rows of tasks. Raise StateError if one is there, for then it is not pending."""
    parting = Parting()
    try:
        _INSERT_TASKS.run(tx, [_task_values(task, parting) for task in tasks], "a task could not be inserted")
    except sqlite3.IntegrityError as error:
        raise StateError(f"a task of run {tasks[0].run_id} is not pending: {error}") from error
    parting.insert(tx)


def _task_values(task: TaskRecord, parting: Parting) -> tuple[Any, ...]:
    return (
        rows.number(task.run_id),
        task.task_id,
        task.state,
        rows.text(task.reason),
        task.started_at_ms,
        task.finished_at_ms,
        task.waits_for,
        task.waits_until_ms,
        task.kept_attempts,
        task.kept_exit_code,
        *parting.outputs(task),
        *parting.items(task),
        *parting.stdout(task),
    )
