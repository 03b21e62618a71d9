"""Which commits the event loop makes itself, and that order, durability and refusals are the same for those."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from barbossad.errors import StoreError
from barbossad.model.states import RunState, TaskState
from barbossad.store import batch, changes
from barbossad.store import writer as writers
from barbossad.store.changes import Change
from barbossad.store.database import Database
from tests.helpers.house import locked
from tests.helpers.records import NOON_MS, moved, run, task

LIMIT_SECONDS = 20
HERE = threading.get_ident()


def created(number: int) -> list[Change]:
    return [changes.RunCreated(run(number))]


def step(number: int, state: RunState) -> list[Change]:
    return [moved(run(number, state=state, started_at_ms=NOON_MS, finished_at_ms=NOON_MS))]


@pytest.fixture
def threads(database: Database) -> Iterator[list[int]]:
    """The threads that committed, in order."""
    committed: list[int] = []

    def see(sql: str) -> None:
        if sql == "COMMIT":
            committed.append(threading.get_ident())

    connection = database._writer._connection._conn
    connection.set_trace_callback(see)
    yield committed
    connection.set_trace_callback(None)


async def numbers(database: Database) -> list[int]:
    return [row[0] - NOON_MS for row in await database.read("SELECT id FROM runs ORDER BY id")]


async def test_little_is_committed_on_the_loop(
    database: Database, threads: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handful of steps that nothing waits before is committed by the loop itself, as one group."""
    monkeypatch.setattr(writers, "QUICK_SECONDS", LIMIT_SECONDS)  # however slow the disk is under this test
    await asyncio.gather(*(database.record(created(number), is_fact=False) for number in range(3)))
    await database.record(step(0, RunState.RUNNING), is_fact=True)
    assert threads == [HERE, HERE]
    assert await numbers(database) == [0, 1, 2]


async def test_much_is_committed_aside(database: Database, threads: list[int]) -> None:
    """What takes long, or cannot be told how long it takes, leaves the loop to others."""
    many = range(writers.STEPS_HERE + 1)
    await asyncio.gather(*(database.record(created(number), is_fact=False) for number in many))
    await database.write(lambda _tx: None)
    assert len(threads) == 2
    assert HERE not in threads


async def test_the_end_of_many_tasks_is_committed_aside(database: Database, threads: list[int]) -> None:
    """One step may end thousands of tasks of a run that is cancelled: that is not little."""
    await database.record(created(0), is_fact=False)
    threads.clear()
    many = [task(TaskState.CANCELLED, f"t{number}", finished_at_ms=NOON_MS) for number in range(writers.STEPS_HERE + 1)]
    await database.record([changes.TasksEndedUnstarted(many)], is_fact=True)
    assert len(threads) == 1
    assert HERE not in threads


@pytest.mark.parametrize(
    ("values", "is_long"),
    [
        ({"outputs": {"v": "x" * 100, "b": [{}] * 20}}, False),
        ({"outputs": {"v": "x" * 4000}}, True),
        ({"outputs": [{"v": "x" * 4000}]}, True),
        ({"outputs": [{}] * 1000}, True),
        ({"stdout": "x" * 4000}, True),
        ({"items": tuple(range(1000))}, True),
    ],
)
async def test_long_values_are_committed_aside(
    database: Database, threads: list[int], monkeypatch: pytest.MonkeyPatch, values: dict[str, Any], is_long: bool
) -> None:
    """One task may bring a megabyte of outputs, one loop many of them: that is not little."""
    monkeypatch.setattr(writers, "QUICK_SECONDS", LIMIT_SECONDS)
    loop = task(TaskState.SUCCEEDED, finished_at_ms=NOON_MS, **values)
    await database.record([*created(0), changes.TasksEntered([loop], NOON_MS, "task_kept")], is_fact=True)
    assert [ident == HERE for ident in threads] == [not is_long]


async def test_what_follows_at_once_is_committed_aside(database: Database, threads: list[int]) -> None:
    """Where one commit follows the other there is work: it is done beside the loop, in the order of the asking."""
    later: list[asyncio.Future[None]] = []
    first = database.record(created(0), is_fact=False)
    first.add_done_callback(lambda _: later.append(database.record(step(0, RunState.RUNNING), is_fact=True)))
    await first
    await later[0]
    await database.record(step(0, RunState.SUCCEEDED), is_fact=True)
    assert [ident == HERE for ident in threads[:2]] == [True, False]
    assert await database.read("SELECT state FROM runs") == [("succeeded",)]


async def test_slow_disk(database: Database, threads: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """After a slow commit the loop leaves the disk to the thread, until it has been quick for a while."""
    await database.record(created(0), is_fact=False)
    database._writer._lately_seconds = 2 * writers.QUICK_SECONDS
    monkeypatch.setattr(batch.time, "monotonic", lambda: 0.0)  # from now on commits take no time at all
    for number in range(1, 20):
        await database.record(created(number), is_fact=False)
        await asyncio.sleep(0)
    was_here = [ident == HERE for ident in threads]
    assert was_here[:3] == [True, False, False]
    assert was_here[-1]
    assert was_here == [True, *sorted(was_here[1:])]


async def test_locked_file_does_not_stop_the_loop(path: Path, threads: list[int]) -> None:
    """The loop waits for nobody's lock: the thread does, and the change is made when the lock is gone."""
    async with Database.open(path, busy_seconds=LIMIT_SECONDS) as patient:
        await patient.record(created(0), is_fact=False)
        with locked(path):
            waiting = patient.record(created(1), is_fact=False)
            for _ in range(50):  # the loop turns while the lock is held
                await asyncio.sleep(0)
            assert not waiting.done()
        async with asyncio.timeout(LIMIT_SECONDS):
            await waiting
        assert await numbers(patient) == [0, 1]


async def test_refused_on_the_loop(database: Database, path: Path) -> None:
    """What the file refuses is refused to who asked and kept if it is a fact, whoever was to write it; in order."""
    await database.record(created(0), is_fact=False)
    with locked(path):
        facts = [database.record(step(0, RunState.RUNNING), is_fact=True)]
        request = database.record(created(1), is_fact=False)
        with pytest.raises(StoreError, match="database is locked"):
            await request
        facts.append(database.record(step(0, RunState.SUCCEEDED), is_fact=True))
        assert not facts[0].done()
    async with asyncio.timeout(LIMIT_SECONDS):
        await asyncio.gather(*facts)
    assert await database.read("SELECT id - ?, state FROM runs", (NOON_MS,)) == [(0, "succeeded")]


async def test_fails_alone_on_the_loop(database: Database, threads: list[int]) -> None:
    """A wrong step fails alone and leaves no transaction open."""
    good = database.record(created(0), is_fact=False)
    wrong = database.record(step(7, RunState.RUNNING), is_fact=True)
    other = database.record(created(1), is_fact=False)
    done = await asyncio.gather(good, wrong, other, return_exceptions=True)
    assert [type(result).__name__ for result in done] == ["NoneType", "StateError", "NoneType"]
    assert set(threads) == {HERE}
    assert await numbers(database) == [0, 1]
    assert await database.write(lambda tx: tx.in_transaction) is True


async def test_durable_when_answered(database: Database, path: Path) -> None:
    """Whoever is answered can see the change from another connection, whichever thread made it."""
    with contextlib.closing(sqlite3.connect(path)) as other:
        for number in range(20):
            await database.record(created(number), is_fact=False)
            assert other.execute("SELECT count(*) FROM runs").fetchone() == (number + 1,)
