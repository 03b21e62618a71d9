"""A schedule looks at its runs, not at what their tasks gave: that may be much, and the event loop would read it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.helpers.records import NOON_MS
from tests.helpers.schedule_house import HOUR, MINUTE, ScheduleHouse

BACKUP = """
name: backup
schedules: [{every: 1h, retry: {attempts: 2, delay: 1m}, expect: {start_within: 5m, max_duration: 10m}}]
tasks: [{id: one, shell: ':'}]
"""
AFTER = "name: after\ntriggers: [{workflow: {name: backup, states: [failed]}}]\ntasks: [{id: two, shell: ':'}]\n"


def make_unreadable(path: Path) -> None:
    """Damage all that is kept of tasks, so that nobody can read it."""
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute("UPDATE tasks SET outputs = '{'").rowcount


@pytest.mark.parametrize("is_rolled_back", [False, True])
async def test_runs_that_ended_while_no_daemon_heard(tmp_path: Path, *, is_rolled_back: bool) -> None:
    """Their fires are settled, what they set off comes, and they are tried again; unless it is an older state file."""
    path = tmp_path / "barbossa.db"
    async with ScheduleHouse.open(path) as house:
        await house.apply(BACKUP)
        await house.apply(AFTER)
        await house.pass_time(HOUR)
        house.house.engine.on_end = None
        await house.end(await house.process(), 1)
    make_unreadable(path)
    async with ScheduleHouse.open(path, NOON_MS + HOUR + MINUTE, is_rolled_back=is_rolled_back) as house:
        with pytest.raises(ValueError, match="Expecting"):
            house.house.runs.get(house.runs()[0].id)
        await house.heard()
        expected = ("failed", "missed") if is_rolled_back else ("started", "started")
        assert [(await house.states(name))[0] for name in ("backup/every-1", "after/workflow-1")] == [*expected]
        assert len(house.runs()) == (1 if is_rolled_back else 3)


async def test_a_run_that_is_looked_at_while_it_goes_on(tmp_path: Path) -> None:
    """Whether it takes too long is seen of it alone, also where the clock is set."""
    path = tmp_path / "barbossa.db"
    async with ScheduleHouse.open(path) as house:
        await house.apply(BACKUP)
        await house.pass_time(HOUR)
        await house.process()
        await house.house.settle()
        make_unreadable(path)
        await house.alarm.set_clock(house.clock.at_ms + 3 * MINUTE)
        await house.pass_time(11 * MINUTE)
        (told,) = house.told("schedule_too_long")
        assert told["seconds"] == 10 * 60
