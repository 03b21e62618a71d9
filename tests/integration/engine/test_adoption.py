"""Attempts that outlive a daemon: adopted, started after all, tried again, or put before a person."""

from __future__ import annotations

import asyncio
import logging
import secrets
from dataclasses import replace
from pathlib import Path

import pytest

from barbossad.engine.transitions import MOST_INTERRUPTIONS
from barbossad.errors import NotFoundError
from barbossad.model.definition import WorkflowDefinition
from barbossad.model.names import RunId, TaskId
from barbossad.model.states import AttemptState, OnInterrupt, RunState, StopCause, TaskState, WaitsFor
from barbossad.process.launcher import AttemptKey, EndCause, Finding, Verdict
from barbossad.security import masking
from barbossad.store.run_details import RunDetails
from tests.helpers import invariants
from tests.helpers.clock import StillClock
from tests.helpers.house import LIMIT_SECONDS, House, load
from tests.helpers.records import NOON_MS, workflow
from tests.helpers.waiting import eventually_async

CHAIN = workflow({"a": [], "b": ["a"]}, name="chain")
LIVE = Finding(Verdict.LIVE)
NEVER = Finding(Verdict.NEVER_STARTED)


def asking(policy: OnInterrupt, *, reboot: OnInterrupt = OnInterrupt.FAIL) -> WorkflowDefinition:
    """Return the chain with what follows an interruption of its tasks."""
    tasks = tuple(replace(task, on_interrupt=policy, on_reboot=reboot) for task in CHAIN.tasks)
    return replace(CHAIN, tasks=tasks)


async def running(house: House, definition: WorkflowDefinition = CHAIN) -> RunId:
    """Start a run whose first task's process exists and is recorded."""
    run_id = await house.start(definition)
    (await house.launcher.next()).begin()
    await until(house, run_id, "a", TaskState.RUNNING)
    await house.settle()
    return run_id


async def until(house: House, run_id: RunId, task: str, state: TaskState) -> None:
    """Return when a task is recorded in a state."""

    def is_so() -> bool:
        found = house.runs.get(run_id)
        return found is not None and task in found.tasks and found.tasks[task].state is state

    await eventually_async(is_so, LIMIT_SECONDS, f"task {task} is {state}")


def key(run_id: RunId, task: str = "a", number: int = 1) -> AttemptKey:
    return AttemptKey(run_id, TaskId(task), number)


async def test_what_lives_is_adopted(path: Path) -> None:
    """An attempt that goes on is not launched again, holds its slot, and its end is recorded as its own."""
    async with House.open(path, CHAIN) as before:
        run_id = await running(before)
    async with House.open(path, CHAIN, limit=1) as after:
        after.launcher.findings[key(run_id)] = LIVE
        await after.recover()
        assert after.launcher.launched == []
        (adopted,) = after.launcher.adopted
        assert after.engine.counts["running"] == 1
        adopted.exit(0)
        (await after.launcher.next()).exit(0)
        details = await after.ended(run_id)
        assert details.run.state is RunState.SUCCEEDED
        assert [len(tries) for tries in details.attempts.values()] == [1, 1]
        await eventually_async(lambda: adopted.is_released, LIMIT_SECONDS, "it is released after the commit")
    assert invariants.broken(path) == []


TELLING = load(
    "name: telling\ntasks:\n  - {id: a, shell: echo, secrets: {TOKEN: tok}}\n"
    "  - {id: b, shell: echo, env: {SEEN: '{{ tasks.a.outputs.written }}'}}\n"
)


async def test_an_adopted_attempt_is_masked_by_what_it_was_given(path: Path) -> None:
    """A secret that has changed, or is gone, since an attempt was started is the one that is masked in its output."""
    async with House.open(path, TELLING) as before:
        run_id = await running(before, TELLING)
        assert before.launcher.launched[0].spec.secrets == {"the secret tok"}
    for unprepared in ({}, {"a": NotFoundError("secret", "tok")}):
        async with House.open(path, TELLING) as after:
            after.unprepared.update(unprepared)
            after.launcher.findings[key(run_id)] = Finding(Verdict.LIVE, secrets=frozenset({"the one before"}))
            await after.recover()
            (adopted,) = after.launcher.adopted
            assert adopted.spec.make_mask is not None
            assert adopted.spec.make_mask().feed(b"the one before, the secret tok\n") == b"***, the secret tok\n"
    async with House.open(path, TELLING) as last:
        last.launcher.findings[key(run_id)] = Finding(Verdict.LIVE, secrets=frozenset({"the one before"}))
        await last.recover()
        last.launcher.adopted[0].exit(0, output=b"the one before")
        (await last.launcher.next()).exit(0)
        details = await last.ended(run_id)
        assert (details.run.state, details.tasks["a"].outputs) == (RunState.SUCCEEDED, {"written": "***"})


