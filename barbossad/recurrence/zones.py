"""Time zones by their IANA names, that of the host, and when their clocks change."""

from __future__ import annotations

import os
import re
import zoneinfo
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from barbossad.validation import RefusalError, nearest, shown

_OFFSET: Final = re.compile(r"(?:UTC|GMT)?[+-]\d", flags=re.IGNORECASE)
_LOCALTIME: Final = "/etc/localtime"
_NAMED: Final = "/etc/timezone"
_ZONE_FOLDER: Final = "zoneinfo/"
_STEP_SECONDS: Final = 7 * 86_400
"""Clocks change at most once in it: what is put off and on again within a week would not be seen."""

_LOOKED_AHEAD_SECONDS: Final = 5 * 366 * 86_400
"""A zone that does not change its clocks in five years does so no more."""


@lru_cache(maxsize=256)
def zone(name: str) -> ZoneInfo:
    """Return a zone. Raise RefusalError with the nearest known name."""
    try:
        found = ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        found = None
    if found is None or not _is_canonical(name):
        known = {other for other in zoneinfo.available_timezones() if _is_canonical(other)}
        close = nearest(name, known) if name else None
        hint = f"did you mean {close!r}?" if close else "write an IANA name such as Europe/London or UTC"
        if _OFFSET.match(name):  # what is near to it is another offset
            hint = "an offset knows no summer time; write the name of a place, such as Europe/London"
        raise RefusalError(f"is not a time zone: {shown(name)}", hint)
    return found


def read_again() -> None:
    """Forget the rules of zones that were read: those of the host may have been updated since."""
    zone.cache_clear()
    ZoneInfo.clear_cache()


def _is_canonical(name: str) -> bool:
    """Say whether it is the name of a zone, not of another file that stands among them."""
    return name not in {"localtime", "posixrules", "Factory"} and not name.startswith(("right/", "posix/"))


def host_zone() -> str:
    """Return the zone of this host; UTC if nothing names one.

    It is that of TZ, or else of /etc/localtime, which is what cron, systemd and the C library go by. Where that is no
    link it has no name, and /etc/timezone, which people forget about, may say it.
    """
    for name in (os.environ.get("TZ", "").removeprefix(":"), _link(_LOCALTIME), _line(_NAMED)):
        try:
            if name:
                return zone(name).key
        except RefusalError:
            continue
    return "UTC"


def _line(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _link(path: str) -> str:
    try:
        target = str(Path(path).resolve())
    except OSError:
        return ""
    return target.partition(_ZONE_FOLDER)[2] if _ZONE_FOLDER in target else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockChange:
    """An instant at which the clocks of a zone are set: their offsets from UTC before and after it."""

    at_ms: int
    before_seconds: int
    after_seconds: int

    @property
    def is_gap(self) -> bool:
        """Whether wall times are missing; otherwise some come twice."""
        return self.after_seconds > self.before_seconds


def clock_changes(name: str, after_ms: int, count: int) -> list[ClockChange]:
    """Return the next changes of a zone's clocks after an instant; fewer if it changes them no more."""
    known = zone(name)
    found: list[ClockChange] = []
    at = after_ms / 1000
    while len(found) < count and (change := first_change(known, at, at + _LOOKED_AHEAD_SECONDS)) is not None:
        before, after = offset_seconds(known, change - 1), offset_seconds(known, change)
        found.append(ClockChange(at_ms=change * 1000, before_seconds=before, after_seconds=after))
        at = float(change)
    return found


def first_change(known: ZoneInfo, start: float, end: float) -> int | None:
    """Return the first second after an instant, and up to another, from which on the clocks show another offset."""
    offset = offset_seconds(known, start)
    while start < end:
        later = min(start + _STEP_SECONDS, end)
        if offset_seconds(known, later) != offset:
            return transition(known, start, later)
        start = later
    return None


def offset_seconds(known: ZoneInfo, instant: float) -> int:
    """Return how far the clocks of a zone are ahead of UTC at an instant, both in seconds."""
    offset = datetime.fromtimestamp(instant, known).utcoffset()
    assert offset is not None
    return round(offset.total_seconds())


def transition(known: ZoneInfo, start: float, end: float) -> int:
    """Return the first second after ``start`` at which the offset is no longer what it was, there being one."""
    low, high = int(start // 1), int(-(-end // 1))
    before = offset_seconds(known, low)
    while high - low > 1:
        middle = (low + high) // 2
        if offset_seconds(known, middle) == before:
            low = middle
        else:
            high = middle
    return high
