"""Tell the time: the only place that reads a clock, so that tests can hand in one of their own."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol


class Clock(Protocol):
    """What the daemon asks of time."""

    def now_ms(self) -> int:
        """Return milliseconds since the epoch, UTC."""

    def now_ns(self) -> int:
        """Return nanoseconds since the epoch, UTC; for log records."""

    def monotonic(self) -> float:
        """Return seconds of a clock that is never set."""


class SystemClock:
    """The host's clocks."""

    now_ns = staticmethod(time.time_ns)
    monotonic = staticmethod(time.monotonic)

    @staticmethod
    def now_ms() -> int:
        """Return milliseconds since the epoch, UTC."""
        return time.time_ns() // 1_000_000


def booted_at_ms() -> int:
    """Return when the host was booted by its own clock as that now goes; sleep counts."""
    return (time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)) // 1_000_000


def seconds_between(start_ms: int | None, end_ms: int | None) -> float | None:
    """Return how long something took, 0 where the clock was set back meanwhile; None if it has no start or no end."""
    return None if start_ms is None or end_ms is None else max(end_ms - start_ms, 0) / 1000


def rfc3339(at_ms: int | None) -> str | None:
    """Return an instant as RFC 3339 UTC with milliseconds (``2026-01-31T02:00:00.123Z``), None as None."""
    if at_ms is None:
        return None
    seconds, milliseconds = divmod(at_ms, 1000)
    return f"{_to_the_second(seconds)}.{milliseconds:03d}Z"


@lru_cache(maxsize=1024)
def _to_the_second(seconds: int) -> str:
    """Return the part that the instants of one second share; what is shown together happened close together."""
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat()
