"""Schedules by time on a real state file: each fire once, in time or told why not."""

from __future__ import annotations

import zoneinfo
from collections.abc import Awaitable
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from barbossad.errors import ConflictError, NotFoundError, StoreError
from barbossad.model.holds import Hold
from barbossad.model.names import WorkflowName
from barbossad.model.schedules import Fire, FireState, ScheduleDefinition, ScheduleKind, Timing
from barbossad.model.states import RunState, TriggerType
from barbossad.process.launcher import Verdict
from barbossad.recurrence import zones
from barbossad.store.highwater import UNKNOWN
from tests.helpers import invariants
from tests.helpers.records import NOON_MS
from tests.helpers.schedule_house import DAY, HOUR, MINUTE, SECOND, ScheduleHouse


def workflow(entry: str, *, name: str = "backup", labels: str = "{}") -> str:
    """Return a workflow with one schedule."""
    return f"name: {name}\nlabels: {labels}\nschedules:\n  - {entry}\ntasks: [{{id: one, shell: ':'}}]\n"


HOURLY = workflow("{every: 1h, catch_up: last}")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the state file is."""
    return tmp_path / "barbossa.db"


async def test_fire_run_success(path: Path) -> None:
    """At its instant a run is made, which knows its nominal time; its end is that of the fire."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(HOURLY)
        await house.pass_time(HOUR - 1)
        assert house.runs() == []
        await house.pass_time(1)
        process = await house.process()
        assert process.spec.env["BARBOSSA_SCHEDULED_FOR"] == "2026-01-31T13:00:00.000Z"
        (run,) = house.runs()
        assert (run.trigger, run.schedule, run.scheduled_for_ms) == (
            TriggerType.SCHEDULE, "backup/every-1", NOON_MS + HOUR,
        )  # fmt: skip
        assert await house.states() == ["started"]
        await house.end(process)
        (fire,) = await house.fires()
        assert (fire.state, fire.run_id, fire.lateness_ms) == (FireState.SUCCEEDED, run.id, 0)
    assert invariants.broken(path) == []


async def test_overlap_skip(path: Path) -> None:
    """Fires that overlap are skipped; those in a row are one record with their number."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(HOURLY)
        await house.pass_time(HOUR)
        process = await house.process()
        await house.pass_time(3 * HOUR)
        await house.end(process)
        await house.pass_time(HOUR)
        fires = await house.fires()
        assert [(fire.state, fire.count) for fire in fires] == [
            (FireState.SUCCEEDED, 1), (FireState.SKIPPED, 3), (FireState.STARTED, 1),
        ]  # fmt: skip
        assert "overlap: skip" in str(fires[1].reason)
        assert fires[1].until_ms == NOON_MS + 4 * HOUR
        await house.end(await house.process())


async def test_overlap_queue(path: Path) -> None:
    """As many fires as the queue is deep wait, and begin one after another."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(workflow("{every: 1h, overlap: queue, queue_depth: 2}"))
        await house.pass_time(4 * HOUR)
        assert await house.states() == ["started", "queued", "queued", "skipped"]
        for number in (1, 2, 3):
            process = await house.process()
            assert process.spec.env["BARBOSSA_SCHEDULED_FOR"] == f"2026-01-31T{12 + number}:00:00.000Z"
            await house.end(process)
        assert await house.states() == ["succeeded", "succeeded", "succeeded", "skipped"]
        assert house.house.launcher.most_live == 1


async def test_overlap_replace(path: Path) -> None:
    """A new fire cancels the run before it, and begins when that has ended."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(workflow("{every: 1h, overlap: replace}"))
        await house.pass_time(HOUR)
        first = await house.process()
        first.is_stubborn = True
        await house.pass_time(HOUR)
        assert await house.states() == ["started", "queued"]
        assert first.stops
        await house.end(first, 1)
        second = await house.process()
        await house.end(second)
        assert await house.states() == ["failed", "succeeded"]
        assert [run.state for run in house.runs()] == [RunState.CANCELLED, RunState.SUCCEEDED]


async def test_overlap_allow(path: Path) -> None:
    """Runs go on side by side."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(workflow("{every: 1h, overlap: allow}"))
        await house.pass_time(3 * HOUR)
        assert await house.states() == ["started"] * 3
        for _ in range(3):
            await house.end(await house.process())
        assert await house.states() == ["succeeded"] * 3


