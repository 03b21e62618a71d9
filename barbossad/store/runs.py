"""Read runs, their tasks, attempts and logs; listings go by cursor and stay fast at a million runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from barbossad.model.names import RunId, run_id_from_number
from barbossad.model.records import AttemptRecord, LogRecord, Page, RunRecord, TaskRecord
from barbossad.model.states import RunState
from barbossad.store import long_values, rows
from barbossad.store.database import Database, Fetch, Row
from barbossad.store.run_rows import attempt_of, run_of, task_of

_RUN_COLUMNS: Final = """id, workflow, version, state, trigger, params, requested_by, idempotency_key, reason,
    stop_cause, stop_reason, created_at_ms, started_at_ms, finished_at_ms, outcome, outcome_reason, priority,
    parent_run, parent_task, retry_of, warnings, outputs, paused_at_ms, paused_ms, late_at_ms, schedule,
    scheduled_for_ms, chain"""
_LISTED_COLUMNS: Final = _RUN_COLUMNS.replace(" outputs,", " NULL,")
"""Listings show no outputs: those of one run may be long."""

_OUTPUTS_BYTES: Final = "length(CAST(outputs AS BLOB))"
_SMALL_OUTPUTS: Final = f"CASE WHEN {_OUTPUTS_BYTES} <= ? THEN outputs END"
_ATTEMPT_COLUMNS: Final = """run, task, number, state, launcher, unit, boot_id, pid, pid_started_ticks, exit_code,
    signal, reason, started_at_ms, finished_at_ms, cpu_seconds, peak_memory_bytes, log_path, log_size_bytes,
    log_dropped_bytes, log_dropped_at, invocation_id, io_read_bytes, io_write_bytes, in_force"""
_UNENDED: Final = "('queued', 'running', 'paused')"


SHOWN_BYTES: Final = 2 * 1024 * 1024
"""How much of the outputs of a run is read to be shown, as JSON: twice what one task may have."""

SMALL_BYTES: Final = 16 * 1024
"""Outputs up to this are read together, longer ones one by one if they are to be shown."""

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


class Long(Enum):
    """What is returned in the place of a run that is to be read beside the event loop."""

    LONG = "long"


class RunStore:
    """The queries about runs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    NEWEST: Final = "SELECT (SELECT max(id) FROM runs), (SELECT run FROM newest_deleted)"

    async def newest_number(self) -> int:
        """Return the number of the newest run that there ever was, deleted ones too; 0 if there was none."""
        found = await self._database.read(self.NEWEST)
        return max(number or 0 for number in found[0])

    GET: Final = f"SELECT {_RUN_COLUMNS} FROM runs WHERE id = ?"
    TASKS: Final = """
SELECT run, task, state, reason, outputs, started_at_ms, finished_at_ms, waits_for, waits_until_ms, stdout, items,
    late_at_ms, kept_attempts, kept_exit_code, outputs_bytes, stdout_bytes, items_bytes
FROM tasks WHERE run = ?"""
    ATTEMPTS: Final = f"SELECT {_ATTEMPT_COLUMNS} FROM attempts WHERE run = ? ORDER BY task, number"

    def record(self, run_id: RunId) -> RunRecord | None:
        """Return a run alone, or None if there is no such run."""
        (found,) = self._database.look_up((self.GET, (rows.number(run_id),)))
        return run_of(found[0]) if found else None

    def get(self, run_id: RunId) -> RunDetails | None:
        """Return a run with its tasks and attempts, or None if there is no such run."""
        return self._database.look_up_by(lambda fetch: self.whole(fetch, run_id))

    async def read(self, run_id: RunId) -> RunDetails | None:
        """Return what ``get`` does, read beside the event loop if it may be much."""
        number = rows.number(run_id)
        if self._database.look_up_by(lambda fetch: self._is_long(fetch, number)):
            return await self._database.read_by(lambda fetch: self.whole(fetch, run_id))
        return self.get(run_id)

    @classmethod
    def whole(cls, fetch: Fetch, run_id: RunId) -> RunDetails | None:
        """Return what ``get`` does of what ``fetch`` finds."""
        key = (rows.number(run_id),)
        found = fetch(cls.GET, key)
        if not found:
            return None
        task_rows = fetch(cls.TASKS, key)
        for value in (_OUTPUTS, _STDOUT, _ITEMS):
            task_rows = _with_long(fetch, value, task_rows)
        return _details(found[0], task_rows, fetch(cls.ATTEMPTS, key))

    LONG: Final = """
SELECT (SELECT count(*) FROM
        (SELECT 1 FROM attempts WHERE run IN (?, (SELECT retry_of FROM runs WHERE id = ?)) LIMIT ?))
    + (SELECT count(*) FROM (SELECT 1 FROM long_values WHERE run = ? LIMIT ?))"""

    def _is_long(self, fetch: Fetch, number: int) -> bool:
        """Say whether a run has so many tasks, or so long values, that it is not to be read on the event loop.

        Attempts are counted, also those of the run that it is a retry of, from which outputs were taken over.
        """
        ((found,),) = fetch(self.LONG, (number, number, QUICK_TASKS + 1, number, QUICK_TASKS + 1))
        return bool(found > QUICK_TASKS)

    SHOWN: Final = f"""
SELECT {_RUN_COLUMNS.replace(" outputs,", f" {_SMALL_OUTPUTS},")}, {_OUTPUTS_BYTES} FROM runs WHERE id = ?"""
    SHOWN_TASKS: Final = f"""
SELECT run, task, state, reason, {_SMALL_OUTPUTS}, started_at_ms, finished_at_ms, waits_for, waits_until_ms, NULL,
    items, late_at_ms, kept_attempts, kept_exit_code, outputs_bytes, NULL, items_bytes, {_OUTPUTS_BYTES}
FROM tasks WHERE run = ?"""

    SHOWN_ATTEMPTS: Final = f"{ATTEMPTS} LIMIT ?"

    def shown(self, run_id: RunId) -> RunDetails | Long | None:
        """Return a run as ``get`` does, but without what is never shown, and of its outputs as much as may be.

        The longest are left out first. ``LONG`` is what ``read_shown`` is for.
        """
        return self._database.look_up_by(lambda fetch: self._quickly(fetch, run_id))

    def _quickly(self, fetch: Fetch, run_id: RunId) -> RunDetails | Long | None:
        number = rows.number(run_id)
        attempt_rows = fetch(self.SHOWN_ATTEMPTS, (number, QUICK_TASKS + 1))
        if len(attempt_rows) > QUICK_TASKS:
            return Long.LONG
        found = fetch(self.SHOWN, (SMALL_BYTES, number))
        if not found:
            return None
        if found[0][_RETRY_OF] is not None and self._is_long(fetch, number):
            return Long.LONG
        return self._as_shown(fetch, found[0], attempt_rows)

    async def read_shown(self, run_id: RunId) -> RunDetails | None:
        """Return what ``shown`` does, read beside the event loop."""
        number = rows.number(run_id)

        def read(fetch: Fetch) -> RunDetails | None:
            found = fetch(self.SHOWN, (SMALL_BYTES, number))
            return self._as_shown(fetch, found[0], fetch(self.ATTEMPTS, (number,))) if found else None

        return await self._database.read_by(read)

    def _as_shown(self, fetch: Fetch, run: Row, attempt_rows: Sequence[Row]) -> RunDetails:
        number = run[0]
        task_rows = _with_long(fetch, _ITEMS, fetch(self.SHOWN_TASKS, (SMALL_BYTES, number)))
        elsewhere = _sizes(task_rows, _OUTPUTS)
        sizes = {row[1]: row[-1] for row in task_rows if row[-1]} | elsewhere
        if run[-1]:
            sizes[""] = run[-1]
        left_out = _longest(sizes) if sum(sizes.values()) > SHOWN_BYTES else {}
        shown = [task for task in sizes if task not in left_out]
        texts: dict[str, str | None] = {
            task: self._outputs(fetch, number, task)
            for task in shown
            if sizes[task] > SMALL_BYTES and task not in elsewhere
        }
        texts |= long_values.read(fetch, number, "outputs", {t: elsewhere[t] for t in shown if t in elsewhere})
        if texts or left_out:
            dropped = dict.fromkeys(left_out)
            run = _with(run, _RUN_OUTPUTS, {**texts, **dropped}, "")
            task_rows = [_with(row, _OUTPUTS.column, {**texts, **dropped}, row[1]) for row in task_rows]
        return _details(run, task_rows, attempt_rows, left_out)

    STATE: Final = f"SELECT {_LISTED_COLUMNS} FROM runs WHERE id = ?"
    TASK: Final = """
SELECT run, task, state, reason, NULL, started_at_ms, finished_at_ms, waits_for, waits_until_ms, NULL, NULL, late_at_ms,
    kept_attempts, kept_exit_code
FROM tasks WHERE run = ? AND task = ?"""
    TASK_ATTEMPTS: Final = f"SELECT {_ATTEMPT_COLUMNS} FROM attempts WHERE run = ? AND task = ? ORDER BY number"

    def of_task(self, run_id: RunId, task: str) -> RunDetails | None:
        """Return a run with one of its tasks alone, without outputs; None if there is no such run."""
        key = (rows.number(run_id), task)
        found, task_rows, attempt_rows = self._database.look_up(
            (self.STATE, key[:1]), (self.TASK, key), (self.TASK_ATTEMPTS, key)
        )
        return _details(found[0], task_rows, attempt_rows) if found else None

    RUN_OUTPUTS: Final = "SELECT outputs FROM runs WHERE id = ?"
    TASK_OUTPUTS: Final = "SELECT outputs, outputs_bytes FROM tasks WHERE run = ? AND task = ?"

    def _outputs(self, fetch: Fetch, number: int, task: str) -> str | None:
        found = fetch(self.TASK_OUTPUTS, (number, task)) if task else fetch(self.RUN_OUTPUTS, (number,))
        if found and task and found[0][1] is not None:
            return long_values.read(fetch, number, "outputs", {task: found[0][1]}).get(task)
        return found[0][0] if found else None

    async def outputs(self, run_id: RunId, task: str) -> str | None:
        """Return the outputs of a task as JSON, those of the run for an empty one; None: there are none."""
        return await self._database.read_by(lambda fetch: self._outputs(fetch, rows.number(run_id), task))

    REVISION: Final = "SELECT max(seq) FROM events WHERE run = ?"

    async def revision(self, run_id: RunId) -> int:
        """Return the number of the last event that concerns a run: it grows with every change. 0 if there is none."""
        found = await self._database.read(self.REVISION, (rows.number(run_id),))
        return int(found[0][0] or 0)

    BY_KEY: Final = f"SELECT {_RUN_COLUMNS} FROM runs WHERE workflow = ? AND idempotency_key = ?"

    def find_by_key(self, workflow: str, idempotency_key: str) -> RunRecord | None:
        """Return the run that was made with this key before, if any."""
        (found,) = self._database.look_up((self.BY_KEY, (workflow, rows.text(idempotency_key))))
        return run_of(found[0]) if found else None

    RETRY_BY_KEY: Final = """
SELECT runs.id FROM workflows CROSS JOIN runs ON runs.workflow = workflows.name
WHERE runs.idempotency_key = ? AND runs.retry_of = ?"""

    async def find_retry(self, run_id: RunId, idempotency_key: str) -> RunId | None:
        """Return the retry of a run that was made with this key, if any, where the run itself is not there any more."""
        bound = (rows.text(idempotency_key), rows.number(run_id))
        found = await self._database.read(self.RETRY_BY_KEY, bound)
        return run_id_from_number(found[0][0]) if found else None

    CHAIN: Final = "SELECT chain FROM runs WHERE id = ?"

    async def chain(self, run_id: RunId) -> int:
        """Return how many ends of runs led to a run, one after another; 0 if it is not there any more."""
        found = await self._database.read(self.CHAIN, (rows.number(run_id),))
        return int(found[0][0]) if found else 0

    RETRIED: Final = "SELECT 1 FROM runs WHERE workflow = ? AND id > ? AND retry_of = ? LIMIT 1"

    async def is_retried(self, run: RunRecord) -> bool:
        """Say whether there is a retry of a run."""
        number = rows.number(run.id)
        return bool(await self._database.read(self.RETRIED, (run.workflow, number, number)))

    UNENDED: Final = f"SELECT {_RUN_COLUMNS} FROM runs WHERE state IN {_UNENDED} ORDER BY id"

    async def unended(self) -> list[RunRecord]:
        """Return the runs that have not ended, oldest first."""
        return [run_of(row) for row in await self._database.read(self.UNENDED)]

    PAGE: Final = {
        (): f"SELECT {_LISTED_COLUMNS} FROM runs WHERE id < ? ORDER BY id DESC LIMIT ?",
        ("workflow",): f"""
SELECT {_LISTED_COLUMNS} FROM runs WHERE workflow = ? AND id < ? ORDER BY id DESC LIMIT ?""",
        ("state",): f"SELECT {_LISTED_COLUMNS} FROM runs WHERE state = ? AND id < ? ORDER BY id DESC LIMIT ?",
        ("workflow", "state"): f"""
SELECT {_LISTED_COLUMNS} FROM runs WHERE workflow = ? AND state = ? AND id < ? ORDER BY id DESC LIMIT ?""",
        (
            "active",
        ): f"SELECT {_LISTED_COLUMNS} FROM runs WHERE state IN {_UNENDED} AND id < ? ORDER BY id DESC LIMIT ?",
        ("active", "workflow"): f"""
SELECT {_LISTED_COLUMNS} FROM runs WHERE workflow = ? AND state IN {_UNENDED} AND id < ? ORDER BY id DESC LIMIT ?""",
    }

    async def page(
        self,
        *,
        workflow: str | None = None,
        state: RunState | None = None,
        is_active: bool = False,
        before: RunId | None = None,
        limit: int = 50,
    ) -> Page[RunRecord]:
        """Return runs newest first, those older than ``before``. ``state`` and ``is_active`` exclude each other."""
        filters: dict[str, Any] = {"active": True} if is_active else {}
        if workflow is not None:
            filters["workflow"] = workflow
        if state is not None and not is_active:
            filters["state"] = state
        sql = self.PAGE[tuple(filters)]
        values = [value for name, value in filters.items() if name != "active"]
        start = rows.number(before) if before else 1 << 62
        bound = (*values, start, limit + 1)
        # The newest of all lie next to each other; what a filter finds may lie anywhere.
        read = await self._database.read(sql, bound) if filters else self._database.look_up((sql, bound))[0]
        found = [run_of(row) for row in read]
        more = len(found) > limit
        return Page(items=tuple(found[:limit]), next_cursor=found[limit - 1].id if more else None)

    LAST_OF_EACH: Final = f"""
SELECT {rows.of_table("runs", _RUN_COLUMNS)}
FROM json_each(?) AS wanted CROSS JOIN runs
WHERE runs.id = (SELECT max(id) FROM runs WHERE workflow = wanted.value)"""

    async def last_of_each(self, workflows: Sequence[str]) -> dict[str, RunRecord]:
        """Return the newest run of each workflow that has one."""
        found = await self._database.read(self.LAST_OF_EACH, (rows.to_json_list(workflows),))
        return {run.workflow: run for run in map(run_of, found)}

    ATTEMPT: Final = f"SELECT {_ATTEMPT_COLUMNS} FROM attempts WHERE run = ? AND task = ? AND number = ?"
    LOG_TEXT: Final = "SELECT text FROM logs WHERE run = ? AND task = ? AND number = ?"

    def log(self, run_id: RunId, task_id: str, number: int) -> LogRecord | None:
        """Return where the output of an ended attempt is, with its text if that is in the store."""
        place = (rows.number(run_id), task_id, number)
        found, text = self._database.look_up((self.ATTEMPT, place), (self.LOG_TEXT, place))
        if not found:
            return None
        record = attempt_of(found[0]).log or LogRecord()
        if record.path is None:
            record = LogRecord(text=text[0][0] if text else b"", size_bytes=record.size_bytes)
        return record

    WITH_UNIT: Final = "SELECT 1 FROM attempts WHERE run = ? AND unit = ? LIMIT 1"

    def had_unit(self, run_id: RunId, unit: str) -> bool:
        """Say whether a unit of this name was that of an attempt of a run."""
        (found,) = self._database.look_up((self.WITH_UNIT, (rows.number(run_id), unit)))
        return bool(found)


