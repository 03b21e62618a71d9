"""The high-water mark: how far history went, kept outside the state file.

A state file that is older than its mark was put back, from a backup say, or is a new one. That is told, and the
numbers of what it forgot are never given again.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Final

from barbossad.clock import Clock
from barbossad.errors import StoreError
from barbossad.store import mark, rows
from barbossad.store.database import Database
from barbossad.store.mark import Mark
from barbossad.store.runs import RunStore

EVERY_SECONDS: Final = 60.0

LEAP: Final = 1_000_000
"""Events, and milliseconds of runs, that may have been numbered since the mark was written last."""

log = logging.getLogger(__name__)


class HighWater:
    """Compares the mark with the state file at the start, and keeps it up to date from then on."""

    def __init__(self, database: Database, clock: Clock, path: Path) -> None:
        self.rolled_back: str | None = None
        """How far the state file was behind its mark at this start, None if it was not."""

        self._database = database
        self._runs = RunStore(database)
        self._clock = clock
        self._path = path
        self._written: Mark | None = None
        self._missing: Mark | None = None
        self._is_failing = False

    @property
    def lost_runs(self) -> tuple[int, int]:
        """The numbers of the runs that an older file forgot: behind the first, up to the second."""
        return (self._written.lost_after, self._written.lost_up_to) if self._written else (0, 0)

    async def check(self) -> None:
        """Tell if the state file is older than its mark; after that the mark is as the file is."""
        self._written = await asyncio.to_thread(mark.read, self._path)
        now = await self._now()
        if self._written is not None and now.event < self._written.event:
            self.rolled_back = (
                f"the state file ends at event {now.event}, but history had reached event {self._written.event}: "
                "it is an older one, and what happened after it was made is not in it"
            )
            log.error("%s", self.rolled_back, extra={"action": "store_rolled_back"})
            self._missing = replace(self._written, lost_after=now.run, lost_up_to=self._written.run + LEAP)
            self._written = self._missing
        await self.keep()

    async def run(self) -> None:
        """Keep the mark until cancelled."""
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            await self.keep()

    async def keep(self) -> None:
        """Write how far history has come. What the disk refuses is told once and tried again the next time."""
        try:
            if self._missing is not None:
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
        )

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