async def test_several_holds(path: Path) -> None:
    """Of several holds the one that ends last is told, and an instant is asked for as it will be then."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(workflow("{every: 1h}", labels="{team: infra}"))
        (record,) = house.scheduler.board.of("backup")
        short = Hold(label="team=infra", reason="short", until_ms=NOON_MS + HOUR, at_ms=NOON_MS, by="anne")
        await house.scheduler.control.hold(short)
        assert house.scheduler.board.held_by(record) == short
        assert house.scheduler.board.held_by(record, NOON_MS + HOUR) is None
        endless = Hold(label="team", reason="endless", at_ms=NOON_MS, by="anne")
        await house.scheduler.control.hold(endless)
        assert house.scheduler.board.held_by(record) == endless
        assert house.scheduler.board.held_by(record, NOON_MS + HOUR) == endless


async def test_held_and_released(path: Path) -> None:
    """While its label is held its fires are skipped with the reason; released, it goes on with the next."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(workflow("{every: 1h}", labels="{team: infra}"))
        await house.apply(workflow("{every: 1h}", name="other", labels="{team: web}"))
        hold = Hold(label="team=infra", reason="the disks are changed", at_ms=NOON_MS, by="anne")
        await house.scheduler.control.hold(hold)
        await house.pass_time(2 * HOUR)
        (fire,) = await house.fires("backup/every-1")
        assert (fire.state, fire.count) == (FireState.SKIPPED, 2)
        assert fire.reason == "held by label team=infra: the disks are changed"
        assert await house.states("other/every-1") == ["started", "skipped"]
        await house.scheduler.control.release("team=infra", by="anne")
        await house.pass_time(HOUR)
        assert await house.states("backup/every-1") == ["skipped", "started"]
        with pytest.raises(NotFoundError):
            await house.scheduler.control.release("team=infra", by="anne")


async def test_a_hold_ends_by_itself(path: Path) -> None:
    """A hold with an end holds no longer after that."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(HOURLY)
        until_ms = NOON_MS + 90 * MINUTE
        await house.scheduler.control.hold(Hold(label="", reason="a move", until_ms=until_ms, at_ms=NOON_MS, by="anne"))
        await house.pass_time(2 * HOUR)
        assert await house.states() == ["skipped", "started"]
        assert house.scheduler.board.holds() == []


async def test_disabled_and_enabled(path: Path) -> None:
    """A disabled schedule does not fire, and once it is enabled it does not catch up what it was disabled for."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(HOURLY)
        await house.scheduler.control.enable("backup", is_enabled=False, by="anne", reason="not now")
        await house.pass_time(5 * HOUR + MINUTE)
        assert await house.fires() == []
        await house.scheduler.control.enable("backup", is_enabled=True, by="anne")
        await house.pass_time(HOUR)
        (fire,) = await house.fires()
        assert fire.nominal_ms == NOON_MS + 6 * HOUR


async def test_a_disabled_workflow(path: Path) -> None:
    """Fires of a disabled workflow are skipped, with that reason."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(HOURLY)
        await house.workflows.enable("backup", is_enabled=False, by="anne")  # type: ignore[arg-type]
        await house.pass_time(2 * HOUR)
        (fire,) = await house.fires()
        assert (fire.state, fire.count) == (FireState.SKIPPED, 2)
        assert "disabled" in str(fire.reason)


@pytest.mark.parametrize("overlap", ["skip", "queue", "replace"])
async def test_all_that_was_missed_while_a_run_went_on(path: Path, overlap: str) -> None:
    """With catch_up: all each of them waits for the one before it, the first for the run that a daemon took over."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(workflow(f"{{every: 1h, catch_up: all, overlap: {overlap}}}"))
        await house.pass_time(HOUR)
        await house.process()
    async with ScheduleHouse.open(path, NOON_MS + 3 * HOUR + 30 * MINUTE, otherwise=Verdict.LIVE) as house:
        await house.heard()
        assert await house.states() == ["started", "queued", "queued"]
        house.house.launcher.adopted[0].exit()
        await house.heard()
        for _ in range(2):
            await house.end(await house.process())
        assert await house.states() == ["succeeded"] * 3


