"""What may be asked of the scheduler: schedules are added, switched off, held, and fired by hand."""

from __future__ import annotations

import asyncio
from typing import Final

from barbossad.errors import ConflictError, NotFoundError
from barbossad.model.holds import Hold
from barbossad.model.names import WorkflowName
from barbossad.model.schedules import (
    Fire,
    ScheduleDefinition,
    ScheduleKind,
    ScheduleRecord,
    ScheduleSource,
    schedule_id,
)
from barbossad.recurrence import zones
from barbossad.scheduler.book import Book
from barbossad.scheduler.firing import Firing
from barbossad.scheduler.happening import of_person
from barbossad.scheduler.parts import Parts
from barbossad.scheduler.roster import Roster

_AT_ONCE: Final = 50
"""After so many schedules that are gone through others have their turn."""


class Control:
    """Changes schedules in the store and in the book. It takes turns with the loop."""

    def __init__(self, parts: Parts, book: Book, roster: Roster, firing: Firing, turn: asyncio.Lock) -> None:
        self._parts = parts
        self._book = book
        self._roster = roster
        self._firing = firing
        self._turn = turn
        self._last_by_hand_ms = 0
        """Fires by hand are told apart by their instant."""

    async def changed(self, workflow: str) -> None:
        """Take over what the store has of a workflow, after that was applied, deleted, enabled or disabled."""
        async with self._turn:
            fresh = {record.id: record for record in await self._parts.schedules.of(workflow)}
            for entry in self._book.of(workflow):
                if entry.record.id not in fresh:
                    self._roster.forget(entry.record.id)
            for record in fresh.values():
                await self._roster.put(record)
        self._parts.alarm.wake()

    async def zones_changed(self) -> None:
        """Take over the rules of time zones as the host has them now."""
        async with self._turn:
            zones.read_again()
            for number, entry in enumerate(tuple(self._book.entries.values()), start=1):
                self._book.look_again(entry)
                if number % _AT_ONCE == 0:
                    await asyncio.sleep(0)
        self._parts.alarm.wake()

    async def add(self, workflow: WorkflowName, definition: ScheduleDefinition, *, by: str) -> ScheduleRecord:
        """Record a schedule beside those of the workflow's file. Raise NotFoundError, or ConflictError for its name."""
        known = await self._parts.workflows.definition(workflow)
        async with self._turn:
            record = ScheduleRecord(
                id=schedule_id(workflow, definition.name),
                workflow=workflow,
                definition=definition,
                source=ScheduleSource.ADDED,
                labels=known.labels,
                is_enabled=definition.is_enabled,
                watermark=await self._roster.start_of(definition.kind),
                mark=self._parts.boot_id if definition.kind is ScheduleKind.BOOT else None,
                added_at_ms=self._parts.clock.now_ms(),
                added_by=by,
            )
            await self._parts.schedules.add(record)
            await self._roster.put(record)
        self._parts.alarm.wake()
        return record

    async def remove(self, name: str, *, by: str) -> ScheduleRecord:
        """Delete a schedule; what became of its fires stays. Raise ConflictError if it stands in a workflow's file."""
        async with self._turn:
            record = self._book.find(name).record
            if record.source is ScheduleSource.FILE:
                raise ConflictError(
                    f"schedule {record.id} stands in the file of its workflow: remove it there and apply the file, or "
                    f"disable it (barbossactl schedule disable {record.id})"
                )
            await self._parts.schedules.remove(record.id, at_ms=self._parts.clock.now_ms(), by=by)
            self._roster.forget(record.id)
        return record

    async def enable(self, name: str, *, is_enabled: bool, by: str, reason: str | None = None) -> ScheduleRecord:
        """Let a schedule fire, or not. What it missed while it was disabled is not caught up. Raise NotFoundError."""
        async with self._turn:
            record = self._book.find(name).record
            if record.is_enabled == is_enabled:
                return record
            now_ms = self._parts.clock.now_ms()
            start = await self._roster.start_of(record.definition.kind) if is_enabled else None
            await self._parts.schedules.enable(
                record.id, is_enabled=is_enabled, reason=reason, at_ms=now_ms, by=by, watermark=start,
                mark=self._roster.mark_of_now(record) if is_enabled else None,
            )  # fmt: skip
            fresh = await self._parts.schedules.get(record.id)
            if fresh is None:  # its workflow was deleted meanwhile
                raise NotFoundError("schedule", record.id)
            await self._roster.put(fresh)
        self._parts.alarm.wake()
        return fresh

    async def hold(self, hold: Hold) -> None:
        """Let the fires of all schedules with a label pass, until released or for a time."""
        async with self._turn:
            await self._parts.holds.hold(hold)
            self._book.holds[hold.label] = hold

    async def release(self, label: str, *, by: str) -> None:
        """End a hold. Raise NotFoundError."""
        async with self._turn:
            await self._parts.holds.release(label, at_ms=self._parts.clock.now_ms(), by=by)
            self._book.holds.pop(label, None)

    async def trigger(self, name: str, *, by: str) -> Fire:
        """Fire now, whatever the clock says; return the fire, started or queued. Raise ConflictError if it overlaps."""
        async with self._turn:
            entry = self._book.find(name)
            self._last_by_hand_ms = max(self._parts.clock.now_ms(), self._last_by_hand_ms + 1)
            happening = of_person(by, self._last_by_hand_ms)
            return await self._firing.by_hand(entry, happening)
