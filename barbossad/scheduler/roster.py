"""Which schedules there are: taken over from the store into the book, watched for, and let go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from barbossad.model import boots
from barbossad.model.schedules import TIME_KINDS, ScheduleKind, ScheduleRecord
from barbossad.scheduler.book import Book, Entry
from barbossad.scheduler.happening import Happening, of_boot
from barbossad.scheduler.parts import Parts
from barbossad.scheduler.watching import Watchers
from barbossad.store.decisions import Decided


class Roster:
    """Keeps the book, and what is watched for, as the store has it."""

    def __init__(
        self, parts: Parts, book: Book, watchers: Watchers, happened: Callable[[str, Happening], None]
    ) -> None:
        self._parts = parts
        self._book = book
        self._watchers = watchers
        self._happened = happened

    async def start_of(self, kind: ScheduleKind) -> int:
        """Return from where on a new schedule fires."""
        return await self._parts.events.newest() if kind is ScheduleKind.WORKFLOW else self._parts.clock.now_ms()

    async def put(self, record: ScheduleRecord) -> None:
        """Take a schedule over as the store has it now."""
        entry = self._book.put(record)
        self._watchers.watch(record)
        now_ms = self._parts.clock.now_ms()
        if self.is_ahead(entry, now_ms):
            await self.take_back(entry, now_ms)
        self._book.arm(entry)
        if record.definition.kind is ScheduleKind.BOOT and record.is_enabled:
            await self._look_at_boot(entry)

    async def _look_at_boot(self, entry: Entry) -> None:
        """Fire if the host was booted since the last time; one that is new waits for the next boot."""
        boot_id = self._parts.boot_id
        mark = entry.record.mark
        if mark is None or (mark != boot_id and boots.is_same(mark, boot_id)):
            await self._parts.fires.decide([Decided(schedule=entry.record.id, mark=boot_id)])
            entry.record = replace(entry.record, mark=boot_id)
        elif mark != boot_id:
            delay_seconds = entry.record.definition.delay_seconds
            self._happened(entry.record.id, of_boot(boot_id, self._parts.booted_at_ms(), delay_seconds))

    def forget(self, schedule: str) -> None:
        """Let a schedule go that there is no longer."""
        self._watchers.forget(schedule)
        self._book.forget(schedule)  # what is still to be done for it is done: ends of its runs are settled

    def is_ahead(self, entry: Entry, now_ms: int) -> bool:
        """Say whether a schedule has decided on instants that have not come: the clock was set back."""
        return entry.record.definition.kind in TIME_KINDS and entry.record.watermark > now_ms

    async def take_back(self, entry: Entry, now_ms: int) -> None:
        """Look again at what comes after an instant: what has fired is known by its nominal time."""
        await self._parts.fires.decide([Decided(schedule=entry.record.id, watermark=now_ms)])
        self._book.decided(entry, now_ms)

    def awaits_boot(self, record: ScheduleRecord) -> bool:
        """Say whether a schedule is to fire for this boot and has not yet: one that is new or changed is not."""
        is_boot = record.definition.kind is ScheduleKind.BOOT
        return is_boot and record.mark is not None and not boots.is_same(record.mark, self._parts.boot_id)

    def mark_of_now(self, record: ScheduleRecord) -> str | None:
        """Return the boot that a schedule by boot fires for no more if it is enabled now; None if it still does."""
        due_ms = self._parts.booted_at_ms() + round(record.definition.delay_seconds * 1000)
        is_over = record.definition.kind is ScheduleKind.BOOT and due_ms <= self._parts.clock.now_ms()
        return self._parts.boot_id if is_over else None
