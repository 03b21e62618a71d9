"""Read runs, their tasks, attempts and logs; listings go by cursor and stay fast at a million runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from barbossad.model.names import RunId, run_id_from_number
from barbossad.model.records import LogRecord, Page, RunRecord
from barbossad.model.states import RunState
from barbossad.store import rows
from barbossad.store.database import Database, Fetch
from barbossad.store.run_details import (
    ATTEMPT_COLUMNS,
    ATTEMPTS,
    ITEMS,
    OUTPUTS,
    RUN_COLUMNS,
    STDOUT,
    RunDetails,
    details,
    is_long,
    with_long,
)
from barbossad.store.run_rows import attempt_of, run_of

_LISTED_COLUMNS: Final = RUN_COLUMNS.replace(" outputs,", " NULL,")
"""Listings show no outputs: those of one run may be long."""

_UNENDED: Final = "('queued', 'running', 'paused')"


class RunStore:
    """The queries about runs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    NEWEST: Final = "SELECT (SELECT max(id) FROM runs), (SELECT run FROM newest_deleted)"

    async def newest_number(self) -> int:
        """Return the number of the newest run that there ever was, deleted ones too; 0 if there was none."""
        found = await self._database.read(self.NEWEST)
        return max(number or 0 for number in found[0])

    GET: Final = f"SELECT {RUN_COLUMNS} FROM runs WHERE id = ?"
    TASKS: Final = """
SELECT run, task, state, reason, outputs, started_at_ms, finished_at_ms, waits_for, waits_until_ms, stdout, items,
    late_at_ms, kept_attempts, kept_exit_code, outputs_bytes, stdout_bytes, items_bytes
FROM tasks WHERE run = ?"""

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
        if self._database.look_up_by(lambda fetch: is_long(fetch, number)):
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
        for value in (OUTPUTS, STDOUT, ITEMS):
            task_rows = with_long(fetch, value, task_rows)
        return details(found[0], task_rows, fetch(ATTEMPTS, key))

    STATE: Final = f"SELECT {_LISTED_COLUMNS} FROM runs WHERE id = ?"
    TASK: Final = """
SELECT run, task, state, reason, NULL, started_at_ms, finished_at_ms, waits_for, waits_until_ms, NULL, NULL, late_at_ms,
    kept_attempts, kept_exit_code
FROM tasks WHERE run = ? AND task = ?"""
    TASK_ATTEMPTS: Final = f"SELECT {ATTEMPT_COLUMNS} FROM attempts WHERE run = ? AND task = ? ORDER BY number"

    def of_task(self, run_id: RunId, task: str) -> RunDetails | None:
        """Return a run with one of its tasks alone, without outputs; None if there is no such run."""
        key = (rows.number(run_id), task)
        found, task_rows, attempt_rows = self._database.look_up(
            (self.STATE, key[:1]), (self.TASK, key), (self.TASK_ATTEMPTS, key)
        )
        return details(found[0], task_rows, attempt_rows) if found else None

    REVISION: Final = "SELECT max(seq) FROM events WHERE run = ?"

    async def revision(self, run_id: RunId) -> int:
        """Return the number of the last event that concerns a run: it grows with every change. 0 if there is none."""
        found = await self._database.read(self.REVISION, (rows.number(run_id),))
        return int(found[0][0] or 0)

    BY_KEY: Final = f"SELECT {RUN_COLUMNS} FROM runs WHERE workflow = ? AND idempotency_key = ?"

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

    UNENDED: Final = f"SELECT {RUN_COLUMNS} FROM runs WHERE state IN {_UNENDED} ORDER BY id"

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
SELECT {rows.of_table("runs", RUN_COLUMNS)}
FROM json_each(?) AS wanted CROSS JOIN runs
WHERE runs.id = (SELECT max(id) FROM runs WHERE workflow = wanted.value)"""

    async def last_of_each(self, workflows: Sequence[str]) -> dict[str, RunRecord]:
        """Return the newest run of each workflow that has one."""
        found = await self._database.read(self.LAST_OF_EACH, (rows.to_json_list(workflows),))
        return {run.workflow: run for run in map(run_of, found)}

    ATTEMPT: Final = f"SELECT {ATTEMPT_COLUMNS} FROM attempts WHERE run = ? AND task = ? AND number = ?"
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
