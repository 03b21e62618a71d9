"""Schedules: those of workflow files and those added beside them, where each stands, and what is held."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from barbossad.errors import ConflictError, NotFoundError
from barbossad.model.names import run_id_from_number
from barbossad.model.records import Page
from barbossad.model.schedules import Fire, FireState, Hold, ScheduleRecord
from barbossad.store import fires, rows, schedule_rows
from barbossad.store.database import Database
from barbossad.store.decisions import Decided, record
from barbossad.store.fires import LATENESSES, Statistics
from barbossad.store.schedule_rows import FIRE_COLUMNS, SCHEDULE_COLUMNS

__all__ = ["Decided", "ScheduleStore"]

TELL: Final = "INSERT INTO events (at_ms, kind, run, task, data) VALUES (?, ?, ?, NULL, ?)"


class ScheduleStore:
    """The queries and changes of schedules."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # -- schedules -----------------------------------------------------------------------------------------

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
            _tell(tx, "schedule_added", schedule.id, at_ms=schedule.added_at_ms, by=schedule.added_by)

        await self._database.write(change)

    REMOVE: Final = "DELETE FROM schedules WHERE id = ?"

    async def remove(self, schedule: str, *, at_ms: int, by: str) -> None:
        """Delete a schedule; fires that wait end with it, its history stays. Raise NotFoundError."""

        def change(tx: sqlite3.Connection) -> None:
            if tx.execute(self.REMOVE, (schedule,)).rowcount == 0:
                raise NotFoundError("schedule", schedule)
            fires.end_waiting(tx, [schedule], "the schedule was removed")
            _tell(tx, "schedule_removed", schedule, at_ms=at_ms, by=by)

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
            _tell(tx, kind, schedule, at_ms=at_ms, by=by, reason=reason)

        await self._database.write(change)

    # -- decisions -----------------------------------------------------------------------------------------

    async def decide(self, decisions: Sequence[Decided]) -> None:
        """Record what was decided without a run, all in one transaction; a fire that is known stays as it is."""
        await self._database.write(lambda tx: record(tx, decisions))

    FAIL: Final = """
UPDATE schedules SET failures = ?, is_enabled = CASE WHEN ? IS NULL THEN is_enabled ELSE 0 END,
    disabled_reason = ifnull(?, disabled_reason) WHERE id = ?"""

    async def settle(
        self,
        fire: Fire,
        state: FireState,
        reason: str | None,
        *,
        retry_at_ms: int | None,
        failures: int,
        disable_reason: str | None,
        at_ms: int,
    ) -> None:
        """Record what became of a fire that went on or waited, and what that means for its schedule.

        Raise StateError if it is not in the state that it was thought to be in.
        """

        def change(tx: sqlite3.Connection) -> None:
            fires.move(tx, fire, state, reason, retry_at_ms)
            self._count(tx, fire.schedule, failures, disable_reason, at_ms)
            if state in {FireState.FAILED, FireState.SKIPPED, FireState.RETRYING, FireState.REFUSED}:
                facts: dict[str, Any] = {"reason": reason, "nominal_ms": fire.nominal_ms, "run": fire.run_id}
                _tell(tx, f"schedule_{state}", fire.schedule, at_ms=at_ms, **facts)

        await self._database.write(change, is_fact=True)

    async def count_failure(self, schedule: str, *, failures: int, disable_reason: str | None, at_ms: int) -> None:
        """Record how many failures in a row a schedule has, and that it is disabled for them."""
        await self._database.write(lambda tx: self._count(tx, schedule, failures, disable_reason, at_ms))

    def _count(
        self, tx: sqlite3.Connection, schedule: str, failures: int, disable_reason: str | None, at_ms: int
    ) -> None:
        tx.execute(self.FAIL, (failures, disable_reason, rows.text(disable_reason), schedule))
        if disable_reason is not None:
            _tell(tx, "schedule_disabled", schedule, at_ms=at_ms, reason=disable_reason)

    TOLD: Final = "SELECT 1 FROM events WHERE run = ? AND kind = ? LIMIT 1"

    async def tell(
        self, kind: str, schedule: str | None, run_id: str | None, *, at_ms: int, facts: dict[str, Any]
    ) -> bool:
        """Record an event; of a run only once of each kind. Return whether it was new."""

        def change(tx: sqlite3.Connection) -> bool:
            number = rows.number(run_id) if run_id else None
            if number is not None and tx.execute(self.TOLD, (number, kind)).fetchone():
                return False
            _tell(tx, kind, schedule, at_ms=at_ms, number=number, **facts)
            return True

        return await self._database.write(change)

    # -- fires ---------------------------------------------------------------------------------------------

    FIRE: Final = f"SELECT {FIRE_COLUMNS} FROM fires WHERE schedule = ? AND key = ?"

    async def fire(self, schedule: str, key: str) -> Fire | None:
        """Return a fire by its key, None if there is none."""
        found = await self._database.read(self.FIRE, (schedule, key))
        return schedule_rows.fire(found[0]) if found else None

    ACTIVE: Final = f"""
SELECT {FIRE_COLUMNS} FROM fires WHERE state IN ('queued', 'started', 'retrying') ORDER BY seq"""

    async def active_fires(self) -> list[Fire]:
        """Return the fires that are not over, oldest first."""
        return [schedule_rows.fire(row) for row in await self._database.read(self.ACTIVE)]

    PAGE: Final[dict[tuple[str, ...], str]] = {
        named: f"""
SELECT seq, {FIRE_COLUMNS} FROM fires WHERE {"".join(f"{name} = ? AND " for name in named)}seq < ?
ORDER BY seq DESC LIMIT ?"""
        for named in (
            (),
            ("schedule",),
            ("workflow",),
            ("state",),
            ("schedule", "state"),
            ("workflow", "state"),
        )
    }

    async def page(
        self,
        *,
        schedule: str | None = None,
        workflow: str | None = None,
        state: FireState | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> Page[Fire]:
        """Return fires of a schedule, of all that a workflow has or had, or of all, the newest first.

        ``next_cursor`` is the ``before`` of the page that follows, as text. A ``schedule`` says more than a workflow.
        """
        filters = {"schedule": schedule, "workflow": workflow if schedule is None else None, "state": state}
        given = {name: value for name, value in filters.items() if value is not None}
        bound = (*given.values(), before if before is not None else 1 << 62, limit + 1)
        found = await self._database.read(self.PAGE[tuple(given)], bound)
        items = tuple(schedule_rows.fire(row[1:]) for row in found[:limit])
        more = str(found[limit - 1][0]) if len(found) > limit else None
        return Page(items=items, next_cursor=more)

    LAST: Final = f"""
SELECT {", ".join("fires." + column.strip() for column in FIRE_COLUMNS.split(","))}
FROM json_each(?) AS wanted CROSS JOIN fires
WHERE fires.seq = (SELECT max(seq) FROM fires WHERE schedule = wanted.value)"""

    async def last_of_each(self, schedules: Sequence[str]) -> dict[str, Fire]:
        """Return the newest fire of each schedule that has one."""
        found = await self._database.read(self.LAST, (rows.to_json_list(schedules),))
        return {fire.schedule: fire for fire in map(schedule_rows.fire, found)}

    async def statistics(self, schedule: str, since_ms: int) -> Statistics:
        """Return what became of the fires of a schedule that were decided since an instant."""
        counted = await self._database.read(fires.COUNTS, (schedule, since_ms))
        latenesses = await self._database.read(fires.LATENESS, (schedule, since_ms, LATENESSES))
        durations = await self._database.read(fires.DURATIONS, (schedule, since_ms, LATENESSES))
        reasons = await self._database.read(fires.REASONS, (schedule, since_ms))
        return Statistics(
            counts={FireState(state): count for state, count in counted},
            latenesses_ms=tuple(row[0] for row in latenesses),
            durations_ms=tuple(row[0] for row in durations),
            reasons=dict(reasons),
        )

    # -- what triggers look at -----------------------------------------------------------------------------

    NEWEST_EVENT: Final = "SELECT ifnull(max(seq), 0) FROM events"

    async def newest_event(self) -> int:
        """Return the number of the newest event; 0 if there is none."""
        found = await self._database.read(self.NEWEST_EVENT)
        return int(found[0][0])

    ENDED: Final = """
SELECT events.seq, events.run FROM events CROSS JOIN runs ON runs.id = events.run
WHERE events.seq > ? AND events.kind = 'run_finished' AND runs.workflow = ? ORDER BY events.seq LIMIT 10000"""

    async def ended_runs(self, after: int, workflow: str) -> list[tuple[int, str]]:
        """Return the runs of a workflow whose end was recorded after an event: the number of that, and the run."""
        found = await self._database.read(self.ENDED, (after, workflow))
        return [(seq, run_id_from_number(run)) for seq, run in found]

    # -- holds ---------------------------------------------------------------------------------------------

    HOLDS: Final = "SELECT label, reason, until_ms, at_ms, by FROM holds ORDER BY label"

    async def holds(self) -> list[Hold]:
        """Return what is held, by label, also what was to be held until an instant that has passed."""
        return [schedule_rows.hold(row) for row in await self._database.read(self.HOLDS)]

    HOLD: Final = "INSERT OR REPLACE INTO holds (label, reason, until_ms, at_ms, by) VALUES (?, ?, ?, ?, ?)"

    async def hold(self, hold: Hold) -> None:
        """Hold a label, or hold it otherwise than before."""

        def change(tx: sqlite3.Connection) -> None:
            values = (rows.text(hold.label), rows.text(hold.reason), hold.until_ms, hold.at_ms, rows.text(hold.by))
            tx.execute(self.HOLD, values)
            facts: dict[str, Any] = {
                "label": hold.label,
                "reason": hold.reason,
                "until_ms": hold.until_ms,
                "by": hold.by,
            }
            _tell(tx, "schedules_held", None, at_ms=hold.at_ms, **facts)

        await self._database.write(change)

    RELEASE: Final = "DELETE FROM holds WHERE label = ?"

    async def release(self, label: str, *, at_ms: int, by: str) -> None:
        """End a hold. Raise NotFoundError."""

        def change(tx: sqlite3.Connection) -> None:
            if tx.execute(self.RELEASE, (label,)).rowcount == 0:
                raise NotFoundError("hold", label)
            _tell(tx, "schedules_released", None, at_ms=at_ms, label=label, by=by)

        await self._database.write(change)


def _tell(
    tx: sqlite3.Connection, kind: str, schedule: str | None, *, at_ms: int, number: int | None = None, **facts: Any
) -> None:
    data = {"schedule": schedule, **facts}
    text = rows.to_json({name: value for name, value in data.items() if value is not None})
    tx.execute(TELL, (at_ms, kind, number, text))