async def test_a_clock_set_back_doubles_nothing(path: Path) -> None:
    """Set back by three hours, no instant that has fired fires again, and the next one after them does."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(workflow("{every: 1h, overlap: allow}"))
        await house.pass_time(4 * HOUR)
        await house.alarm.set_clock(NOON_MS + HOUR + 1)
        await house.heard()
        await house.pass_time(4 * HOUR)
        nominal = [fire.nominal_ms for fire in await house.fires()]
        assert nominal == [NOON_MS + number * HOUR for number in (1, 2, 3, 4, 5)]
        assert [fact["by_seconds"] for fact in house.told("clock_jumped")] == [-10799.999]
        assert len(house.runs()) == 5


@pytest.mark.parametrize("by_ms", [2 * SECOND, 59 * MINUTE])
@pytest.mark.parametrize("overlap", ["skip", "queue", "replace"])
async def test_a_clock_set_back_while_a_run_goes_on(path: Path, overlap: str, by_ms: int) -> None:
    """The run is still that of its fire when the instant comes again, and its end is heard of."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(workflow(f"{{every: 1h, overlap: {overlap}, expect: {{start_within: 10m}}}}"))
        await house.pass_time(HOUR)
        await house.alarm.set_clock(NOON_MS + HOUR - by_ms)
        await house.heard()
        await house.pass_time(by_ms + MINUTE)
        assert await house.states() == ["started"]
        assert house.told("schedule_never_started") == []
        await house.end(await house.process())
        assert await house.states() == ["succeeded"]
        await house.pass_time(HOUR)
        assert await house.states() == ["succeeded", "started"]


@pytest.mark.parametrize("policy", ["queue", "replace"])
async def test_a_clock_set_back_while_a_run_has_its_place(path: Path, policy: str) -> None:
    """An instant that comes again takes no place in the workflow's group, and has nobody make room."""
    async with ScheduleHouse.open(path) as house:
        text = workflow("{every: 1h, overlap: allow}")
        await house.apply(text.replace("tasks:", f"concurrency: {{limit: 1, policy: {policy}}}\ntasks:"))
        await house.pass_time(HOUR)
        await house.alarm.set_clock(NOON_MS + HOUR - 2 * SECOND)
        await house.heard()
        await house.pass_time(MINUTE)
        await house.end(await house.process())
        assert await house.states() == ["succeeded"]
        await house.pass_time(HOUR)
        await house.end(await house.process())
        assert await house.states() == ["succeeded", "succeeded"]


async def test_a_clock_set_back_before_a_run_that_took_the_place_of_another(path: Path) -> None:
    """An instant that has fired, and whose run is over, makes nothing go that came after it."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(workflow("{every: 1h, overlap: replace}"))
        await house.pass_time(2 * HOUR)
        assert await house.states() == ["failed", "started"]
        await house.alarm.set_clock(NOON_MS + MINUTE)
        await house.heard()
        await house.pass_time(2 * HOUR)
        assert await house.states() == ["failed", "started"]


async def test_a_clock_set_back_before_a_fire_that_is_to_be_tried_again(path: Path) -> None:
    """Its own instant takes nobody's place when it comes again: the retry is made."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(workflow("{every: 1h, retry: {attempts: 2, delay: 10m}}"))
        await house.pass_time(HOUR)
        await house.end(await house.process(), 1)
        await house.alarm.set_clock(NOON_MS + HOUR - 2 * SECOND)
        await house.heard()
        await house.pass_time(MINUTE)
        assert await house.states() == ["retrying"]
        await house.pass_time(10 * MINUTE)
        await house.end(await house.process())
        assert await house.states() == ["succeeded"]


async def test_a_clock_set_back_while_nothing_can_be_recorded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is told, and where schedules stand is recorded, when the state file takes changes again."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(HOURLY)
        await house.pass_time(HOUR)
        await house.end(await house.process())
        write, faults = house.house.database.write, iter([StoreError("the disk is full")] * 2)

        def refused(*args: Any, **more: Any) -> Awaitable[Any]:
            for fault in faults:
                raise fault
            return write(*args, **more)

        monkeypatch.setattr(house.house.database, "write", refused)
        await house.alarm.set_clock(NOON_MS)
        await house.heard()
        await house.pass_time(2 * SECOND)
        assert [fact["by_seconds"] for fact in house.told("clock_jumped")] == [-3600.0]
        assert house.scheduler.board.find("backup").watermark == NOON_MS
        await house.pass_time(2 * HOUR)
        assert await house.states() == ["succeeded", "started"]


