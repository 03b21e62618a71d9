"""What happens by itself: retries after a delay, repetitions, warnings, timeouts of groups; and failing fast."""

from __future__ import annotations

from pathlib import Path

import pytest

from barbossad.clock import SystemClock
from barbossad.model.states import RunState, TaskState, WaitsFor
from tests.helpers import invariants
from tests.helpers.clock import StillClock
from tests.helpers.house import House, load
from tests.helpers.records import NOON_MS

RETRIED = load("name: r\ntasks: [{id: a, shell: make, retry: {attempts: 3, delay: 10m, backoff: exponential}}]")


async def test_retry(path: Path) -> None:
    """After a failure there is another attempt when its delay has passed, holding no slot until then."""
    async with House.open(path, RETRIED, limit=1, clock=StillClock()) as house:
        run_id = await house.start(RETRIED)
        (await house.launched("a")).exit(1)
        await house.settle()
        record = (await house.details(run_id)).tasks["a"]
        assert (record.state, record.waits_for, record.waits_until_ms) == ("waiting", "delay", NOON_MS + 600_000)
        assert house.engine.why(run_id) == {"a": "exit code 1; attempt 2 of 3 in 10m"}
        other = await house.start(load("name: o\ntasks: [{id: x, shell: make}]"))
        (await house.launched("x")).exit()
        await house.ended(other)
        await house.advance(599)
        assert len(house.launcher.launched) == 2
        await house.advance(1)
        (await house.launched("a")).exit(2)
        await house.advance(1199)
        assert len(house.launcher.launched) == 3
        await house.advance(1)
        (await house.launched("a")).exit(3)
        details = await house.ended(run_id)
        assert [(one.number, one.exit_code) for one in details.attempts["a"]] == [(1, 1), (2, 2), (3, 3)]
        assert (details.run.state, details.tasks["a"].reason) == (RunState.FAILED, "exit code 3")
    assert invariants.broken(path, has_texts=False) == []


async def test_no_attempt_after_max_elapsed(path: Path) -> None:
    """What was to be tried again and waited for something else meanwhile ends, when its turn comes too late."""
    late = load(
        "name: late\nlock: l\ntasks: [{id: a, shell: make, lock: k, timeout: 1m, retry: {attempts: 9, delay: 10m, "
        "max_elapsed: 30m}}]"
    )
    other = load("name: other\ntasks: [{id: x, shell: make, lock: k}]")
    async with House.open(path, late, clock=StillClock()) as house:
        paused = await house.start(late)
        (await house.launched("a")).exit(3)
        await house.settle()
        await house.engine.pause(paused, "said anne")
        await house.advance(1801)
        await house.engine.unpause(paused, "said anne")
        details = await house.ended(paused)
        why = "exit code 3; it is not tried again, for its max_elapsed of 30m has passed"
        assert (details.tasks["a"].state, details.tasks["a"].reason) == (TaskState.FAILED, why)
        assert details.run.state is RunState.FAILED
        locked = await house.start(late)
        (await house.launched("a")).exit(4)
        await house.settle()
        await house.start(other)
        holder = await house.launched("x")
        await house.advance(1800)
        holder.exit()
        (await house.launched("a")).exit(5)
        assert (await house.ended(locked)).tasks["a"].reason == "exit code 5"
        assert len(house.launcher.launched) == 4
    assert invariants.broken(path, has_texts=False) == []


async def test_what_an_interruption_brings_may_start_at_any_time(path: Path) -> None:
    """What ``on_interrupt`` says is not bound by the retry's max_elapsed: a reboot may take longer."""
    flow = load("name: i\ntasks: [{id: a, shell: make, on_interrupt: retry, retry: {attempts: 2, max_elapsed: 1m}}]")
    async with House.open(path, flow, clock=StillClock()) as before:
        run_id = await before.start(flow)
        (await before.launched("a")).begin()
        await before.settle()
    async with House.open(path, flow, clock=StillClock(NOON_MS + 3_600_000)) as after:
        await after.recover()
        (await after.launched("a")).exit()
        assert (await after.ended(run_id)).run.state is RunState.SUCCEEDED


class SetClock(SystemClock):
    """The clock of the system, after somebody has set it."""

    ahead_ms = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.ahead_ms


