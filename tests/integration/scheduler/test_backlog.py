"""What was missed is worked out aside: the loop is others' meanwhile, and what changes meanwhile counts."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from barbossad.errors import StoreError
from barbossad.model.holds import Hold
from barbossad.model.names import RunId
from barbossad.model.schedules import FireState
from barbossad.scheduler import backlog
from barbossad.scheduler.due import Due
from barbossad.scheduler.scheduler import AT_ONCE
from barbossad.store.run_details import RunDetails
from tests.helpers import invariants
from tests.helpers.records import NOON_MS
from tests.helpers.schedule_house import DAY, HOUR, MINUTE, SECOND, ScheduleHouse

PATIENCE_SECONDS = 30.0


def workflow(*entries: str, name: str = "backup") -> str:
    """Return a workflow with schedules."""
    listed = "".join(f"  - {entry}\n" for entry in entries)
    return f"name: {name}\nlabels: {{team: infra}}\nschedules:\n{listed}tasks: [{{id: one, shell: ':'}}]\n"


HOURLY = workflow("{name: hourly, every: 1h}")
LATE_MS = NOON_MS + 5 * HOUR + MINUTE


class Gate:
    """Through it goes whoever works out what was missed, on a thread; closed, it waits there."""

    def __init__(self) -> None:
        self.asked = 0
        self._arrived = threading.Semaphore(0)
        self._open = threading.Event()
        self._due = backlog.due

    def due(self, *args: Any, **more: Any) -> Due:
        """Wait, unless it is the loop that asks, and work it out."""
        if threading.current_thread() is not threading.main_thread():
            self.asked += 1
            self._arrived.release()
            assert self._open.wait(PATIENCE_SECONDS)
        return self._due(*args, **more)

    async def arrived(self) -> None:
        """Return when somebody has come to it."""
        assert await asyncio.to_thread(self._arrived.acquire, timeout=PATIENCE_SECONDS)

    def open(self) -> None:
        """Let everybody through from now on."""
        self._open.set()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """What was missed is worked out behind this, which is closed."""
    made = Gate()
    monkeypatch.setattr(backlog, "due", made.due)
    yield made
    made.open()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the state file is."""
    return tmp_path / "barbossa.db"


def moved_on(path: Path) -> int:
    """Return how many schedules stand later than they stood at noon, by the state file."""
    with closing(sqlite3.connect(path)) as connection:
        found: int = connection.execute("SELECT count(*) FROM schedules WHERE watermark > ?", (NOON_MS,)).fetchone()[0]
        return found


async def test_each_is_recorded_before_the_next_is_worked_out(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a month, of each schedule in turn; and while one is worked out, the loop does what others ask of it."""
    count, recorded = 8, []
    loop, work_out = asyncio.get_running_loop(), backlog.due

    async def others() -> int:
        await asyncio.sleep(0)
        return moved_on(path)

    def due(*args: Any, **more: Any) -> Due:
        found = work_out(*args, **more)
        recorded.append(asyncio.run_coroutine_threadsafe(others(), loop).result(PATIENCE_SECONDS))
        return found

    monkeypatch.setattr(backlog, "due", due)
    async with ScheduleHouse.open(path) as house:
        entries = (f"{{name: s{number}, cron: '* * * * *', timezone: Europe/London}}" for number in range(count))
        await house.apply(workflow(*entries))
    async with ScheduleHouse.open(path, NOON_MS + 31 * DAY) as house:
        await house.heard()
        assert recorded == list(range(count))
        fires = await house.fires()
        assert [fire.state.value for fire in fires] == ["missed", "missed", "started"] * count
        assert {fire.nominal_ms for fire in fires if fire.state is FireState.STARTED} == {NOON_MS + 31 * DAY}
    assert invariants.broken(path, is_idle=False) == []


async def test_who_is_in_time_does_not_wait(path: Path, gate: Gate) -> None:
    """While it is worked out what one schedule has missed, the others fire at their times."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(HOURLY)
    async with ScheduleHouse.open(path, LATE_MS) as house:
        await gate.arrived()
        await house.apply(workflow("{every: 1m, overlap: allow}", name="other"))
        await house.alarm.advance_to(LATE_MS + 3 * MINUTE)
        await house.house.settle()
        await house.alarm.asleep()
        assert await house.states() == ["started"] * 3
        gate.open()
        await house.heard()
        assert await house.states("backup/hourly") == ["missed", "started"]


Change = Callable[[ScheduleHouse], Awaitable[object]]


async def disable(house: ScheduleHouse) -> None:
    """Switch it off."""
    await house.scheduler.control.enable("backup", is_enabled=False, by="anne")


async def disable_and_enable(house: ScheduleHouse) -> None:
    """Switch it off and on again, after which nothing is caught up."""
    await disable(house)
    await house.scheduler.control.enable("backup", is_enabled=True, by="anne")


async def edit(house: ScheduleHouse) -> None:
    """Let it mean other instants."""
    await house.apply(workflow("{name: hourly, every: 2h}"))


async def remove(house: ScheduleHouse) -> None:
    """Take it out of the file."""
    await house.apply("name: backup\ntasks: [{id: one, shell: ':'}]\n")


async def hold(house: ScheduleHouse) -> None:
    """Hold it from now on."""
    await house.scheduler.control.hold(Hold(label="team", reason="a move", at_ms=LATE_MS, by="anne"))


async def set_back(house: ScheduleHouse) -> None:
    """Set the clock back to when it had missed one."""
    await house.alarm.set_clock(NOON_MS + 90 * MINUTE)


async def reload(house: ScheduleHouse) -> None:
    """Take it over from the store as it is."""
    await house.scheduler.control.changed("backup")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (disable, []),
        (disable_and_enable, []),
        (edit, []),
        (remove, []),
        (hold, [("missed", 4, 1), ("skipped", 1, 5)]),
        (set_back, [("started", 1, 1)]),
        (reload, [("missed", 4, 1), ("started", 1, 5)]),
    ],
)
async def test_what_changes_meanwhile_counts(
    path: Path, gate: Gate, change: Change, expected: list[tuple[str, int, int]]
) -> None:
    """It is as if it had changed before: nothing fires that should not by then, and nothing twice."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(HOURLY)
    async with ScheduleHouse.open(path, LATE_MS) as house:
        await gate.arrived()
        await change(house)
        gate.open()
        await house.heard()
        fires = [(fire.state.value, fire.count, (fire.nominal_ms - NOON_MS) // HOUR) for fire in await house.fires()]
        assert fires == expected
    assert invariants.broken(path, is_idle=False) == []


async def test_a_clock_that_is_right_again_meanwhile(path: Path, gate: Gate) -> None:
    """What is no longer missed, for the clock was ahead for a moment, fires when its time comes."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(HOURLY)
        await house.alarm.set_clock(LATE_MS)
        await gate.arrived()
        await house.alarm.set_clock(NOON_MS + MINUTE)
        gate.open()
        await house.heard()
        assert await house.fires() == []
        await house.pass_time(HOUR)
        assert await house.states() == ["started"]


