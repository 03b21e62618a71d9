"""The instants of a cron expression in a time zone, with the rule for clocks that change.

A fixed time of day that does not exist comes right after the gap, and one that comes twice comes once, unless ``dst``
says otherwise. Wildcards follow real time: in a repeated hour they come in both passes, in a missing one not at all.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from barbossad.model.schedules import Dst
from barbossad.recurrence.cron import Cron
from barbossad.recurrence.moments import LATEST_MS
from barbossad.recurrence.zones import first_change, offset_seconds, transition

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=None)  # noqa: DTZ001 (a wall time)
LARGEST_SHIFT: Final = 26 * 3600
"""Seconds. Zones have skipped a whole day (Apia, 2011); nobody has shifted more."""

_LATEST: Final = LATEST_MS / 1000


def instants(cron: Cron, zone: ZoneInfo, dst: Dst, after_ms: int) -> Iterator[int]:
    """Yield the instants after another, in milliseconds; each is later than the one before."""
    after = after_ms / 1000
    found = _fixed(cron, zone, dst, after) if cron.is_fixed else _wild(cron, zone, after)
    last = after
    for instant in found:
        if instant >= _LATEST:
            return
        if instant > last:
            last = instant
            yield round(instant * 1000)


# -- wildcards -----------------------------------------------------------------------------------------------


def _wild(cron: Cron, zone: ZoneInfo, after: float) -> Iterator[float]:
    now = after
    offset = offset_seconds(zone, now)
    local = now + offset
    while (wall := cron.after(local)) is not None:
        instant = wall - offset
        if instant >= _LATEST:
            return
        change = first_change(zone, now, instant)
        if change is None:
            yield instant
            now, local = instant, wall
        else:  # the clocks change on the way: go on from there, with what they show then
            now = change
            offset = offset_seconds(zone, now)
            local = now + offset - 1


# -- fixed times of day --------------------------------------------------------------------------------------


def _fixed(cron: Cron, zone: ZoneInfo, dst: Dst, after: float) -> Iterator[float]:
    """Yield instants in their order; some may be told twice, and some lie before ``after``."""
    early = after - LARGEST_SHIFT
    if len({offset_seconds(zone, instant) for instant in (early, after, after + LARGEST_SHIFT)}) == 1:
        early = after  # no change is near: no earlier wall time stands for a later instant
    wall = cron.after(early + offset_seconds(zone, early))
    held: list[float] = []  # those of wall times that come twice may lie behind those of later wall times
    while wall is not None:
        begin, own = _of_wall(wall, zone, dst)
        while held and held[0] <= begin:
            yield heapq.heappop(held)
        if own == [begin] and not held:
            yield begin
        else:
            for instant in own:
                heapq.heappush(held, instant)
        wall = cron.after(wall)
    yield from sorted(held)


def _of_wall(wall: float, zone: ZoneInfo, dst: Dst) -> tuple[float, list[float]]:
    """Return the first instant that a wall time may stand for, and those that it does stand for."""
    local = (_EPOCH + timedelta(seconds=wall)).replace(tzinfo=zone)
    early = wall - _offset(local)
    late = wall - _offset(local.replace(fold=1))
    if early == late:
        return early, [early]
    if early < late:  # it comes twice
        return early, {Dst.LAST: [late], Dst.BOTH: [early, late]}.get(dst, [early])
    gap_end = float(transition(zone, late, early))  # it does not come: read with either offset, it lies around the gap
    return gap_end, [] if dst is Dst.SKIP else [gap_end]


def _offset(local: datetime) -> float:
    offset = local.utcoffset()
    assert offset is not None
    return offset.total_seconds()
