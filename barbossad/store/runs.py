"""Read runs, their tasks, attempts and logs; listings go by cursor and stay fast at a million runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from barbossad.model.names import RunId, run_id_from_number
from barbossad.model.records import AttemptRecord, LogRecord, Page, RunRecord, TaskRecord
from barbossad.model.states import AttemptState, RunState, StopCause, TaskState, TriggerType, WaitsFor
from barbossad.store import rows
from barbossad.store.database import Database, Row

_RUN_COLUMNS: Final = """id, workflow, version, state, trigger, params, requested_by, idempotency_key, reason,
    stop_cause, stop_reason, created_at_ms, started_at_ms, finished_at_ms, outcome, outcome_reason, priority,
    parent_run, parent_task, retry_of, warnings, outputs, paused_at_ms, paused_ms, late_at_ms, schedule,
    scheduled_for_ms, chain"""
_ATTEMPT_COLUMNS: Final = """run, task, number, state, launcher, unit, boot_id, pid, pid_started_ticks, exit_code,
    signal, reason, started_at_ms, finished_at_ms, cpu_seconds, peak_memory_bytes, log_path, log_size_bytes,
    log_dropped_bytes, log_dropped_at, invocation_id, io_read_bytes, io_write_bytes, in_force"""
_UNENDED: Final = "('queued', 'running', 'paused')"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDetails:
    """A run with the rows of its tasks (those that changed at all) and their attempts, in order of their number."""

    run: RunRecord
    tasks: dict[str, TaskRecord]
    attempts: dict[str, tuple[AttemptRecord, ...]]


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
    late_at_ms, kept_attempts, kept_exit_code
FROM tasks WHERE run = ?"""
    ATTEMPTS: Final = f"SELECT {_ATTEMPT_COLUMNS} FROM attempts WHERE run = ? ORDER BY task, number"

    def get(self, run_id: RunId) -> RunDetails | None:
        """Return a run with its tasks and attempts, or None if there is no such run."""
        key = (rows.number(run_id),)
        found, task_rows, attempt_rows = self._database.look_up(
            (self.GET, key), (self.TASKS, key), (self.ATTEMPTS, key)
        )
        if not found:
            return None
        tasks = [_task(row) for row in task_rows]
        attempts: defaultdict[str, list[AttemptRecord]] = defaultdict(list)
        for row in attempt_rows:
            attempts[row[1]].append(_attempt(row))
        return RunDetails(
            run=_run(found[0]),
            tasks={task.task_id: task for task in tasks},
            attempts={task: tuple(tries) for task, tries in attempts.items()},
        )

    REVISION: Final = "SELECT max(seq) FROM events WHERE run = ?"

    async def revision(self, run_id: RunId) -> int:
        """Return the number of the last event that concerns a run: it grows with every change. 0 if there is none."""
        found = await self._database.read(self.REVISION, (rows.number(run_id),))
        return int(found[0][0] or 0)

    BY_KEY: Final = f"SELECT {_RUN_COLUMNS} FROM runs WHERE workflow = ? AND idempotency_key = ?"

    async def find_by_key(self, workflow: str, idempotency_key: str) -> RunRecord | None:
        """Return the run that was made with this key before, if any."""
        found = await self._database.read(self.BY_KEY, (workflow, rows.text(idempotency_key)))
        return _run(found[0]) if found else None

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
        return [_run(row) for row in await self._database.read(self.UNENDED)]

    PAGE: Final = {
        (): f"SELECT {_RUN_COLUMNS} FROM runs WHERE id < ? ORDER BY id DESC LIMIT ?",
        ("workflow",): f"""
SELECT {_RUN_COLUMNS} FROM runs WHERE workflow = ? AND id < ? ORDER BY id DESC LIMIT ?""",
        ("state",): f"SELECT {_RUN_COLUMNS} FROM runs WHERE state = ? AND id < ? ORDER BY id DESC LIMIT ?",
        ("workflow", "state"): f"""
SELECT {_RUN_COLUMNS} FROM runs WHERE workflow = ? AND state = ? AND id < ? ORDER BY id DESC LIMIT ?""",
        ("active",): f"SELECT {_RUN_COLUMNS} FROM runs WHERE state IN {_UNENDED} AND id < ? ORDER BY id DESC LIMIT ?",
        ("active", "workflow"): f"""
SELECT {_RUN_COLUMNS} FROM runs WHERE workflow = ? AND state IN {_UNENDED} AND id < ? ORDER BY id DESC LIMIT ?""",
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
        found = [_run(row) for row in read]
        more = len(found) > limit
        return Page(items=tuple(found[:limit]), next_cursor=found[limit - 1].id if more else None)

    LAST_OF_EACH: Final = f"""
SELECT {rows.of_table("runs", _RUN_COLUMNS)}
FROM json_each(?) AS wanted CROSS JOIN runs
WHERE runs.id = (SELECT max(id) FROM runs WHERE workflow = wanted.value)"""

    async def last_of_each(self, workflows: Sequence[str]) -> dict[str, RunRecord]:
        """Return the newest run of each workflow that has one."""
        found = await self._database.read(self.LAST_OF_EACH, (rows.to_json_list(workflows),))
        return {run.workflow: run for run in map(_run, found)}

    ATTEMPT: Final = f"SELECT {_ATTEMPT_COLUMNS} FROM attempts WHERE run = ? AND task = ? AND number = ?"
    LOG_TEXT: Final = "SELECT text FROM logs WHERE run = ? AND task = ? AND number = ?"

    def log(self, run_id: RunId, task_id: str, number: int) -> LogRecord | None:
        """Return where the output of an ended attempt is, with its text if that is in the store."""
        place = (rows.number(run_id), task_id, number)
        found, text = self._database.look_up((self.ATTEMPT, place), (self.LOG_TEXT, place))
        if not found:
            return None
        record = _attempt(found[0]).log or LogRecord()
        if record.path is None:
            record = LogRecord(text=text[0][0] if text else b"", size_bytes=record.size_bytes)
        return record

    WITH_UNIT: Final = "SELECT 1 FROM attempts WHERE run = ? AND unit = ? LIMIT 1"

    def had_unit(self, run_id: RunId, unit: str) -> bool:
        """Say whether a unit of this name was that of an attempt of a run."""
        (found,) = self._database.look_up((self.WITH_UNIT, (rows.number(run_id), unit)))
        return bool(found)


_RUN_STATES: Final = {state.value: state for state in RunState}
_TRIGGERS: Final = {trigger.value: trigger for trigger in TriggerType}
"""Looked up a thousand times a listing: a call of the enum takes ten times as long."""


def _run(row: Row) -> RunRecord:
    return RunRecord(
        id=run_id_from_number(row[0]),
        workflow=row[1],
        version=row[2],
        state=_RUN_STATES[row[3]],
        trigger=_TRIGGERS[row[4]],
        params=rows.from_json(row[5]) or {},
        requested_by=row[6],
        idempotency_key=row[7],
        reason=row[8],
        stop_cause=StopCause(row[9]) if row[9] else None,
        stop_reason=row[10],
        created_at_ms=row[11],
        started_at_ms=row[12],
        finished_at_ms=row[13],
        outcome=_RUN_STATES[row[14]] if row[14] else None,
        outcome_reason=row[15],
        priority=row[16],
        parent_run=run_id_from_number(row[17]) if row[17] else None,
        parent_task=row[18],
        retry_of=run_id_from_number(row[19]) if row[19] else None,
        warnings=row[20],
        outputs=rows.from_json(row[21]),
        paused_at_ms=row[22],
        paused_ms=row[23],
        late_at_ms=row[24],
        schedule=row[25],
        scheduled_for_ms=row[26],
        chain=row[27],
    )


def _task(row: Row) -> TaskRecord:
    return TaskRecord(
        run_id=run_id_from_number(row[0]),
        task_id=row[1],
        state=TaskState(row[2]),
        reason=row[3],
        outputs=rows.from_json(row[4]),
        started_at_ms=row[5],
        finished_at_ms=row[6],
        waits_for=WaitsFor(row[7]) if row[7] else None,
        waits_until_ms=row[8],
        stdout=row[9],
        items=tuple(rows.from_json(row[10])) if row[10] else None,
        late_at_ms=row[11],
        kept_attempts=row[12],
        kept_exit_code=row[13],
    )


def _attempt(row: Row) -> AttemptRecord:
    return AttemptRecord(
        run_id=run_id_from_number(row[0]),
        task_id=row[1],
        number=row[2],
        state=AttemptState(row[3]),
        launcher=row[4],
        unit=row[5],
        boot_id=row[6],
        pid=row[7],
        pid_started_ticks=row[8],
        exit_code=row[9],
        signal=row[10],
        reason=row[11],
        started_at_ms=row[12],
        finished_at_ms=row[13],
        cpu_seconds=row[14],
        peak_memory_bytes=row[15],
        log=LogRecord(path=row[16], size_bytes=row[17], dropped_bytes=row[18], dropped_at=row[19]),
        invocation_id=row[20],
        io_read_bytes=row[21],
        io_write_bytes=row[22],
        in_force=rows.from_json(row[23]),
    )