@pytest.mark.parametrize(
    ("entry", "states"),
    [
        ("every: 1h, overlap: allow", ["missed", "started", "started"]),
        ("every: 1h, overlap: queue", ["missed", "started", "queued"]),
        ("every: 1h, overlap: replace", ["missed", "failed", "started"]),
        ("at: 2026-01-31T13:00:00Z", ["missed", "started"]),
    ],
)
async def test_a_clock_that_was_ahead_for_a_moment(path: Path, entry: str, states: list[str]) -> None:
    """What it let pass before its time has its run when its time comes."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(workflow(f"{{{entry}}}"))
        await house.alarm.set_clock(NOON_MS + 1000 * DAY + MINUTE)
        await house.heard()
        await house.alarm.set_clock(NOON_MS + MINUTE)
        await house.heard()
        await house.pass_time(HOUR - MINUTE)
        fires = await house.fires()
        assert [fire.state for fire in fires] == states
        assert fires[-1].nominal_ms == NOON_MS + HOUR


async def test_a_clock_set_back_and_a_downtime(path: Path) -> None:
    """What comes again and has fired is told once; what was missed after it is told, though it was in one stretch."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(workflow("{every: 1h, overlap: allow, catch_up: none}"))
        await house.pass_time(2 * HOUR)
    async with ScheduleHouse.open(path, NOON_MS + MINUTE) as house:
        await house.heard()
    async with ScheduleHouse.open(path, NOON_MS + 5 * HOUR + 30 * MINUTE) as house:
        await house.heard()
        fires = [(fire.state, fire.count, fire.nominal_ms - NOON_MS) for fire in await house.fires()]
        assert fires == [
            (FireState.FAILED, 1, HOUR), (FireState.FAILED, 1, 2 * HOUR), (FireState.MISSED, 3, 3 * HOUR),
        ]  # fmt: skip


async def test_a_clock_set_back_and_a_downtime_under_a_hold(path: Path) -> None:
    """The row of the hold goes on behind what it had counted before, and nothing of it is lost."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(workflow("{every: 1h}"))
        hold = Hold(label="", reason="a move", at_ms=NOON_MS, until_ms=NOON_MS + 6 * HOUR + MINUTE, by="anne")
        await house.scheduler.control.hold(hold)
        await house.pass_time(3 * HOUR)
    async with ScheduleHouse.open(path, NOON_MS + MINUTE) as house:
        await house.heard()
    async with ScheduleHouse.open(path, NOON_MS + 7 * HOUR) as house:
        await house.heard()
        fires = [(fire.state, fire.count, fire.nominal_ms - NOON_MS) for fire in await house.fires()]
        assert fires == [(FireState.SKIPPED, 6, HOUR), (FireState.STARTED, 1, 7 * HOUR)]


async def test_a_clock_that_was_years_ahead(path: Path) -> None:
    """After a clock that was far in the future is set right, the schedule goes on at once, not in years."""
    async with ScheduleHouse.open(path, NOON_MS + 1000 * DAY) as house:
        await house.apply(workflow("{every: 1h, overlap: allow}"))
        await house.pass_time(HOUR)
        await house.alarm.set_clock(NOON_MS)
        await house.heard()
        await house.pass_time(HOUR)
        assert [fire.nominal_ms for fire in await house.fires()] == [NOON_MS + 1000 * DAY + HOUR, NOON_MS + HOUR]


async def test_a_clock_set_forth_loses_nothing(path: Path) -> None:
    """Set forth by five hours, what lies in between is caught up or told, as after a downtime."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(HOURLY)
        await house.alarm.set_clock(NOON_MS + 5 * HOUR + MINUTE)
        await house.heard()
        fires = await house.fires()
        assert [(fire.state, fire.count) for fire in fires] == [(FireState.MISSED, 4), (FireState.STARTED, 1)]
        assert fires[1].nominal_ms == NOON_MS + 5 * HOUR


