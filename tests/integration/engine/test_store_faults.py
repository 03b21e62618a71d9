"""A state file that refuses changes: what is asked is refused, what has happened is kept, and it goes on by itself."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from barbossad.errors import StoreError, UnavailableError
from barbossad.model.states import RunState
from tests.helpers.house import LIMIT_SECONDS, House, locked
from tests.helpers.records import workflow
from tests.helpers.waiting import eventually_async

ONE = workflow({"a": []})


async def recovered(house: House) -> None:
    await eventually_async(lambda: house.database.fault is None, LIMIT_SECONDS, "the state file accepts changes again")
    await house.settle()


async def test_refused_start(path: Path) -> None:
    """A start that cannot be recorded is refused, leaves nothing behind and frees its slot."""
    async with House.open(path, limit=1) as house:
        with locked(path), pytest.raises(StoreError, match="refuses changes"):
            await house.start(workflow({"a": [], "b": []}, timeout_seconds=60))
        assert house.engine.counts == {"active": 0, "queued": 0, "running": 0, "waiting": 0, "limit": 1}
        assert house.launcher.launched == []
        await recovered(house)
        started = await house.start(ONE)
        (await house.launcher.next()).exit()
        assert (await house.ended(started)).run.state is RunState.SUCCEEDED
        assert await house.database.read("SELECT count(*) FROM runs") == [(1,)]
        assert not house.engine.crash.done()


async def test_starts_during_a_fault(path: Path) -> None:
    """While the fault lasts, starts are refused at once, with the reason; who waits already is told it too."""
    async with House.open(path, limit=1) as house:
        wide = await house.start(workflow({"a": [], "b": []}))
        with locked(path):
            with pytest.raises(StoreError):
                await house.start(ONE)
            with pytest.raises(UnavailableError, match="database is locked"):
                await house.start(ONE)
            assert house.engine.why(wide) == {"b": "waiting: the state file refuses changes"}
        await recovered(house)
        await house.start(ONE)
        assert house.engine.counts["active"] == 2


async def test_timeout_of_a_run_that_is_refused(house: House, path: Path) -> None:
    """What is decided of a run before it exists dies with it: no crash, no trace."""
    with locked(path), pytest.raises(StoreError):
        await house.start(workflow({"a": []}, timeout_seconds=0))
    await recovered(house)
    assert not house.engine.crash.done()
    assert await house.database.read("SELECT count(*) FROM runs") == [(0,)]
    assert await house.database.read("SELECT count(*) FROM events") == [(0,)]


async def test_stop_while_a_run_is_refused(house: House, path: Path) -> None:
    """A stop of the daemon does not wait for tasks of a run that never came to be."""
    with locked(path):
        starting = asyncio.create_task(house.start(ONE))
        await asyncio.sleep(0)
        stopping = asyncio.create_task(house.engine.stop(30))
        async with asyncio.timeout(LIMIT_SECONDS):
            assert await stopping == []
        with pytest.raises(StoreError):
            await starting


async def test_running_tasks_go_on(house: House, path: Path) -> None:
    """What runs ends, its end is recorded when that is possible again, and what waited for it starts then."""
    started = await house.start(workflow({"a": [], "b": ["a"], "c": []}))
    a, c = await house.launcher.next(), await house.launcher.next()
    with locked(path):
        a.exit(0, output=b"kept")
        await eventually_async(lambda: house.database.fault is not None, LIMIT_SECONDS, "the fault is noticed")
        c.exit(0)
        assert len(house.launcher.launched) == 2
        assert (await house.details(started)).tasks["a"].outputs is None
    b = await house.launcher.next()
    assert b.task == "b"
    b.exit()
    details = await house.ended(started)
    assert details.run.state is RunState.SUCCEEDED
    assert details.tasks["a"].outputs == {"written": "kept"}


async def test_nothing_starts_during_a_fault(path: Path) -> None:
    """A slot that becomes free during a fault is not used before it is over; then it is, without anybody's doing."""
    async with House.open(path, limit=1) as house:
        first, second = await house.start(ONE), await house.start(ONE)
        process = await house.launcher.next()
        with locked(path):
            await house.refuse_something()
            process.exit()
            assert len(house.launcher.launched) == 1
            assert house.engine.counts["running"] == 0
        (await house.launcher.next()).exit()
        for run in (first, second):
            assert (await house.ended(run)).run.state is RunState.SUCCEEDED


async def test_cancel_during_a_fault(house: House, path: Path) -> None:
    """A cancel takes effect at once, for safety's sake, and is answered when it is on record."""
    started = await house.start(ONE)
    process = await house.launcher.next()
    process.is_stubborn = True
    with locked(path):
        await house.refuse_something()
        cancelling = asyncio.create_task(house.engine.cancel(started, "enough"))
        await eventually_async(lambda: bool(process.stops), LIMIT_SECONDS, "the task is stopped")
        assert not cancelling.done()
    async with asyncio.timeout(LIMIT_SECONDS):
        assert await cancelling is True
    process.exit(1)
    assert (await house.ended(started)).run.state is RunState.CANCELLED
