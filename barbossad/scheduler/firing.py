"""Let a schedule fire: by the clock, by something that happened, by hand, and once more after a failure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from barbossad.errors import BarbossaError, ConflictError
from barbossad.model.schedules import CatchUp, Fire, FireState, Overlap
from barbossad.recurrence import instants
from barbossad.scheduler import expecting
from barbossad.scheduler import happening as happenings
from barbossad.scheduler.backlog import Backlog, Question, question
from barbossad.scheduler.book import Book, Entry, oldest
from barbossad.scheduler.due import GRACE_MS, Due, Passed
from barbossad.scheduler.happening import Happening
from barbossad.scheduler.overlap import Entry as Way
from barbossad.scheduler.overlap import admit
from barbossad.scheduler.parts import Parts
from barbossad.scheduler.starting import Starter
from barbossad.store.decisions import Decided
from barbossad.workflows import schedules as workflow_schedules


class Firing:
    """Decides on fires and has them recorded."""

    def __init__(self, parts: Parts, book: Book, starter: Starter, backlog: Backlog) -> None:
        self._parts = parts
        self._book = book
        self._starter = starter
        self._backlog = backlog

    async def by_time(self, entry: Entry) -> None:
        """Decide on every instant of a schedule that has come; if it has missed any, later."""
        now_ms = self._parts.clock.now_ms()
        if entry.coming is None:
            return
        if now_ms - entry.coming.due_ms > GRACE_MS:
            self._backlog.add(entry.record.id)
        else:
            await self._decide(entry, question(self._book, entry, now_ms).answer(), now_ms)

    async def missed(self, entry: Entry, asked: Question, answer: Due) -> None:
        """Decide on what a schedule has missed, as it was worked out; anew if it stands otherwise by now."""
        now_ms = self._parts.clock.now_ms()
        if self._book.entries.get(entry.record.id) is not entry or entry.coming is None:
            return
        if now_ms >= asked.at_ms and asked == question(self._book, entry, asked.at_ms):
            await self._decide(entry, answer, now_ms)
        elif entry.coming.due_ms <= now_ms:
            await self.by_time(entry)
        else:  # the clock was set back meanwhile, and its time is to come
            self._book.arm(entry)

    async def _decide(self, entry: Entry, decided: Due, now_ms: int) -> None:
        record = entry.record
        found = self._held(entry, decided, now_ms)
        passed = [of_stretch(record.id, stretch, entry.offset_ms, now_ms) for stretch in found.passed]
        if passed or not found.start:  # with where that ends: who comes after a crash must not count it again
            watermark = found.start[0] - 1 if found.start else found.watermark
            await self._let_pass(entry, passed, watermark)
            entry.record = replace(entry.record, watermark=watermark)
        for position, nominal_ms in enumerate(found.start):
            fire = of_instant(record.id, nominal_ms, entry.offset_ms, now_ms)
            watermark = found.watermark if nominal_ms == found.start[-1] else nominal_ms
            is_made_up_for = record.definition.catch_up is CatchUp.ALL and now_ms - fire.due_ms > GRACE_MS
            admission = admit(record.definition, entry.active, is_backlog=is_made_up_for or position > 0)
            await self._starter.enter(entry, fire, admission, watermark)
            entry.record = replace(entry.record, watermark=watermark)  # as it is recorded now
        self._book.decided(entry, found.watermark, found.following)

    async def _let_pass(self, entry: Entry, passed: list[Fire], up_to: int) -> None:
        """Record fires that are let pass; of a stretch that begins with one that was decided before, the rest.

        That is so after the clock was set back: what has fired by then is known by its instant.
        """
        watermark: int | None = up_to
        while passed or watermark is not None:
            known = await self._starter.record(entry, passed, watermark)
            for fire in passed:
                if fire.state is FireState.MISSED and fire.key not in known:
                    await self._starter.tell(entry, fire, expecting.unstarted(entry.record.definition, fire))
            passed = [rest for fire in passed if fire.key in known for rest in self._rest(entry, fire)]
            watermark = None

    async def by_event(self, entry: Entry, happening: Happening) -> None:
        """Let a trigger fire for something that happened."""
        await self._enter(entry, happening)
        if happening.number is not None:
            entry.record = replace(entry.record, watermark=happening.number)
        if happening.mark is not None:
            await self._parts.fires.decide([Decided(schedule=entry.record.id, mark=happening.mark)])
            entry.record = replace(entry.record, mark=happening.mark)

    async def put_off(self, entry: Entry, happening: Happening) -> None:
        """Have a trigger fire under the next daemon: this one starts nothing any more."""
        await self._enter(entry, happening, begins=False)

    async def _enter(self, entry: Entry, happening: Happening, *, begins: bool = True) -> None:
        now_ms = self._parts.clock.now_ms()
        fire = happenings.fire(entry.record.id, happening, None, now_ms)
        hold = self._book.hold_of(entry.record, now_ms)
        if hold is not None:
            fire = replace(fire, state=FireState.SKIPPED, reason=hold.words)
            await self._starter.record(entry, [fire], happening.number)
            return
        try:
            fire = replace(fire, params=self._params(entry, happening))
        except BarbossaError as error:
            await self._starter.refuse(entry, fire, f"its params cannot be made: {error}", happening.number)
            return
        admission = admit(entry.record.definition, entry.active)
        if not begins and admission.entry is not Way.SKIP:
            admission = replace(admission, entry=Way.QUEUE, reason="the daemon was stopping", cancelled=())
        await self._starter.enter(entry, fire, admission, happening.number)

    async def by_hand(self, entry: Entry, happening: Happening) -> Fire:
        """Fire because a person wants it. Raise ConflictError if it overlaps and must not."""
        admission = admit(entry.record.definition, entry.active)
        if admission.entry is Way.SKIP:
            raise ConflictError(f"schedule {entry.record.id} does not fire now: {admission.reason}")
        try:
            params = self._params(entry, happening)
        except BarbossaError as error:
            raise ConflictError(
                f"schedule {entry.record.id} takes its params from what happens, and nothing has ({error}); start the "
                f"workflow with params of your own: barbossactl start {entry.record.workflow} -p …"
            ) from error
        fire = happenings.fire(entry.record.id, happening, params, happening.at_ms)
        return await self._starter.enter(entry, fire, admission, None)

    async def again(self, entry: Entry, key: str) -> None:
        """Make another run of a fire whose run failed, unless an earlier daemon started a newer one in its place."""
        fire = next((fire for fire in entry.active if fire.key == key), None)
        if fire is None or fire.state is not FireState.RETRYING:
            return
        overlaps = entry.record.definition.overlap is Overlap.ALLOW
        if overlaps or oldest(entry.active, FireState.STARTED) is None:
            await self._starter.start(entry, fire)
        else:
            await self._starter.drop(entry, fire)

    def _params(self, entry: Entry, happening: Happening) -> Mapping[str, Any]:
        return workflow_schedules.render_params(entry.record.definition, happening.facts)

    def _held(self, entry: Entry, found: Due, now_ms: int) -> Due:
        """Return what is decided with nothing started, if the schedule is held."""
        hold = self._book.hold_of(entry.record, now_ms)
        if hold is None or not found.start:
            return found
        stretch = Passed(
            nominal_ms=found.start[0],
            until_ms=found.start[-1],
            count=len(found.start),
            state=FireState.SKIPPED,
            reason=hold.words,
        )
        return replace(found, start=(), passed=(*found.passed, stretch))

    def _rest(self, entry: Entry, fire: Fire) -> Iterator[Fire]:
        """Yield a stretch without its first fire, if there is more of it."""
        timing, until_ms = entry.record.definition.timing, fire.until_ms
        following = None if timing is None or until_ms is None else instants.next_instant(timing, fire.nominal_ms)
        if following is not None and until_ms is not None and following.at_ms <= until_ms:
            at_ms, count = following.at_ms, fire.count - 1
            yield replace(
                fire, key=str(at_ms), nominal_ms=at_ms, due_ms=at_ms + entry.offset_ms, count=max(count, 1),
                until_ms=until_ms if count > 1 else None,
            )  # fmt: skip


def of_instant(schedule: str, nominal_ms: int, offset_ms: int, now_ms: int) -> Fire:
    """Return the fire of a nominal instant, not yet decided: as if it had begun."""
    return Fire(
        schedule=schedule,
        key=str(nominal_ms),
        nominal_ms=nominal_ms,
        due_ms=nominal_ms + offset_ms,
        decided_at_ms=now_ms,
        state=FireState.STARTED,
    )


def of_stretch(schedule: str, stretch: Passed, offset_ms: int, now_ms: int) -> Fire:
    """Return the fires of a stretch that is let pass, as one."""
    until_ms = stretch.until_ms if stretch.count > 1 else None
    fire = of_instant(schedule, stretch.nominal_ms, offset_ms, now_ms)
    return replace(fire, state=stretch.state, reason=stretch.reason, count=stretch.count, until_ms=until_ms)