async def test_missed_while_away(path: Path) -> None:
    """What was missed while no daemon was there is decided by the next one, once, also if that dies at once."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(workflow("{every: 1h, catch_up: all, catch_up_limit: 3}"))
    for _ in range(5):  # each time the run that goes on is interrupted, and the next one begins
        async with ScheduleHouse.open(path, NOON_MS + 6 * HOUR + MINUTE) as house:
            await house.heard()
            fires = await house.fires()
            assert [(fire.count, fire.nominal_ms) for fire in fires] == [
                (3, NOON_MS + HOUR), *((1, NOON_MS + number * HOUR) for number in (4, 5, 6)),
            ]  # fmt: skip
            runs = [run.scheduled_for_ms for run in house.runs()]
    assert runs == [NOON_MS + number * HOUR for number in (4, 5, 6)]


async def test_retried_by_its_own_rule(path: Path) -> None:
    """A failed run is tried again after the delay, as a run of its own for the same nominal time."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(workflow("{every: 1d, retry: {attempts: 3, delay: 10m}}"))
        await house.pass_time(12 * HOUR)
        await house.end(await house.process(), 1)
        assert await house.states() == ["retrying"]
        await house.pass_time(10 * MINUTE)
        await house.end(await house.process(), 1)
        await house.pass_time(10 * MINUTE)
        await house.end(await house.process())
        (fire,) = await house.fires()
        assert (fire.state, fire.tries) == (FireState.SUCCEEDED, 3)
        runs = house.runs()
        assert {run.scheduled_for_ms for run in runs} == {NOON_MS + 12 * HOUR}
        assert [run.retry_of for run in runs] == [None, runs[0].id, runs[1].id]
        assert house.scheduler.board.find("backup").failures == 0


async def test_a_retry_outlives_the_daemon(path: Path) -> None:
    """A retry that is due after a restart is made then, and one that was due meanwhile at once."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(workflow("{every: 1d, retry: {attempts: 2, delay: 10m}}"))
        await house.pass_time(12 * HOUR)
        await house.end(await house.process(), 1)
    async with ScheduleHouse.open(path, NOON_MS + 12 * HOUR + 30 * MINUTE) as house:
        await house.heard()
        await house.end(await house.process())
        assert await house.states() == ["succeeded"]


@pytest.mark.parametrize("is_away", [False, True])
async def test_a_retry_does_not_wait_for_a_clock_that_was_set_back(path: Path, is_away: bool) -> None:
    """It is made after its delay at the latest, whatever the clock said when that was decided."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(workflow("{every: 1d, retry: {attempts: 2, delay: 10m}}"))
        await house.pass_time(12 * HOUR)
        await house.end(await house.process(), 1)
        assert await house.states() == ["retrying"]
        if not is_away:
            await house.alarm.set_clock(NOON_MS + 3 * HOUR)
            await house.heard()
            await house.pass_time(10 * MINUTE)
            await house.end(await house.process())
    if is_away:
        async with ScheduleHouse.open(path, NOON_MS + 3 * HOUR) as house:
            await house.heard()
            await house.pass_time(10 * MINUTE)
            await house.end(await house.process())
    async with ScheduleHouse.open(path, NOON_MS + 4 * HOUR) as house:
        assert await house.states() == ["succeeded"]


async def test_disabled_after_failures(path: Path) -> None:
    """After so many failures in a row it is disabled with the reason; enabled, it starts anew."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(workflow("{every: 1h, disable_after: 2}"))
        for _ in range(2):
            await house.pass_time(HOUR)
            await house.end(await house.process(), 3)
        record = house.scheduler.board.find("backup")
        assert (record.is_enabled, record.failures) == (False, 2)
        assert "2 times in a row" in str(record.disabled_reason)
        await house.pass_time(5 * HOUR)
        assert len(await house.fires()) == 2
        record = await house.scheduler.control.enable("backup", is_enabled=True, by="anne")
        assert (record.is_enabled, record.failures, record.disabled_reason) == (True, 0, None)


async def test_it_ends_while_no_daemon_is_there(path: Path) -> None:
    """A run whose end the engine records before the scheduler hears of it is settled by the next daemon."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(HOURLY)
        await house.pass_time(HOUR)
        process = await house.process()
        house.house.engine.on_end = None
        process.exit()
        await house.house.ended(house.runs()[0].id)
        assert await house.states() == ["started"]
    async with ScheduleHouse.open(path, NOON_MS + 90 * MINUTE) as house:
        await house.heard()
        assert await house.states() == ["succeeded"]


