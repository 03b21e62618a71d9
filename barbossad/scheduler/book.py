"""What the scheduler knows: schedules, their next instants, their fires that are not over, and when to look again."""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import IntEnum
from itertools import count

from barbossad.errors import ConflictError, NotFoundError
from barbossad.model.holds import Hold
from barbossad.model.names import WorkflowName
from barbossad.model.schedules import (
    FIRE_ACTIVE,
    TIME_KINDS,
    Fire,
    FireState,
    ScheduleDefinition,
    ScheduleKind,
    ScheduleRecord,
    ScheduleSource,
    Timing,
)
from barbossad.recurrence import instants, jitter
from barbossad.recurrence.instants import Instant
from barbossad.scheduler.due import Held
from barbossad.validation import proposal


@dataclass(frozen=True, slots=True, kw_only=True)
class Coming:
    """The next fire of a schedule by time."""

    nominal_ms: int
    due_ms: int
    skip: str | None = None
    """Why it will be let pass, if it will."""


@dataclass(slots=True)
class Entry:
    """A schedule, its next fire, and its fires that are not over, oldest first."""

    record: ScheduleRecord
    offset_ms: int = 0
    coming: Coming | None = None
    active: list[Fire] = field(default_factory=list)
    late: set[str] = field(default_factory=set)
    """Keys of those that were told to be late before they had a run."""

    moved_ms: dict[str, int] = field(default_factory=dict)
    """By how much the clock was set while their newest run went on, by their keys."""

    waited_ms: dict[str, int] = field(default_factory=dict)
    """By how much it was set while they were due and had not begun."""

    def by_real_time(self, fire: Fire) -> Fire:
        """Return a fire as if it had been due so long before its beginning as it really waited."""
        return replace(fire, due_ms=fire.due_ms + self.waited_ms.get(fire.key, 0))

    def keep(self, fire: Fire) -> None:
        """Take a fire over as it now is."""
        self.active = [other for other in self.active if other.key != fire.key]
        if fire.state in FIRE_ACTIVE:
            self.active.append(fire)
            self.active.sort(key=lambda other: (other.nominal_ms, other.key))
        else:
            self.waited_ms.pop(fire.key, None)

    def with_run(self, run_id: str) -> Fire | None:
        """Return the fire whose newest run this is, if it goes on."""
        return next((f for f in self.active if f.run_id == run_id and f.state is FireState.STARTED), None)


class Why(IntEnum):
    """What there is to look at, first things first."""

    DUE = 0
    """The next instant of a schedule has come."""

    RETRY = 1
    """A fire is to be tried again."""

    LATER = 2
    """Something that happened is to be followed by a fire now."""

    EXPECT = 3
    """Something should have happened by now."""


Wake = tuple[int, Why, int, str, str]
"""When to look, at what, a number that keeps the order, the id of the schedule, and the key of the fire."""


@dataclass(frozen=True, slots=True)
class _Holds:
    """The holds that cover a schedule with a jitter. Two are equal if they say the same."""

    covering: tuple[Hold, ...]
    offset_ms: int

    def __call__(self, nominal_ms: int) -> str | None:
        """See ``Held``."""
        due_ms = nominal_ms + self.offset_ms
        return next((hold.words for hold in self.covering if hold.holds_at(due_ms)), None)


