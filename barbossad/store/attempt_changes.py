"""Changes of attempts, and of their tasks with them: starting, running, ended."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from barbossad.model import states
from barbossad.model.names import RunId
from barbossad.model.records import AttemptRecord, TaskRecord
from barbossad.store import long_values, rows
from barbossad.store.change import Event, Statement, allowed, by_state, event, named
from barbossad.store.long_values import Parting
from barbossad.store.task_changes import insert_tasks

_INSERT_ATTEMPTS: Final = Statement("""
INSERT INTO attempts (run, task, number, state, launcher, unit, boot_id, started_at_ms, in_force)
SELECT $0, $1, $2, 'starting', $3, $4, $5, $6, $7
$rows
""")


_START_TASKS_AGAIN: Final = Statement("""
UPDATE tasks SET state = 'starting', reason = NULL, waits_for = NULL, waits_until_ms = NULL $rows
WHERE tasks.run = $0 AND tasks.task = $1 AND tasks.state = 'waiting'
""")


@dataclass(frozen=True, slots=True)
class AttemptStarting:
    """An attempt is about to be launched: recorded before anything is spawned."""

    task: TaskRecord
    attempt: AttemptRecord
    rank: ClassVar[int] = 8
    weight: ClassVar[int] = 1

    @property
    def run_id(self) -> RunId:
        """See ``Change``."""
        return self.task.run_id

    @staticmethod
    def write(tx: sqlite3.Connection, steps: Sequence[AttemptStarting]) -> None:
        """Insert the rows of attempts, and of tasks at their first. Raise StateError if a task may not start."""
        first = [step.task for step in steps if step.attempt.number == 1]
        if first:
            insert_tasks(tx, first)
        again = [(rows.number(s.run_id), s.task.task_id) for s in steps if s.attempt.number > 1]
        if again:
            _START_TASKS_AGAIN.run(tx, again, f"{named(steps)}: a task is not waiting")
        values = [
            (
                *_place(attempt),
                attempt.launcher,
                attempt.unit,
                attempt.boot_id,
                attempt.started_at_ms,
                rows.to_json(attempt.in_force) if attempt.in_force else None,
            )
            for attempt in (step.attempt for step in steps)
        ]
        _INSERT_ATTEMPTS.run(tx, values, "an attempt could not be inserted")

    def events(self) -> Iterable[Event]:
        """See ``Change``."""
        task = self.task
        yield event(
            task.started_at_ms,
            "task_starting",
            task.run_id,
            task.task_id,
            state=task.state,
            attempt=self.attempt.number,
        )


_SET_TASKS_RUNNING: Final = Statement("""
UPDATE tasks SET state = 'running', started_at_ms = $2 $rows
WHERE tasks.run = $0 AND tasks.task = $1 AND tasks.state = 'starting'
""")
_SET_ATTEMPTS_RUNNING: Final = Statement("""
UPDATE attempts SET state = 'running', started_at_ms = $3, pid = $4,
    pid_started_ticks = $5, invocation_id = $6
$rows
WHERE attempts.run = $0 AND attempts.task = $1 AND attempts.number = $2
  AND attempts.state = 'starting'
""")


@dataclass(frozen=True, slots=True)
class AttemptRunning:
    """An attempt's process exists."""

    task: TaskRecord
    attempt: AttemptRecord
    rank: ClassVar[int] = 2
    weight: ClassVar[int] = 1

    @property
    def run_id(self) -> RunId:
        """See ``Change``."""
        return self.task.run_id

    @staticmethod
    def write(tx: sqlite3.Connection, steps: Sequence[AttemptRunning]) -> None:
        """Compare and set the states of tasks and attempts."""
        otherwise = f"{named(steps)}: a task is not starting"
        tasks = [(rows.number(s.run_id), s.task.task_id, s.task.started_at_ms) for s in steps]
        _SET_TASKS_RUNNING.run(tx, tasks, otherwise)
        attempts = [
            (
                *_place(s.attempt),
                s.attempt.started_at_ms,
                s.attempt.pid,
                s.attempt.pid_started_ticks,
                s.attempt.invocation_id,
            )
            for s in steps
        ]
        _SET_ATTEMPTS_RUNNING.run(tx, attempts, otherwise)

    def events(self) -> Iterable[Event]:
        """See ``Change``."""
        attempt = self.attempt
        yield event(
            attempt.started_at_ms,
            "task_running",
            attempt.run_id,
            attempt.task_id,
            state=attempt.state,
            attempt=attempt.number,
        )


