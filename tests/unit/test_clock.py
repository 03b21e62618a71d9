"""Instants as text."""

from __future__ import annotations

import re
import time

import pytest

from barbossad.clock import SystemClock, rfc3339, seconds_between


@pytest.mark.parametrize(
    ("at_ms", "text"),
    [
        (None, None),
        (0, "1970-01-01T00:00:00.000Z"),
        (1_769_860_800_123, "2026-01-31T12:00:00.123Z"),
        (1_769_860_800_999, "2026-01-31T12:00:00.999Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (-62_135_596_800_000, "0001-01-01T00:00:00.000Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
    ],
)
def test_rfc3339(at_ms: int | None, text: str | None) -> None:
    """An instant is told in UTC to the millisecond; no instant is none."""
    assert rfc3339(at_ms) == text


@pytest.mark.parametrize(
    ("start_ms", "end_ms", "seconds"),
    [(None, None, None), (None, 5, None), (5, None, None), (0, 1500, 1.5), (1500, 1500, 0), (3_600_000, 1000, 0)],
)
def test_seconds_between(start_ms: int | None, end_ms: int | None, seconds: float | None) -> None:
    """Nothing takes less than no time, whatever the clock was set to meanwhile."""
    assert seconds_between(start_ms, end_ms) == seconds


def test_system_clock() -> None:
    """The host's clock, in its units."""
    clock = SystemClock()
    before = time.time()
    assert before - 0.002 <= clock.now_ms() / 1000 <= clock.now_ns() / 1e9 + 0.001 <= time.time() + 1
    assert clock.monotonic() <= clock.monotonic()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", rfc3339(clock.now_ms()) or "")