@pytest.mark.parametrize("limit", ["retry", "group", "run"])
async def test_a_clock_that_is_set_back(path: Path, limit: str) -> None:
    """A delay and a timeout are spans of time: they end when they have passed, whatever the clock shows by then."""
    flow = load({
        "retry": "name: r\ntasks: [{id: a, shell: make, retry: {attempts: 2, delay: 200ms}}]",
        "group": "name: r\ntasks: [{id: g, timeout: 1s, parallel: [{id: a, shell: make}]}]",
        "run": "name: r\ntimeout: 1s\ntasks: [{id: a, shell: make}]",
    }[limit])  # fmt: skip
    clock = SetClock()
    async with House.open(path, flow, clock=clock) as house:
        house.launcher.now_ms = clock.now_ms
        run_id = await house.start(flow)
        first = await house.launcher.next()
        if limit == "retry":
            first.exit(1)
            await house.settle()
        clock.ahead_ms = -3_600_000
        if limit == "retry":
            (await house.launcher.next()).exit(0)
        wanted = {"retry": RunState.SUCCEEDED, "group": RunState.FAILED, "run": RunState.TIMED_OUT}
        assert (await house.ended(run_id)).run.state is wanted[limit]


@pytest.mark.parametrize("away_seconds", [60, 3600])
async def test_retry_over_a_restart(path: Path, away_seconds: int) -> None:
    """The delay goes on while no daemon runs: what is left of it is waited for, and what is over is not."""
    clock = StillClock()
    async with House.open(path, RETRIED, clock=clock) as before:
        run_id = await before.start(RETRIED)
        (await before.launched("a")).exit(1)
        await before.settle()
    clock.at_ms += away_seconds * 1000
    async with House.open(path, RETRIED, clock=clock) as after:
        await after.recover()
        await after.advance(0)
        assert len(after.launcher.launched) == (away_seconds > 600)
        await after.advance(max(600 - away_seconds, 0))
        process = await after.launched("a")
        assert process.spec.key.number == 2
        process.exit()
        assert (await after.ended(run_id)).run.state is RunState.SUCCEEDED
    assert invariants.broken(path, has_texts=False) == []


async def test_cancel_between_attempts(path: Path) -> None:
    """A task that waits for its next attempt is cancelled at once, and its timer never comes."""
    async with House.open(path, RETRIED, clock=StillClock()) as house:
        run_id = await house.start(RETRIED)
        (await house.launched("a")).exit(1)
        await house.settle()
        await house.engine.cancel(run_id, "enough")
        assert (await house.states(run_id)) == {"": "cancelled", "a": "cancelled"}
        await house.advance(10_000)
        assert len(house.launcher.launched) == 1
        assert house.timers is not None
        assert house.timers.count == 0


async def test_repeat(path: Path) -> None:
    """A task is done again at its interval until what it waits for holds; each time is an attempt."""
    flow = load(
        "name: r\ntasks: [{id: a, shell: make, repeat: {until: \"{{ tasks.a.outputs.written == 'up' }}\", "
        "interval: 30, max: 5}}]"
    )
    async with House.open(path, clock=StillClock()) as house:
        run_id = await house.start(flow)
        (await house.launched("a")).exit(output=b"down")
        await house.advance(29)
        assert len(house.launcher.launched) == 1
        await house.advance(1)
        (await house.launched("a")).exit(output=b"up")
        details = await house.ended(run_id)
        assert (details.run.state, len(details.attempts["a"])) == (RunState.SUCCEEDED, 2)
        assert details.tasks["a"].outputs == {"written": "up"}


async def test_warn_after(path: Path) -> None:
    """That a task, and a run, takes long is told once, with an event, and nothing is killed; not again by a restart."""
    flow = load("name: w\nwarn_after: 20m\ntasks: [{id: a, shell: make, warn_after: 10m}]")
    clock = StillClock()
    async with House.open(path, flow, clock=clock) as house:
        run_id = await house.start(flow)
        process = await house.launched("a")
        process.begin()
        await house.advance(599)
        assert (await house.details(run_id)).tasks["a"].late_at_ms is None
        await house.advance(1)
        assert (await house.details(run_id)).tasks["a"].late_at_ms == NOON_MS + 600_000
        await house.advance(10_000)
        assert (await house.details(run_id)).run.late_at_ms == NOON_MS + 1_200_000
        assert process.stops == []
        process.exit()
        assert (await house.ended(run_id)).run.state is RunState.SUCCEEDED
        told = await house.database.read("SELECT kind FROM events WHERE kind LIKE '%_late' ORDER BY seq")
        assert told == [("task_late",), ("run_late",)]


async def test_group_timeout(path: Path) -> None:
    """A group that takes too long is timed out: its members are stopped or never start, and what follows does not."""
    flow = load("""\
name: g
tasks:
- id: both
  timeout: 60
  parallel: {tasks: [{id: a, shell: make}, {id: b, shell: make}, {id: c, shell: make, depends_on: [a, b]}]}
- {id: after, shell: make}
""")
    async with House.open(path, clock=StillClock()) as house:
        run_id = await house.start(flow)
        (await house.launched("both.a")).exit()
        b = await house.launched("both.b")
        b.begin()
        await house.advance(59)
        assert b.stops == []
        await house.advance(1)
        details = await house.ended(run_id)
        assert len(b.stops) == 1
        assert {name: task.state for name, task in details.tasks.items()} == {
            "both": TaskState.TIMED_OUT,
            "both.a": TaskState.SUCCEEDED,
            "both.b": TaskState.CANCELLED,
            "both.c": TaskState.CANCELLED,
            "after": TaskState.UPSTREAM_FAILED,
        }
        assert details.tasks["both"].reason == "it did not end within its timeout of 1m"
        assert details.run.state is RunState.FAILED
    assert invariants.broken(path, has_texts=False) == []