_END_ATTEMPTS: Final = {
    target: Statement(f"""
UPDATE attempts SET state = '{target}', pid = $3, pid_started_ticks = $4,
    exit_code = $5, signal = $6, reason = $7, started_at_ms = $8,
    finished_at_ms = $9, cpu_seconds = $10, peak_memory_bytes = $11,
    log_path = $12, log_size_bytes = $13, log_dropped_bytes = $14,
    log_dropped_at = $15, invocation_id = $16, io_read_bytes = $17, io_write_bytes = $18
$rows
WHERE attempts.run = $0 AND attempts.task = $1 AND attempts.number = $2
  AND attempts.state IN ({allowed(target, states.ATTEMPT_MOVES)})
""")
    for target in states.ATTEMPT_ENDED
}
_END_TASKS: Final = {
    target: Statement(f"""
UPDATE tasks SET state = '{target}', reason = $2, started_at_ms = $3, finished_at_ms = $4,
    outputs = $5, outputs_bytes = $6, stdout = $7, stdout_bytes = $8
$rows
WHERE tasks.run = $0 AND tasks.task = $1 AND tasks.state IN ('starting', 'running')
""")
    for target in states.TASK_ENDED
}
_WAIT_TASKS: Final = Statement("""
UPDATE tasks SET state = 'waiting', reason = $2, waits_for = $3, waits_until_ms = $4,
    outputs = $5, outputs_bytes = $6, stdout = $7, stdout_bytes = $8
$rows
WHERE tasks.run = $0 AND tasks.task = $1 AND tasks.state IN ('starting', 'running')
""")
_INSERT_LOG: Final = "INSERT INTO logs (run, task, number, text) VALUES (?, ?, ?, ?)"


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """An attempt ended, and its task with it."""

    task: TaskRecord
    attempt: AttemptRecord
    rank: ClassVar[int] = 3

    @property
    def weight(self) -> int:
        """See ``Change``."""
        return long_values.weight(self.task)

    @property
    def run_id(self) -> RunId:
        """See ``Change``."""
        return self.task.run_id

    @staticmethod
    def write(tx: sqlite3.Connection, steps: Sequence[AttemptEnded]) -> None:
        """Compare and set the states of attempts and tasks; keep small logs."""
        otherwise = f"{named(steps)}: a task is not running"
        for attempt_state, some in by_state(steps, "attempt").items():
            _END_ATTEMPTS[attempt_state].run(tx, [_end_of(step.attempt) for step in some], otherwise)
        parting = Parting()
        for task_state, some in by_state(steps, "task").items():
            if task_state is states.TaskState.WAITING:
                _WAIT_TASKS.run(tx, [_wait_of(step.task, parting) for step in some], otherwise)
                continue
            values = [_end_of_task(step.task, parting) for step in some]
            _END_TASKS[task_state].run(tx, values, otherwise)
        parting.insert(tx)
        for attempt in (step.attempt for step in steps):
            if attempt.log and attempt.log.text:
                tx.execute(_INSERT_LOG, (*_place(attempt), attempt.log.text))

    def events(self) -> Iterable[Event]:
        """See ``Change``."""
        task, attempt = self.task, self.attempt
        is_over = task.state in states.TASK_ENDED
        yield event(
            attempt.finished_at_ms,
            "task_finished" if is_over else "task_waiting",
            task.run_id,
            task.task_id,
            state=task.state,
            reason=task.reason,
            attempt=attempt.number,
            exit_code=attempt.exit_code,
            signal=attempt.signal,
        )


def _wait_of(task: TaskRecord, parting: Parting) -> tuple[Any, ...]:
    return (
        rows.number(task.run_id),
        task.task_id,
        rows.text(task.reason),
        task.waits_for,
        task.waits_until_ms,
        *parting.outputs(task),
        *parting.stdout(task),
    )


def _end_of_task(task: TaskRecord, parting: Parting) -> tuple[Any, ...]:
    return (
        rows.number(task.run_id),
        task.task_id,
        rows.text(task.reason),
        task.started_at_ms,
        task.finished_at_ms,
        *parting.outputs(task),
        *parting.stdout(task),
    )


def _place(attempt: AttemptRecord) -> tuple[int, str, int]:
    return rows.number(attempt.run_id), attempt.task_id, attempt.number


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
        attempt.invocation_id,
        attempt.io_read_bytes,
        attempt.io_write_bytes,
    )
