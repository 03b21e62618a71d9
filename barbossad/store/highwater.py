"""The high-water mark: how far history went, kept outside the state file.

A state file that is older than its mark was put back, or is a new one; a backup says by itself that it is one. That is
told, the numbers of what it forgot are never given again, and what it has under way is ended and not gone on with: it
may have been done since (docs/decisions/0103).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from pathlib import Path
from typing import Final

from barbossad.clock import Clock
from barbossad.errors import StoreError
from barbossad.store import backup, mark, rows
from barbossad.store.database import Database
from barbossad.store.mark import Mark
from barbossad.store.runs import RunStore

EVERY_SECONDS: Final = 60.0

LEAP: Final = 1_000_000
"""Events, and milliseconds of runs, that may have been numbered since the mark was written last."""

UNKNOWN: Final = "an older state file was put back, and whether this was done since that was made is not known"
"""Why nothing that such a file has under way, or is due by it, goes on by itself."""

log = logging.getLogger(__name__)


class HighWater:
    """Compares the mark with the state file at the start, and keeps it up to date from then on."""

    def __init__(self, database: Database, clock: Clock, path: Path) -> None:
        self.rolled_back: str | None = None
        """That the state file was found at this start to be an older one, and how far it goes; None if it is not."""

        self._database = database
        self._runs = RunStore(database)
        self._clock = clock
        self._path = path
        self._written: Mark | None = None
        self._missing: Mark | None = None
        self._is_unsettled = False
        self._is_failing = False

    @property
    def lost_runs(self) -> tuple[int, int]:
        """The numbers of the runs that an older file forgot: behind the first, up to the second."""
        return (self._written.lost_after, self._written.lost_up_to) if self._written else (0, 0)

    async def check(self) -> None:
        """Tell if the state file is older than its mark, or a backup; after that the mark is as the file is."""
        written = self._written = await asyncio.to_thread(mark.read, self._path)
        now = await self._now()
        self.rolled_back = self._rolled_back(now, written, is_copy=await self._is_copy())
        if self.rolled_back is not None:
            log.error("%s", self.rolled_back, extra={"action": "store_rolled_back"})
            self._is_unsettled = True
            if written is None or not written.is_unsettled or now.event <= written.event:
                self._missing = _passed_over(now, written)
            self._written = self._missing or written
        await self.keep()

    @staticmethod
    def _rolled_back(now: Mark, written: Mark | None, *, is_copy: bool) -> str | None:
        lost = "what happened after it was made is not in it, and what it has under way does not go on by itself"
        if written is not None and now.event < written.event:
            return (
                f"the state file ends at event {now.event}, but history had reached event {written.event}: "
                f"it is an older one, {lost}"
            )
        if is_copy:
            return f"the state file is a backup that was put back, and ends at event {now.event}: {lost}"
        if written is not None and written.is_unsettled:
            return f"the state file is an older one that was put back, and the start after that was cut off: {lost}"
        return None

    async def settled(self) -> None:
        """Note that everything which an older state file had under way is ended."""
        self._is_unsettled = False
        await self.keep()

    async def run(self) -> None:
        """Keep the mark, and see that its file is still there, until cancelled."""
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            self._database.look()
            await self.keep()

    async def keep(self) -> None:
        """Write how far history has come. What the disk refuses is told once and tried again the next time."""
        try:
            if self._missing is not None:
                with contextlib.suppress(OSError):  # told below; it comes first, so that no crash hides what is found
                    await asyncio.to_thread(mark.write, self._path, self._missing)
                await self._leap(self._missing)
                self._missing = None
            now = await self._now()
            if self._is_failing or now != self._written or not self._path.exists():
                await asyncio.to_thread(mark.write, self._path, now)
                self._written = now
            self._is_failing = False
        except (StoreError, OSError) as error:
            if not self._is_failing:
                log.warning(
                    "the high-water mark %s cannot be kept: %s", self._path, error,
                    extra={"action": "store_mark_not_kept"},
                )  # fmt: skip
            self._is_failing = True

    LAST_EVENT: Final = "SELECT seq FROM sqlite_sequence WHERE name = 'events'"
    """The last number that was given; deleting events does not change it."""

    async def _now(self) -> Mark:
        events = await self._database.read(self.LAST_EVENT)
        lost_after, lost_up_to = self.lost_runs
        return Mark(
            run=await self._runs.newest_number(),
            event=events[0][0] if events else 0,
            lost_after=lost_after,
            lost_up_to=lost_up_to,
            is_unsettled=self._is_unsettled,
        )

    NEWEST_KIND: Final = "SELECT kind FROM events WHERE seq = (SELECT seq FROM sqlite_sequence WHERE name = 'events')"

    async def _is_copy(self) -> bool:
        """Say whether the state file is a backup to which nothing has happened since it was made."""
        return [row[0] for row in await self._database.read(self.NEWEST_KIND)] == [backup.COPIED]

    LEAP_EVENTS: Final = """
INSERT INTO events (seq, at_ms, kind, run, task, data) VALUES (?, ?, 'store_rolled_back', NULL, NULL, ?)"""
    LEAP_RUNS: Final = """
INSERT INTO newest_deleted (one, run) VALUES (1, ?)
ON CONFLICT (one) DO UPDATE SET run = max(run, excluded.run)"""

    async def _leap(self, missing: Mark) -> None:
        """Record the loss under a number far above those that were given, and pass over the numbers of runs."""
        facts = {"marked_event": missing.event, "marked_run": missing.run}

        def change(tx: sqlite3.Connection) -> None:
            tx.execute(self.LEAP_EVENTS, (missing.event + LEAP, self._clock.now_ms(), rows.to_json(facts)))
            tx.execute(self.LEAP_RUNS, (missing.run + LEAP,))

        await self._database.write(change)


def _passed_over(now: Mark, written: Mark | None) -> Mark:
    """Return the mark of a file that ends at ``now``, and of ``written``: no number up to them is given again."""
    far = written or now
    run = max(now.run, far.run)
    lost_after = min(now.run, far.lost_after) if far.is_unsettled else now.run
    return Mark(
        run=run, event=max(now.event, far.event), lost_after=lost_after, lost_up_to=run + LEAP, is_unsettled=True
    )
