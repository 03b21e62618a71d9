"""Move instants away from holidays, by whole days; what then falls together is one instant."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from barbossad.recurrence.zones import transition

MOST_DAYS: Final = 31
"""How far an instant is moved at most."""

_DAY: Final = timedelta(days=1)

IsHoliday = Callable[[date], bool]


def begin_ms(after_ms: int, zone: ZoneInfo, is_holiday: IsHoliday, *, is_forward: bool) -> int:
    """Return from where on instants may come to lie after another: forward, from the holidays just before it."""
    day = datetime.fromtimestamp(after_ms / 1000, zone).date()
    for _ in range(MOST_DAYS if is_forward else 0):
        if not is_holiday(day - _DAY):
            break
        day -= _DAY
    return _instant_ms(datetime.combine(day, datetime.min.time()), zone) - 1


def moved(found: Iterator[int], zone: ZoneInfo, is_holiday: IsHoliday, *, is_forward: bool) -> Iterator[int]:
    """Yield ascending instants in milliseconds, those on holidays on the nearest day that is none, each once.

    Days keep their order when they are moved. So all that follows an instant lies on the day that it is moved to, or
    later; and on a day of its own, after it, unless later holidays are moved back onto that day.
    """
    target = lru_cache(maxsize=64)(lambda day: _target(day, is_holiday, is_forward=is_forward))
    held: list[int] = []
    last: int | None = None
    for at_ms in found:
        local = datetime.fromtimestamp(at_ms / 1000, zone)
        day = target(local.date())
        midnight = datetime.combine(day, datetime.min.time())
        is_last_of_day = day == local.date() and (is_forward or target(day + _DAY) != day)
        heapq.heappush(held, at_ms if day == local.date() else _instant_ms(datetime.combine(day, local.time()), zone))
        bound = at_ms if is_last_of_day else _instant_ms(midnight, zone) - 1
        while held and held[0] <= bound:
            ready = heapq.heappop(held)
            if ready != last:
                yield ready
            last = ready
    for ready in sorted(set(held)):
        if ready != last:
            yield ready


def _target(day: date, is_holiday: IsHoliday, *, is_forward: bool) -> date:
    for _ in range(MOST_DAYS):
        if not is_holiday(day):
            break
        day += _DAY if is_forward else -_DAY
    return day


def _instant_ms(local: datetime, zone: ZoneInfo) -> int:
    """Return when the clocks show something: the first time, or right after the gap in which it lies."""
    there = local.replace(tzinfo=zone)
    early, late = there.timestamp(), there.replace(fold=1).timestamp()
    return round(early * 1000) if early <= late else transition(zone, late, early) * 1000