class Book:
    """All schedules. Nothing in here waits or is stored."""

    def __init__(self, host: str = "") -> None:
        self._host = host
        self.entries: dict[str, Entry] = {}
        self.holds: dict[str, Hold] = {}
        self._of: defaultdict[str, dict[str, Entry]] = defaultdict(dict)
        self._after: dict[str, Entry] = {}
        self._leaving: dict[str, Entry] = {}
        self._wakes: list[Wake] = []
        self._numbers = count()

    # -- schedules -----------------------------------------------------------------------------------------

    def put(self, record: ScheduleRecord) -> Entry:
        """Take a schedule over as it now is; its fires stay. What comes next of it is found by ``arm``."""
        entry = self.entries.get(record.id)
        if entry is None:
            entry = self.entries[record.id] = self._of[record.workflow][record.id] = Entry(record)
        entry.record = record
        entry.offset_ms = jitter.offset_ms(record.id, record.definition.jitter_seconds, self._host)
        self._after.pop(record.id, None)
        if record.definition.workflow is not None:
            self._after[record.id] = entry
        return entry

    def forget(self, schedule: str) -> None:
        """Let go of a schedule; its wakes are passed over. While runs of it go on, it is remembered for their end."""
        entry = self.entries.pop(schedule, None)
        self._after.pop(schedule, None)
        if entry is not None:
            self._of[entry.record.workflow].pop(schedule, None)
            entry.record = replace(entry.record, is_enabled=False)
            entry.active = [fire for fire in entry.active if fire.state is FireState.STARTED]
            if entry.active:
                self._leaving[schedule] = entry

    def keep_leaving(self, fire: Fire) -> None:
        """Remember a fire of a schedule that there is no longer."""
        entry = self._leaving.setdefault(fire.schedule, Entry(_gone(fire)))
        entry.keep(fire)

    def known(self, schedule: str) -> Entry | None:
        """Return a schedule, also one that there is no longer but for the runs that it started."""
        leaving = self._leaving.get(schedule)
        if leaving is not None and not leaving.active:
            del self._leaving[schedule]
            leaving = None
        return leaving or self.entries.get(schedule)

    def after_runs(self) -> list[Entry]:
        """Return the schedules that fire when runs of other workflows end, and are enabled."""
        return [entry for entry in self._after.values() if entry.record.is_enabled]

    def with_fires(self) -> list[Entry]:
        """Return the schedules that have fires which are not over, also those that there are no longer."""
        return [entry for entry in (*self.entries.values(), *self._leaving.values()) if entry.active]

    def records(self) -> list[ScheduleRecord]:
        """Return every schedule, by id."""
        return [self.entries[schedule].record for schedule in sorted(self.entries)]

    def of(self, workflow: str) -> list[Entry]:
        """Return the schedules of a workflow, by id."""
        found = self._of.get(workflow, {})
        return [found[schedule] for schedule in sorted(found)]

    def find(self, name: str) -> Entry:
        """Return the schedule with an id, or the only one of a workflow.

        Raise NotFoundError with the nearest known name, or ConflictError that names those of the workflow.
        """
        found = self.entries.get(name)
        if found is not None:
            return found
        of = self.of(name)
        if len(of) == 1:
            return of[0]
        if of:
            names = ", ".join(entry.record.id for entry in of)
            raise ConflictError(f"workflow {name!r} has {len(of)} schedules; name one of them: {names}")
        hint = proposal(name, self.entries, noun="schedules") if self.entries else "there is none yet"
        raise NotFoundError("schedule", name, hint)

    def hold_of(self, record: ScheduleRecord, at_ms: int) -> Hold | None:
        """Return what holds a schedule at an instant, if anything does; of several the one that ends last."""
        found = [hold for hold in self.holds.values() if not hold.is_over(at_ms) and hold.covers(record.labels)]
        return max(found, key=lambda hold: math.inf if hold.until_ms is None else hold.until_ms, default=None)

    def held(self, entry: Entry) -> Held | None:
        """Return what says of a nominal instant why it was held when it was due; None if no hold covers the schedule.

        That is asked of instants that have passed: the hold may have ended since, and no daemon been there.
        """
        covering = tuple(hold for hold in self.holds.values() if hold.covers(entry.record.labels))
        return _Holds(covering, entry.offset_ms) if covering else None

    # -- time ----------------------------------------------------------------------------------------------

    def arm(self, entry: Entry, following: Instant | None = None) -> None:
        """Find the next instant of a schedule after its watermark, if it is not known, and wake for it."""
        record = entry.record
        entry.coming = None
        if record.definition.kind not in TIME_KINDS or not record.is_enabled:
            return
        assert record.definition.timing is not None
        found = following or instants.next_instant(record.definition.timing, record.watermark)
        if found is not None:
            due_ms = found.at_ms + entry.offset_ms
            entry.coming = Coming(nominal_ms=found.at_ms, due_ms=due_ms, skip=found.skip)
            self.wake_at(due_ms, Why.DUE, record.id)

    def look_again(self, entry: Entry) -> None:
        """Find the next instant anew, and wake for it if it is another: the rules of its zone may have changed."""
        timing, coming = entry.record.definition.timing, entry.coming
        if timing is not None and coming is not None:
            found = instants.next_instant(timing, entry.record.watermark)
            if found is None or found.at_ms != coming.nominal_ms:
                self.arm(entry, found)

    def decided(self, entry: Entry, watermark: int, following: Instant | None = None) -> None:
        """Note that what lies up to ``watermark`` is decided, and wake for what follows."""
        entry.record = replace(entry.record, watermark=watermark)
        self.arm(entry, following)

    def wake_at(self, at_ms: int, why: Why, schedule: str, key: str = "") -> None:
        """Look at something at an instant."""
        heapq.heappush(self._wakes, (at_ms, why, next(self._numbers), schedule, key))

    @property
    def first_ms(self) -> int | None:
        """When there is something to look at next; None: never."""
        while self._wakes and not self._is_valid(self._wakes[0]):
            heapq.heappop(self._wakes)
        return self._wakes[0][0] if self._wakes else None

    def take(self, now_ms: int) -> Iterator[tuple[Why, Entry, str]]:
        """Yield what there is to look at by now, and forget it."""
        while self._wakes and self._wakes[0][0] <= now_ms:
            wake = heapq.heappop(self._wakes)
            if self._is_valid(wake):
                yield wake[1], self.entries[wake[3]], wake[4]

    def _is_valid(self, wake: Wake) -> bool:
        at_ms, why, _, schedule, key = wake
        entry = self.entries.get(schedule)
        if entry is None:
            return False
        if why is Why.DUE:
            return entry.coming is not None and entry.coming.due_ms == at_ms
        if why is Why.RETRY:
            return any(fire.key == key and fire.retry_at_ms == at_ms for fire in entry.active)
        return True


def _gone(fire: Fire) -> ScheduleRecord:
    """Return what stands for a schedule that there is no longer."""
    workflow, _, name = fire.schedule.partition("/")
    return ScheduleRecord(
        id=fire.schedule,
        workflow=WorkflowName(workflow),
        definition=ScheduleDefinition(name=name, kind=ScheduleKind.AT, timing=Timing()),
        source=ScheduleSource.ADDED,
        is_enabled=False,
        watermark=fire.nominal_ms,
        added_at_ms=fire.nominal_ms,
        added_by="",
    )


def oldest(fires: Iterable[Fire], state: FireState) -> Fire | None:
    """Return the first of some fires, oldest first, that is in a state."""
    return next((fire for fire in fires if fire.state is state), None)