def _details(
    run: Row, task_rows: Sequence[Row], attempt_rows: Sequence[Row], left_out: Mapping[str, int] | None = None
) -> RunDetails:
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


def _longest(sizes: Mapping[str, int]) -> dict[str, int]:
    """Return those that are not read: the shortest are, as many as fit."""
    left, left_out = SHOWN_BYTES, {}
    for task, size in sorted(sizes.items(), key=lambda item: item[1]):
        left -= size
        if left < 0:
            left_out[task] = size
    return left_out


def _with(row: Row, column: int, texts: Mapping[str, str | None], task: str) -> Row:
    return (*row[:column], texts[task], *row[column + 1 :]) if task in texts else row


@dataclass(frozen=True, slots=True)
class _Long:
    """What may be too long for the row of a task: where it stands in there, and where its size if it does not."""

    name: long_values.Name
    column: int
    size_column: int


def _sizes(task_rows: Sequence[Row], value: _Long) -> dict[str, int]:
    """Return how long the values are that do not stand in the rows of their tasks."""
    return {row[1]: row[value.size_column] for row in task_rows if row[value.size_column] is not None}


def _with_long(fetch: Fetch, value: _Long, task_rows: list[Row]) -> list[Row]:
    sizes = _sizes(task_rows, value)
    if not sizes:
        return task_rows
    texts = long_values.read(fetch, task_rows[0][0], value.name, sizes)
    return [_with(row, value.column, texts, row[1]) for row in task_rows]


_RETRY_OF: Final = 19
_RUN_OUTPUTS: Final = 21
"""Where these stand in a row of a run."""

_OUTPUTS: Final = _Long("outputs", 4, 14)
_STDOUT: Final = _Long("stdout", 9, 15)
_ITEMS: Final = _Long("items", 10, 16)
