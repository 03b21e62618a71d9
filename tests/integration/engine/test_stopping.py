"""Cancel, timeouts and the end of the daemon."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from barbossad.engine import engine as engines
from barbossad.errors import UnavailableError
from barbossad.model.states import AttemptState, RunState, StopCause, TaskState
from barbossad.process.launcher import EndCause
from tests.helpers.clock import StillClock
from tests.helpers.house import LIMIT_SECONDS, Blocker, House
from tests.helpers.records import run_id, workflow
from tests.helpers.waiting import eventually_async

ONE = workflow({"a": []})
CHAIN = workflow({"a": [], "b": ["a"]})


async def test_cancel_while_it_runs(house: House) -> None:
    """A live task is stopped with its grace, a pending one never starts, and both say who asked."""
    started = await house.start(workflow({"a": [], "b": ["a"]}, grace_seconds=7.0))
    process = await house.launcher.next()
    process.begin()
    assert await house.engine.cancel(started, "cancelled by anne") is True
    details = await house.details(started)
    assert (details.run.stop_cause, details.run.stop_reason) == (StopCause.CANCEL, "cancelled by anne")
    details = await house.ended(started)
    assert process.stops == [7.0]
    assert (details.run.state, details.run.reason) == (RunState.CANCELLED, "cancelled by anne")
    assert {task.state for task in details.tasks.values()} == {TaskState.CANCELLED}
    assert details.attempts["a"][0].signal == 15
    assert len(house.launcher.launched) == 1


async def test_news_while_the_store_is_closed(path: Path) -> None:
    """What a process tells while the store is being closed is no fault, and the next daemon finds the process."""
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: faults.append(context))
    async with House.open(path) as house:
        await house.start(CHAIN)
        process = await house.launcher.next()
        blocker = Blocker(house.database)
        await blocker.inside()
        house.engine.leave()
        await house.engine.close()
        process.begin()
        process.exit()
        house.engine._live._record_running()
        blocker.let_go()
    assert faults == []
    async with House.open(path, CHAIN) as house:
        (run,) = await house.runs.unended()
        assert (await house.states(run.id))["a"] in {"starting", "running"}


async def test_cancel_before_it_starts(path: Path) -> None:
    """A run that waits for a slot is cancelled at once, and never launched."""
    async with House.open(path, limit=1) as house:
        first, waiting = await house.start(ONE), await house.start(CHAIN)
        assert await house.engine.cancel(waiting, "enough") is True
        assert (await house.details(waiting)).run.state is RunState.CANCELLED
        (await house.launcher.next()).exit()
        await house.ended(first)
        await house.settle()
        assert len(house.launcher.launched) == 1


async def test_cancel_between_the_decision_and_the_commit(house: House) -> None:
    """A task that is cancelled before its start is on record is not launched at all."""
    blocker = Blocker(house.database)
    await blocker.inside()
    starting = asyncio.create_task(house.start(ONE))
    await asyncio.sleep(0)
    (created,) = house.engine._active
    cancelling = asyncio.create_task(house.engine.cancel(created, "enough"))
    await asyncio.sleep(0)
    blocker.let_go()
    async with asyncio.timeout(LIMIT_SECONDS):
        assert await starting == created
        assert await cancelling is True
    details = await house.ended(created)
    assert details.run.state is RunState.CANCELLED
    assert details.attempts["a"][0].state is AttemptState.CANCELLED
    assert house.launcher.launched == []
    assert not house.engine.crash.done()


async def test_cancel_after_the_end(house: House) -> None:
    """A run that has ended cannot be cancelled, also in the moment before its end is on record."""
    started = await house.start(ONE)
    process = await house.launcher.next()
    blocker = Blocker(house.database)
    await blocker.inside()
    process.exit()
    cancelling = asyncio.create_task(house.engine.cancel(started, "too late"))
    await asyncio.sleep(0)
    blocker.let_go()
    assert await cancelling is False
    assert (await house.details(started)).run.state is RunState.SUCCEEDED
    assert await house.engine.cancel(started, "too late") is False
    assert await house.engine.cancel(run_id(), "nobody") is False


async def test_cancel_twice(house: House) -> None:
    """A second cancel is answered at once, also while a task takes its time to end; the first reason stays."""
    started = await house.start(ONE)
    process = await house.launcher.next()
    process.is_stubborn = True
    async with asyncio.timeout(LIMIT_SECONDS):
        assert await house.engine.cancel(started, "first") is True
        assert await house.engine.cancel(started, "second") is True
    assert not process.has_ended
    process.exit(1)
    assert (await house.ended(started)).run.reason == "first"


async def test_cancel_is_answered_after_its_own_commit(house: House) -> None:
    """That something earlier of the run is recorded is no answer to its cancel (I1)."""
    started = await house.start(workflow({"a": [], "b": []}))
    a, b = await house.launcher.next(), await house.launcher.next()
    b.is_stubborn = True
    first = Blocker(house.database)
    await first.inside()
    a.exit()
    second = Blocker(house.database)  # in one group with the end of a
    first.let_go()
    await second.inside()
    cancelling = asyncio.create_task(house.engine.cancel(started, "enough"))
    await asyncio.sleep(0)
    third = Blocker(house.database)  # in one group with the cancel
    ended = house.engine.next_change(started)
    assert ended is not None
    second.let_go()
    await third.inside()
    await ended
    assert not cancelling.done()
    third.let_go()
    async with asyncio.timeout(LIMIT_SECONDS):
        assert await cancelling is True
    b.exit(1)
    assert (await house.ended(started)).run.state is RunState.CANCELLED


async def test_task_timeout(house: House) -> None:
    """A task that takes too long is stopped with its grace, and its run fails for that."""
    started = await house.start(workflow({"a": [], "b": ["a"]}, task_timeout_seconds=0.03, grace_seconds=2.5))
    process = await house.launcher.next()
    details = await house.ended(started)
    assert process.stops == [2.5]
    assert details.tasks["a"].state is TaskState.TIMED_OUT
    assert details.tasks["a"].reason == "it did not end within its timeout of 30ms"
    assert details.run.state is RunState.FAILED


async def test_no_timeout_after_the_end(house: House) -> None:
    """The timeouts of a task and of a run do not come after their end."""
    started = await house.start(workflow({"a": []}, task_timeout_seconds=60, timeout_seconds=60))
    process = await house.launcher.next()
    active = house.engine._active[started]
    timers = [active.timeout, active.live[0].timeout]
    process.exit()
    await house.ended(started)
    assert [timer is not None and timer.cancelled() for timer in timers] == [True, True]


async def test_run_timeout(path: Path) -> None:
    """A run that takes too long ends its live tasks and starts no further ones."""
    async with House.open(path, clock=StillClock()) as house:
        started = await house.start(workflow({"a": [], "b": ["a"]}, timeout_seconds=0.03))
        process = await house.launcher.next()
        await house.advance(0.03)
        details = await house.ended(started)
    assert len(process.stops) == 1
    reason = "the run did not end within its timeout of 30ms"
    assert (details.run.state, details.run.reason, details.run.stop_cause) == ("timed_out", reason, "run_timeout")
    assert [(task.state, task.reason) for task in details.tasks.values()] == [
        ("timed_out", reason),
        ("cancelled", reason),
    ]


async def test_run_timeout_counts_from_the_first_start(path: Path) -> None:
    """While a run waits for its turn its timeout does not run."""
    async with House.open(path, limit=1, clock=StillClock()) as house:
        first = await house.start(ONE)
        waiting = await house.start(workflow({"a": []}, timeout_seconds=60))
        assert house.engine._active[waiting].timeout is None
        (await house.launcher.next()).exit()
        await house.ended(first)
        assert house.engine._active[waiting].timeout is not None
        await house.advance(60)
        assert (await house.ended(waiting)).run.state is RunState.TIMED_OUT


async def test_run_timeout_before_it_is_on_record(house: House) -> None:
    """A timeout that passes while the run is being created ends it as soon as it exists, without a launch."""
    blocker = Blocker(house.database)
    await blocker.inside()
    starting = asyncio.create_task(house.start(workflow({"a": []}, timeout_seconds=0)))
    for _ in range(5):
        await asyncio.sleep(0)
    blocker.let_go()
    created = await starting
    details = await house.ended(created)
    assert details.run.state is RunState.TIMED_OUT
    assert house.launcher.launched == []


# -- the end of the daemon ---------------------------------------------------------------------------------


async def test_stop_ends_what_runs(house: House) -> None:
    """The end of the daemon stops live tasks within the smaller grace and says of them that they were interrupted."""
    started = await house.start(workflow({"a": [], "b": ["a"]}, grace_seconds=100))
    process = await house.launcher.next()
    async with asyncio.timeout(LIMIT_SECONDS):
        assert await house.engine.stop(3.0) == []
    assert process.stops == [3.0]
    details = await house.ended(started)
    assert details.tasks["a"].reason == "the daemon was stopped while it ran"
    assert details.tasks["a"].state is TaskState.INTERRUPTED
    assert details.run.state is RunState.INTERRUPTED


@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        (StopCause.SHUTDOWN, "the daemon was stopped before it began"),
        (StopCause.HOST_DOWN, "the host was shut down before it began"),
    ],
)
async def test_stop_of_what_never_began(house: House, cause: StopCause, reason: str) -> None:
    """It did not run, and is not said to have."""
    started = await house.start(workflow({"a": []}))
    process = await house.launcher.next()
    process.is_stubborn = True
    stopping = asyncio.create_task(house.engine.stop(3.0, cause))
    await eventually_async(lambda: bool(process.stops), LIMIT_SECONDS, "it is asked to end")
    process._end(EndCause.NEVER_STARTED, message="it was stopped before it started")
    await stopping
    task = (await house.ended(started)).tasks["a"]
    assert (task.state, task.reason) == (TaskState.INTERRUPTED, reason)


async def test_stop_waits_until_what_ended_is_let_go(house: House) -> None:
    """The launcher is closed after a stop: what it keeps of a process until the end is recorded would stay for ever."""
    await house.start(workflow({"a": []}))
    process = await house.launcher.next()
    blocker = Blocker(house.database)
    await blocker.inside()
    stopping = asyncio.create_task(house.engine.stop(3.0))
    await eventually_async(lambda: process.has_ended, LIMIT_SECONDS, "the task is stopped")
    blocker.let_go()
    async with asyncio.timeout(LIMIT_SECONDS):
        assert await stopping == []
    assert process.is_released


async def test_stop_does_not_wait_for_a_commit_that_never_comes(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the state file takes nothing, the next daemon finds what ended."""
    monkeypatch.setattr(engines, "DRAIN_SECONDS", 0.02)
    await house.start(workflow({"a": []}))
    process = await house.launcher.next()
    blocker = Blocker(house.database)
    await blocker.inside()
    async with asyncio.timeout(LIMIT_SECONDS):
        assert await house.engine.stop(LIMIT_SECONDS * 2) == []
    assert (process.has_ended, process.is_released) == (True, False)
    blocker.let_go()
    await house.settle()


