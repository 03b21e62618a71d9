"""Runs that a schedule asks for: recorded with their fire or not at all, and told of their time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from barbossad.errors import ConflictError, StoreError
from barbossad.model.names import run_number
from barbossad.model.records import RunRecord
from barbossad.model.schedules import Fire
from barbossad.model.states import RunState, TriggerType
from barbossad.store.fire_changes import FireStarted
from tests.helpers import invariants
from tests.helpers.house import House, load, locked
from tests.helpers.records import NOON_MS, workflow
from tests.helpers.schedule_records import HOURLY, Stores, schedule, started

ONE = workflow({"a": []})


def firing(seen: list[RunRecord] | None = None) -> Callable[[RunRecord], FireStarted]:
    """Return what makes the fire of a run."""

    def also(run: RunRecord) -> FireStarted:
        if seen is not None:
            seen.append(run)
        return started(run, watermark=NOON_MS)

    return also


def asked(nominal: int = 0, **more: Any) -> dict[str, Any]:
    """Return what the scheduler gives with a start."""
    return {
        "trigger": TriggerType.SCHEDULE, "schedule": HOURLY, "scheduled_for_ms": NOON_MS + nominal, "also": firing(),
        **more,
    }  # fmt: skip


async def fires(house: House) -> list[Fire]:
    return await Stores(house.database).fires.active()


async def test_one_commit(house: House) -> None:
    """A run that begins at once is recorded with its fire in the commit that the caller waits for."""
    await Stores(house.database).schedules.add(schedule())
    started_id = await house.start(ONE, **asked())
    (fire,) = await fires(house)
    assert (fire.run_id, fire.tries) == (started_id, 1)
    run = (await house.details(started_id)).run
    assert (run.schedule, run.scheduled_for_ms) == (HOURLY, NOON_MS)
    (await house.launcher.next()).exit()
    assert (await house.ended(started_id)).run.state is RunState.SUCCEEDED


async def test_fired_already(house: House) -> None:
    """A start whose fire was made before raises, launches nothing, and leaves neither run nor slot taken."""
    await Stores(house.database).schedules.add(schedule())
    first = await house.start(ONE, **asked())
    await house.launcher.next()
    events = await house.database.read("SELECT count(*) FROM events")
    with pytest.raises(ConflictError, match="has fired for"):
        await house.start(ONE, **asked())
    await house.settle()
    assert await house.database.read("SELECT id FROM runs") == [(run_number(first),)]
    assert await house.database.read("SELECT count(*) FROM events") == events
    assert house.engine.counts["active"] == 1
    assert len(house.launcher.launched) == 1
    assert not house.engine.crash.done()


async def test_refused_by_the_store(house: House, path: Path) -> None:
    """While the file refuses changes there is neither run nor fire, and the same fire can be made afterwards."""
    await Stores(house.database).schedules.add(schedule())
    with locked(path), pytest.raises(StoreError):
        await house.start(ONE, **asked())
    assert await house.database.read("SELECT (SELECT count(*) FROM runs), (SELECT count(*) FROM fires)") == [(0, 0)]


async def test_crash_right_after(path: Path) -> None:
    """A daemon that dies when the start is acknowledged leaves run and fire; the next one refuses the same fire."""
    async with House.open(path) as house:
        await Stores(house.database).schedules.add(schedule())
        started_id = await house.start(ONE, **asked())
        await house.crash()
    assert invariants.broken(path, is_idle=False, has_texts=False) == []
    async with House.open(path, ONE) as house:
        assert [fire.run_id for fire in await fires(house)] == [started_id]
        with pytest.raises(ConflictError):
            await house.start(ONE, **asked())


async def test_waiting_in_a_group(house: House) -> None:
    """A run that has to wait for its place has fired all the same."""
    await Stores(house.database).schedules.add(schedule())
    flow = load("name: backup\nconcurrency: {limit: 1, policy: queue}\ntasks: [{id: a, shell: make}]")
    first = await house.start(flow, **asked())
    second = await house.start(flow, **asked(1))
    assert [fire.run_id for fire in await fires(house)] == [first, second]
    assert (await house.details(second)).run.state is RunState.QUEUED


async def test_told_of_each_end(house: House) -> None:
    """Who follows runs is told of each end, once it is recorded, with the run as it ended."""
    told: list[RunRecord] = []
    house.engine.on_end = told.append
    for code in (0, 3):
        started_id = await house.start(ONE)
        (await house.launcher.next()).exit(code)
        details = await house.ended(started_id)
        assert told[-1] == details.run
    assert [run.state for run in told] == [RunState.SUCCEEDED, RunState.FAILED]


FLOW = "name: backup\ntasks: [{id: a, shell: make, env: {WHEN: '{{ run.scheduled_for or \"never\" }}'}}]"


@pytest.mark.parametrize(("nominal", "text"), [(NOON_MS, "2026-01-31T12:00:00.000Z"), (None, None)])
async def test_its_time_is_known_to_tasks(house: House, nominal: int | None, text: str | None) -> None:
    """Expressions and the environment have the nominal time; of a run that nobody scheduled there is none."""
    await house.start(load(FLOW), scheduled_for_ms=nominal)
    env = (await house.launched("a")).spec.env
    assert env.get("BARBOSSA_SCHEDULED_FOR") == text
    assert env["WHEN"] == (text or "never")
