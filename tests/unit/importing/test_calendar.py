"""Calendar expressions of systemd become schedules that fire when they do, by systemd's own word."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from datetime import UTC, datetime
from functools import cache
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from barbossad.errors import InvalidWorkflowError
from barbossad.importing import calendar_cron
from barbossad.recurrence.instants import instants
from barbossad.validation import RefusalError
from tests.unit.importing.reading import definitions

START = datetime(2026, 2, 26, 12, 0, tzinfo=UTC)
COUNT = 40
ZONE = "UTC"

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")

SAID: dict[str, list[dict[str, Any]]] = {
    "daily": [{"cron": "0 0 * * *"}],
    "weekly": [{"cron": "0 0 * * 1"}],
    "quarterly": [{"cron": "0 0 1 1,4,7,10 *"}],
    "semi-annually": [{"cron": "0 0 1 1,7 *"}],
    "minutely": [{"cron": "* * * * *"}],
    "*-*-* 6,18:00:00": [{"cron": "0 6,18 * * *"}],
    "Mon..Fri 08:30": [{"cron": "30 8 * * 1-5"}],
    "Sat,Sunday 9:00": [{"cron": "0 9 * * 0,6"}],
    "*:0/15": [{"cron": "*/15 * * * *"}],
    "*-*-* *:5/15:00": [{"cron": "5,20,35,50 * * * *"}],
    "*:*:0/10": [{"cron": "*/10 * * * * *"}],
    "*-*~01 23:00": [{"cron": "0 23 L * *"}],
    "Fri *-*~07/1": [{"cron": "0 0 * * L5"}],
    "Mon *-*-1..7 3:00": [{"cron": "0 3 1-7 * *", "within": ["Mon"]}],
    "*-04,05~02": [{"cron": "0 0 30 5 *"}, {"cron": "0 0 29 4 *"}],
    "2030-12-24 18:00": [{"at": "2030-12-24 18:00"}],
    "2030-1,2-31 0:0": [{"at": "2030-01-31 00:00"}],
    "2027..2028-*-01": [{"cron": "0 0 1 * *", "between": {"start": "2027-01-01", "end": "2028-12-31"}}],
}


@pytest.mark.parametrize("text", SAID)
def test_it_is_said_as_a_person_would(text: str) -> None:
    """The shortest expression of cron; instants for what comes a few times; a window where both kinds of days count."""
    assert calendar_cron.entries(text, ZONE) == [{**entry, "timezone": ZONE} for entry in SAID[text]]


def test_its_own_time_zone_wins() -> None:
    """A time zone at the end is the schedule's."""
    (entry,) = calendar_cron.entries("Mon 10:00 Europe/Berlin", ZONE)
    assert entry == {"cron": "0 10 * * 1", "timezone": "Europe/Berlin"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("*-*-* 03:00:00.5", "finer than a second"),
        ("*-*~03", "February"),
        ("2026/2-01-*", "schedules"),
        ("2026-02-30 00:00", "no day"),
        ("every day", "not understood"),
        ("Sun..Tue", "no such days"),
        ("*-13-01", "no such month"),
        ("25:00", "no such hour"),
        ("@1700000000", "not understood"),
        ("0/0:00", "step of nothing"),
        ("", "is empty"),
    ],
)
def test_what_cannot_be_said_is_told(text: str, why: str) -> None:
    """What has no counterpart is refused with what of it that is; nothing near is taken for it."""
    with pytest.raises(RefusalError, match=why):
        calendar_cron.entries(text, ZONE)


@cache
def by_systemd(text: str, count: int) -> list[datetime] | None:
    """Return when systemd would fire; None for what it does not understand."""
    done = subprocess.run(
        ["systemd-analyze", "calendar", f"--iterations={count}", f"--base-time={START:%Y-%m-%d %H:%M:%S} UTC", text],
        capture_output=True,
        text=True,
        env={"TZ": "UTC", "LC_ALL": "C", "PATH": "/usr/bin:/bin"},
        check=False,
    )
    if done.returncode:
        return None
    found = re.findall(r"(?:Next elapse|Iter\. #\d+): \w+ (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC", done.stdout)
    return [datetime.fromisoformat(each).replace(tzinfo=UTC) for each in found]


def by_us(entries: list[dict[str, Any]], count: int) -> list[datetime]:
    """Return when the schedules would fire."""
    start_ms = int(START.timestamp() * 1000)
    found = {
        instant.at_ms
        for definition in definitions(entries)
        if definition.timing is not None
        for instant in islice(instants(definition.timing, start_ms), count)
    }
    return [datetime.fromtimestamp(at_ms / 1000, UTC) for at_ms in sorted(found)[:count]]


@needs_systemd
@pytest.mark.parametrize("text", SAID)
def test_it_fires_when_systemd_says(text: str) -> None:
    """The next instants are those that systemd-analyze gives."""
    expected = by_systemd(text, COUNT)
    assert expected
    assert by_us(calendar_cron.entries(text, ZONE), COUNT) == expected


def chance(rng: random.Random, least: int, most: int) -> str:
    """Return a component at random."""
    low = rng.randint(least, most)
    high = rng.randint(low, most)
    step = rng.randint(1, max(2, (most - least) // 2))
    return rng.choice(
        (
            "*",
            "*",
            str(low),
            f"{low}..{high}",
            f"{low}/{step}",
            f"{low}..{high}/{step}",
            f"{least}/{step}",
            f"{low},{high}",
        )
    )


def chance_expression(rng: random.Random) -> str:
    """Return an expression at random."""
    days = rng.choice(("", "", "", "Mon ", "Tue..Thu ", "Sat,Sun ", "Fri,Mon..Tue "))
    month, hour, minute = chance(rng, 1, 12), chance(rng, 0, 23), chance(rng, 0, 59)
    mark = rng.choice("----~")
    day = chance(rng, 1, 28) if mark == "-" else rng.choice(("01", "02", "1..3", "07/1", "03/2"))
    second = rng.choice(("", "", "", ":00", ":30", f":{chance(rng, 0, 59)}"))
    year = rng.choice(("*", "*", "*", "*", "2026..2027", "2027"))
    return f"{days}{year}-{month}{mark}{day} {hour}:{minute}{second}"


@needs_systemd
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(120))
def test_chance_expressions_fire_when_systemd_says(seed: int) -> None:
    """Whatever is converted at all is converted exactly."""
    text = chance_expression(random.Random(seed))
    expected = by_systemd(text, COUNT)
    if expected is None:
        with pytest.raises(RefusalError):
            calendar_cron.entries(text, ZONE)
        return
    try:
        entries = calendar_cron.entries(text, ZONE)
    except RefusalError as error:
        assert re.search("February|schedules|no day", str(error)), text  # noqa: PT017 (it may well be converted)
        return
    if expected:
        assert by_us(entries, COUNT) == expected, text
    else:
        with pytest.raises(InvalidWorkflowError, match=r"never comes|leaves nothing|past"):
            by_us(entries, COUNT)


@needs_systemd
def test_a_time_zone_is_kept_through_a_change_of_the_clocks() -> None:
    """An expression with a zone fires at the same local time before and after."""
    text = "*-*-* 10:00 Europe/London"
    found = by_us(calendar_cron.entries(text, ZONE), COUNT)
    assert found == by_systemd(text, COUNT)
    assert {instant.astimezone(ZoneInfo("Europe/London")).hour for instant in found} == {10}
    assert {instant.hour for instant in found} == {9, 10}
