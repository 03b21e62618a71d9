"""Find which fires of schedules are old enough to go, and delete them in small transactions.

A fire is history of its schedule: it stays when its run goes. One of which more is to come is never deleted, nor is a
young one: after a clock was set back, its key keeps it from being made again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from barbossad.model.schedules import FIRE_ACTIVE
from barbossad.store.database import Database, Row

YOUNG_MS: Final = 86_400_000
"""Fires that were decided within so long are kept, whatever the settings say."""

_ACTIVE: Final = ", ".join(f"'{state}'" for state in sorted(FIRE_ACTIVE))


class FireHistory:
    """The queries and changes of the retention of fires, which are named by their numbers here."""

    def __init__(self, database: Database) -> None:
        self._database = database

    SCHEDULES: Final = """
WITH RECURSIVE names (name) AS (
    SELECT min(schedule) FROM fires
    UNION ALL
    SELECT (SELECT min(schedule) FROM fires WHERE schedule > names.name) FROM names WHERE names.name IS NOT NULL
)
SELECT name FROM names WHERE name IS NOT NULL"""

    async def schedules(self) -> list[str]:
        """Return the ids of all schedules that have fires, those that are gone too: a step an index each."""
        return [row[0] for row in await self._database.read(self.SCHEDULES)]

    NEEDED: Final = """
SELECT run FROM fires WHERE state IN ('queued', 'started', 'retrying') AND run IS NOT NULL"""

    async def needed_runs(self) -> frozenset[int]:
        """Return the runs of fires of which more is to come: what follows is decided by them, and tried again."""
        return frozenset(row[0] for row in await self._database.read(self.NEEDED))

    FIRST_TOO_MANY: Final = "SELECT seq FROM fires WHERE schedule = ? ORDER BY seq DESC LIMIT 1 OFFSET ?"

    async def first_too_many(self, schedule: str, kept: int) -> int | None:
        """Return the newest fire of a schedule that is older than its newest ``kept``, None if there is none."""
        found = await self._database.read(self.FIRST_TOO_MANY, (schedule, kept))
        return found[0][0] if found else None

    NEXT: Final = f"""
SELECT seq, decided_at_ms, state IN ({_ACTIVE}) FROM fires WHERE seq > ? ORDER BY seq LIMIT ?"""
    NEXT_OF: Final = f"""
SELECT seq, decided_at_ms, state IN ({_ACTIVE}) FROM fires WHERE schedule = ? AND seq > ? AND seq <= ?
ORDER BY seq LIMIT ?"""

    async def delete_old(self, before_ms: int, *, after: int, limit: int) -> tuple[int, int | None]:
        """Delete fires decided before an instant, of at most ``limit`` behind number ``after``, in one transaction.

        Return how many went, and behind which number to go on, None if what follows is younger.
        """
        found = await self._database.read(self.NEXT, (after, limit))
        return await self._delete(found, before_ms, limit)

    async def delete_of(
        self, schedule: str, before_ms: int, *, after: int, last: int, limit: int
    ) -> tuple[int, int | None]:
        """Do the same with the fires of a schedule up to number ``last``."""
        found = await self._database.read(self.NEXT_OF, (schedule, after, last, limit))
        return await self._delete(found, before_ms, limit)

    # What is looked at is read without a lock: meanwhile a stretch may have been made longer.
    DELETE: Final = f"""
DELETE FROM fires WHERE seq IN (SELECT value FROM json_each(?)) AND decided_at_ms < ? AND +state NOT IN ({_ACTIVE})"""

    async def _delete(self, found: Sequence[Row], before_ms: int, limit: int) -> tuple[int, int | None]:
        old = [row for row in found if row[1] < before_ms]
        due = json.dumps([seq for seq, _, is_active in old if not is_active])
        count = 0
        if due != "[]":
            count = await self._database.make_room(lambda tx: tx.execute(self.DELETE, (due, before_ms)).rowcount)
        # Clocks are set back: one that seems younger amid older ones does not end the search.
        return count, found[-1][0] if old and len(found) == limit else None
