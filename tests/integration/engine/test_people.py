"""What people do to runs: approve and reject, pause and go on; and that urgent work goes first."""

from __future__ import annotations

from pathlib import Path

import pytest

from barbossad.errors import NotFoundError
from barbossad.model.states import RunState, TaskState, WaitsFor
from barbossad.process.launcher import Finding, Verdict
from tests.helpers import invariants
from tests.helpers.clock import StillClock
from tests.helpers.house import House, load

ASK = load("""\
name: ask
tasks:
- {id: a, shell: make}
- id: may
  approval: {message: "Drop {{ workflow.name }}?", deadline: 1h, form: {minutes: {type: integer, default: 10}}}
- {id: b, shell: [drop, "{{ tasks.may.outputs.minutes }}", "{{ tasks.may.outputs.by }}"]}
""")
CHAIN = load("name: chain\ntimeout: 100\ntasks: [{id: a, shell: make}, {id: b, shell: make}]")


# -- approvals ---------------------------------------------------------------------------------------------


async def asked(house: House) -> str:
    """Start a run and bring it to its question."""
    run_id = await house.start(ASK)
    (await house.launched("a")).exit()
    await house.settle()
    record = (await house.details(run_id)).tasks["may"]
    assert (record.state, record.waits_for, record.reason) == (TaskState.WAITING, WaitsFor.PERSON, "Drop ask?")
    return run_id


async def test_approve(path: Path) -> None:
    """A yes goes on with what was filled in; while it waits, no process and no slot is held."""
    async with House.open(path, ASK, limit=1) as house:
        run_id = await asked(house)
        assert house.engine.counts["running"] == 0
        assert house.launcher.live == set()
        assert house.engine.why(run_id)["may"] == "Drop ask?"
        other = await house.start(load("name: other\ntasks: [{id: x, shell: make}]"))
        (await house.launched("x")).exit()
        await house.ended(other)
        assert await house.engine.answer(run_id, "may", is_approved=True, words="fine", by="bob", values={"minutes": 5})
        b = await house.launched("b")
        assert list(b.spec.argv) == ["drop", "5", "bob"]
        b.exit()
        details = await house.ended(run_id)
        assert details.tasks["may"].outputs == {"minutes": 5, "by": "bob", "words": "fine"}
        assert details.run.state is RunState.SUCCEEDED
        assert not await house.engine.answer(run_id, "may", is_approved=True, words="again")
    assert invariants.broken(path, has_texts=False) == []


@pytest.mark.parametrize("follows", ["approval: {message: Go on?}", "workflow: {name: ask}"])
async def test_what_holds_no_slot_follows_what_cannot_start(path: Path, follows: str) -> None:
    """An approval, or a call, comes after a task that could not be prepared, also where nothing else ever happens."""
    after = load(f"name: after\ntasks: [{{id: z, shell: make}}]\non_failure: [{{id: then, {follows}}}]")
    async with House.open(path, ASK, after) as house:
        house.unprepared["z"] = NotFoundError("secret", "tok")
        run_id = await house.start(after)
        await house.settle()
        state = (await house.details(run_id)).tasks["on_failure.then"].state
        assert state is (TaskState.WAITING if "approval" in follows else TaskState.RUNNING)


async def test_reject(house: House) -> None:
    """A no fails the task, with the words of the person, and what follows does not start."""
    run_id = await asked(house)
    assert await house.engine.answer(run_id, "may", is_approved=False, words="not today", by="bob")
    details = await house.ended(run_id)
    assert (details.tasks["may"].state, details.tasks["may"].reason) == (TaskState.FAILED, "not today")
    assert details.tasks["b"].state is TaskState.UPSTREAM_FAILED
    assert details.run.state is RunState.FAILED


async def test_who_is_not_asked(house: House) -> None:
    """Only a task that waits for a person hears the answer."""
    run_id = await house.start(ASK)
    for task in ("a", "may", "b", "nobody"):
        assert not await house.engine.answer(run_id, task, is_approved=True, words="yes")
    assert not await house.engine.answer("01zzzzzzzz", "may", is_approved=True, words="yes")  # type: ignore[arg-type]


