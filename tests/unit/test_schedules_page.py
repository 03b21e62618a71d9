"""The table of clock changes in docs/schedules.md says what the scheduler does: each cell is computed anew."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from barbossad.model.schedules import Dst, Timing
from barbossad.recurrence import zones
from barbossad.recurrence.instants import instants

PAGE = Path(__file__).resolve().parents[2] / "docs" / "schedules.md"
ROW = re.compile(r"^\| ([A-Z]\w+/\w+), (\d{4}-\d\d-\d\d) \| (\d\d:\d\d) to (\d\d:\d\d) \| (.*) \|$", re.MULTILINE)
ROWS = [
    (zone, date.fromisoformat(day), begin, end, rest.split(" | "))
    for zone, day, begin, end, rest in ROW.findall(PAGE.read_text())
]
FIXED = [row for row in ROWS if len(row[4]) == 5]
FLOWING = [row for row in ROWS if len(row[4]) == 2]


def fires(timing: Timing, day: date) -> list[datetime]:
    """Return the fires of one day, in local time."""
    zone = ZoneInfo(timing.timezone)
    after = datetime.combine(day, time(), zone).timestamp() * 1000 - 1
    found = []
    for instant in instants(timing, round(after)):
        local = datetime.fromtimestamp(instant.at_ms / 1000, zone)
        if local.date() > day:
            break
        found.append(local)
    return found


def written(moments: list[datetime]) -> str:
    """Return local times with their offsets, as the page has them."""
    return ", ".join(moment.isoformat(timespec="minutes")[11:] for moment in moments) or "none"


def test_the_table_is_there() -> None:
    """Four zones, each with a change forward and one back, for fixed times and for what follows real time."""
    wanted = {"Europe/London", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca"}
    for rows in (FIXED, FLOWING):
        assert {row[0] for row in rows} == wanted
        assert all({row[2] < row[3] for row in rows if row[0] == zone} == {True, False} for zone in wanted)


@pytest.mark.parametrize(("zone", "day", "begin", "end", "_cells"), ROWS)
def test_the_clocks_change_so(zone: str, day: date, begin: str, end: str, _cells: list[str]) -> None:
    """On that day the clocks of the zone go from one time to the other."""
    midnight = datetime.combine(day, time(), ZoneInfo(zone)).timestamp() * 1000
    (change,) = zones.clock_changes(zone, round(midnight), 1)
    before, after = (
        datetime.fromtimestamp(change.at_ms / 1000, UTC) + timedelta(seconds=offset)
        for offset in (change.before_seconds, change.after_seconds)
    )
    assert (before.date(), f"{before:%H:%M}", f"{after:%H:%M}") == (day, begin, end)


@pytest.mark.parametrize(("zone", "day", "_begin", "_end", "cells"), FIXED)
def test_fixed_times_fire_so(zone: str, day: date, _begin: str, _end: str, cells: list[str]) -> None:
    """With each ``dst``, on the day of the change."""
    expression = cells[0].strip("`")
    said = dict(zip(("once", "skip", "last", "both"), cells[1:], strict=True))
    assert said == {dst: written(fires(Timing(cron=expression, timezone=zone, dst=Dst(dst)), day)) for dst in said}


@pytest.mark.parametrize(("zone", "day", "_begin", "_end", "cells"), FLOWING)
def test_what_follows_real_time_fires_so(zone: str, day: date, _begin: str, _end: str, cells: list[str]) -> None:
    """Whatever ``dst`` says: the first few of the day."""
    expression = cells[0].strip("`")
    for dst in Dst:
        found = fires(Timing(cron=expression, timezone=zone, dst=dst), day)
        assert written([moment for moment in found if moment.hour < 4]) == cells[1]