async def test_an_adopted_attempt_whose_secrets_nobody_knows(path: Path) -> None:
    """It ends as its process did; what it printed is blacked out, and who looks at its outputs is told why not."""
    async with House.open(path, TELLING) as before:
        run_id = await running(before, TELLING)
    async with House.open(path, TELLING) as after:
        after.launcher.findings[key(run_id)] = LIVE
        await after.recover()
        (adopted,) = after.launcher.adopted
        assert adopted.spec.make_mask is not None
        assert adopted.spec.make_mask().feed(b"the secret tok") == (
            b"[barbossad: 14 bytes not recorded: what of it is secret is not known any more]\n"
        )
        adopted.exit(0, output=b"the secret tok")
        details = await after.ended(run_id)
    why = "its outputs were not recorded: what of it is secret is not known any more"
    assert (details.tasks["a"].state, details.tasks["a"].reason) == (TaskState.SUCCEEDED, why)
    assert details.tasks["b"].state is TaskState.FAILED
    assert details.tasks["b"].reason is not None
    assert details.tasks["b"].reason.endswith(f"has no value: {why}")
    assert invariants.broken(path) == []


async def test_what_never_started_is_started_as_the_same_attempt(path: Path) -> None:
    """Recorded as starting and never started: it is launched now, and no second attempt is made of it."""
    async with House.open(path, CHAIN) as before:
        run_id = await before.start(CHAIN)
    async with House.open(path, CHAIN) as after:
        after.launcher.findings[key(run_id)] = NEVER
        await after.recover()
        process = await after.launcher.next()
        assert process.spec.key == key(run_id)
        process.exit(0)
        (await after.launcher.next()).exit(0)
        details = await after.ended(run_id)
        assert (details.run.state, len(details.attempts["a"])) == (RunState.SUCCEEDED, 1)


async def test_a_run_that_was_being_cancelled_is_so_still(path: Path) -> None:
    """What is adopted of a run that is being ended is stopped."""
    async with House.open(path, CHAIN) as before:
        run_id = await running(before)
        before.launcher.launched[0].is_stubborn = True
        await before.engine.cancel(run_id, "enough")
    async with House.open(path, CHAIN) as after:
        after.launcher.findings[key(run_id)] = LIVE
        await after.recover()
        details = await after.ended(run_id)
        assert details.run.state is RunState.CANCELLED
        assert len(after.launcher.adopted[0].stops) == 1


async def test_an_adopted_timeout_counts_from_the_start(path: Path) -> None:
    """The time that a task has had under the daemon before counts: an adopted one whose time is over is stopped."""
    definition = workflow({"a": [], "b": ["a"]}, name="chain", task_timeout_seconds=60)
    clock = StillClock()
    async with House.open(path, definition, clock=clock) as before:
        run_id = await running(before, definition)
    clock.at_ms += 60_000
    async with House.open(path, definition, clock=clock) as after:
        after.launcher.findings[key(run_id)] = LIVE
        await after.recover()
        assert (await after.ended(run_id)).tasks["a"].state is TaskState.TIMED_OUT


