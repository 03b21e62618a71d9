"""Keep runs as the store does, in a SQLite that lives in memory: what is written is what a new daemon would find."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from barbossad.model.names import RunId
from barbossad.store import changes, rows, schema
from barbossad.store.changes import Change
from barbossad.store.run_details import RunDetails
from barbossad.store.runs import RunStore


class MemoryStore:
    """The tables of the state file, without a file."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None, cached_statements=256)
        self.connection.execute("PRAGMA foreign_keys = ON")
        schema.migrate(self.connection)

    def record(self, steps: Sequence[Change]) -> None:
        """Write steps in one transaction."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            changes.apply_all(self.connection, steps)
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")

    def details(self, run_id: RunId) -> RunDetails:
        """Return a run as ``RunStore.get`` does."""
        found = RunStore.whole(lambda sql, values: self.connection.execute(sql, values).fetchall(), run_id)
        assert found is not None
        return found

    def story(self, run_id: RunId) -> list[tuple[object, ...]]:
        """Return the events of a run in their order, without their numbers."""
        sql = "SELECT at_ms, kind, task, data FROM events WHERE run = ? ORDER BY seq"
        return self.connection.execute(sql, (rows.number(run_id),)).fetchall()

    def close(self) -> None:
        """Forget everything."""
        self.connection.close()
