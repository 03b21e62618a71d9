"""What waits to be run, or to be run again, when its schedule or workflow is disabled or held meanwhile."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from barbossad.errors import NotFoundError
from barbossad.model.holds import Hold
from barbossad.model.names import WorkflowName
from barbossad.model.schedules import FireState, ScheduleRecord
from tests.helpers import invariants
from tests.helpers.records import NOON_MS
from tests.helpers.schedule_house import DAY, HOUR, MINUTE, ScheduleHouse

QUEUE = "name: a\nschedules: [{every: 1h, overlap: queue, queue_depth: 3, expect: {start_within: 5h}}]\n"
RETRY = "name: a\nschedules: [{every: 1d, retry: {attempts: 3, delay: 10m}}]\n"
TASK = "tasks: [{id: one, shell: ':'}]\n"

Off = Callable[[ScheduleHouse], Awaitable[None]]


async def disable(house: ScheduleHouse) -> None:
    await house.scheduler.control.enable("a", is_enabled=False, by="anne", reason="not now")


async def disable_workflow(house: ScheduleHouse) -> None:
    await house.workflows.enable(WorkflowName("a"), is_enabled=False, by="anne")


async def hold(house: ScheduleHouse) -> None:
    await house.scheduler.control.hold(Hold(label="", reason="a move", at_ms=house.clock.at_ms, by="anne"))


WAYS = [(disable, "the schedule is disabled"), (disable_workflow, "workflow 'a' is disabled"), (hold, "held: a move")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the state file is."""
    return tmp_path / "barbossa.db"


@pytest.mark.parametrize(("switch_off", "why"), WAYS)
async def test_what_is_queued_has_no_run(path: Path, switch_off: Off, why: str) -> None:
    """A fire that waits for the run before it is let pass with the reason, and is told never to have started."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(QUEUE + TASK)
        await house.pass_time(2 * HOUR)
        await switch_off(house)
        await house.end(await house.process())
        await house.heard()
        fires = await house.fires()
        assert [fire.state for fire in fires] == [FireState.SUCCEEDED, FireState.SKIPPED]
        assert str(fires[1].reason).startswith(why)
        assert len(house.runs()) == 1
        assert len(house.told("schedule_never_started")) == 1


@pytest.mark.parametrize(("switch_off", "why"), WAYS)
async def test_what_is_to_be_tried_again_is_not(path: Path, switch_off: Off, why: str) -> None:
    """A retry that comes due is given up, with what made it fail and why it is not tried again."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(RETRY + TASK)
        await house.pass_time(12 * HOUR)
        await house.end(await house.process(), 1)
        await switch_off(house)
        await house.pass_time(11 * MINUTE)
        (fire,) = await house.fires()
        assert fire.state is FireState.FAILED
        assert str(fire.reason).startswith(f"task one failed; it is not tried again: {why}")
        assert len(house.runs()) == 1
        assert house.told("schedule_never_started") == [], "it had a run"


@pytest.mark.parametrize("switch_off", [disable, hold])
async def test_who_fires_by_hand_means_it(path: Path, switch_off: Off) -> None:
    """What a person asked for waits its turn, whatever is disabled or held."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(QUEUE + TASK)
        for _ in range(2):
            await house.scheduler.control.trigger("a", by="anne")
        await switch_off(house)
        await house.end(await house.process())
        await house.end(await house.process())
        assert await house.states() == ["succeeded"] * 2


@pytest.mark.parametrize("catch_up", ["last", "all"])
async def test_a_hold_that_ended_while_no_daemon_was_there(path: Path, catch_up: str) -> None:
    """What was due under it is let pass, and what was due before and after is caught up as the schedule says."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(f"name: a\nschedules: [{{every: 1h, overlap: allow, catch_up: {catch_up}}}]\n{TASK}")
        held = Hold(label="", reason="a move", at_ms=NOON_MS + 90 * MINUTE, until_ms=NOON_MS + 4 * HOUR, by="anne")
        await house.scheduler.control.hold(held)
    async with ScheduleHouse.open(path, NOON_MS + 5 * HOUR + 30 * MINUTE) as house:
        await house.heard()
        fires = {fire.nominal_ms // HOUR - NOON_MS // HOUR: fire for fire in await house.fires()}
        assert (fires[2].state, fires[2].count, fires[2].reason) == (FireState.SKIPPED, 2, "held: a move")
        started = {hour for hour, fire in fires.items() if fire.state is FireState.STARTED}
        assert started == ({5} if catch_up == "last" else {1, 4, 5})
        assert {hour for hour, fire in fires.items() if fire.state is FireState.MISSED} == ({1, 4} - started)


async def test_a_newer_fire_takes_the_place_of_one_that_waits(path: Path) -> None:
    """It is told that the older one never started."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(QUEUE.replace("queue, queue_depth: 3", "replace") + TASK)
        await house.pass_time(HOUR)
        (await house.process()).is_stubborn = True
        await house.pass_time(2 * HOUR)
        assert await house.states() == ["started", "skipped", "queued"]
        (told,) = house.told("schedule_never_started")
        assert "a newer fire takes its place" in told["words"]


@pytest.mark.parametrize("overlap", ["queue, queue_depth: 3", "replace"])
async def test_its_workflow_goes_just_before_it_has_its_turn(path: Path, overlap: str) -> None:
    """What waits ends with its schedule, once, also where the scheduler comes to it before it has heard of that."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(QUEUE.replace("queue, queue_depth: 3", overlap) + TASK)
        await house.pass_time(HOUR)
        process = await house.process()
        process.is_stubborn = True
        await house.pass_time(HOUR)
        await house.workflows.delete(WorkflowName("a"), by="anne")
        await house.pass_time(HOUR)
        await house.end(process)
        await house.scheduler.control.changed("a")
        first, second = await house.fires()
        assert (second.state, second.reason) == (FireState.SKIPPED, "its workflow was deleted")
        assert first.state is (FireState.FAILED if overlap == "replace" else FireState.SUCCEEDED)
        assert house.told("schedule_never_started") == []
    assert invariants.broken(path) == []


async def test_its_workflow_goes_just_before_it_is_tried_again(path: Path) -> None:
    """So does what is to be tried again."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(RETRY + TASK)
        await house.pass_time(DAY)
        await house.end(await house.process(), 1)
        await house.workflows.delete(WorkflowName("a"), by="anne")
        await house.pass_time(HOUR)
        await house.scheduler.control.changed("a")
        (fire,) = await house.fires()
        assert (fire.state, fire.reason) == (FireState.FAILED, "its workflow was deleted")
        assert len(house.runs()) == 1
    assert invariants.broken(path) == []


async def test_its_workflow_goes_while_it_is_enabled(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who enables it is told that there is no such schedule any more."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(QUEUE + TASK)
        await house.scheduler.control.enable("a", is_enabled=False, by="anne")
        schedules = house.stores.schedules
        read = schedules.get

        async def read_late(schedule: str) -> ScheduleRecord | None:
            await house.workflows.delete(WorkflowName("a"), by="bob")
            return await read(schedule)

        monkeypatch.setattr(schedules, "get", read_late)
        with pytest.raises(NotFoundError, match="there is no schedule 'a"):
            await house.scheduler.control.enable("a", is_enabled=True, by="anne")
    assert invariants.broken(path) == []