async def test_a_daemon_that_stops_meanwhile_decides_nothing(path: Path, gate: Gate) -> None:
    """It does not wait for what is worked out; the next daemon decides, once."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(HOURLY)
    async with ScheduleHouse.open(path, LATE_MS) as house:
        await gate.arrived()
    assert moved_on(path) == 0
    gate.open()
    async with ScheduleHouse.open(path, LATE_MS) as house:
        await house.heard()
        assert [(fire.state.value, fire.count) for fire in await house.fires()] == [("missed", 4), ("started", 1)]
    assert gate.asked == 2


@pytest.mark.parametrize("is_killed", [False, True])
async def test_a_fault_between_what_is_missed_and_the_run(
    path: Path, monkeypatch: pytest.MonkeyPatch, is_killed: bool
) -> None:
    """What was recorded as missed before the store refused the run, or the daemon died, is not recorded again."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(HOURLY)
        engine = house.house.engine
        start_run, faults = engine.start_run, iter([StoreError("the disk is full")])

        async def refused_once(*args: Any, **more: Any) -> RunId | RunDetails:
            for fault in faults:
                raise fault
            return await start_run(*args, **more)

        monkeypatch.setattr(engine, "start_run", refused_once)
        await house.alarm.set_clock(LATE_MS)
        await house.eventually(lambda: house.scheduler._again_ms is not None)
        assert [(fire.state.value, fire.count) for fire in await house.fires()] == [("missed", 4)]
        if not is_killed:
            await house.alarm.advance_to(LATE_MS + SECOND)
            await house.heard()
            assert [(fire.state.value, fire.count) for fire in await house.fires()] == [("missed", 4), ("started", 1)]
            return
    async with ScheduleHouse.open(path, LATE_MS) as house:
        await house.heard()
        assert [(fire.state.value, fire.count) for fire in await house.fires()] == [("missed", 4), ("started", 1)]


async def test_many_in_the_same_second_let_others_have_their_turn(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of those that are due at once, some begin, and the loop goes round before the next do."""
    count = 3 * AT_ONCE + 1
    async with ScheduleHouse.open(path) as house:
        await house.apply(workflow(*["{every: 1h}"] * count))
        turn, begun, start_run = 0, [], house.house.engine.start_run

        async def ticker() -> None:
            nonlocal turn
            while True:
                turn += 1
                await asyncio.sleep(0)

        def noted(*args: Any, **more: Any) -> Awaitable[RunId | RunDetails]:
            begun.append(turn)
            return start_run(*args, **more)

        monkeypatch.setattr(house.house.engine, "start_run", noted)
        ticking = asyncio.create_task(ticker())
        try:
            await house.pass_time(HOUR)
        finally:
            ticking.cancel()
        assert len(begun) == count
        assert max(begun.count(number) for number in begun) <= AT_ONCE