async def test_nothing_starts_any_more(house: House) -> None:
    """While the daemon stops, new runs are refused and nothing that waits is launched."""
    await house.start(workflow({"a": [], "b": [], "c": ["a"]}))
    a = await house.launcher.next()
    for process in house.launcher.live:
        process.is_stubborn = True
    stopping = asyncio.create_task(house.engine.stop(30))
    await asyncio.sleep(0)
    with pytest.raises(UnavailableError, match="is stopping"):
        await house.start(ONE)
    a.exit(0)
    house.engine.set_limit(99)
    house.engine.gate.store_fault(None)
    await house.settle()
    assert len(house.launcher.launched) == 2
    (await house.launcher.next()).exit()
    async with asyncio.timeout(LIMIT_SECONDS):
        assert await stopping == []


async def test_stop_names_what_would_not_end(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopping does not wait for ever; it says which attempts are left."""
    monkeypatch.setattr(engines, "DRAIN_SECONDS", 0.02)
    started = await house.start(ONE)
    process = await house.launcher.next()
    process.is_stubborn = True
    assert await house.engine.stop(0) == [f"{started}/a/1"]
    process.exit(1)
    await house.ended(started)


async def test_stop_waits_for_ends_that_come_one_by_one(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds that are killed together are not heard of together: nobody is left as long as some end."""
    monkeypatch.setattr(engines, "DRAIN_SECONDS", 1.0)
    await house.start(workflow({"a": [], "b": []}))
    first, second = await house.launcher.next(), await house.launcher.next()
    first.is_stubborn = second.is_stubborn = True
    loop = asyncio.get_running_loop()
    stopping = asyncio.create_task(house.engine.stop(0))
    await eventually_async(lambda: bool(second.stops), LIMIT_SECONDS, "they are killed")
    over = loop.time() + 1.0
    first.exit(137)
    await eventually_async(lambda: loop.time() > over, LIMIT_SECONDS, "what it waits for without an end is over")
    assert not stopping.done()
    second.exit(137)
    async with asyncio.timeout(LIMIT_SECONDS):
        assert await stopping == []


async def test_stop_can_be_hurried(house: House) -> None:
    """A second stop with less grace shortens the first."""
    await house.start(workflow({"a": []}, grace_seconds=60))
    process = await house.launcher.next()
    process.is_stubborn = True
    first = asyncio.create_task(house.engine.stop(30))
    await asyncio.sleep(0)
    second = asyncio.create_task(house.engine.stop(0))
    await asyncio.sleep(0)
    assert process.stops == [30, 0]
    process.exit(137)
    async with asyncio.timeout(LIMIT_SECONDS):
        assert [*await asyncio.gather(first, second)] == [[], []]


async def test_idle_engine_stops_at_once(house: House) -> None:
    """Where nothing runs there is nothing to wait for; a run's timeout does not come after the stop."""
    async with House.open(house.database.path.with_name("other.db"), limit=1) as other:
        blocked = await other.start(workflow({"a": [], "b": []}, timeout_seconds=100))
        (await other.launcher.next()).exit()
        await other.settle()
        other.launcher.exit_codes = lambda _spec: 0
        stopping = asyncio.create_task(other.engine.stop(5))
        async with asyncio.timeout(LIMIT_SECONDS):
            await stopping
        active = other.engine._active.get(blocked)
        assert active is None or active.timeout is None or active.timeout.cancelled()
    async with asyncio.timeout(LIMIT_SECONDS):
        assert await house.engine.stop(60) == []
