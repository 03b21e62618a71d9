"""Schedules: those of workflow files and those added beside them, and where each stands."""

from __future__ import annotations

import sqlite3
from typing import Final

from barbossad.errors import ConflictError, NotFoundError
from barbossad.model.schedules import FireOutcome, ScheduleRecord
from barbossad.store import events, fire_moves, rows, schedule_rows
from barbossad.store.database import Database
from barbossad.store.schedule_rows import SCHEDULE_COLUMNS

_FAIL: Final = """
UPDATE schedules SET failures = ?, is_enabled = CASE WHEN ? IS NULL THEN is_enabled ELSE 0 END,
    disabled_reason = ifnull(?, disabled_reason) WHERE id = ?"""


def count_failures(tx: sqlite3.Connection, schedule: str, then: FireOutcome, *, at_ms: int) -> None:
    """Write how many failures in a row a schedule has, and that it is disabled for them if it is."""
    tx.execute(_FAIL, (then.failures, then.disable_reason, rows.text(then.disable_reason), schedule))
    if then.disable_reason is not None:
        events.insert(tx, "schedule_disabled", at_ms=at_ms, schedule=schedule, reason=then.disable_reason)


class ScheduleStore:
    """The queries and changes of schedules."""

    def __init__(self, database: Database) -> None:
        self._database = database

    ALL: Final = f"SELECT {SCHEDULE_COLUMNS} FROM schedules ORDER BY id"

    async def all(self) -> list[ScheduleRecord]:
        """Return every schedule, by id."""
        return [schedule_rows.schedule(row) for row in await self._database.read(self.ALL)]

    OF: Final = f"SELECT {SCHEDULE_COLUMNS} FROM schedules WHERE workflow = ? ORDER BY id"

    async def of(self, workflow: str) -> list[ScheduleRecord]:
        """Return the schedules of a workflow, by id."""
        return [schedule_rows.schedule(row) for row in await self._database.read(self.OF, (workflow,))]

    GET: Final = f"SELECT {SCHEDULE_COLUMNS} FROM schedules WHERE id = ?"

    async def get(self, schedule: str) -> ScheduleRecord | None:
        """Return a schedule, None if there is none."""
        found = await self._database.read(self.GET, (schedule,))
        return schedule_rows.schedule(found[0]) if found else None

    ADD: Final = f"""
INSERT INTO schedules ({SCHEDULE_COLUMNS}, name, timing) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""

    async def add(self, schedule: ScheduleRecord) -> None:
        """Insert a schedule. Raise ConflictError if its workflow has one of this name."""

        def change(tx: sqlite3.Connection) -> None:
            try:
                tx.execute(self.ADD, schedule_rows.schedule_values(schedule))
            except sqlite3.IntegrityError as error:
                raise ConflictError(
                    f"schedule {schedule.id} exists; choose another name, or remove that one"
                ) from error
            events.insert(tx, "schedule_added", schedule=schedule.id, at_ms=schedule.added_at_ms, by=schedule.added_by)

        await self._database.write(change)

    REMOVE: Final = "DELETE FROM schedules WHERE id = ?"

    async def remove(self, schedule: str, *, at_ms: int, by: str) -> None:
        """Delete a schedule; fires that wait end with it, its history stays. Raise NotFoundError."""

        def change(tx: sqlite3.Connection) -> None:
            if tx.execute(self.REMOVE, (schedule,)).rowcount == 0:
                raise NotFoundError("schedule", schedule)
            fire_moves.end_waiting(tx, [schedule], "the schedule was removed")
            events.insert(tx, "schedule_removed", schedule=schedule, at_ms=at_ms, by=by)

        await self._database.write(change)

    ENABLE: Final = """
UPDATE schedules SET is_enabled = ?, disabled_reason = ?, failures = CASE WHEN ? THEN 0 ELSE failures END,
    watermark = ifnull(?, watermark), mark = ifnull(?, mark) WHERE id = ?"""

    async def enable(
        self,
        schedule: str,
        *,
        is_enabled: bool,
        reason: str | None,
        at_ms: int,
        by: str,
        watermark: int | None = None,
        mark: str | None = None,
    ) -> None:
        """Let a schedule fire, from ``watermark`` on, or not; its failures are forgiven. Raise NotFoundError."""

        def change(tx: sqlite3.Connection) -> None:
            values = (int(is_enabled), None if is_enabled else rows.text(reason), is_enabled, watermark, mark, schedule)
            if tx.execute(self.ENABLE, values).rowcount == 0:
                raise NotFoundError("schedule", schedule)
            kind = "schedule_enabled" if is_enabled else "schedule_disabled"
            events.insert(tx, kind, schedule=schedule, at_ms=at_ms, by=by, reason=reason)

        await self._database.write(change)

    async def count_failures(self, schedule: str, then: FireOutcome, *, at_ms: int) -> None:
        """Record what a fire without a run means for its schedule."""
        await self._database.write(lambda tx: count_failures(tx, schedule, then, at_ms=at_ms))