@pytest.mark.parametrize(
    ("expect", "kinds"),
    [
        ("{max_duration: 10m}", {"schedule_too_long"}),
        ("{min_duration: 2h}", {"schedule_too_short"}),
        ("{start_within: 5m}", set()),
    ],
)
async def test_expectations_of_a_run(path: Path, expect: str, kinds: set[str]) -> None:
    """A run that takes too long, or is done too soon, is told of once; one as expected is not."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(workflow(f"{{every: 1d, expect: {expect}}}"))
        await house.pass_time(12 * HOUR)
        process = await house.process()
        await house.pass_time(HOUR)
        await house.end(process)
        told = {kind for kind in ALARMS if house.told(kind)}
        assert told == kinds
        assert all(len(house.told(kind)) == 1 for kind in kinds)


async def test_a_clock_set_back_makes_no_run_short(path: Path) -> None:
    """How long a run took in which the clock was set back is not known, so nothing is told of it."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(workflow("{every: 1d, expect: {min_duration: 2h}}"))
        await house.pass_time(12 * HOUR)
        process = await house.process()
        house.clock.set_to(house.clock.at_ms - HOUR)
        await house.end(process)
        assert house.told("schedule_too_short") == []


@pytest.mark.parametrize("by_ms", [-30 * MINUTE, 365 * DAY])
async def test_a_clock_set_while_a_run_goes_on_makes_it_no_longer(path: Path, by_ms: int) -> None:
    """What it has taken is real time: not more for a clock that was set forward, nor less for one set back."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(workflow("{every: 1h, catch_up: none, expect: {max_duration: 50m, min_duration: 5m}}"))
        await house.pass_time(HOUR)
        process = await house.process()
        await house.pass_time(10 * MINUTE)
        await house.alarm.set_clock(house.clock.at_ms + by_ms)
        await house.heard()
        await house.pass_time(40 * MINUTE - 1)
        assert house.told("schedule_too_long") == []
        await house.pass_time(1)
        assert [fact["seconds"] for fact in house.told("schedule_too_long")] == [3000]
        await house.end(process)
        assert house.told("schedule_too_short") == []


ALARMS = ("schedule_late", "schedule_too_long", "schedule_too_short", "schedule_never_started")


@pytest.mark.parametrize(("ended_after", "told"), [(9 * MINUTE, 0), (11 * MINUTE, 1), (None, 1)])
async def test_a_run_that_ends_while_no_daemon_is_there(path: Path, ended_after: int | None, told: int) -> None:
    """It took too long or not by when it ended, not by when a daemon came to hear of it; what goes on is told."""
    text = workflow("{every: 1d, expect: {max_duration: 10m}}")
    async with ScheduleHouse.open(path) as house:
        await house.apply(text)
        await house.pass_time(12 * HOUR)
        await house.process()
    began_ms = NOON_MS + 12 * HOUR
    async with ScheduleHouse.open(path, began_ms + HOUR, otherwise=Verdict.LIVE) as house:
        await house.pass_time(1999)
        assert house.told("schedule_too_long") == []
        if ended_after is not None:
            house.house.launcher.adopted[0].exit(finished_at_ms=began_ms + ended_after)
        await house.heard()
        await house.pass_time(1)
        assert len(house.told("schedule_too_long")) == told


async def test_never_started_while_away(path: Path) -> None:
    """What should have begun while no daemon was there is told by the next one."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(workflow("{every: 1h, catch_up: none, expect: {start_within: 10m}}"))
    async with ScheduleHouse.open(path, NOON_MS + 150 * MINUTE) as house:
        await house.heard()
        (told,) = house.told("schedule_never_started")
        assert told["count"] == 2
        assert "catch_up is none" in told["words"]


async def test_late_start_is_told(path: Path) -> None:
    """A run that waits for a slot past start_within is late."""
    async with ScheduleHouse.open(path, limit=1) as house:
        text = workflow("{every: 1h, overlap: allow, expect: {start_within: 10m}}")
        await house.apply(text.replace("tasks:", "concurrency: {limit: 1}\ntasks:"))
        await house.pass_time(2 * HOUR)
        await house.pass_time(11 * MINUTE)
        (told,) = house.told("schedule_late")
        assert "has not started" in told["words"]


