"""Say when a cron expression fires, by other means than the product: sets of numbers, days, and a table of offsets."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import product
from zoneinfo import ZoneInfo

from barbossad.model.schedules import Dst

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_BOUNDS = [(0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 7)]
_EPOCH = date(1970, 1, 1)
_HOUR = 3600

Segment = tuple[int, int, int]
"""From, to (both UTC seconds) and the offset in between, in seconds."""


def fires(expression: str, zone: str, start_ms: int, end_ms: int, dst: Dst = Dst.ONCE) -> list[int]:
    """Return the instants after ``start_ms`` and before ``end_ms``, in milliseconds and in their order."""
    parts = expression.split()
    if len(parts) == 5:
        parts = ["0", *parts]
    seconds, minutes, hours, days, months, weekdays = map(numbers, parts, range(6))
    is_fixed = not any(part.startswith("*") for part in parts[:3])
    is_either = not (parts[3].startswith("*") or parts[5].startswith("*"))
    times = [hour * _HOUR + minute * 60 + second for hour, minute, second in product(hours, minutes, seconds)]
    weekdays = {day % 7 for day in weekdays}
    segments = offsets(zone, start_ms // 1000 - 3 * 86_400, end_ms // 1000 + 3 * 86_400)
    found: set[int] = set()
    first = datetime.fromtimestamp(start_ms / 1000, UTC).date() - timedelta(days=2)
    last = datetime.fromtimestamp(end_ms / 1000, UTC).date() + timedelta(days=2)
    day = first
    while day <= last:
        in_month, in_week = day.day in days, (day.weekday() + 1) % 7 in weekdays
        if day.month in months and (in_month or in_week if is_either else in_month and in_week):
            base = (day - _EPOCH).days * 86_400
            for time in times:
                found.update(_instants(base + time, segments, dst) if is_fixed else _all(base + time, segments))
        day += timedelta(days=1)
    return sorted(at * 1000 for at in found if start_ms < at * 1000 < end_ms)


def numbers(part: str, field: int) -> set[int]:
    """Return what a field means, counted from 0 for that of the seconds; of the days of the week 7 is 0 too."""
    least, most = _BOUNDS[field]
    names = {4: _MONTHS, 5: _DAYS}.get(field, [])
    found: set[int] = set()
    for item in part.lower().split(","):
        base, _, step = item.partition("/")
        if base in {"*", "?"}:
            first, last = least, 6 if field == 5 else most
        else:
            ends = [names.index(end) + least if end in names else int(end) for end in base.split("-")]
            first, last = ends[0], ends[-1]
            if len(ends) == 1 and step:
                last = 6 if field == 5 else most
        found.update(range(first, last + 1, int(step or 1)))
    return found


def _all(wall: int, segments: list[Segment]) -> Iterator[int]:
    """Yield every instant at which the clocks show this."""
    for begin, end, offset in _near(wall, segments):
        if begin <= wall - offset < end:
            yield wall - offset


def _instants(wall: int, segments: list[Segment], dst: Dst) -> list[int]:
    """Return what a fixed time stands for."""
    found = sorted(_all(wall, segments))
    if len(found) > 1:
        return {Dst.LAST: found[-1:], Dst.BOTH: found}.get(dst, found[:1])
    if found or dst is Dst.SKIP:
        return found
    return [begin for begin, _, offset in _near(wall, segments) if begin + offset > wall][:1]


def _near(wall: int, segments: list[Segment]) -> list[Segment]:
    place = bisect_right(segments, (wall - 30 * _HOUR, 0, 0))
    return [part for part in segments[max(0, place - 1) : place + 4] if part[0] < wall + 30 * _HOUR]


@lru_cache(maxsize=64)
def offsets(zone: str, start: int, end: int) -> list[Segment]:
    """Return the stretches of one offset, found by looking at every quarter of an hour."""
    known = ZoneInfo(zone)
    found: list[Segment] = []
    begin = at = start - start % 900
    offset = _offset(known, at)
    while at < end:
        at += 900
        new = _offset(known, at)
        if new != offset:
            found.append((begin, at, offset))
            begin, offset = at, new
    found.append((begin, end, offset))
    return found


def _offset(known: ZoneInfo, at: int) -> int:
    offset = datetime.fromtimestamp(at, known).utcoffset()
    assert offset is not None
    return int(offset.total_seconds())
