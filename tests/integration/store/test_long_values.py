"""What is too long for the row of a task stands beside it, and is read, replaced and deleted as if it stood there."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from barbossad.model.records import TaskRecord, changed
from barbossad.model.states import AttemptState, RunState, TaskState, WaitsFor
from barbossad.store import changes, long_values, schema
from barbossad.store.changes import Change
from barbossad.store.database import Database
from barbossad.store.retention import History
from barbossad.store.runs import RunStore
from barbossad.store.shown_runs import SHOWN_BYTES, ShownRuns
from tests.helpers import invariants
from tests.helpers.records import NOON_MS, attempt, moved, run, run_id, task

LONG = "é☠" + "x" * long_values.PART_BYTES
"""More than one part, of letters that parts may cut."""

LETTERS = ("", "x", "x" * (long_values.ROW_LENGTH - 8), "x" * long_values.ROW_LENGTH, LONG)
COUNT = "SELECT count(*) FROM long_values"


async def begin(database: Database, task_id: str, **more: Any) -> TaskRecord:
    """Record that a task of the run runs, with its first attempt; return its row."""
    record = task(TaskState.STARTING, task_id, started_at_ms=NOON_MS, **more)
    running = changed(record, state=TaskState.RUNNING)
    steps: list[Change] = [
        changes.AttemptStarting(record, attempt(task_id=task_id)),
        changes.AttemptRunning(running, attempt(AttemptState.RUNNING, task_id, started_at_ms=NOON_MS)),
    ]
    await database.record(steps, is_fact=True)
    return running


def ended(record: TaskRecord, **more: Any) -> changes.AttemptEnded:
    """Return the end of a task and of its attempt."""
    done = changed(record, state=TaskState.SUCCEEDED, finished_at_ms=NOON_MS, **more)
    over = attempt(AttemptState.SUCCEEDED, record.task_id, exit_code=0, finished_at_ms=NOON_MS)
    return changes.AttemptEnded(done, over)


@pytest.fixture
async def store(database: Database, path: Path) -> Any:
    """The queries about runs, of one that runs; when the test has done with it, its invariants hold."""
    started = run(state=RunState.RUNNING, started_at_ms=NOON_MS)
    await database.record([changes.RunCreated(run()), moved(started)], is_fact=True)
    yield RunStore(database)
    assert invariants.broken(path, is_idle=False, has_texts=False) == []


@pytest.mark.parametrize("letters", LETTERS)
async def test_is_read_as_it_was_written(store: RunStore, database: Database, letters: str) -> None:
    """Outputs, stdout and items come back whole however long they are, and no row is long."""
    outputs, items = {"v": letters}, (letters, {"b": letters})
    await database.record([ended(await begin(database, "a"), outputs=outputs, stdout=letters)], is_fact=True)
    loop = task(TaskState.RUNNING, "b", started_at_ms=NOON_MS, items=items)
    await database.record([changes.TasksEntered([loop], NOON_MS, "task_began")], is_fact=True)
    over = changed(loop, state=TaskState.SUCCEEDED, finished_at_ms=NOON_MS, outputs=[outputs, {}])
    await database.record([changes.TasksMoved([over], NOON_MS, "task_finished")], is_fact=True)
    found, shown = store.get(run_id()), ShownRuns(database).get(run_id())
    assert found is not None
    assert (found.tasks["a"].outputs, found.tasks["a"].stdout) == (outputs, letters)
    assert (found.tasks["b"].outputs, found.tasks["b"].items) == ([outputs, {}], items)
    assert found == await store.read(run_id())
    assert shown == await ShownRuns(database).read(run_id())
    assert (shown.tasks["a"].outputs, shown.tasks["b"].items) == (outputs, items)  # type: ignore[union-attr]
    assert (await ShownRuns(database).outputs(run_id(), "a") or "").count("x") == letters.count("x")
    ((row_bytes,),) = await database.read("""
        SELECT max(ifnull(length(outputs), 0) + ifnull(length(stdout), 0) + ifnull(length(items), 0)) FROM tasks""")
    assert row_bytes <= 3 * long_values.ROW_LENGTH


@pytest.mark.parametrize("first", LETTERS)
@pytest.mark.parametrize("second", LETTERS)
async def test_is_replaced(store: RunStore, database: Database, first: str, second: str) -> None:
    """A task that is tried again has the outputs of its last attempt, and nothing is left of those before."""
    record = await begin(database, "a")
    waiting = changed(record, state=TaskState.WAITING, waits_for=WaitsFor.DELAY, waits_until_ms=1,
                      outputs={"v": first}, stdout=first)  # fmt: skip
    failed = attempt(AttemptState.FAILED, "a", exit_code=1, finished_at_ms=NOON_MS)
    await database.record([changes.AttemptEnded(waiting, failed)], is_fact=True)
    released = changed(waiting, waits_for=WaitsFor.SLOT, waits_until_ms=None)
    await database.record([changes.TasksMoved([released], NOON_MS, "task_released")], is_fact=True)
    found = store.get(run_id())
    assert found is not None
    assert (found.tasks["a"].outputs, found.tasks["a"].stdout) == ({"v": first}, first)
    again = attempt(AttemptState.STARTING, "a")
    again = changed(again, number=2)
    await database.record([changes.AttemptStarting(changed(released, state=TaskState.STARTING), again)], is_fact=True)
    done = changed(released, state=TaskState.SUCCEEDED, waits_for=None, outputs={"v": second}, stdout=second,
                   finished_at_ms=NOON_MS)  # fmt: skip
    over = changed(again, state=AttemptState.SUCCEEDED, exit_code=0, finished_at_ms=NOON_MS)
    await database.record([changes.AttemptEnded(done, over)], is_fact=True)
    found = store.get(run_id())
    assert found is not None
    assert (found.tasks["a"].outputs, found.tasks["a"].stdout) == ({"v": second}, second)


async def test_what_does_not_fit_is_left_out(store: RunStore, database: Database) -> None:
    """Of a run with much the shortest outputs are shown, and of the others how long they are."""
    size = SHOWN_BYTES // 4
    for number in range(6):
        record = await begin(database, f"t{number}")
        await database.record([ended(record, outputs={"v": "x" * (size + number)})], is_fact=True)
    shown = await ShownRuns(database).read(run_id())
    assert shown is not None
    assert {name for name, one in shown.tasks.items() if one.outputs} == {"t0", "t1", "t2"}
    assert dict(shown.left_out) == {f"t{number}": size + number + 8 for number in (3, 4, 5)}


async def test_goes_in_parts(path: Path) -> None:
    """A run with long values is deleted in small transactions; what is there in part is as good as gone, no fault."""
    async with Database.open(path) as database:
        started = run(state=RunState.RUNNING, started_at_ms=NOON_MS)
        await database.record([changes.RunCreated(run()), moved(started)], is_fact=True)
        await database.record([ended(await begin(database, "a"), outputs={"v": LONG * 3}, stdout=LONG)], is_fact=True)
        end = run(state=RunState.SUCCEEDED, started_at_ms=NOON_MS, finished_at_ms=NOON_MS)
        await database.record([moved(end)], is_fact=True)
        history, store, left = History(database), RunStore(database), [await _count(database)]
        while await history.peel(NOON_MS, 64, long_values.PART_BYTES):
            left.append(await _count(database))
            found = store.get(run_id())
            assert found is not None
            assert await ShownRuns(database).read(run_id()) is not None
            assert all(one.outputs is None for one in found.tasks.values())
            assert await ShownRuns(database).outputs(run_id(), "a") is None
        assert left[:7] == [6, 5, 4, 3, 2, 1, 0]


async def _count(database: Database) -> int:
    ((found,),) = await database.read(COUNT)
    return int(found)


@pytest.fixture
def old(path: Path) -> Iterator[Path]:
    """A file of the schema before, in which long outputs stand in the rows of their tasks."""
    with sqlite3.connect(path, isolation_level=None) as connection:
        for number, script in schema.scripts().items():
            if number < 8:
                connection.executescript(script)
        connection.execute(
            "INSERT INTO runs (id, workflow, version, state, trigger, params, requested_by, created_at_ms)"
            " VALUES (?, 'w', 'v', 'running', 'manual', '{}', 'anne', ?)", [NOON_MS] * 2)  # fmt: skip
        for number in range(6):
            connection.execute(
                "INSERT INTO tasks (run, task, state, outputs, stdout, finished_at_ms)"
                " VALUES (?, ?, 'succeeded', ?, ?, 1)",
                (NOON_MS, f"t{number}", f'{{"v":"{"x" * 500_000}"}}', LONG),
            )
    connection.close()
    yield path
    assert invariants.broken(path, is_idle=False, is_pruned=True, has_texts=False) == []


async def test_old_files(old: Path) -> None:
    """What stood in rows before stays there: a file of any length is open at once. It is read, and goes, as ever."""
    async with Database.open(old) as database:
        store, history = RunStore(database), History(database)
        assert await _count(database) == 0
        found, shown = store.get(run_id()), await ShownRuns(database).read(run_id())
        assert found is not None
        assert shown is not None
        assert {(len(one.outputs["v"]), one.stdout) for one in found.tasks.values()} == {(500_000, LONG)}  # type: ignore[call-overload,index]
        assert len(shown.left_out) == 2
        assert await ShownRuns(database).outputs(run_id(), "t5") == f'{{"v":"{"x" * 500_000}"}}'
        await database.write(lambda tx: tx.execute("UPDATE runs SET state = 'failed', finished_at_ms = 1").rowcount)
        assert [await history.peel(NOON_MS, 64, 1_300_000) for _ in range(4)] == [2, 2, 2, 0]
        assert await history.delete([NOON_MS], at_ms=1, by="anne") == 1
