"""Find what is old enough to go, and delete it in transactions that are small in rows and in bytes.

A run goes with its tasks, attempts, small logs and events; one that has not ended is never touched. What is deleted
is overwritten (``secure_delete``), so a deletion writes about as much as it frees: on a full disk it has to fit into
what the reserve gave up.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from barbossad.store import rows
from barbossad.store.database import Database
from barbossad.store.emptying import checkpoint

KEY_BYTES: Final = 256
"""What a row weighs beside its texts: its other columns and its entries in indexes."""

RUN_BYTES: Final = 8 * 1024
"""What the row of a run weighs beside its texts: it stands in a table and four indexes, each with pages of its own."""

_TASK_BYTES: Final = "ifnull(length(outputs), 0) + ifnull(length(stdout), 0) + ifnull(length(items), 0)"


_TELL: Final = "INSERT INTO events (at_ms, kind, run, task, data) VALUES (?, 'runs_deleted', NULL, NULL, ?)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """How many rows a run has in all tables, and about how many bytes its deletion has to write."""

    run: int
    row_count: int
    size_bytes: int


class History:
    """The queries and changes of retention. Runs are named by their numbers here."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # -- what is due -----------------------------------------------------------------------------------------

    DUE_BY_AGE: Final = "SELECT id FROM runs WHERE id > ? AND id < ? AND finished_at_ms < ? ORDER BY id LIMIT ?"

    async def ended_before(self, at_ms: int, *, after: int, limit: int) -> list[int]:
        """Return runs that ended before an instant, the oldest first, from those behind number ``after`` on."""
        # A number is the millisecond of creation, and a run ends after that.
        found = await self._database.read(self.DUE_BY_AGE, (after, at_ms, at_ms, limit))
        return [row[0] for row in found]

    WORKFLOWS: Final = """
WITH RECURSIVE names (name) AS (
    SELECT min(workflow) FROM runs
    UNION ALL
    SELECT (SELECT min(workflow) FROM runs WHERE workflow > names.name) FROM names WHERE names.name IS NOT NULL
)
SELECT name FROM names WHERE name IS NOT NULL"""

    async def workflows(self) -> list[str]:
        """Return the names of all workflows that have runs, those no longer in force too: a step an index each."""
        return [row[0] for row in await self._database.read(self.WORKFLOWS)]

    FIRST_TOO_MANY: Final = "SELECT id FROM runs WHERE workflow = ? ORDER BY id DESC LIMIT 1 OFFSET ?"
    DUE_BY_COUNT: Final = """
SELECT id FROM runs WHERE workflow = ? AND id > ? AND id <= ? AND finished_at_ms IS NOT NULL ORDER BY id LIMIT ?"""

    async def first_too_many(self, workflow: str, kept: int) -> int | None:
        """Return the newest run of a workflow that is older than its newest ``kept``, None if there is none."""
        found = await self._database.read(self.FIRST_TOO_MANY, (workflow, kept))
        return found[0][0] if found else None

    async def ended_up_to(self, workflow: str, last: int, *, after: int, limit: int) -> list[int]:
        """Return runs of a workflow that have ended, the oldest first, behind ``after`` and up to ``last``."""
        found = await self._database.read(self.DUE_BY_COUNT, (workflow, after, last, limit))
        return [row[0] for row in found]

    STATES: Final = """
SELECT runs.id, runs.finished_at_ms FROM json_each(?) AS wanted CROSS JOIN runs WHERE runs.id = wanted.value"""

    async def known(self, runs: Sequence[int]) -> dict[int, bool]:
        """Return which of these runs are in the store, and whether they have ended."""
        found = await self._database.read(self.STATES, (json.dumps(runs),))
        return {run: finished_at_ms is not None for run, finished_at_ms in found}

    # -- how heavy it is -------------------------------------------------------------------------------------

    WEIGHTS: Final = f"""
SELECT runs.id,
    1 + (SELECT count(*) FROM logs WHERE run = runs.id) + (SELECT count(*) FROM events WHERE run = runs.id)
      + (SELECT count(*) FROM long_values WHERE run = runs.id)
      + (SELECT count(*) FROM tasks WHERE run = runs.id) + (SELECT count(*) FROM attempts WHERE run = runs.id),
    {RUN_BYTES} + length(runs.params) + ifnull(length(runs.reason), 0) + ifnull(length(runs.outputs), 0)
      + (SELECT ifnull(sum({KEY_BYTES} + length(text)), 0) FROM logs WHERE run = runs.id)
      + (SELECT ifnull(sum({KEY_BYTES} + length(text)), 0) FROM long_values WHERE run = runs.id)
      + (SELECT ifnull(sum({KEY_BYTES} + length(data)), 0) FROM events WHERE run = runs.id)
      + (SELECT ifnull(sum({KEY_BYTES} + {_TASK_BYTES}), 0) FROM tasks WHERE run = runs.id)
      + (SELECT ifnull(sum({KEY_BYTES} + ifnull(length(reason), 0)), 0) FROM attempts WHERE run = runs.id)
FROM json_each(?) AS wanted CROSS JOIN runs WHERE runs.id = wanted.value"""

    async def weights(self, runs: Sequence[int]) -> list[Weight]:
        """Return what these runs weigh, the oldest first; one that is not there has no weight."""
        found = await self._database.read(self.WEIGHTS, (json.dumps(runs),))
        return sorted(
            (Weight(run=run, row_count=row_count, size_bytes=size) for run, row_count, size in found),
            key=lambda weight: weight.run,
        )

    ATTEMPTS: Final = """
SELECT attempts.run, attempts.task, attempts.number FROM json_each(?) AS old CROSS JOIN attempts
WHERE attempts.run = old.value"""

    async def attempts(self, runs: Sequence[int]) -> list[tuple[int, str, int]]:
        """Return the attempts of these runs: run, task and number."""
        found = await self._database.read(self.ATTEMPTS, (json.dumps(runs),))
        return [(run, task, number) for run, task, number in found]

    # -- deleting --------------------------------------------------------------------------------------------

    REMEMBER_NEWEST: Final = """
INSERT INTO newest_deleted (one, run) VALUES (1, ?)
ON CONFLICT (one) DO UPDATE SET run = max(run, excluded.run)"""
    DELETE_EVENTS_OF: Final = "DELETE FROM events WHERE run IN (SELECT value FROM json_each(?))"
    DELETE_RUNS: Final = """
DELETE FROM runs WHERE id IN (SELECT value FROM json_each(?)) AND finished_at_ms IS NOT NULL"""

    async def delete(self, runs: Sequence[int], *, at_ms: int, by: str) -> int:
        """Delete ended runs with all that is theirs, in one transaction; return how many there were.

        The event tells how many and which is the newest of them.
        """
        key = json.dumps(runs)

        def change(tx: sqlite3.Connection) -> int:
            count = tx.execute(self.DELETE_RUNS, (key,)).rowcount
            if count:
                tx.execute(self.DELETE_EVENTS_OF, (key,))
                tx.execute(self.REMEMBER_NEWEST, (max(runs),))
                facts = {"runs": count, "newest": max(runs), "by": by}
                tx.execute(_TELL, (at_ms, rows.to_json(facts)))
            return count

        return await self._database.make_room(change)

    PEEL: Final = {
        "long_values": ("task, name, part", "length(text)"),
        "logs": ("task, number", "length(text)"),
        "events": ("seq", "length(data)"),
        "attempts": ("task, number", "ifnull(length(reason), 0)"),
        "tasks": ("task", _TASK_BYTES),
    }
    """What there is of a run beside its row, in the order in which it goes: by which key, and how long a row is."""

    FIRST: Final = {
        table: f"SELECT {key}, {size} FROM {table} WHERE run = ? ORDER BY {key} LIMIT ?"
        for table, (key, size) in PEEL.items()
    }
    DELETE_FIRST: Final = {
        table: f"DELETE FROM {table} WHERE run = ? AND ({key}) <= ({', '.join('?' * (key.count(',') + 1))})"
        for table, (key, _) in PEEL.items()
    }

    async def peel(self, run: int, most_rows: int, most_bytes: int) -> int:
        """Delete rows of an ended run that is too large for one transaction, no more than that; return how many.

        Its output goes first and its tasks last; the run itself stays, so that a later pass goes on after a crash.
        """

        def change(tx: sqlite3.Connection) -> int:
            for table, first in self.FIRST.items():
                last = _last_within(tx.execute(first, (run, most_rows)), most_bytes)
                if last is not None:
                    return tx.execute(self.DELETE_FIRST[table], (run, *last)).rowcount
            return 0

        return await self._database.make_room(change)

    EVENTS: Final = """
SELECT events.seq, events.at_ms, events.run,
    events.run IS NOT NULL AND EXISTS (SELECT 1 FROM runs WHERE runs.id = events.run AND finished_at_ms IS NULL)
FROM events WHERE events.seq > ? ORDER BY events.seq LIMIT ?"""
    DELETE_EVENTS: Final = "DELETE FROM events WHERE seq IN (SELECT value FROM json_each(?))"

    async def delete_events(self, before_ms: int, *, after: int, limit: int) -> tuple[int, int | None]:
        """Delete events older than an instant, of at most ``limit`` behind number ``after``, in one transaction.

        Return how many went, and behind which number to go on, None if what follows is younger. Events of runs that
        have not ended stay.
        """
        found = await self._database.read(self.EVENTS, (after, limit))
        old = [row for row in found if row[1] < before_ms]
        due = [seq for seq, _, _, is_live in old if not is_live]
        if due:
            await self._database.make_room(lambda tx: tx.execute(self.DELETE_EVENTS, (json.dumps(due),)).rowcount)
        # Clocks are set back: one that seems younger amid older ones does not end the search.
        return len(due), found[-1][0] if old and len(found) == limit else None

    # -- giving the room back --------------------------------------------------------------------------------

    FREE_PAGES: Final = "PRAGMA freelist_count"

    async def free_pages(self) -> int:
        """Return how many pages of the file hold nothing."""
        return int((await self._database.read(self.FREE_PAGES))[0][0])

    async def give_back(self, pages: int) -> None:
        """Cut at most so many free pages off the file; the disk has them after the next checkpoint."""
        # Each step of the statement frees one page.
        await self._database.make_room(lambda tx: tx.execute(f"PRAGMA incremental_vacuum({pages:d})").fetchall())

    async def checkpoint(self) -> bool:
        """Bring the log into the file and cut it off, if no reader needs it at the moment; return whether that is done.

        What was deleted is in neither then: in the file it was overwritten.
        """
        return await self._database.make_room(checkpoint, is_alone=True)


def _last_within(found: sqlite3.Cursor, most_bytes: int) -> Sequence[object] | None:
    """Return the key of the last row of those that have so many bytes together, at least the first; None: no row."""
    last, left = None, most_bytes
    with contextlib.closing(found):
        for *key, size in found:
            if last is not None and size > left:
                break
            last, left = key, left - size
    return last