async def test_deadline(path: Path) -> None:
    """Nobody's answer within the deadline is an end of its own; just before it an answer still counts."""
    async with House.open(path, ASK, clock=StillClock()) as house:
        late, just = await asked(house), await asked(house)
        await house.advance(3599)
        assert await house.engine.answer(just, "may", is_approved=True, words="yes")
        await house.advance(1)
        details = await house.ended(late)
        assert details.tasks["may"].state is TaskState.TIMED_OUT
        assert details.tasks["may"].reason == "nobody answered before its deadline"
        assert (await house.details(just)).tasks["may"].state is TaskState.SUCCEEDED


@pytest.mark.parametrize("is_late", [False, True])
async def test_restart_while_it_waits(path: Path, is_late: bool) -> None:
    """A question survives a crash with its deadline, which may pass while no daemon runs."""
    clock = StillClock()
    async with House.open(path, ASK, clock=clock) as before:
        run_id = await asked(before)
    clock.at_ms += 3_600_000 if is_late else 1000
    async with House.open(path, ASK, clock=clock) as after:
        await after.recover()
        await after.advance(0)
        assert after.launcher.launched == []
        if is_late:
            assert (await after.ended(run_id)).tasks["may"].state is TaskState.TIMED_OUT
        else:
            assert await after.engine.answer(run_id, "may", is_approved=True, words="yes", values={"minutes": 1})
            assert (await after.launched("b")).spec.key.run_id == run_id


async def test_cancel_while_it_waits(house: House) -> None:
    """A run that waits for a person is cancelled at once."""
    run_id = await asked(house)
    assert await house.engine.cancel(run_id, "enough")
    details = await house.details(run_id)
    assert (details.run.state, details.tasks["may"].state) == (RunState.CANCELLED, TaskState.CANCELLED)
    assert details.tasks["may"].waits_for is None


# -- pause -------------------------------------------------------------------------------------------------


async def test_pause(house: House) -> None:
    """What runs goes on, nothing else starts until somebody goes on with it; both are told once."""
    run_id = await house.start(CHAIN)
    a = await house.launched("a")
    assert await house.engine.pause(run_id, "lunch")
    assert not await house.engine.pause(run_id, "lunch")
    a.exit()
    assert await house.states(run_id) == {"": "paused", "a": "succeeded"}
    why = house.engine.why(run_id)
    assert why["b"] == "waiting: the run is paused"
    assert why[""].startswith("paused since 20")
    assert why[""].endswith(f"`barbossactl run resume {run_id}` goes on")
    assert await house.engine.unpause(run_id, "back")
    assert not await house.engine.unpause(run_id, "back")
    (await house.launched("b")).exit()
    details = await house.ended(run_id)
    assert (details.run.state, details.run.paused_at_ms) == (RunState.SUCCEEDED, None)


async def test_pauses_do_not_count(path: Path) -> None:
    """The timeout of a run does not run while it is paused, and goes on where it was; also over a restart."""
    clock = StillClock()
    async with House.open(path, CHAIN, clock=clock) as before:
        run_id = await before.start(CHAIN)
        (await before.launched("a")).begin()
        await before.advance(60)
        await before.engine.pause(run_id, "lunch")
        await before.advance(1000)
        await before.engine.unpause(run_id, "back")
        await before.advance(30)
        await before.engine.pause(run_id, "tea")
        await before.advance(500)
    async with House.open(path, CHAIN, clock=clock) as after:
        after.launcher.otherwise = Finding(Verdict.LIVE)
        await after.recover()
        await after.advance(500)
        assert (await after.details(run_id)).run.state is RunState.PAUSED
        await after.engine.unpause(run_id, "back")
        await after.advance(9)
        assert (await after.details(run_id)).run.stop_cause is None
        await after.advance(1)
        assert (await after.ended(run_id)).run.state is RunState.TIMED_OUT


