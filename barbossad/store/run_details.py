"""A run with its tasks and attempts, made of rows; and what of them is too long to stand in there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from barbossad.model.records import AttemptRecord, RunRecord, TaskRecord
from barbossad.store import long_values
from barbossad.store.database import Fetch, Row
from barbossad.store.run_rows import attempt_of, run_of, task_of

RUN_COLUMNS: Final = """id, workflow, version, state, trigger, params, requested_by, idempotency_key, reason,
    stop_cause, stop_reason, created_at_ms, started_at_ms, finished_at_ms, outcome, outcome_reason, priority,
    parent_run, parent_task, retry_of, warnings, outputs, paused_at_ms, paused_ms, late_at_ms, schedule,
    scheduled_for_ms, chain"""
ATTEMPT_COLUMNS: Final = """run, task, number, state, launcher, unit, boot_id, pid, pid_started_ticks, exit_code,
    signal, reason, started_at_ms, finished_at_ms, cpu_seconds, peak_memory_bytes, log_path, log_size_bytes,
    log_dropped_bytes, log_dropped_at, invocation_id, io_read_bytes, io_write_bytes, in_force"""
ATTEMPTS: Final = f"SELECT {ATTEMPT_COLUMNS} FROM attempts WHERE run = ? ORDER BY task, number"

QUICK_TASKS: Final = 32
"""A run with no more attempts is looked up on the event loop; each task may have a megabyte of outputs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDetails:
    """A run with the rows of its tasks (those that changed at all) and their attempts, in order of their number."""

    run: RunRecord
    tasks: dict[str, TaskRecord]
    attempts: dict[str, tuple[AttemptRecord, ...]]
    left_out: Mapping[str, int] = field(default_factory=dict)
    """The outputs that were not read, by task (empty: those of the run): how many bytes they have as JSON."""


_LONG: Final = """
SELECT (SELECT count(*) FROM
        (SELECT 1 FROM attempts WHERE run IN (?, (SELECT retry_of FROM runs WHERE id = ?)) LIMIT ?))
    + (SELECT count(*) FROM (SELECT 1 FROM long_values WHERE run = ? LIMIT ?))"""


def is_long(fetch: Fetch, number: int) -> bool:
    """Say whether a run has so many tasks, or so long values, that it is not to be read on the event loop.

    Attempts are counted, also those of the run that it is a retry of, from which outputs were taken over.
    """
    ((found,),) = fetch(_LONG, (number, number, QUICK_TASKS + 1, number, QUICK_TASKS + 1))
    return bool(found > QUICK_TASKS)


def details(
    run: Row, task_rows: Sequence[Row], attempt_rows: Sequence[Row], left_out: Mapping[str, int] | None = None
) -> RunDetails:
    """Return a run of its row and those of its tasks and attempts."""
    tasks = [task_of(row) for row in task_rows]
    attempts: defaultdict[str, list[AttemptRecord]] = defaultdict(list)
    for row in attempt_rows:
        attempts[row[1]].append(attempt_of(row))
    return RunDetails(
        run=run_of(run),
        tasks={task.task_id: task for task in tasks},
        attempts={task: tuple(tries) for task, tries in attempts.items()},
        left_out=left_out or {},
    )


def with_texts(row: Row, column: int, texts: Mapping[str, str | None], task: str) -> Row:
    """Return a row with what was read for its task, if anything was, in the place of a column."""
    return (*row[:column], texts[task], *row[column + 1 :]) if task in texts else row


@dataclass(frozen=True, slots=True)
class Value:
    """What may be too long for the row of a task: where it stands in there, and where its size if it does not."""

    name: long_values.Name
    column: int
    size_column: int


def sizes_of(task_rows: Sequence[Row], value: Value) -> dict[str, int]:
    """Return how long the values are that do not stand in the rows of their tasks."""
    return {row[1]: row[value.size_column] for row in task_rows if row[value.size_column] is not None}


def with_long(fetch: Fetch, value: Value, task_rows: list[Row]) -> list[Row]:
    """Return rows of tasks with a value that does not stand in them."""
    sizes = sizes_of(task_rows, value)
    if not sizes:
        return task_rows
    texts = long_values.read(fetch, task_rows[0][0], value.name, sizes)
    return [with_texts(row, value.column, texts, row[1]) for row in task_rows]


OUTPUTS: Final = Value("outputs", 4, 14)
STDOUT: Final = Value("stdout", 9, 15)
ITEMS: Final = Value("items", 10, 16)
