"""Events: what happened, in the order of commits; those of runs are written with their changes (``changes``)."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any, Final

from barbossad.model.names import run_id_from_number
from barbossad.store import rows
from barbossad.store.database import Database

_INSERT: Final = "INSERT INTO events (at_ms, kind, run, task, data) VALUES (?, ?, ?, NULL, ?)"


def insert(tx: sqlite3.Connection, kind: str, *, at_ms: int, run_number: int | None = None, **facts: Any) -> None:
    """Write an event; facts that are None are left out."""
    text = rows.to_json({name: value for name, value in facts.items() if value is not None})
    tx.execute(_INSERT, (at_ms, kind, run_number, text))


class EventStore:
    """The queries about events, and events that go with no other change."""

    def __init__(self, database: Database) -> None:
        self._database = database

    TOLD: Final = "SELECT 1 FROM events WHERE run = ? AND kind = ? LIMIT 1"

    async def tell(self, kind: str, *, at_ms: int, run_id: str | None = None, facts: Mapping[str, Any]) -> bool:
        """Record an event; of a run only once of each kind. Return whether it was new."""

        def change(tx: sqlite3.Connection) -> bool:
            number = rows.number(run_id) if run_id else None
            if number is not None and tx.execute(self.TOLD, (number, kind)).fetchone():
                return False
            insert(tx, kind, at_ms=at_ms, run_number=number, **facts)
            return True

        return await self._database.write(change)

    NEWEST: Final = "SELECT ifnull(max(seq), 0) FROM events"

    async def newest(self) -> int:
        """Return the number of the newest event; 0 if there is none."""
        found = await self._database.read(self.NEWEST)
        return int(found[0][0])

    ENDED: Final = """
SELECT events.seq, events.run FROM events CROSS JOIN runs ON runs.id = events.run
WHERE events.seq > ? AND events.kind = 'run_finished' AND runs.workflow = ? ORDER BY events.seq LIMIT 10000"""

    async def ended_runs(self, after: int, workflow: str) -> list[tuple[int, str]]:
        """Return the runs of a workflow whose end was recorded after an event: the number of that, and the run."""
        found = await self._database.read(self.ENDED, (after, workflow))
        return [(seq, run_id_from_number(run)) for seq, run in found]
