"""Instants on holidays are moved by whole days: against what a plain list would give, and with little looking ahead."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest

from barbossad.model.schedules import Timing
from barbossad.recurrence import moving
from barbossad.recurrence.instants import Instant, instants

LONDON = ZoneInfo("Europe/London")
DAY = timedelta(days=1)
START_MS = round(datetime(2026, 3, 20, tzinfo=UTC).timestamp() * 1000)
END_MS = START_MS + 60 * 86_400_000


def days(chance: random.Random, share: float) -> set[date]:
    """Return random holidays, some in a row."""
    first = date(2026, 2, 1)
    return {first + number * DAY for number in range(160) if chance.random() < share}


def plain(every: list[int], off: set[date], *, is_forward: bool) -> list[int]:
    """Move each by itself, and sort."""
    found = set()
    for at_ms in every:
        local = datetime.fromtimestamp(at_ms / 1000, LONDON)
        day = local.date()
        while day in off:
            day += DAY if is_forward else -DAY
        moved = datetime.combine(day, local.time(), LONDON).timestamp()
        found.add(at_ms if day == local.date() else round(moved * 1000))
    return sorted(found)


@pytest.mark.parametrize("is_forward", [True, False])
@pytest.mark.parametrize("text", ["0 9 * * *", "*/50 * * * *", "30 1 * * 1-5", "0 0,23 * * *", "15 4 1 * *"])
def test_as_one_by_one(text: str, is_forward: bool) -> None:
    """From wherever it is asked, what follows is what moving each instant by itself would give."""
    chance = random.Random(text)
    timing = Timing(cron=text, timezone="Europe/London")
    for share in (0.05, 0.3, 0.7):
        off = days(chance, share)
        spread_ms = 40 * 86_400_000
        whole = [i.at_ms for i in _until(timing, START_MS - spread_ms, END_MS + spread_ms)]
        expected = plain(whole, off, is_forward=is_forward)
        for _ in range(8):
            after_ms = chance.randint(START_MS, END_MS)
            begin = moving.begin_ms(after_ms, LONDON, off.__contains__, is_forward=is_forward)
            found = moving.moved(
                (i.at_ms for i in instants(timing, begin)), LONDON, off.__contains__, is_forward=is_forward
            )
            some = [at_ms for at_ms in islice((m for m in found if m > after_ms), 5) if at_ms <= END_MS]
            assert some == [at_ms for at_ms in expected if after_ms < at_ms <= END_MS][:5]


def _until(timing: Timing, start_ms: int, end_ms: int) -> Iterator[Instant]:
    for instant in instants(timing, start_ms):
        if instant.at_ms > end_ms:
            return
        yield instant


@pytest.mark.parametrize("is_forward", [True, False])
def test_little_is_looked_at(is_forward: bool) -> None:
    """The next instant of a schedule of minutes is found without looking at more than the days around it."""
    off = {date(2026, 12, 25), date(2026, 12, 26)}
    asked = 0

    def minutes() -> Iterator[int]:
        nonlocal asked
        at_ms = moving.begin_ms(after_ms, LONDON, off.__contains__, is_forward=is_forward)
        while True:
            at_ms += 60_000 - at_ms % 60_000
            asked += 1
            yield at_ms

    for after, most in ((datetime(2026, 12, 10, 12, tzinfo=UTC), 1441), (datetime(2026, 12, 24, 12, tzinfo=UTC), 4321),
                        (datetime(2026, 12, 27, 12, tzinfo=UTC), 4321)):  # fmt: skip
        after_ms, asked = round(after.timestamp() * 1000), 0
        found = moving.moved(minutes(), LONDON, off.__contains__, is_forward=is_forward)
        assert next(at_ms for at_ms in found if at_ms > after_ms) == after_ms + 60_000
        assert asked <= most
