"""Decide which fires of a schedule by time are due, which were missed and which are let pass. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice, takewhile
from typing import Final

from barbossad.model.schedules import CatchUp, FireState, ScheduleDefinition, Timing
from barbossad.recurrence import instants
from barbossad.recurrence.instants import Instant
from barbossad.units import format_duration

GRACE_MS: Final = 60_000
"""A fire that is later than this was missed; whether it is run all the same is up to ``catch_up``."""

COUNTED: Final = 10_000
"""Missed fires are counted up to here."""

_STEPS_MS: Final = (2 * GRACE_MS, 3_600_000, 86_400_000, 31 * 86_400_000, 366 * 86_400_000)
"""How far back the newest instants are looked for: a schedule that fires every second has many in a year."""


Held = Callable[[int], str | None]
"""From a nominal instant to why it was held when it was due, None if it was not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """Fires that are let pass for one reason: ``count`` of them from ``nominal_ms`` to ``until_ms``."""

    nominal_ms: int
    until_ms: int
    count: int
    state: FireState
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """What a schedule does now."""

    start: tuple[int, ...] = ()
    """Nominal instants that are to be run, oldest first."""

    passed: tuple[Passed, ...] = ()
    watermark: int
    """The newest nominal instant that is decided by this."""

    following: Instant | None = None
    """The one after that, where it was found on the way."""


def due(schedule: ScheduleDefinition, offset_ms: int, last: int, now_ms: int, *, held: Held | None = None) -> Due:
    """Return what becomes of every nominal instant after ``last`` whose time has come.

    ``offset_ms`` is the schedule's jitter: an instant is due so long after its nominal time. ``held`` says why one
    was held then, if a hold covers the schedule.
    """
    timing = schedule.timing
    assert timing is not None
    until = now_ms - offset_ms
    coming = _Coming(timing, held, until)
    usual = _usual(coming, last, until)
    if usual is not None:
        return usual
    found = _newest(coming, last, until, _wanted(schedule), _window_ms(schedule))
    if not found:
        return Due(watermark=last)
    wanted = [instant.at_ms for instant in found if instant.skip is None]
    start = _chosen(schedule, wanted, until)
    missed = {at: _why_missed(schedule, at, start, until) for at in wanted if at not in set(start)}
    passed = _before(coming, last, found[0].at_ms, lambda at: _why_missed(schedule, at, start, until))
    for instant in found:
        if instant.skip is not None:
            _add(passed, instant.at_ms, FireState.SKIPPED, instant.skip)
        elif instant.at_ms in missed:
            _add(passed, instant.at_ms, FireState.MISSED, missed[instant.at_ms])
    return Due(start=start, passed=tuple(passed), watermark=found[-1].at_ms)


def passed_over(schedule: ScheduleDefinition, offset_ms: int, last: int, now_ms: int, *, reason: str) -> Due:
    """Return that every nominal instant after ``last`` whose time has come is let pass, for a reason."""
    assert schedule.timing is not None
    until = now_ms - offset_ms
    if until <= last:
        return Due(watermark=last)
    passed = _before(_Coming(schedule.timing, None, until), last, until + 1, lambda _at: reason)
    return Due(passed=tuple(passed), watermark=until)


@dataclass(frozen=True, slots=True)
class _Coming:
    """The instants of a schedule; those up to ``until`` say why they are let pass also if they were held."""

    timing: Timing
    held: Held | None
    until: int

    def after(self, at_ms: int) -> Iterator[Instant]:
        for instant in instants.instants(self.timing, at_ms):
            if self.held is not None and instant.skip is None and instant.at_ms <= self.until:
                yield replace(instant, skip=self.held(instant.at_ms))
            else:
                yield instant

    @property
    def may_skip(self) -> bool:
        return bool(self.timing.blackout or self.timing.holidays or self.held)