async def test_late_is_told_once(path: Path) -> None:
    """A fire that waits for the run before it is told to be late while it waits, and not again when it has run."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(workflow("{every: 1h, overlap: queue, expect: {start_within: 10m}}"))
        await house.pass_time(2 * HOUR)
        first = await house.process()
        await house.pass_time(30 * MINUTE)
        await house.end(first)
        await house.end(await house.process())
        assert [fact["nominal_at"] for fact in house.told("schedule_late")] == ["2026-01-31T14:00:00.000Z"]


async def test_fired_by_hand(path: Path) -> None:
    """A person may have it fire now; an overlap refuses that with the reason."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(HOURLY)
        fire: Fire = await house.scheduler.control.trigger("backup", by="anne")
        assert fire.state is FireState.STARTED
        with pytest.raises(ConflictError, match="has not ended"):
            await house.scheduler.control.trigger("backup", by="anne")
        await house.end(await house.process())
        await house.pass_time(HOUR)
        assert await house.states() == ["succeeded", "started"]


@pytest.mark.parametrize("overlap", ["allow", "queue, queue_depth: 2", "replace"])
async def test_fired_by_hand_twice_at_once(path: Path, overlap: str) -> None:
    """Two persons who fire at the same millisecond have a fire each."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(workflow(f"{{every: 1h, overlap: {overlap}}}"))
        for _ in range(3):
            await house.scheduler.control.trigger("backup", by="anne")
        await house.heard()
        assert len(await house.fires()) == 3
        assert len({fire.key for fire in await house.fires()}) == 3
        await house.pass_time(MINUTE)


async def test_a_schedule_that_goes_leaves_no_fire(path: Path) -> None:
    """Taken out of the file while a run goes on, its fire is settled all the same, and what waits does not begin."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(workflow("{every: 1h, overlap: queue}"))
        await house.pass_time(2 * HOUR)
        assert await house.states() == ["started", "queued"]
        await house.apply("name: backup\ntasks: [{id: one, shell: ':'}]\n")
        await house.end(await house.process())
        assert await house.states() == ["succeeded", "skipped"]
        assert len(house.runs()) == 1
    assert invariants.broken(path) == []


async def test_an_end_just_before_the_schedule_goes(path: Path) -> None:
    """A run that ends while its schedule is being removed is settled, not left as if it went on."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(HOURLY)
        await house.pass_time(HOUR)
        process = await house.process()
        async with house.scheduler._turn:
            process.exit()
            await house.house.ended(house.runs()[0].id)
            house.scheduler._roster.forget("backup/every-1")
        await house.heard()
        assert await house.states() == ["succeeded"]


PARAMS = "name: backup\nparams: {mode: {type: choice, choices: [CHOICES]}}\ntasks: [{id: one, shell: ':'}]\n"


async def test_params_that_are_refused(path: Path) -> None:
    """A fire of which no run can be made any more is refused with the reason, and counts as a failure."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(PARAMS.replace("CHOICES", "full, quick"))
        definition = ScheduleDefinition(
            name="added-1", kind=ScheduleKind.EVERY, timing=Timing(every_ms=HOUR), params={"mode": "full"},
            disable_after=2,
        )  # fmt: skip
        await house.scheduler.control.add(WorkflowName("backup"), definition, by="anne")
        await house.pass_time(HOUR)
        assert house.runs()[0].params == {"mode": "full"}
        await house.end(await house.process())
        await house.apply(PARAMS.replace("CHOICES", "quick"))
        await house.pass_time(2 * HOUR)
        fires = await house.fires()
        assert [fire.state for fire in fires] == [FireState.SUCCEEDED, FireState.REFUSED, FireState.REFUSED]
        assert "full" in str(fires[1].reason)
        record = house.scheduler.board.find("backup")
        assert (record.is_enabled, record.failures) == (False, 2)


