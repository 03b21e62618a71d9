"""Cron expressions in time zones against an oracle that shares nothing with the product."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from itertools import islice, takewhile

import pytest

from barbossad.model.schedules import Dst, Timing
from barbossad.recurrence.instants import Instant, instants
from tests.helpers import cron_oracle

ZONES = (
    *("Europe/London", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "UTC", "Asia/Kolkata"),
    *("Africa/Cairo", "America/Santiago", "Pacific/Apia", "Asia/Beirut", "Pacific/Chatham", "America/St_Johns"),
)
DAY_MS = 86_400_000


def ms(text: str) -> int:
    """Return an instant in milliseconds."""
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def field(chance: random.Random, least: int, most: int, wild: float) -> str:
    """Return a field of an expression."""
    if chance.random() < wild:
        return "*"
    kind = chance.choice(["one", "one", "list", "range", "step", "from"])
    first = chance.randint(least, most)
    if kind == "list":
        return ",".join(str(number) for number in sorted({first, chance.randint(least, most)}))
    if kind == "range":
        return f"{first}-{chance.randint(first, most)}"
    if kind == "step":
        return f"*/{chance.randint(2, max(2, most // 2))}"
    if kind == "from":
        return f"{first}-{most}/{chance.randint(2, min(9, most))}"
    return str(first)


def expression(chance: random.Random) -> str:
    """Return an expression that comes often enough to be looked at."""
    return " ".join(
        (
            field(chance, 0, 59, 0.1),
            field(chance, 0, 23, 0.3),
            field(chance, 1, 28, 0.7),
            field(chance, 1, 12, 0.9),
            field(chance, 0, 6, 0.7),
        )
    )


def until(timing: Timing, start_ms: int, end_ms: int) -> list[int]:
    """Return the instants of a timing in a span."""
    found = takewhile(lambda instant: instant.at_ms < end_ms, instants(timing, start_ms))
    return [instant.at_ms for instant in found]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("seed", range(3))
def test_random_expressions(zone: str, seed: int) -> None:
    """Random expressions, in a span of some weeks around a change of the clocks, with every choice for it."""
    chance = random.Random(f"{zone} {seed}")
    for _ in range(8):
        text, dst = expression(chance), chance.choice(list(Dst))
        start_ms = ms(f"2026-{chance.randint(1, 11):02}-{chance.randint(1, 28):02}") + chance.randint(0, DAY_MS)
        end_ms = start_ms + 45 * DAY_MS
        found = until(Timing(cron=text, timezone=zone, dst=dst), start_ms, end_ms)
        assert found == cron_oracle.fires(text, zone, start_ms, end_ms, dst), (text, dst)


CHANGES = {
    "Europe/London": ("2026-03-29T01:00", "2026-10-25T01:00"),
    "America/New_York": ("2026-03-08T07:00", "2026-11-01T06:00"),
    "Australia/Lord_Howe": ("2026-04-04T15:00", "2026-10-03T15:30"),
    "Africa/Casablanca": ("2026-02-15T02:00", "2026-03-22T02:00"),
    "Africa/Cairo": ("2026-04-23T22:00", "2026-10-29T21:00"),
    "America/Santiago": ("2026-04-05T03:00", "2026-09-06T04:00"),
    "Pacific/Apia": ("2011-12-30T10:00", "2011-04-02T14:00"),
}


@pytest.mark.parametrize("zone", CHANGES)
@pytest.mark.parametrize("dst", Dst)
@pytest.mark.parametrize(
    "text",
    ["*/7 * * * *", "0 * * * *", "17 */2 * * *", "*/10 0-3 * * *", "30 1 * * *", "0 0 * * *", "15,45 0,1,2,3 * * *",
     "0-59 0-5 * * *", "59 23 * * *", "*/20 30 2 * * *"],
)  # fmt: skip
def test_around_a_change(zone: str, dst: Dst, text: str) -> None:
    """From each of many instants around a change the same fires follow, and they are the oracle's."""
    for change in CHANGES[zone]:
        start_ms, end_ms = ms(change) - 2 * DAY_MS, ms(change) + 2 * DAY_MS
        timing = Timing(cron=text, timezone=zone, dst=dst)
        expected = cron_oracle.fires(text, zone, start_ms, end_ms, dst)
        assert until(timing, start_ms, end_ms) == expected
        for minutes in range(-180, 181, 36):
            after_ms = ms(change) + minutes * 60_000 + (minutes % 2)
            some = [instant.at_ms for instant in islice(instants(timing, after_ms), 4) if instant.at_ms < end_ms]
            assert some == [at_ms for at_ms in expected if at_ms > after_ms][:4]


def test_instants_ascend_and_are_suffixes() -> None:
    """Each instant is later than the one before, and what follows one is what follows it from anywhere."""
    chance = random.Random(5)
    for _ in range(40):
        zone = chance.choice(ZONES)
        timing = Timing(cron=expression(chance), timezone=zone, dst=chance.choice(list(Dst)))
        start_ms = ms("2026-03-01") + chance.randint(0, 250 * DAY_MS)
        whole: list[Instant] = list(islice(instants(timing, start_ms), 60))
        assert [i.at_ms for i in whole] == sorted({i.at_ms for i in whole})
        for place in (0, 7, 31, 58):
            assert list(islice(instants(timing, whole[place].at_ms), 59 - place)) == whole[place + 1 :]


@pytest.mark.parametrize("zone", ["Europe/London", "America/New_York", "Australia/Lord_Howe"])
@pytest.mark.parametrize("text", ["*/10 1 25 10 *", "*/10 1 1 11 *", "*/15 * 5 4 *", "*/30 * 29 2 *"])
def test_seldom_from_far_away(zone: str, text: str) -> None:
    """A wildcard on a few days is the same from years before: a change of the clocks on the way is not jumped over."""
    start_ms, end_ms = ms("2025-01-15"), ms("2028-12-01")
    timing = Timing(cron=text, timezone=zone)
    assert until(timing, start_ms, end_ms) == cron_oracle.fires(text, zone, start_ms, end_ms)