def _usual(coming: _Coming, last: int, until: int) -> Due | None:
    """Return what is decided if one instant has come, in time, or none; None if it is more than that."""
    found = coming.after(last)
    first = next(found, None)
    if first is None or first.at_ms > until:
        return Due(watermark=last, following=first)
    following = next(found, None)
    if until - first.at_ms > GRACE_MS or (following is not None and following.at_ms <= until):
        return None
    if first.skip is None:
        return Due(start=(first.at_ms,), watermark=first.at_ms, following=following)
    passed: list[Passed] = []
    _add(passed, first.at_ms, FireState.SKIPPED, first.skip)
    return Due(passed=tuple(passed), watermark=first.at_ms, following=following)


def _wanted(schedule: ScheduleDefinition) -> int:
    """Return how many of the newest instants have to be looked at one by one."""
    return schedule.catch_up_limit if schedule.catch_up is CatchUp.ALL else 1


def _window_ms(schedule: ScheduleDefinition) -> int:
    """Return how old an instant may be that is run."""
    if schedule.catch_up is CatchUp.NONE:
        return GRACE_MS
    return max(round(schedule.catch_up_window_seconds * 1000), GRACE_MS)


def _newest(coming: _Coming, after: int, until: int, count: int, window_ms: int) -> list[Instant]:
    """Return the newest instants after ``after``, up to ``until``, if there are any.

    At least ``count`` of them are not let pass, unless older ones are too old to be run.
    """
    whole_window = window_ms + 1  # the oldest that may be run belongs to it
    for step in (*sorted({*_STEPS_MS, whole_window} - {window_ms}), until - after):
        start = max(after, until - step)
        found = list(takewhile(lambda instant: instant.at_ms <= until, coming.after(start)))
        if start == after or (found and step >= whole_window):
            return found
        if sum(1 for instant in found if instant.skip is None) >= count:
            return found
    return []


def _chosen(schedule: ScheduleDefinition, wanted: list[int], until: int) -> tuple[int, ...]:
    """Return which of the instants are run."""
    recent = [at for at in wanted if until - at <= _window_ms(schedule)]
    return tuple(recent[-_wanted(schedule) :])


def _why_missed(schedule: ScheduleDefinition, at: int, start: tuple[int, ...], until: int) -> str:
    if until - at <= GRACE_MS and start and schedule.catch_up is not CatchUp.ALL:
        return "the next one was due before it could be made, and makes up for it"
    if schedule.catch_up is CatchUp.NONE:
        return "nothing was there to run it in time, and catch_up is none"
    window = schedule.catch_up_window_seconds
    if until - at > max(round(window * 1000), GRACE_MS):
        return f"it was missed by more than the catch_up_window of {format_duration(window)}"
    if schedule.catch_up is CatchUp.LAST and start:
        return "it was missed, and a later fire makes up for it (catch_up: last)"
    return f"more were missed than catch_up_limit: {schedule.catch_up_limit} allows"


def _before(coming: _Coming, last: int, first: int, why: Callable[[int], str]) -> list[Passed]:
    """Return what lies before the instants that are looked at one by one: ``COUNTED`` of them at most are told."""
    passed: list[Passed] = []
    if coming.may_skip:
        earlier = takewhile(lambda instant: instant.at_ms < first, coming.after(last))
        for instant in islice(earlier, COUNTED):
            if instant.skip is not None:
                _add(passed, instant.at_ms, FireState.SKIPPED, instant.skip)
            else:
                _add(passed, instant.at_ms, FireState.MISSED, why(instant.at_ms))
        return passed
    count = instants.count_between(coming.timing, last, first - 1, COUNTED)
    if not count:
        return passed
    at = next(coming.after(last)).at_ms
    reason = why(at)
    if count >= COUNTED:
        reason = f"{reason}; there were more than are counted"
    return [Passed(nominal_ms=at, until_ms=first - 1, count=count, state=FireState.MISSED, reason=reason)]


def _add(passed: list[Passed], at: int, state: FireState, reason: str) -> None:
    """Add an instant, to the stretch before it if that has the same reason."""
    last = passed[-1] if passed else None
    if last is not None and (last.state, last.reason) == (state, reason):
        passed[-1] = Passed(nominal_ms=last.nominal_ms, until_ms=at, count=last.count + 1, state=state, reason=reason)
    else:
        passed.append(Passed(nominal_ms=at, until_ms=at, count=1, state=state, reason=reason))