async def test_warn_after_does_not_count_pauses(path: Path) -> None:
    """Nor is a run told to be late for the time that it was paused."""
    flow = load("name: w\nwarn_after: 100\ntasks: [{id: a, shell: make}]")
    async with House.open(path, clock=StillClock()) as house:
        run_id = await house.start(flow)
        await house.launched("a")
        await house.engine.pause(run_id, "lunch")
        await house.advance(5000)
        await house.engine.unpause(run_id, "back")
        await house.advance(99)
        assert (await house.details(run_id)).run.late_at_ms is None
        await house.advance(1)
        assert (await house.details(run_id)).run.late_at_ms == house.clock.now_ms()


async def test_paused_in_the_queue(house: House) -> None:
    """A run that is paused while it waits for its place lets others by, and takes its turn when it goes on."""
    flow = load("name: one\nconcurrency: {limit: 1}\ntasks: [{id: a, shell: make}]")
    first, paused, third = [await house.start(flow) for _ in range(3)]
    assert await house.engine.pause(paused, "wait")
    assert (await house.details(paused)).run.state is RunState.PAUSED
    house.launcher.launched[0].exit()
    await house.ended(first)
    await house.settle()
    assert [key.run_id for key in house.launcher.keys] == [first, third]
    house.launcher.launched[1].exit()
    await house.ended(third)
    await house.engine.unpause(paused, "go")
    await house.settle()
    assert house.launcher.keys[-1].run_id == paused
    house.launcher.launched[-1].exit()
    assert (await house.ended(paused)).run.state is RunState.SUCCEEDED


async def test_paused_in_the_queue_over_a_restart(path: Path) -> None:
    """A run that was paused before its turn takes no place from others after a restart either."""
    flow = load("name: one\nconcurrency: {limit: 1}\ntasks: [{id: a, shell: make}]")
    async with House.open(path, flow) as before:
        first, paused = [await before.start(flow) for _ in range(2)]
        await before.engine.pause(paused, "wait")
        before.launcher.launched[0].exit()
        await before.ended(first)
    async with House.open(path, flow) as after:
        after.launcher.exit_codes = lambda _spec: 0
        await after.recover()
        third = await after.start(flow)
        assert (await after.ended(third)).run.state is RunState.SUCCEEDED
        assert (await after.details(paused)).run.state is RunState.PAUSED
        await after.engine.unpause(paused, "go")
        assert (await after.ended(paused)).run.state is RunState.SUCCEEDED
    assert invariants.broken(path, has_texts=False) == []


async def test_a_paused_run_is_cancelled(house: House) -> None:
    """Cancelling a paused run ends it, hooks and all, without anybody going on with it."""
    run_id = await house.start(load("name: x\ntasks: [{id: a, shell: make}]\non_cancel: [{id: t, shell: make}]"))
    (await house.launched("a")).begin()
    await house.engine.pause(run_id, "lunch")
    await house.engine.cancel(run_id, "enough")
    (await house.launched("on_cancel.t")).exit()
    assert (await house.ended(run_id)).run.state is RunState.CANCELLED


# -- priority ----------------------------------------------------------------------------------------------


async def test_priorities(path: Path) -> None:
    """Slots go to the most urgent run, in it to the most urgent task, and then in the order of their coming."""
    first = load("name: first\ntasks: [{id: hold, shell: make}]")
    low = load("name: low\ntasks: [{parallel: [{id: a, shell: make}, {id: b, priority: 5, shell: make}]}]")
    high = load("name: high\npriority: 3\ntasks: [{id: c, shell: make, priority: -9}]")
    async with House.open(path, limit=1) as house:
        runs = [await house.start(flow) for flow in (first, low, high)]
        house.launcher.exit_codes = lambda _spec: 0
        house.launcher.launched[0].exit()
        for run_id in runs:
            await house.ended(run_id)
        assert [key.task_id for key in house.launcher.keys] == ["hold", "c", "parallel-1.b", "parallel-1.a"]
