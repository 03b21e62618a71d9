"""Fires: what became of each, and the figures of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from barbossad.model.records import Page
from barbossad.model.schedules import Fire, FireOutcome, FireState
from barbossad.store import events, fire_moves, rows, schedule_rows, schedules
from barbossad.store.database import Database
from barbossad.store.decisions import Decided, FireName, record
from barbossad.store.schedule_rows import FIRE_COLUMNS

LATENESSES: Final = 10_000
"""Of how many fires at most lateness and duration are looked at, the newest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """What became of the fires of a schedule; ``counts`` counts each fire of a stretch."""

    counts: Mapping[FireState, int]
    latenesses_ms: Sequence[int]
    """Of fires that had a run, the newest first."""

    durations_ms: Sequence[int]
    """Of runs that succeeded, the newest first."""

    reasons: Mapping[str, int]
    """Why fires were let pass, and how many for each reason."""


_COUNTS: Final = """
SELECT state, sum(count) FROM fires WHERE schedule = ? AND decided_at_ms >= ? GROUP BY state"""
_REASONS: Final = """
SELECT reason, sum(count) FROM fires
WHERE schedule = ? AND state IN ('skipped', 'missed') AND +decided_at_ms >= ? AND reason IS NOT NULL GROUP BY reason"""
_LATENESS: Final = """
SELECT max(decided_at_ms - due_ms, 0) FROM fires
WHERE schedule = ? AND decided_at_ms >= ? AND run IS NOT NULL ORDER BY seq DESC LIMIT ?"""
_DURATIONS: Final = """
SELECT max(runs.finished_at_ms - runs.started_at_ms, 0) FROM fires CROSS JOIN runs ON runs.id = fires.run
WHERE fires.schedule = ? AND fires.decided_at_ms >= ? AND fires.state = 'succeeded' AND runs.started_at_ms IS NOT NULL
ORDER BY fires.seq DESC LIMIT ?"""


_TOLD: Final = frozenset({FireState.FAILED, FireState.SKIPPED, FireState.RETRYING, FireState.REFUSED})
"""What an event tells of; that a run succeeded is told of the run."""


class FireStore:
    """The queries and changes of fires; those that have a run are written with it (``fire_changes``)."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def decide(self, decisions: Sequence[Decided]) -> frozenset[FireName]:
        """Record what was decided without a run, all in one transaction; return the fires that were known before.

        Those stay as they are.
        """
        return await self._database.write(lambda tx: record(tx, decisions))

    async def settle(self, fire: Fire, then: FireOutcome, *, at_ms: int) -> bool:
        """Record what became of a fire that went on or waited, and what that means for its schedule.

        Return False if it was to wait, but its schedule is gone: then it has ended with that, and stays so.
        Raise StateError if it is not in the state that it was thought to be in.
        """

        def change(tx: sqlite3.Connection) -> bool:
            if not fire_moves.move(tx, fire, then):
                return False
            schedules.count_failures(tx, fire.schedule, then, at_ms=at_ms)
            if then.state in _TOLD:
                events.insert(
                    tx, f"schedule_{then.state}", at_ms=at_ms,
                    schedule=fire.schedule, reason=then.reason, nominal_ms=fire.nominal_ms, run=fire.run_id,
                )  # fmt: skip
            return True

        return await self._database.write(change, is_fact=True)

    GET: Final = f"SELECT {FIRE_COLUMNS} FROM fires WHERE schedule = ? AND key = ?"

    async def get(self, schedule: str, key: str) -> Fire | None:
        """Return a fire by its key, None if there is none."""
        found = await self._database.read(self.GET, (schedule, key))
        return schedule_rows.fire(found[0]) if found else None

    SET_ASIDE: Final = """
UPDATE fires SET key = key || '~' || seq WHERE schedule = ? AND key = ? AND +state IN ('missed', 'skipped')"""

    async def set_aside(self, fire: Fire) -> None:
        """Keep a fire that was let pass as history alone: its instant may be decided once more."""
        await self._database.write(lambda tx: tx.execute(self.SET_ASIDE, (fire.schedule, rows.text(fire.key))))

    ACTIVE: Final = f"""
SELECT {FIRE_COLUMNS} FROM fires WHERE state IN ('queued', 'started', 'retrying') ORDER BY seq"""

    async def active(self) -> list[Fire]:
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
SELECT {rows.of_table("fires", FIRE_COLUMNS)}
FROM json_each(?) AS wanted CROSS JOIN fires
WHERE fires.seq = (SELECT max(seq) FROM fires WHERE schedule = wanted.value)"""

    async def last_of_each(self, schedules: Sequence[str]) -> dict[str, Fire]:
        """Return the newest fire of each schedule that has one."""
        found = await self._database.read(self.LAST, (rows.to_json_list(schedules),))
        return {fire.schedule: fire for fire in map(schedule_rows.fire, found)}

    async def statistics(self, schedule: str, since_ms: int) -> Statistics:
        """Return what became of the fires of a schedule that were decided since an instant."""
        counted = await self._database.read(_COUNTS, (schedule, since_ms))
        latenesses = await self._database.read(_LATENESS, (schedule, since_ms, LATENESSES))
        durations = await self._database.read(_DURATIONS, (schedule, since_ms, LATENESSES))
        reasons = await self._database.read(_REASONS, (schedule, since_ms))
        return Statistics(
            counts={FireState(state): count for state, count in counted},
            latenesses_ms=tuple(row[0] for row in latenesses),
            durations_ms=tuple(row[0] for row in durations),
            reasons=dict(reasons),
        )