async def test_nothing_is_made_up_for_in_an_older_state_file(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """When one was put back, what was due by it is recorded as missed: it may have run. What comes then fires."""
    retried = workflow("{every: 1h, retry: {attempts: 3, delay: 10m}}", name="retried")
    async with ScheduleHouse.open(path) as house:
        for text in (HOURLY, retried, workflow("{every: 1h, overlap: queue}", name="queued")):
            await house.apply(text)
        await house.pass_time(HOUR)
        processes = [await house.process() for _ in range(3)]
        await house.pass_time(HOUR)
        retrying = next(run.id for run in house.runs() if run.workflow == "retried")
        await house.end(next(process for process in processes if process.spec.key.run_id == retrying), 1)
        assert {*await house.states()} == {"started", "skipped", "queued", "retrying"}
    caplog.clear()
    async with ScheduleHouse.open(path, NOON_MS + 5 * HOUR + MINUTE, is_rolled_back=True) as house:
        await house.heard()
        assert house.house.launcher.launched == []
        before = len(house.runs())
        assert set(await house.states()) == {"failed", "skipped", "missed"}
        missed = [fire for fire in await house.fires() if fire.state is FireState.MISSED]
        assert [(fire.count, fire.reason) for fire in missed] == [(3, UNKNOWN)] * 3
        (said,) = [record for record in caplog.records if vars(record).get("action") == "fires_passed_over"]
        assert said.getMessage() == f"9 fires of schedules are not made up for: {UNKNOWN}"
        await house.pass_time(HOUR)
        assert len(house.runs()) == before + 3
    assert invariants.broken(path, is_idle=False) == []


async def test_rules_of_a_zone_that_are_updated(path: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """They are taken over when it is asked for: a place that gives up its own time fires by the new one."""
    request.addfinalizer(zones.read_again)
    request.addfinalizer(zoneinfo.reset_tzpath)
    rules = resources.files("tzdata.zoneinfo")
    (tmp_path / "Place").write_bytes(rules.joinpath("Asia", "Tokyo").read_bytes())
    zoneinfo.reset_tzpath([str(tmp_path)])
    async with ScheduleHouse.open(path) as house:
        await house.apply(workflow("{cron: 0 15 * * *, timezone: Place, overlap: allow}"))
        await house.apply(workflow("{cron: 0 0 * * *, timezone: UTC}", name="other"))
        (tmp_path / "Place").write_bytes(rules.joinpath("UTC").read_bytes())
        await house.scheduler.control.zones_changed()
        await house.pass_time(3 * HOUR)
        assert [fire.nominal_ms for fire in await house.fires()] == [NOON_MS + 3 * HOUR]
        assert [wake[3] for wake in house.scheduler._book._wakes].count("other/cron-1") == 1


@pytest.mark.parametrize("by_ms", [-30 * MINUTE, -MINUTE, MINUTE, DAY])
async def test_a_clock_that_is_set_before_another_try(path: Path, by_ms: int) -> None:
    """The delay of a retry is of real time."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(workflow("{every: 999d, retry: {attempts: 2, delay: 10m}}"))
        await house.scheduler.control.trigger("backup", by="anne")
        await house.end(await house.process(), 1)
        await house.pass_time(4 * MINUTE)
        await house.alarm.set_clock(house.clock.at_ms + by_ms)
        await house.heard()
        await house.pass_time(6 * MINUTE - 1)
        assert await house.states() == ["retrying"]
        await house.pass_time(1)
        assert await house.states() == ["started"]


@pytest.mark.parametrize("is_late", [False, True])
@pytest.mark.parametrize("by_ms", [-5 * MINUTE, MINUTE, 50 * MINUTE])
async def test_a_clock_that_is_set_while_a_fire_waits(path: Path, by_ms: int, *, is_late: bool) -> None:
    """It has not begun in time when so much time has really passed since it was due."""
    async with ScheduleHouse.open(path) as house:
        text = workflow("{every: 999d, overlap: allow, expect: {start_within: 10m}}")
        await house.apply(text.replace("tasks:", "concurrency: {limit: 1}\ntasks:"))
        await house.scheduler.control.trigger("backup", by="anne")
        await house.scheduler.control.trigger("backup", by="anne")
        first = await house.process()
        await house.pass_time(4 * MINUTE)
        await house.alarm.set_clock(house.clock.at_ms + by_ms)
        await house.heard()
        await house.pass_time(6 * MINUTE - 1)
        assert house.told("schedule_late") == []
        if is_late:
            await house.pass_time(SECOND)
            (late,) = house.told("schedule_late")
            assert late["words"] == "it has not started; start_within is 10m"
        await house.end(first)
        await house.end(await house.process())
        assert await house.states() == ["succeeded"] * 2
        assert len(house.told("schedule_late")) == is_late
