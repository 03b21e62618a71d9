"""What is held: schedules of workflows with a label, until released or for a time."""

from __future__ import annotations

import sqlite3
from typing import Final

from barbossad.errors import NotFoundError
from barbossad.model.holds import Hold
from barbossad.store import events, rows, schedule_rows
from barbossad.store.database import Database


class HoldStore:
    """The queries and changes of holds."""

    def __init__(self, database: Database) -> None:
        self._database = database

    ALL: Final = "SELECT label, reason, until_ms, at_ms, by FROM holds ORDER BY label"

    async def all(self) -> list[Hold]:
        """Return what is held, by label, also what was to be held until an instant that has passed."""
        return [schedule_rows.hold(row) for row in await self._database.read(self.ALL)]

    HOLD: Final = "INSERT OR REPLACE INTO holds (label, reason, until_ms, at_ms, by) VALUES (?, ?, ?, ?, ?)"

    async def hold(self, hold: Hold) -> None:
        """Hold a label, or hold it otherwise than before."""

        def change(tx: sqlite3.Connection) -> None:
            values = (rows.text(hold.label), rows.text(hold.reason), hold.until_ms, hold.at_ms, rows.text(hold.by))
            tx.execute(self.HOLD, values)
            events.insert(
                tx, "schedules_held", at_ms=hold.at_ms,
                label=hold.label, reason=hold.reason, until_ms=hold.until_ms, by=hold.by,
            )  # fmt: skip

        await self._database.write(change)

    RELEASE: Final = "DELETE FROM holds WHERE label = ?"

    async def release(self, label: str, *, at_ms: int, by: str) -> None:
        """End a hold. Raise NotFoundError."""

        def change(tx: sqlite3.Connection) -> None:
            if tx.execute(self.RELEASE, (label,)).rowcount == 0:
                raise NotFoundError("hold", label)
            events.insert(tx, "schedules_released", at_ms=at_ms, label=label, by=by)

        await self._database.write(change)
