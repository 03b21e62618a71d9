"""How many instants of a cron expression lie in a span, reckoned by days: a month may have very many.

Only where the clocks change they are gone through one by one, so that the rule for that stands in one place.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import islice, takewhile
from typing import Final
from zoneinfo import ZoneInfo

from barbossad.model.schedules import Dst
from barbossad.recurrence import cron as crons
from barbossad.recurrence import walltime
from barbossad.recurrence.cron import Cron
from barbossad.recurrence.fields import meaning
from barbossad.recurrence.zones import first_change, offset_seconds

_DAY: Final = 86_400
"""Seconds."""


def count(cron: Cron, zone: ZoneInfo, dst: Dst, after_ms: int, until_ms: int, *, most: int) -> int:
    """Return how many instants lie after one and up to another; ``most`` if there are more."""
    found, now_ms = 0, after_ms
    for change in _changes(zone, after_ms, until_ms):
        begin_ms, end_ms = (min(max(at_ms, now_ms), until_ms) for at_ms in change)
        found += _reckoned(cron, zone, now_ms, begin_ms, most - found)
        found += _gone_through(walltime.instants(cron, zone, dst, begin_ms), end_ms, most - found)
        now_ms = end_ms
    return min(found + _reckoned(cron, zone, now_ms, until_ms, most - found), most)


def _gone_through(found: Iterator[int], until_ms: int, most: int) -> int:
    return sum(1 for _ in islice(takewhile(lambda at_ms: at_ms <= until_ms, found), max(most, 0)))


def _changes(zone: ZoneInfo, after_ms: int, until_ms: int) -> Iterator[tuple[int, int]]:
    """Yield from when to when wall times are missing, come twice, or stand for another instant. In milliseconds."""
    at, until = after_ms / 1000 - walltime.LARGEST_SHIFT, until_ms / 1000 + walltime.LARGEST_SHIFT
    while (change := first_change(zone, at, until)) is not None:
        shift = abs(offset_seconds(zone, change) - offset_seconds(zone, change - 1))
        yield (change - shift - 1) * 1000, (change + shift) * 1000
        at = float(change)


def _reckoned(cron: Cron, zone: ZoneInfo, after_ms: int, until_ms: int, most: int) -> int:
    """Return how many wall times come between two instants, where the clocks do not change."""
    if after_ms >= until_ms or most <= 0:
        return 0
    offset = offset_seconds(zone, after_ms / 1000)
    after, until = (math.floor(at_ms / 1000) + offset for at_ms in (after_ms, until_ms))
    days, times = crons.parse(" ".join(("0", "0", *(part for _, part in cron.fields[-3:])))), _Times(cron)
    found, midnight = 0, days.after(after // _DAY * _DAY - 1)
    while midnight is not None and midnight <= until and found < most:
        found += times.up_to(until - int(midnight)) - times.up_to(after - int(midnight))
        midnight = days.after(midnight)
    return found


class _Times:
    """The times of day of an expression."""

    def __init__(self, cron: Cron) -> None:
        *seconds, self._minutes, self._hours = (meaning(*said)[0] for said in cron.fields[:-3])
        self._seconds = seconds[0] if seconds else [0]

    def up_to(self, second: int) -> int:
        """Return how many of them come up to a second of the day, or one before or after the day."""
        hour, rest = divmod(second, 3600)
        minute, second = divmod(rest, 60)
        hours, minutes = bisect_left(self._hours, hour), bisect_left(self._minutes, minute)
        found = hours * len(self._minutes) * len(self._seconds)
        if hour in self._hours:
            found += minutes * len(self._seconds)
            if minute in self._minutes:
                found += bisect_right(self._seconds, second)
        return found
