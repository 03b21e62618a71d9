"""What schedules have missed: worked out aside, one schedule after another, and recorded in a turn of the loop's.

After a downtime, or when the clock was set forth, a thousand schedules may have missed a million instants. Whoever is
in time does not wait for them, and nobody is locked out: what is asked of a schedule meanwhile is done at once, and
what was worked out of it is of no interest if it stands otherwise by then (docs/decisions/0104).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from barbossad.aside import Aside
from barbossad.clock import Clock
from barbossad.model.schedules import ScheduleDefinition
from barbossad.scheduler.book import Book, Entry
from barbossad.scheduler.due import Due, Held, due


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is due by an instant of a schedule that stands so."""

    schedule: ScheduleDefinition
    offset_ms: int
    last_ms: int
    held: Held | None
    at_ms: int

    def answer(self) -> Due:
        """Work it out, which may take long."""
        return due(self.schedule, self.offset_ms, self.last_ms, self.at_ms, held=self.held)


def question(book: Book, entry: Entry, at_ms: int) -> Question:
    """Return what is asked of a schedule as it stands now."""
    record = entry.record
    return Question(
        schedule=record.definition,
        offset_ms=entry.offset_ms,
        last_ms=record.watermark,
        held=book.held(entry),
        at_ms=at_ms,
    )


Take = Callable[[Entry, Question, Due], Awaitable[object]]
"""Record an answer, if it still counts."""


class Backlog:
    """The schedules that have missed something which is not decided yet, in the order in which that was found."""

    def __init__(self, clock: Clock, book: Book, do: Callable[[str, Callable[[], Awaitable[object]]], None]) -> None:
        self._clock = clock
        self._book = book
        self._do = do
        self._aside = Aside("missed-fires")
        self._waiting: dict[str, None] = {}
        self._current: str | None = None
        self._news = asyncio.Event()

    @property
    def is_empty(self) -> bool:
        """Whether everything that was missed is decided."""
        return not self._waiting and self._current is None

    def add(self, schedule: str) -> None:
        """Have it worked out what a schedule has missed."""
        self._waiting[schedule] = None
        self._news.set()

    async def run(self, take: Take) -> None:
        """Work out what was missed, until cancelled: the next schedule when the one before is recorded."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._waiting:
                self._current = next(iter(self._waiting))
                del self._waiting[self._current]
                entry = self._book.entries.get(self._current)
                if entry is not None and entry.coming is not None:
                    await self._decide(entry, take)
            self._current = None

    def close(self) -> None:
        """Work out nothing more; what is being worked out is of no interest."""
        self._aside.close()

    async def _decide(self, entry: Entry, take: Take) -> None:
        asked = question(self._book, entry, self._clock.now_ms())
        work = partial(take, entry, asked, await self._aside.run(asked.answer))
        is_taken = asyncio.Event()

        async def in_turn() -> None:
            await work()
            is_taken.set()

        self._do(entry.record.id, in_turn)
        await is_taken.wait()
