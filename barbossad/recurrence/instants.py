"""The nominal instants of a schedule by time, with all that its definition says of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import islice, takewhile
from typing import Final
from zoneinfo import ZoneInfo

from barbossad.model.schedules import OnHoliday, Timing
from barbossad.recurrence import counting, cron, holidays, moving, walltime
from barbossad.recurrence.moments import EARLIEST_MS, LATEST_MS
from barbossad.recurrence.windows import Window, parse_window
from barbossad.recurrence.zones import transition, zone

_MOST_OPENINGS: Final = 5000
"""If windows have opened so often without an instant in them, none will come: so many days are thirteen years."""

_LONGEST_WAIT_MS: Final = 400 * 366 * 86_400_000
"""Of seldom instants: after 400 years days have the same dates and names as before."""

_MOST_DAYS: Final = 9 * 366
"""If no window opens in so many days, none does: the 29th of February may be eight years away."""


@dataclass(frozen=True, slots=True)
class Instant:
    """A nominal instant; ``skip`` says why it is let pass, if it is."""

    at_ms: int
    skip: str | None = None


def instants(timing: Timing, after_ms: int) -> Iterator[Instant]:
    """Yield the instants after another, each later than the one before, within the years that can be told."""
    after_ms = max(after_ms, EARLIEST_MS if timing.start_ms is None else timing.start_ms - 1)
    if after_ms >= LATEST_MS:
        return iter(())
    if not (timing.within or timing.blackout or timing.holidays):
        found: Iterator[Instant] = map(Instant, _base(timing, after_ms))
    elif timing.holidays is not None and timing.on_holiday is not OnHoliday.SKIP:
        found = _marked(timing, after_ms, _moved)
    else:
        found = _marked(timing, after_ms, _base)
    if timing.end_ms is None:
        return found
    end_ms = timing.end_ms
    return takewhile(lambda instant: instant.at_ms < end_ms, found)


def next_instant(timing: Timing, after_ms: int) -> Instant | None:
    """Return the next instant after another, None if there is none."""
    return next(iter(instants(timing, after_ms)), None)


def next_outside(timing: Timing, after_ms: int) -> int | None:
    """Return the next instant after another that lies in no blackout, None if none does; holidays are left aside."""
    blackout = [parse_window(text) for text in timing.blackout]
    if timing.start_ms is not None:
        after_ms = max(after_ms, timing.start_ms - 1)
    found = next(_open(timing, after_ms, _base, blackout), None)
    return None if found is None or (timing.end_ms is not None and found[0] >= timing.end_ms) else found[0]


def count_between(timing: Timing, after_ms: int, until_ms: int, most: int) -> int:
    """Return how many instants lie after one instant and up to another; ``most`` if there are more."""
    after_ms = max(after_ms, EARLIEST_MS if timing.start_ms is None else timing.start_ms - 1)
    until_ms = min(until_ms, (LATEST_MS if timing.end_ms is None else timing.end_ms) - 1)
    if until_ms <= after_ms:
        return 0
    if not (timing.within or timing.blackout or timing.holidays):
        if timing.every_ms is not None:
            first, last = ((at - timing.anchor_ms) // timing.every_ms for at in (after_ms, until_ms))
            return min(last - first, most)
        if timing.cron is not None:
            expression, known = cron.parse(timing.cron), zone(timing.timezone)
            return counting.count(expression, known, timing.dst, after_ms, until_ms, most=most)
    found = takewhile(lambda instant: instant.at_ms <= until_ms, instants(timing, after_ms))
    return sum(1 for _ in islice(found, most))


# -- what the definition begins with -------------------------------------------------------------------------


def _base(timing: Timing, after_ms: int) -> Iterator[int]:
    if after_ms >= LATEST_MS:  # also where a window opens only then
        return iter(())
    if timing.cron is not None:
        return walltime.instants(cron.parse(timing.cron), zone(timing.timezone), timing.dst, after_ms)
    if timing.every_ms is not None:
        return _every(timing.every_ms, timing.anchor_ms, after_ms)
    return (at_ms for at_ms in sorted(set(timing.at_ms)) if at_ms > after_ms)


def _every(every_ms: int, anchor_ms: int, after_ms: int) -> Iterator[int]:
    at_ms = after_ms - (after_ms - anchor_ms) % every_ms + every_ms
    while at_ms < LATEST_MS:
        yield at_ms
        at_ms += every_ms


# -- windows and holidays ------------------------------------------------------------------------------------


def _marked(timing: Timing, after_ms: int, make: Callable[[Timing, int], Iterator[int]]) -> Iterator[Instant]:
    """Leave out what lies outside of the windows, and mark what is let pass. ``make`` gives the instants after one."""
    blackout = [parse_window(text) for text in timing.blackout]
    is_skipping = timing.on_holiday is OnHoliday.SKIP
    for at_ms, local in _open(timing, after_ms, make, ()):
        yield Instant(at_ms, _why_not(timing, blackout, local, is_skipping=is_skipping))


def _open(
    timing: Timing, after_ms: int, make: Callable[[Timing, int], Iterator[int]], closed: Sequence[Window]
) -> Iterator[tuple[int, datetime]]:
    """Yield the instants within the windows and outside of those that are closed, with the wall time of each."""
    within = [parse_window(text) for text in timing.within]
    known = zone(timing.timezone)
    seconds = sorted({0, *(window.begin_second for window in within), *(window.end_second for window in closed)})

    def is_open(local: datetime) -> bool:
        is_within = not within or any(window.covers(local) for window in within)
        return is_within and not any(window.covers(local) for window in closed)

    found = make(timing, after_ms)
    in_vain, last_ms = 0, after_ms
    while (at_ms := next(found, None)) is not None:
        local = datetime.fromtimestamp(at_ms / 1000, known)
        if is_open(local):
            in_vain, last_ms = 0, at_ms
            yield at_ms, local
            continue
        in_vain += 1
        opening_ms = _next_opening(is_open, within, seconds, local, known)
        again_ms = _again(local, known)
        if again_ms is not None:
            opening_ms = again_ms if opening_ms is None else min(opening_ms, again_ms)
        if opening_ms is None or in_vain > _MOST_OPENINGS or at_ms - last_ms > _LONGEST_WAIT_MS:
            return
        if opening_ms - 1 > at_ms:  # what lies between may be very many
            found = make(timing, opening_ms - 1)


def _again(local: datetime, known: ZoneInfo) -> int | None:
    """Return when the clocks go back to before a wall time that they show for the first of two times; else None."""
    early, late = local.timestamp(), local.replace(fold=1).timestamp()
    return transition(known, early, late) * 1000 if not local.fold and early < late else None


def _next_opening(
    is_open: Callable[[datetime], bool],
    within: Sequence[Window],
    seconds: Sequence[int],
    local: datetime,
    known: ZoneInfo,
) -> int | None:
    """Return when it is open next after a wall time at which it is not, or a little before; None if not for long.

    ``seconds`` are the times of day at which that may change.
    """
    now = local.replace(tzinfo=None)
    day, most = local.date(), local.date() + timedelta(days=_MOST_DAYS)
    while day < most:
        if within:
            days = [found for window in within if (found := window.next_day(day)) is not None and found < most]
            if not days:
                return None
            day = min(days)
        midnight = datetime.combine(day, datetime.min.time())
        for second in seconds:
            opening = midnight + timedelta(seconds=second)
            if opening > now and is_open(opening):
                there = opening.replace(tzinfo=known)
                return round(min(there.timestamp(), there.replace(fold=1).timestamp()) * 1000)
        day += timedelta(days=1)
    return None


def _why_not(timing: Timing, blackout: Sequence[Window], local: datetime, *, is_skipping: bool) -> str | None:
    for window in blackout:
        if window.covers(local):
            return f"blackout {window.text}"
    if is_skipping and timing.holidays is not None:
        name = holidays.name_of(timing.holidays, local.date(), zone(timing.timezone))
        return f"holiday: {name}" if name else None
    return None


def _moved(timing: Timing, after_ms: int) -> Iterator[int]:
    days, known = timing.holidays, zone(timing.timezone)
    assert days is not None
    is_forward = timing.on_holiday is OnHoliday.AFTER

    def is_holiday(day: date) -> bool:
        return holidays.name_of(days, day, known) is not None

    begin_ms = moving.begin_ms(after_ms, known, is_holiday, is_forward=is_forward)
    found = moving.moved(_base(timing, begin_ms), known, is_holiday, is_forward=is_forward)
    return (at_ms for at_ms in found if at_ms > after_ms)
