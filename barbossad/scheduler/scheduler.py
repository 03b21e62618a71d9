"""The scheduler: its parts, and the loop that sleeps until something is due."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Final

from barbossad.errors import StoreError, UnavailableError
from barbossad.model.records import RunRecord
from barbossad.scheduler import restoring
from barbossad.scheduler.backlog import Backlog
from barbossad.scheduler.board import Board
from barbossad.scheduler.book import Book, Entry, Why
from barbossad.scheduler.control import Control
from barbossad.scheduler.firing import Firing
from barbossad.scheduler.following import Follower, missed
from barbossad.scheduler.happening import Happening
from barbossad.scheduler.parts import Parts
from barbossad.scheduler.roster import Roster
from barbossad.scheduler.starting import Starter
from barbossad.scheduler.watching import Watchers

AGAIN_MS: Final = 1000
"""How long after the store refused something it is done again."""

AT_ONCE: Final = 50
"""Of so many schedules what is due begins at once; then others have their turn."""

_CLOCK: Final = ""
"""Stands for a schedule where work is none's."""

log = logging.getLogger(__name__)

Work = Callable[[], Awaitable[object]]


class Scheduler:
    """Starts runs by the clock and by what happens. One turn at a time: the loop's, or that of who asks.

    ``board`` is what may be looked at, ``control`` what may be asked for.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._book = Book(parts.host_name)
        self._starter = Starter(parts, self._book)
        self._follower = Follower(parts, self._book, self._starter)
        self._backlog = Backlog(parts.clock, self._book, self._do)
        self._firing = Firing(parts, self._book, self._starter, self._backlog)
        self._watchers = Watchers(parts.clock, self._happened)
        self._roster = Roster(parts, self._book, self._watchers, self._happened)
        self._turn = asyncio.Lock()
        self._work: defaultdict[str, list[Work]] = defaultdict(list)
        self._heard: dict[tuple[str, str], Happening] = {}
        """What happened and is not decided on yet, by schedule and key."""

        self._again_ms: int | None = None
        self.board = Board(self._book, self._watchers, parts.clock)
        self.control = Control(parts, self._book, self._roster, self._firing, self._turn)

    # -- the loop ------------------------------------------------------------------------------------------

    async def open(self, *, is_rolled_back: bool = False) -> None:
        """Read what there is, and prepare to go on where an earlier daemon left.

        With ``is_rolled_back`` the state file is an older one that was put back, by which nothing is made up for.
        """
        if is_rolled_back:
            await restoring.pass_over(self._parts)
        self._parts.runner.on_end = self._run_ended
        self._book.holds = {hold.label: hold for hold in await self._parts.holds.all()}
        for record in await self._parts.schedules.all():
            await self._roster.put(record)
        await self._follower.load()
        for entry in self._book.with_fires():  # before all that was heard of them since
            self._work[entry.record.id].insert(0, partial(self._follower.take_over, entry))
        for entry in self._book.after_runs():
            for happening in await missed(self._parts, entry.record):
                self._happened(entry.record.id, happening)

    async def run(self) -> None:
        """Do what is due, and work out what was missed, until cancelled or one of both cannot go on."""
        loops = [
            asyncio.create_task(self._take_turns(), name="scheduler-turns"),
            asyncio.create_task(self._backlog.run(self._firing.missed), name="scheduler-backlog"),
        ]
        try:
            done, _ = await asyncio.wait(loops, return_when=asyncio.FIRST_COMPLETED)
            for finished in done:
                finished.result()
        finally:
            for loop in loops:
                loop.cancel()
            await asyncio.gather(*loops, return_exceptions=True)

    async def _take_turns(self) -> None:
        """Sleep until something is due and do it."""
        while True:
            jump = await self._parts.alarm.wait_until(self._next_ms())
            async with self._turn:
                if jump is not None and jump.by_ms:  # time that passed in suspend is no jump
                    self._jumped(jump.by_ms)
                await self._tick()

    async def close(self) -> None:
        """Watch nothing any more. What was seen of the host and led to no run yet is left to the next daemon."""
        self._parts.runner.on_end = None
        self._backlog.close()
        await self._watchers.close()
        for (schedule, _), happening in tuple(self._heard.items()):
            entry = self._book.entries.get(schedule)
            if entry is not None and not happening.is_recorded:
                try:
                    await self._firing.put_off(entry, happening)
                except StoreError as error:
                    log.error("schedule %s does not fire for %s: %s", schedule, happening.key, error,  # noqa: TRY400
                              extra={"action": "fire_lost", "schedule": schedule})  # fmt: skip

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
        await self._side_by_side(work)

    async def _side_by_side(self, work: Mapping[str, list[Work]]) -> None:
        """Do all of it, and return when it is done: with a pause between some that begin and the next."""
        doing: list[asyncio.Task[None]] = []
        try:
            for schedule, todo in work.items():
                doing.append(asyncio.create_task(self._in_order(schedule, todo), name=f"schedule {schedule}"))
                if len(doing) % AT_ONCE == 0:
                    await asyncio.sleep(0)
            await asyncio.gather(*doing)
        except BaseException:
            for task in doing:
                task.cancel()
            await asyncio.gather(*doing, return_exceptions=True)
            raise

    def _work_of(self, why: Why, entry: Entry, key: str) -> Work:
        if why is Why.DUE:
            return partial(self._firing.by_time, entry)
        if why is Why.RETRY:
            return partial(self._firing.again, entry, key)
        if why is Why.LATER:
            return partial(self._decide_on, entry, key)
        return partial(self._follower.look_at, entry, key)

    async def _in_order(self, schedule: str, todo: list[Work]) -> None:
        for position, work in enumerate(todo):
            try:
                await work()
            except (StoreError, UnavailableError) as error:  # it is decided again, from where it stands
                what = "the time at which the clock was set" if schedule == _CLOCK else f"schedule {schedule}"
                log.warning("%s: %s; tried again", what, error,
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
        self._heard[schedule, happening.key] = happening
        if happening.due_ms is not None and happening.due_ms > self._parts.clock.now_ms():
            self._book.wake_at(happening.due_ms, Why.LATER, schedule, happening.key)
            self._parts.alarm.wake()
        else:
            self._do(schedule, partial(self._decide_on, entry, happening.key))

    async def _decide_on(self, entry: Entry, key: str) -> None:
        """Have a trigger fire for something that was heard of, if that is due and still of interest to it."""
        happening = self._heard.get((entry.record.id, key))
        if happening is None:
            return
        if happening.due_ms is not None and happening.due_ms > self._parts.clock.now_ms():
            self._book.wake_at(happening.due_ms, Why.LATER, entry.record.id, key)
            return
        if happening.mark is None or self._roster.awaits_boot(entry.record):
            await self._firing.by_event(entry, happening)
        self._heard.pop((entry.record.id, key), None)

    def _jumped(self, by_ms: int) -> None:
        """Go on after the clock was set: what was decided stays so, whatever the clock says now."""
        now_ms = self._parts.clock.now_ms()
        log.warning("the clock was set %s by %.3f s", "forward" if by_ms > 0 else "back", abs(by_ms) / 1000,
                    extra={"action": "clock_jumped"})  # fmt: skip
        told = partial(self._parts.events.tell, "clock_jumped", at_ms=now_ms, facts={"by_seconds": by_ms / 1000})
        self._do(_CLOCK, told)
        for entry in self._book.entries.values():
            if self._roster.is_ahead(entry, now_ms):
                self._do(entry.record.id, partial(self._roster.take_back, entry, now_ms))
            self._follower.clock_set(entry, by_ms)
        for (schedule, _), happening in tuple(self._heard.items()):
            if happening.mark is not None and happening.due_ms is not None:  # so long after the boot, by any clock
                moved = replace(happening, at_ms=happening.at_ms + by_ms, due_ms=happening.due_ms + by_ms)
                self._happened(schedule, moved)