@pytest.mark.parametrize("hours", [1, -1])
async def test_an_adopted_timeout_is_not_the_wall_clocks(
    path: Path, hours: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A clock that is set while no daemon is there takes no time from a task, gives it none, and is no duration."""
    caplog.set_level(logging.INFO)
    definition, clock = load("name: t\ntasks: [{id: a, shell: make, timeout: 10m}]"), StillClock()
    async with House.open(path, definition, clock=clock) as before:
        run_id = await running(before, definition)
    clock.at_ms += 60_000
    clock.set_to(clock.at_ms + hours * 3_600_000)
    async with House.open(path, definition, clock=clock) as after:
        after.launcher.otherwise = LIVE
        await after.recover()
        (process,) = after.launcher.adopted
        (live,) = after.engine._active[run_id].live.values()
        assert live.timeout is not None
        assert live.timeout.when() - asyncio.get_running_loop().time() == pytest.approx(540, abs=5)
        process.exit(0)
        assert (await after.ended(run_id)).tasks["a"].state is TaskState.SUCCEEDED
        assert after.launcher.adopted[0].stops == []
    told = [record.getMessage() for record in caplog.records if " after " in record.getMessage()]
    assert [" after -" in words for words in told] == [False, False]


TIMED = {
    "task": "name: t\ntasks: [{id: a, shell: make, timeout: 60, retry: {attempts: 2, on: [timed_out]}}]",
    "group": "name: t\ntasks: [{id: g, timeout: 60, parallel: [{id: a, shell: make}]}]",
    "run": "name: t\ntimeout: 60\ntasks: [{id: a, shell: make}]",
}


async def ended_while_nobody_looked(path: Path, definition: WorkflowDefinition, seconds: float) -> RunDetails:
    """Return a run whose one task exits with 0 so long after its start, which is heard of an hour later."""
    clock = StillClock()
    async with House.open(path, definition, clock=clock) as before:
        run_id = await before.start(definition)
        (await before.launcher.next()).begin()
        await until(before, run_id, before.launcher.launched[0].task, TaskState.RUNNING)
    clock.at_ms += 3_600_000
    async with House.open(path, definition, clock=clock) as after:
        after.launcher.otherwise = LIVE
        await after.recover()
        (process,) = after.launcher.adopted
        process.is_stubborn = True
        await after.advance(0)
        await eventually_async(lambda: len(process.stops) > 0, LIMIT_SECONDS, "it is asked to end")
        process.exit(0, finished_at_ms=NOON_MS + round(seconds * 1000))
        return await after.ended(run_id)


@pytest.mark.parametrize("limit", TIMED)
async def test_what_ended_in_time_while_no_daemon_was_there(path: Path, limit: str) -> None:
    """Whether a task ended in time is told by when it ended, not by when a daemon came to hear of it."""
    details = await ended_while_nobody_looked(path, load(TIMED[limit]), 59.999)
    assert {task.state for task in details.tasks.values()} == {TaskState.SUCCEEDED}
    assert details.run.state is RunState.SUCCEEDED


async def test_what_ended_too_late_while_no_daemon_was_there(path: Path) -> None:
    """Systemd keeps a task's timeout in between: what exits from then on was asked to."""
    definition = load("name: t\ntasks: [{id: a, shell: make, timeout: 60}]")
    assert (await ended_while_nobody_looked(path, definition, 60)).tasks["a"].state is TaskState.TIMED_OUT


async def test_nobody_is_told_late_who_had_ended(path: Path) -> None:
    """What looks late after a restart is looked at only when its end can have been heard of."""
    definition, patient = (
        load(f"name: t\nwarn_after: {limit}\ntasks: [{{id: a, shell: make, warn_after: {limit}}}]")
        for limit in ("100ms", "1h")
    )
    async with House.open(path, patient) as before:  # it has not come to its limit when this one goes, however slowly
        before.launcher.now_ms = before.clock.now_ms
        run_id = await before.start(patient)
        (await before.launcher.next()).begin()
        await until(before, run_id, "a", TaskState.RUNNING)
    await asyncio.sleep(0.12)
    async with House.open(path, definition) as after:
        after.launcher.otherwise = LIVE
        await after.recover()
        await asyncio.sleep(0.1)
        after.launcher.adopted[0].exit(0, finished_at_ms=after.clock.now_ms() - 200)
        details = await after.ended(run_id)
        assert (details.run.late_at_ms, details.tasks["a"].late_at_ms) == (None, None)


async def test_what_an_earlier_daemon_asked_to_end(path: Path) -> None:
    """A cancelled task that then exits while no daemon is there did so because it was asked."""
    clock = StillClock()
    async with House.open(path, CHAIN, clock=clock) as before:
        run_id = await running(before)
        before.launcher.launched[0].is_stubborn = True
        await before.engine.cancel(run_id, "enough")
    clock.at_ms += 60_000
    async with House.open(path, CHAIN, clock=clock) as after:
        after.launcher.findings[key(run_id)] = LIVE
        await after.recover()
        after.launcher.adopted[0].exit(0, finished_at_ms=NOON_MS + 1000)
        assert (await after.ended(run_id)).tasks["a"].state is TaskState.CANCELLED


async def test_leaving_ends_nothing_and_launches_nothing(path: Path) -> None:
    """At a restart what runs is left alone, and what was about to be launched is left to the next daemon."""
    async with House.open(path, CHAIN) as house:
        run_id = await running(house)
        house.engine.leave()
        house.launcher.launched[0].exit(0)
        await until(house, run_id, "a", TaskState.SUCCEEDED)
        assert house.launcher.launched[0].stops == []
        assert len(house.launcher.launched) == 1
    async with House.open(path, CHAIN) as after:
        await after.recover()
        (await after.launcher.next()).exit(0)
        assert (await after.ended(run_id)).run.state is RunState.SUCCEEDED


async def test_leaving_before_long_secrets_can_be_masked(path: Path) -> None:
    """What waits for that at a restart is left to the next daemon, which finds that it never started."""
    definition = load("name: x\nsecrets: {T: long}\ntasks: [{id: a, shell: a}]")
    secret = secrets.token_hex(2000)
    async with House.open(path, definition) as before:
        before._preparation._get_secret = lambda _: secret
        run_id = await before.start(definition)
        before.engine.leave()
        await eventually_async(lambda: masking.is_at_hand(frozenset({secret})), 30, "it can be masked")
        await asyncio.sleep(0)
        assert before.launcher.launched == []
        assert (await before.states(run_id))["a"] == "starting"
    async with House.open(path, definition) as after:
        after.launcher.findings[key(run_id)] = NEVER
        await after.recover()
        (await after.launcher.next()).exit(0)
        assert (await after.ended(run_id)).run.state is RunState.SUCCEEDED


@pytest.mark.parametrize("policy", [OnInterrupt.RETRY, OnInterrupt.RESUME])
async def test_interrupted_is_tried_again(path: Path, policy: OnInterrupt) -> None:
    """The interrupted attempt stays as it was, and another follows."""
    definition = asking(policy)
    async with House.open(path, definition) as before:
        run_id = await running(before, definition)
    async with House.open(path, definition) as after:
        await after.recover()
        process = await after.launcher.next()
        assert process.spec.key == key(run_id, number=2)
        process.exit(0)
        (await after.launcher.next()).exit(0)
        details = await after.ended(run_id)
        assert details.run.state is RunState.SUCCEEDED
        states = [attempt.state for attempt in details.attempts["a"]]
        assert states == [AttemptState.INTERRUPTED, AttemptState.SUCCEEDED]


async def test_retry_has_an_end(path: Path) -> None:
    """A task that is interrupted again and again is given up: it may be what brings the daemon down."""
    definition = asking(OnInterrupt.RETRY)
    async with House.open(path, definition) as first:
        run_id = await running(first, definition)
    for number in range(2, MOST_INTERRUPTIONS + 1):
        async with House.open(path, definition) as again:
            await again.recover()
            assert (await again.launcher.next()).spec.key.number == number
            await again.settle()
    async with House.open(path, definition) as last:
        await last.recover()
        details = await last.ended(run_id)
        assert details.run.state is RunState.INTERRUPTED
        assert len(details.attempts["a"]) == MOST_INTERRUPTIONS
        assert last.launcher.launched == []


@pytest.mark.parametrize("is_approved", [True, False])
async def test_a_person_decides(path: Path, is_approved: bool) -> None:
    """Under ask the task waits, holding nothing, over a restart too, until somebody says what is to be."""
    definition = asking(OnInterrupt.ASK)
    async with House.open(path, definition) as before:
        run_id = await running(before, definition)
    for _ in range(2):
        async with House.open(path, definition) as waiting:
            await waiting.recover()
            await until(waiting, run_id, "a", TaskState.WAITING)
            assert waiting.engine.counts["running"] == 0
            assert waiting.launcher.launched == []
    async with House.open(path, definition) as after:
        await after.recover()
        assert not await after.engine.answer(run_id, "b", is_approved=True, words="x")
        assert await after.engine.answer(run_id, "a", is_approved=is_approved, words="said anne")
        assert not await after.engine.answer(run_id, "a", is_approved=True, words="again")
        if is_approved:
            (await after.launcher.next()).exit(0)
            (await after.launcher.next()).exit(0)
        details = await after.ended(run_id)
        assert details.run.state is (RunState.SUCCEEDED if is_approved else RunState.INTERRUPTED)
        assert is_approved or details.tasks["a"].reason == "said anne"
    assert invariants.broken(path) == []


async def test_cancel_ends_what_waits_for_a_person(path: Path) -> None:
    """Nobody is asked any more about a run that was cancelled."""
    definition = asking(OnInterrupt.ASK)
    async with House.open(path, definition) as before:
        run_id = await running(before, definition)
    async with House.open(path, definition) as after:
        await after.recover()
        await after.engine.cancel(run_id, "enough")
        details = await after.ended(run_id)
        assert details.run.state is RunState.CANCELLED
        assert details.tasks["a"].state is TaskState.CANCELLED
        assert details.tasks["a"].waits_for is None


HOOKED = """\
name: hooked
tasks:
- {id: a, shell: make}
- {id: last, trigger: always, shell: make}
on_exit: [{id: t, retry: 3, on_interrupt: retry, shell: make}]
"""


@pytest.mark.parametrize("is_in_hook", [True, False])
@pytest.mark.parametrize("verdict", [Verdict.LIVE, Verdict.GONE])
async def test_what_was_to_end_all_the_same_is_ended_by_the_next_daemon(
    path: Path, is_in_hook: bool, verdict: Verdict
) -> None:
    """Cancelled in its hooks, or a second time: the daemon that comes after a crash ends what still runs of it."""
    definition = load(HOOKED)
    async with House.open(path, definition) as before:
        run_id = await before.start(definition)
        first = await before.launched("a")
        if is_in_hook:
            first.exit()
            (await before.launched("last")).exit()
        else:
            await before.engine.cancel(run_id, "enough")
        task = "on_exit.t" if is_in_hook else "last"
        process = await before.launched(task)
        process.begin()
        await until(before, run_id, task, TaskState.RUNNING)
        process.is_stubborn = True
        await before.engine.cancel(run_id, "enough")
        assert len(process.stops) == 1
    async with House.open(path, definition) as after:
        after.launcher.otherwise = Finding(verdict, "it is gone")
        await after.recover()
        if verdict is Verdict.LIVE:
            assert len(after.launcher.adopted[0].stops) == 1
        if not is_in_hook:
            (await after.launched("on_exit.t")).exit()
        details = await after.ended(run_id)
        ended = TaskState.CANCELLED if verdict is Verdict.LIVE else TaskState.INTERRUPTED
        assert (details.tasks[task].state, len(details.attempts[task])) == (ended, 1)
    assert invariants.broken(path) == []


async def test_host_down_is_for_on_reboot_to_decide(path: Path) -> None:
    """A task that a shutdown of the host ended waits for the next boot under on_reboot, whatever on_interrupt says."""
    definition = asking(OnInterrupt.FAIL, reboot=OnInterrupt.RESUME)
    async with House.open(path, definition) as house:
        run_id = await running(house, definition)
        await house.engine.stop(0, StopCause.HOST_DOWN)
        await until(house, run_id, "a", TaskState.WAITING)
        details = await house.details(run_id)
        assert details.tasks["a"].waits_for is WaitsFor.SLOT
        assert details.attempts["a"][0].reason == "the host was shut down while it ran"
    async with House.open(path, definition) as after:
        await after.recover()
        assert (await after.launcher.next()).spec.key.number == 2


async def test_stopped_by_hand_is_not_tried_again(house: House) -> None:
    """Who stops a unit by hand does not want it again."""
    definition = asking(OnInterrupt.RETRY)
    run_id = await running(house, definition)
    house.launcher.launched[0]._end(EndCause.REMOVED, message="its unit was stopped by hand")
    details = await house.ended(run_id)
    assert details.tasks["a"].state is TaskState.INTERRUPTED


async def test_stopped_by_others_while_the_daemon_stops_is_for_on_interrupt_to_decide(path: Path) -> None:
    """What goes with the daemon (`systemctl isolate`, say) goes on with it, whoever was first to stop it."""
    definition = asking(OnInterrupt.RETRY)
    async with House.open(path, definition) as house:
        run_id = await running(house, definition)
        process = house.launcher.launched[0]
        process.is_stubborn = True
        stopping = asyncio.create_task(house.engine.stop(5))
        await eventually_async(lambda: bool(process.stops), LIMIT_SECONDS, "it is asked to end")
        process._end(EndCause.REMOVED, message="its unit was stopped by hand")
        assert await stopping == []
        await until(house, run_id, "a", TaskState.WAITING)


async def test_drained(house: House) -> None:
    """While the daemon is drained runs are recorded and wait, and it is told when nothing runs."""
    run_id = await running(house)
    house.engine.gate.drain(is_on=True)
    waiting = asyncio.ensure_future(house.engine.drained())
    later = await house.start(CHAIN)
    assert "drained" in house.engine.why(later)["a"]
    house.launcher.launched[0].exit(0)
    async with asyncio.timeout(LIMIT_SECONDS):
        await waiting
    await until(house, run_id, "a", TaskState.SUCCEEDED)
    assert len(house.launcher.launched) == 1
    house.engine.gate.drain(is_on=False)
    started = {(await house.launcher.next()).spec.key.run_id for _ in range(2)}
    assert started == {run_id, later}


async def test_drained_in_vain(house: House) -> None:
    """Who waits for the end of what runs is told when work goes on instead, and then forgotten."""
    await running(house)
    house.engine.gate.drain(is_on=True)
    waiting = asyncio.ensure_future(house.engine.drained())
    await eventually_async(lambda: bool(house.engine._live._idle), LIMIT_SECONDS, "it waits")
    house.engine.gate.drain(is_on=False)
    async with asyncio.timeout(LIMIT_SECONDS):
        await waiting
    assert not house.engine._live._idle
