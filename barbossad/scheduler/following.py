"""What follows from ends of runs: fires are settled, what waited begins, triggers of other workflows fire."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from barbossad.model.names import RunId
from barbossad.model.records import RunRecord
from barbossad.model.schedules import Fire, FireOutcome, FireState, ScheduleRecord
from barbossad.model.states import RUN_ENDED
from barbossad.process.launcher import CATCH_UP_SECONDS
from barbossad.scheduler import expecting, outcome
from barbossad.scheduler.book import Book, Entry, Why, oldest
from barbossad.scheduler.happening import Happening, concerns, of_run
from barbossad.scheduler.overlap import unreplaced
from barbossad.scheduler.parts import Parts
from barbossad.scheduler.starting import Starter

_GONE = "its run is no longer known: it was deleted, or lost with an older state file"


class Follower:
    """Hears of ends of runs."""

    def __init__(self, parts: Parts, book: Book, starter: Starter) -> None:
        self._parts = parts
        self._book = book
        self._starter = starter

    async def settle(self, entry: Entry, run: RunRecord) -> None:
        """Record what the end of a run means for its fire and its schedule, and begin what waited for it."""
        fire = entry.with_run(run.id)
        if fire is None:
            return
        now_ms = self._parts.clock.now_ms()
        schedule, expected = entry.record.definition, entry.by_real_time(fire)
        then = outcome.of(schedule, fire, run, entry.record.failures, now_ms)
        if then.state is FireState.RETRYING and (oldest(entry.active, FireState.QUEUED) or not entry.record.is_enabled):
            reason = f"{then.reason}; it is not tried again, for {_why_not(entry)}"
            then = outcome.failed(schedule, reason, entry.record.failures)
        await self._starter.settle(entry, fire, then)
        news = expecting.at_end(schedule, expected, run, now_ms, entry.moved_ms.pop(fire.key, 0))
        await self._starter.tell(entry, fire, _untold(entry, fire, news))
        entry.late.discard(fire.key)
        await self._starter.start_next(entry)

    def triggered(self, run: RunRecord) -> list[Entry]:
        """Return the schedules that the end of a run makes fire."""
        return [
            entry
            for entry in self._book.after_runs()
            if entry.record.definition.workflow is not None and concerns(entry.record.definition.workflow, run)
        ]

    async def after(self, entry: Entry, run: RunRecord, fire: Callable[[Entry, Happening], Awaitable[object]]) -> None:
        """Have a schedule fire for the end of a run of another workflow."""
        await fire(entry, of_run(run, await self._parts.runs.revision(run.id)))

    async def look_at(self, entry: Entry, key: str) -> None:
        """Look whether a fire is as it is expected to be by now."""
        fire = next((fire for fire in entry.active if fire.key == key), None)
        if fire is None:
            return
        now_ms = self._parts.clock.now_ms()
        run = self._parts.runs.record(fire.run_id) if fire.run_id else None
        moved_ms = entry.moved_ms.get(fire.key, 0)
        expected = entry.by_real_time(fire)
        news = _untold(entry, fire, expecting.overdue(entry.record.definition, expected, run, now_ms, moved_ms))
        await self._starter.tell(entry, fire, news)
        if run is None and news:
            entry.late.add(fire.key)
        expecting.look_again(self._book, entry, fire, run, now_ms)

    def clock_set(self, entry: Entry, by_ms: int) -> None:
        """Go on after the clock was set: delays and durations are of real time."""
        self.arm_retries(entry, by_ms)
        for fire in entry.active:
            run = self._parts.runs.record(fire.run_id) if fire.run_id else None
            if run is None or (run.started_at_ms is None and run.state not in RUN_ENDED):
                entry.waited_ms[fire.key] = entry.waited_ms.get(fire.key, 0) + by_ms
                expecting.watch(self._book, entry, entry.by_real_time(fire))
            elif run.started_at_ms is not None and run.state not in RUN_ENDED:
                entry.moved_ms[fire.key] = entry.moved_ms.get(fire.key, 0) + by_ms
                expecting.look_again(self._book, entry, fire, run, self._parts.clock.now_ms())

    # -- after a start -------------------------------------------------------------------------------------

    async def load(self) -> None:
        """Read the fires that an earlier daemon left."""
        for fire in await self._parts.fires.active():
            entry = self._book.entries.get(fire.schedule)
            if entry is not None:
                entry.keep(fire)
            elif fire.state is FireState.STARTED:
                self._book.keep_leaving(fire)

    async def take_over(self, entry: Entry) -> None:
        """Go on with the fires of a schedule that an earlier daemon left: settle those whose run has ended."""
        self.arm_retries(entry)
        await self._starter.make_room(entry, unreplaced(entry.record.definition, entry.active))
        earliest_ms = self._parts.clock.now_ms() + round(CATCH_UP_SECONDS * 1000)
        for fire in list(entry.active):
            expecting.watch(self._book, entry, fire, earliest_ms=earliest_ms)
            if fire.state is FireState.STARTED:
                await self._look_for_end(entry, fire)
        await self._starter.start_next(entry)

    def arm_retries(self, entry: Entry, by_ms: int = 0) -> None:
        """Wake for what is to be tried again, when the clock was set by so much.

        It is no later than after its delay, should the clock have been set back while no daemon was there.
        """
        retry, now_ms = entry.record.definition.retry, self._parts.clock.now_ms()
        for fire in list(entry.active):
            if fire.state is FireState.RETRYING and fire.retry_at_ms is not None:
                at_ms = fire.retry_at_ms + by_ms
                if retry is not None:
                    at_ms = min(at_ms, now_ms + round(outcome.delay_seconds(retry, fire.tries) * 1000))
                entry.keep(replace(fire, retry_at_ms=at_ms))
                self._book.wake_at(at_ms, Why.RETRY, entry.record.id, fire.key)

    async def _look_for_end(self, entry: Entry, fire: Fire) -> None:
        run = self._parts.runs.record(fire.run_id) if fire.run_id else None
        if run is None:
            gone = FireOutcome(state=FireState.FAILED, reason=_GONE, failures=entry.record.failures)
            await self._starter.settle(entry, fire, gone)
        elif run.state in RUN_ENDED:
            await self.settle(entry, run)


async def missed(parts: Parts, record: ScheduleRecord) -> list[Happening]:
    """Return the ends of runs that nobody heard for a trigger, because no daemon was there."""
    trigger = record.definition.workflow
    assert trigger is not None
    found: list[Happening] = []
    for number, run_id in await parts.events.ended_runs(record.watermark, trigger.name):
        run = parts.runs.record(RunId(run_id))
        if run is not None and concerns(trigger, run):
            found.append(of_run(run, number))
    return found


def _untold(entry: Entry, fire: Fire, news: list[expecting.Alarming]) -> list[expecting.Alarming]:
    """Leave out that a fire is late if that was told before it had a run, of which it is told once only."""
    return [one for one in news if one.kind != expecting.LATE or fire.key not in entry.late]


def _why_not(entry: Entry) -> str:
    return "a newer fire waits" if entry.record.is_enabled else "the schedule is disabled"
