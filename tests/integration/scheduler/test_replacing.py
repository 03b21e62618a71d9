"""Fires that take the place of the run before them, whatever happens in between."""

from __future__ import annotations

from pathlib import Path

import pytest

from barbossad.model.states import RunState
from barbossad.process.launcher import Verdict
from barbossad.scheduler.book import Entry
from tests.helpers.records import NOON_MS
from tests.helpers.schedule_house import HOUR, MINUTE, ScheduleHouse

HOURLY = """
name: backup
schedules: [{every: 1h, overlap: replace, catch_up: CATCH_UP}]
tasks: [{id: one, shell: ':', rollback: {shell: ':'}}, {id: two, shell: ':'}]
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the state file is."""
    return tmp_path / "barbossa.db"


def hourly(catch_up: str = "last") -> str:
    return HOURLY.replace("CATCH_UP", catch_up)


async def dies(_entry: Entry, _others: object) -> None:
    """Let nobody make room: the daemon dies before."""


async def test_a_run_that_tidies_up_is_left_to_that(path: Path) -> None:
    """However many fires come while a run that was replaced undoes what it did: the last of them waits for its end."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(hourly())
        await house.pass_time(HOUR)
        (await house.process()).exit()
        await house.process()
        await house.pass_time(HOUR)
        undo = await house.process()
        assert undo.task == "rollback.one"
        undo.is_stubborn = True
        await house.pass_time(2 * HOUR)
        assert undo.stops == []
        assert await house.states() == ["started", "skipped", "skipped", "queued"]
        await house.end(undo)
        assert (await house.process()).task == "one"
        assert [run.state for run in house.runs()] == [RunState.CANCELLED, RunState.RUNNING]


@pytest.mark.parametrize("has_ended", [False, True])
@pytest.mark.parametrize("fires", [1, 2])
async def test_a_crash_before_others_make_room(path: Path, fires: int, *, has_ended: bool) -> None:
    """The next daemon has them go, the run (if it has not ended by then) and what waits; what came last begins."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(hourly())
        await house.pass_time(HOUR)
        process = await house.process()
        house.scheduler._starter.make_room = dies  # type: ignore[method-assign]
        await house.pass_time(fires * HOUR)
        assert await house.states() == ["started", *["queued"] * fires]
        if has_ended:
            house.house.engine.on_end = None
            process.exit(1)
            await house.house.ended(house.runs()[0].id)
    async with ScheduleHouse.open(path, NOON_MS + (1 + fires) * HOUR, otherwise=Verdict.LIVE) as house:
        await house.heard()
        assert await house.states() == ["failed", *["skipped"] * (fires - 1), "started"]
        first, second = house.runs()
        is_replaced = first.reason == "replaced by a newer fire of schedule backup/every-1"
        assert is_replaced is not has_ended
        assert second.scheduled_for_ms == NOON_MS + (1 + fires) * HOUR


RETRY = """
name: backup
concurrency: {limit: 1, policy: skip}
schedules: [{every: 1h, retry: {attempts: 2, delay: 50m}}]
tasks: [{id: one, shell: ':'}]
"""


async def fail_once(house: ScheduleHouse) -> None:
    """Have the first fire fail half an hour after its time: it is to be tried again after the next one is due."""
    await house.apply(RETRY)
    await house.pass_time(HOUR)
    first = await house.process()
    await house.pass_time(30 * MINUTE)
    await house.end(first, 1)


async def test_a_retry_makes_way_for_what_begins_alone(path: Path) -> None:
    """A fire that gets no run, as its group is full, costs none that is to be tried again."""
    async with ScheduleHouse.open(path) as house:
        await fail_once(house)
        by_hand = await house.house.start(house.house.workflows["backup"])
        other = await house.process()
        await house.pass_time(30 * MINUTE)
        assert await house.states() == ["retrying", "skipped"]
        other.exit()
        await house.house.ended(by_hand)
        await house.pass_time(20 * MINUTE)
        assert await house.states() == ["started", "skipped"]


async def test_a_crash_before_a_retry_makes_way(path: Path) -> None:
    """The newer fire has its run, and the older one no other beside it."""
    async with ScheduleHouse.open(path) as house:
        await fail_once(house)
        house.scheduler._starter.drop = dies  # type: ignore[method-assign]
        await house.pass_time(30 * MINUTE)
        assert await house.states() == ["retrying", "started"]
    async with ScheduleHouse.open(path, NOON_MS + 2 * HOUR + 40 * MINUTE, otherwise=Verdict.LIVE) as house:
        await house.heard()
        assert await house.states() == ["failed", "started"]
        assert "a newer fire takes its place" in str((await house.fires())[0].reason)
        assert len(house.runs()) == 2


async def test_what_is_made_up_for_replaces_nobody_after_a_restart_either(path: Path) -> None:
    """Fires that were missed wait for the run that goes on, and for each other."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(hourly("all"))
        await house.pass_time(HOUR)
        await house.process()
    for _ in range(2):
        async with ScheduleHouse.open(path, NOON_MS + 3 * HOUR + 30 * MINUTE, otherwise=Verdict.LIVE) as house:
            await house.heard()
            assert await house.states() == ["started", "queued", "queued"]
            assert house.house.launcher.adopted[0].stops == []