async def test_group_timeout_over_a_restart(path: Path) -> None:
    """The time of a group is counted from its begin, whichever daemon saw that; the verdict does not hang on who ends.

    A daemon that went down in the middle of ending it comes to the same.
    """
    flow = load("name: g\ntasks: [{id: both, timeout: 60, parallel: [{id: a, shell: make}, {id: b, shell: make}]}]")
    clock = StillClock()
    async with House.open(path, flow, clock=clock) as before:
        run_id = await before.start(flow)
        for process in before.launcher.launched:
            process.is_stubborn = True
        await before.advance(61)
    async with House.open(path, flow, clock=clock) as after:
        await after.recover()
        await after.advance(0)
        details = await after.ended(run_id)
        assert details.tasks["both"].state is TaskState.TIMED_OUT
        assert details.run.finished_at_ms is not None
    assert invariants.broken(path, has_texts=False) == []


@pytest.mark.parametrize("kind", ["group", "loop"])
async def test_fail_fast(house: House, kind: str) -> None:
    """The first failure ends the others: what runs is stopped, what waits never starts."""
    flow = load(
        "name: f\ntasks: [{id: g, parallel: {fail_fast: true, max_parallel: 2, tasks: "
        "[{id: a, shell: make}, {id: b, shell: make}, {id: c, shell: make}]}}]"
        if kind == "group"
        else "name: f\ntasks: [{id: g, shell: make, for_each: [x, y, z], max_parallel: 2, fail_fast: true}]"
    )
    run_id = await house.start(flow)
    first, second = await house.launcher.next(), await house.launcher.next()
    first.exit(9)
    details = await house.ended(run_id)
    assert len(second.stops) == 1
    assert len(house.launcher.launched) == 2
    assert sorted(task.state for task in details.tasks.values()) == ["cancelled", "cancelled", "failed", "failed"]
    assert details.tasks["g"].state is TaskState.FAILED
    assert details.tasks["g"].reason == f"task {first.task} failed"
    assert details.run.state is RunState.FAILED


async def test_a_run_timeout_comes_once(path: Path) -> None:
    """A task that takes its time to end after the run's timeout is stopped once, and what always runs still does."""
    flow = load("name: t\ntimeout: 60\ntasks: [{id: a, shell: make}, {id: z, shell: make, trigger: always}]")
    async with House.open(path, clock=StillClock()) as house:
        run_id = await house.start(flow)
        process = await house.launched("a")
        process.is_stubborn = True
        await house.advance(60)
        assert house.timers is not None
        assert house.timers.count == 0
        await house.advance(600)
        assert len(process.stops) == 1
        process.exit(1)
        (await house.launched("z")).exit()
        details = await house.ended(run_id)
        assert details.run.state is RunState.TIMED_OUT
        assert details.tasks["z"].state is TaskState.SUCCEEDED


async def test_what_always_runs_outlives_a_restart(path: Path) -> None:
    """A run that is being cancelled when the daemon goes down still tidies up when it is back."""
    flow = load("name: t\ntasks: [{id: a, shell: make}, {id: z, shell: make, trigger: always}]")
    async with House.open(path, flow) as before:
        run_id = await before.start(flow)
        process = await before.launched("a")
        process.is_stubborn = True
        process.begin()
        await before.engine.cancel(run_id, "enough")
    async with House.open(path, flow) as after:
        await after.recover()
        (await after.launched("z")).exit()
        details = await after.ended(run_id)
        assert (details.run.state, details.tasks["z"].state) == (RunState.CANCELLED, TaskState.SUCCEEDED)


async def test_expect(house: House) -> None:
    """What exits well and did not bring about what is expected has failed."""
    flow = load("name: e\ntasks: [{id: a, shell: make, expect: \"{{ tasks.a.outputs.written == 'done' }}\"}]")
    run_id = await house.start(flow)
    (await house.launched("a")).exit(output=b"nothing")
    details = await house.ended(run_id)
    assert details.tasks["a"].state is TaskState.FAILED
    assert "what is expected does not hold" in (details.tasks["a"].reason or "")
    assert details.tasks["a"].waits_for is not WaitsFor.DELAY
