"""How many instants there are, reckoned, is how many come when they are gone through."""

from __future__ import annotations

import random
from itertools import takewhile

import pytest

from barbossad.model.schedules import Dst, Timing
from barbossad.recurrence.instants import count_between, instants
from barbossad.recurrence.steps import in_steps
from tests.unit.recurrence.test_oracle import CHANGES, DAY_MS, ZONES, expression, ms

ENDLESS = 10**9
MINUTE_MS = 60_000


def gone_through(timing: Timing, after_ms: int, until_ms: int) -> int:
    """Return how many instants come."""
    return sum(1 for _ in takewhile(lambda instant: instant.at_ms <= until_ms, instants(timing, after_ms)))


@pytest.mark.parametrize("zone", ZONES)
def test_random_expressions(zone: str) -> None:
    """Random expressions over spans of some weeks."""
    chance = random.Random(zone)
    for _ in range(4):
        timing = Timing(cron=expression(chance), timezone=zone, dst=chance.choice(list(Dst)))
        after_ms = ms(f"2026-{chance.randint(1, 11):02}-{chance.randint(1, 28):02}") + chance.randint(0, DAY_MS)
        until_ms = after_ms + chance.randint(0, 40 * DAY_MS)
        assert count_between(timing, after_ms, until_ms, ENDLESS) == gone_through(timing, after_ms, until_ms), timing


@pytest.mark.parametrize("zone", CHANGES)
@pytest.mark.parametrize("dst", Dst)
def test_around_a_change(zone: str, dst: Dst) -> None:
    """Spans that begin and end anywhere around a change of the clocks, also on an instant and a moment beside it."""
    for text in (
        "*/7 * * * *",
        "15,45 0,1,2,3 * * *",
        "0-59 0-5 * * *",
        "*/20 30 2 * * *",
        "0 0 l * *",
        "*/30 * * * 5#2",
    ):
        timing, chance = Timing(cron=text, timezone=zone, dst=dst), random.Random(f"{zone} {text}")
        for change in CHANGES[zone]:
            for _ in range(2):
                after_ms = ms(change) + chance.randint(-1600, 180) * MINUTE_MS + chance.choice([0, -1, 1])
                until_ms = after_ms + chance.randint(0, 3000) * MINUTE_MS
                expected = gone_through(timing, after_ms, until_ms)
                assert count_between(timing, after_ms, until_ms, ENDLESS) == expected, (text, after_ms, until_ms)


@pytest.mark.parametrize("most", [1, 7, 100, ENDLESS])
@pytest.mark.parametrize("how", [{"cron": "* * * * *"}, {"cron": "0 4 * * 1-5"}, {"every_ms": 7 * MINUTE_MS}])
def test_from_a_start_to_an_end(how: dict[str, str], most: int) -> None:
    """What lies outside of the timing does not count, nor more than was asked for."""
    timing = Timing(
        **how, timezone="Europe/London",  # type: ignore[arg-type]
        start_ms=ms("2026-03-27T12:00"), end_ms=ms("2026-03-31T04:00"),
    )  # fmt: skip
    expected = min(gone_through(timing, ms("2026-03-01"), ms("2026-05-01")), most)
    assert count_between(timing, ms("2026-03-01"), ms("2026-05-01"), most) == expected


def test_a_year_is_reckoned() -> None:
    """Half a million minutes, with two changes of the clocks: not one by one."""
    timing = Timing(cron="* * * * *", timezone="Europe/London")
    found = in_steps(1_000_000, count_between, timing, ms("2026-01-01"), ms("2027-01-01"), ENDLESS)
    assert found == 365 * 24 * 60
