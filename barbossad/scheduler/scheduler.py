"""The scheduler: what may be asked of it, and the loop that sleeps until something is due."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Final

from barbossad.errors import ConflictError, StoreError, UnavailableError
from barbossad.model.names import WorkflowName
from barbossad.model.records import RunRecord
from barbossad.model.schedules import (
    TIME_KINDS,
    Fire,
    Hold,
    ScheduleDefinition,
    ScheduleKind,
    ScheduleRecord,
    ScheduleSource,
    schedule_id,
)
from barbossad.scheduler import firing
from barbossad.scheduler.book import Book, Coming, Entry, Why
from barbossad.scheduler.following import Follower
from barbossad.scheduler.happening import Happening, of_boot, of_person
from barbossad.scheduler.parts import Parts
from barbossad.scheduler.starting import Starter
from barbossad.scheduler.watching import Watchers
from barbossad.store.schedules import Decided

AGAIN_MS: Final = 1000
"""How long after the store refused something it is done again."""

log = logging.getLogger(__name__)

Work = Callable[[], Awaitable[object]]


class Scheduler:
    """Starts runs by the clock and by what happens. One turn at a time: the loop's, or that of who asks."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._book = Book()
        self._starter = Starter(parts, self._book)
        self._follower = Follower(parts, self._book, self._starter)
        self._firing = firing.Firing(parts, self._book, self._starter)
        self._watchers = Watchers(parts.clock, self._happened)
        self._turn = asyncio.Lock()
        self._work: defaultdict[str, list[Work]] = defaultdict(list)
        self._later: dict[tuple[str, str], Happening] = {}
        self._again_ms: int | None = None

    # -- what the outside asks for -------------------------------------------------------------------------

    def records(self) -> list[ScheduleRecord]:
        """Return every schedule, by id."""
        return self._book.records()

    def of(self, workflow: str) -> list[ScheduleRecord]:
        """Return the schedules of a workflow, by id."""
        return [entry.record for entry in self._book.of(workflow)]

    def find(self, name: str) -> ScheduleRecord:
        """Return the schedule with an id, or the only one of a workflow.

        Raise NotFoundError with the nearest known name, or ConflictError that names those of the workflow.
        """
        return self._book.find(name).record

    @property
    def counts(self) -> tuple[int, int]:
        """How many schedules there are, and how many of them are enabled."""
        entries = self._book.entries.values()
        return len(entries), sum(1 for entry in entries if entry.record.is_enabled)

    @property
    def next_due_ms(self) -> int | None:
        """When the next fire of all is due; None if none is."""
        return min((entry.coming.due_ms for entry in self._book.entries.values() if entry.coming), default=None)

    def coming(self, record: ScheduleRecord) -> Coming | None:
        """Return the next fire of a schedule; None if it has none, is disabled, or fires by events."""
        entry = self._book.entries.get(record.id)
        return entry.coming if entry else None

    def active(self, record: ScheduleRecord) -> list[Fire]:
        """Return the fires of a schedule that are not over, oldest first."""
        entry = self._book.entries.get(record.id)
        return list(entry.active) if entry else []

    def holds(self) -> list[Hold]:
        """Return what is held now, by label."""
        now_ms = self._parts.clock.now_ms()
        holds = (self._book.holds[label] for label in sorted(self._book.holds))
        return [hold for hold in holds if hold.until_ms is None or hold.until_ms > now_ms]

    def held_by(self, record: ScheduleRecord, at_ms: int | None = None) -> Hold | None:
        """Return what holds a schedule now, or will at an instant if nobody changes it."""
        return self._book.hold_of(record, self._parts.clock.now_ms() if at_ms is None else at_ms)

    def state_of(self, record: ScheduleRecord) -> str:
        """Return why a schedule cannot fire though it is enabled, in words; empty if it can."""
        return self._watchers.trouble(record)

    async def changed(self, workflow: str) -> None:
        """Take over what the store has of a workflow, after that was applied, deleted, enabled or disabled."""
        async with self._turn:
            fresh = {record.id: record for record in await self._parts.store.of(workflow)}
            for entry in self._book.of(workflow):
                if entry.record.id not in fresh:
                    self._forget(entry.record.id)
            for record in fresh.values():
                await self._put(record)
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
                watermark=await self._start_of(definition.kind),
                mark=self._parts.boot_id if definition.kind is ScheduleKind.BOOT else None,
                added_at_ms=self._parts.clock.now_ms(),
                added_by=by,
            )
            await self._parts.store.add(record)
            await self._put(record)
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
            await self._parts.store.remove(record.id, at_ms=self._parts.clock.now_ms(), by=by)
            self._forget(record.id)
        return record

    async def enable(self, name: str, *, is_enabled: bool, by: str, reason: str | None = None) -> ScheduleRecord:
        """Let a schedule fire, or not. What it missed while it was disabled is not caught up."""
        async with self._turn:
            record = self._book.find(name).record
            if record.is_enabled == is_enabled:
                return record
            now_ms = self._parts.clock.now_ms()
            start = await self._start_of(record.definition.kind) if is_enabled else None
            is_boot = record.definition.kind is ScheduleKind.BOOT
            await self._parts.store.enable(
                record.id, is_enabled=is_enabled, reason=reason, at_ms=now_ms, by=by, watermark=start,
                mark=self._parts.boot_id if is_enabled and is_boot else None,
            )  # fmt: skip
            fresh = await self._parts.store.get(record.id)
            assert fresh is not None
            await self._put(fresh)
        self._parts.alarm.wake()
        return fresh

    async def hold(self, hold: Hold) -> None:
        """Let the fires of all schedules with a label pass, until released or for a time."""
        async with self._turn:
            await self._parts.store.hold(hold)
            self._book.holds[hold.label] = hold

    async def release(self, label: str, *, by: str) -> None:
        """End a hold. Raise NotFoundError."""
        async with self._turn:
            await self._parts.store.release(label, at_ms=self._parts.clock.now_ms(), by=by)
            self._book.holds.pop(label, None)

    async def trigger(self, name: str, *, by: str) -> Fire:
        """Fire now, whatever the clock says; return the fire, started or queued. Raise ConflictError if it overlaps."""
        async with self._turn:
            entry = self._book.find(name)
            happening = of_person(by, self._parts.clock.now_ms())
            return await self._firing.by_hand(entry, happening)

    # -- the loop ------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Read what there is, and prepare to go on where an earlier daemon left."""
        self._parts.runner.on_end = self._run_ended
        self._book.holds = {hold.label: hold for hold in await self._parts.store.holds()}
        for record in await self._parts.store.all():
            await self._put(record)
        await self._follower.load()
        for entry in self._book.with_fires():
            self._do(entry.record.id, partial(self._follower.take_over, entry))
        for entry in self._book.after_runs():
            for missed in await self._follower.missed(entry):
                self._happened(entry.record.id, missed)

    async def run(self) -> None:
        """Sleep until something is due and do it, until cancelled."""
        while True:
            jump = await self._parts.alarm.wait_until(self._next_ms())
            async with self._turn:
                if jump is not None and jump.by_ms:  # time that passed in suspend is no jump
                    await self._jumped(jump.by_ms)
                await self._tick()

    async def close(self) -> None:
        """Watch nothing any more."""
        self._parts.runner.on_end = None
        await self._watchers.close()

    def _next_ms(self) -> int | None:
        if self._work:
            return self._again_ms or 0
        return self._book.first_ms

    async def _tick(self) -> None:
        """Do what is due: side by side for different schedules, in order for each."""
        for why, entry, key in self._book.take(self._parts.clock.now_ms()):
            self._do(entry.record.id, self._work_of(why, entry, key))
        work, self._work = self._work, defaultdict(list)
        self._again_ms = None
        await asyncio.gather(*(self._in_order(schedule, todo) for schedule, todo in work.items()))

    def _work_of(self, why: Why, entry: Entry, key: str) -> Work:
        if why is Why.DUE:
            return partial(self._firing.by_time, entry)
        if why is Why.RETRY:
            return partial(self._firing.again, entry, key)
        if why is Why.LATER:
            return partial(self._firing.by_event, entry, self._later.pop((entry.record.id, key)))
        return partial(self._follower.look_at, entry, key)

    async def _in_order(self, schedule: str, todo: list[Work]) -> None:
        for position, work in enumerate(todo):
            try:
                await work()
            except (StoreError, UnavailableError) as error:  # it is decided again, from where it stands
                log.warning("schedule %s: %s; tried again", schedule, error,
                            extra={"action": "schedule_put_off", "schedule": schedule})  # fmt: skip
                self._work[schedule][:0] = todo[position:]
                self._again_ms = self._parts.clock.now_ms() + AGAIN_MS
                return

    def _do(self, schedule: str, work: Work) -> None:
        self._work[schedule].append(work)
        self._parts.alarm.wake()

    # -- news ----------------------------------------------------------------------------------------------

    def _run_ended(self, run: RunRecord) -> None:
        """Hear of the end of a run, after it was recorded."""
        entry = self._book.known(run.schedule) if run.schedule else None
        if entry is not None:
            self._do(entry.record.id, partial(self._follower.settle, entry, run))
        for triggered in self._follower.triggered(run):
            self._do(triggered.record.id, partial(self._follower.after, triggered, run, self._firing.by_event))

    def _happened(self, schedule: str, happening: Happening) -> None:
        """Hear of something that makes a trigger fire."""
        entry = self._book.entries.get(schedule)
        if entry is None or not entry.record.is_enabled:
            return
        if happening.due_ms is not None and happening.due_ms > self._parts.clock.now_ms():
            self._later[schedule, happening.key] = happening
            self._book.wake_at(happening.due_ms, Why.LATER, schedule, happening.key)
            self._parts.alarm.wake()
        else:
            self._do(schedule, partial(self._firing.by_event, entry, happening))

    async def _jumped(self, by_ms: int) -> None:
        """Go on after the clock was set: what was decided stays so, whatever the clock says now."""
        now_ms = self._parts.clock.now_ms()
        log.warning("the clock was set %s by %.3f s", "forward" if by_ms > 0 else "back", abs(by_ms) / 1000,
                    extra={"action": "clock_jumped"})  # fmt: skip
        await self._parts.store.tell("clock_jumped", None, None, at_ms=now_ms, facts={"by_seconds": by_ms / 1000})
        for entry in self._book.entries.values():
            await self._not_ahead(entry, now_ms)

    async def _not_ahead(self, entry: Entry, now_ms: int) -> None:
        """Look again at what comes, if the clock was set back: what has fired is known by its nominal time."""
        if entry.record.definition.kind in TIME_KINDS and entry.record.watermark > now_ms:
            await self._parts.store.decide([Decided(schedule=entry.record.id, watermark=now_ms)])
            self._book.decided(entry, now_ms)

    # -- within --------------------------------------------------------------------------------------------

    async def _start_of(self, kind: ScheduleKind) -> int:
        """Return from where on a new schedule fires."""
        return await self._parts.store.newest_event() if kind is ScheduleKind.WORKFLOW else self._parts.clock.now_ms()

    async def _put(self, record: ScheduleRecord) -> None:
        entry = self._book.put(record)
        self._watchers.watch(record)
        await self._not_ahead(entry, self._parts.clock.now_ms())
        self._book.arm(entry)
        if record.definition.kind is ScheduleKind.BOOT and record.is_enabled:
            await self._look_at_boot(entry)

    async def _look_at_boot(self, entry: Entry) -> None:
        """Fire if the host was booted since the last time; one that is new waits for the next boot."""
        boot_id = self._parts.boot_id
        if entry.record.mark is None:
            await self._parts.store.decide([Decided(schedule=entry.record.id, mark=boot_id)])
            entry.record = replace(entry.record, mark=boot_id)
        elif entry.record.mark != boot_id:
            delay_seconds = entry.record.definition.delay_seconds
            self._happened(entry.record.id, of_boot(boot_id, self._parts.booted_at_ms(), delay_seconds))

    def _forget(self, schedule: str) -> None:
        self._watchers.forget(schedule)
        self._book.forget(schedule)  # what is still to be done for it is done: ends of its runs are settled
