"""Runs that tasks of other runs call: params and outputs, failure, their end with their caller, restarts."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from barbossad.model.names import RunId, run_id_from_number
from barbossad.model.states import RunState, TaskState, TriggerType
from barbossad.process.launcher import Finding, Verdict
from tests.helpers import invariants
from tests.helpers.clock import StillClock
from tests.helpers.house import LIMIT_SECONDS, House, load
from tests.helpers.waiting import eventually_async

INNER = load("""\
name: inner
params: {who: {type: string}, times: {type: integer, default: 2}}
outputs: {greeting: "{{ tasks.a.outputs.written }} {{ params.who }}", times: "{{ params.times }}"}
tasks: [{id: a, shell: make}, {id: b, shell: make}]
""")
OUTER = load("""\
name: outer
params: {name: {type: string, default: anne}}
outputs: {said: "{{ tasks.call.outputs.greeting }}"}
tasks:
- {id: call, workflow: {name: inner, params: {who: "{{ params.name }}"}}}
- {id: after, shell: [echo, "{{ tasks.call.outputs.greeting }}", "{{ tasks.call.outputs.times }}"]}
""")


async def children(house: House) -> Sequence[RunId]:
    """The runs that others called, oldest first."""
    rows = await house.database.read("SELECT id FROM runs WHERE parent_run IS NOT NULL ORDER BY id")
    return [run_id_from_number(row[0]) for row in rows]


async def test_outputs_and_params(path: Path) -> None:
    """A called run gets its params and hands its outputs to who called it, who waits without a slot."""
    async with House.open(path, INNER, OUTER, limit=1) as house:
        outer = await house.start(OUTER)
        process = await house.launched("a")
        (inner,) = await children(house)
        child = await house.details(inner)
        assert (child.run.parent_run, child.run.parent_task, child.run.trigger) == (outer, "call", TriggerType.WORKFLOW)
        assert (child.run.params, child.run.requested_by) == ({"who": "anne", "times": 2}, "anne")
        assert (await house.states(outer))["call"] == "running"
        process.exit(output=b"hello")
        (await house.launched("b")).exit()
        after = await house.launched("after")
        assert list(after.spec.argv) == ["echo", "hello anne", "2"]
        after.exit()
        details = await house.ended(outer)
        assert details.tasks["call"].outputs == {"greeting": "hello anne", "times": 2, "run_id": inner}
        assert details.run.outputs == {"said": "hello anne"}
        assert details.attempts["call"][0].launcher == "workflow"
    assert invariants.broken(path, has_texts=False) == []


async def test_failure(path: Path) -> None:
    """A called run that fails fails the task, which says which run it was and why."""
    async with House.open(path, INNER, OUTER) as house:
        outer = await house.start(OUTER)
        (await house.launched("a")).exit(3)
        details = await house.ended(outer)
        (inner,) = await children(house)
        assert details.run.state is RunState.FAILED
        assert details.tasks["call"].reason == f"run {inner} of inner failed: task a failed"
        assert details.tasks["after"].state is TaskState.UPSTREAM_FAILED


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        ("nobody", "could not be started: .*'nobody'"),
        ("{name: inner, params: {whom: x}}", "could not be started: .*whom"),
    ],
)
async def test_what_cannot_be_called(path: Path, call: str, reason: str) -> None:
    """A workflow that is not there, or does not take the params, fails the task in words."""
    async with House.open(path, INNER) as house:
        outer = await house.start(load(f"name: outer\ntasks: [{{id: call, workflow: {call}}}]"))
        details = await house.ended(outer)
        assert details.run.state is RunState.FAILED
        assert re.match(reason, details.tasks["call"].reason or "")
        assert await children(house) == []


async def test_cancel_passes_down(path: Path) -> None:
    """Who is cancelled ends what it called, which tidies up first."""
    inner = load("name: inner\ntasks: [{id: a, shell: make}]\non_cancel: [{id: tidy, shell: make}]")
    async with House.open(path, inner) as house:
        outer = await house.start(load("name: outer\ntasks: [{id: call, workflow: inner}]"))
        await house.launched("a")
        await house.engine.cancel(outer, "cancelled by anne")
        tidy = await house.launched("on_cancel.tidy")
        assert (await house.states(outer))[""] == "running"
        tidy.exit()
        details = await house.ended(outer)
        assert (details.run.state, details.tasks["call"].state) == (RunState.CANCELLED, TaskState.CANCELLED)
        child = await house.ended((await children(house))[0])
        assert (child.run.state, child.run.reason) == (RunState.CANCELLED, "its caller was ended: cancelled by anne")


async def test_timeout_passes_down(path: Path) -> None:
    """The timeout of the task ends the run that it called."""
    async with House.open(path, INNER) as house:
        text = "name: outer\ntasks: [{id: call, timeout: 2s, workflow: {name: inner, params: {who: x}}}]"
        outer = await house.start(load(text))
        await house.launched("a")
        details = await house.ended(outer)
        assert details.tasks["call"].state is TaskState.TIMED_OUT
        child = await house.ended((await children(house))[0])
        assert child.run.state is RunState.CANCELLED


async def test_pause_passes_down(path: Path) -> None:
    """Who is paused pauses what it called."""
    async with House.open(path, INNER, OUTER) as house:
        outer = await house.start(OUTER)
        process = await house.launched("a")
        await house.engine.pause(outer, "lunch")
        process.exit(output=b"x")
        (inner,) = await children(house)
        assert await house.states(inner) == {"": "paused", "a": "succeeded"}
        await house.engine.unpause(outer, "back")
        (await house.launched("b")).exit()
        (await house.launched("after")).exit()
        assert (await house.ended(outer)).run.state is RunState.SUCCEEDED


@pytest.mark.parametrize("lives", [True, False])
async def test_restart_in_the_middle(path: Path, lives: bool) -> None:
    """After a crash who called waits again for the run that there is; nothing is called twice."""
    async with House.open(path, INNER, OUTER) as before:
        outer = await before.start(OUTER)
        (await before.launched("a")).begin()
        (inner,) = await children(before)
        await before.crash()
    async with House.open(path, INNER, OUTER) as after:
        after.launcher.otherwise = Finding(Verdict.LIVE) if lives else Finding(Verdict.GONE, "gone")
        await after.recover()
        assert await children(after) == [inner]
        if lives:
            after.launcher.adopted[0].exit(output=b"hi")
            (await after.launched("b")).exit()
            (await after.launched("after")).exit()
        details = await after.ended(outer)
        assert details.run.state is (RunState.SUCCEEDED if lives else RunState.INTERRUPTED)
        assert [one.number for one in details.attempts["call"]] == [1]
    assert invariants.broken(path, has_texts=False) == []


async def test_the_called_run_ended_while_nobody_looked(path: Path) -> None:
    """A called run whose end was recorded just before a crash is found with its outputs."""
    async with House.open(path, INNER, OUTER) as before:
        outer = await before.start(OUTER)
        (await before.launched("a")).exit(output=b"hi")
        last = await before.launched("b")
        (inner,) = await children(before)
        await before.settle()
        before.engine._active.pop(outer)  # it hears of nothing any more
        before.engine._calls._tasks.copy().pop().cancel()
        last.exit()
        await before.ended(inner)
    async with House.open(path, INNER, OUTER) as after:
        await after.recover()
        assert list((await after.launched("after")).spec.argv) == ["echo", "hi anne", "2"]
        assert await children(after) == [inner]


async def test_a_call_that_was_not_made_before_the_daemon_left(path: Path) -> None:
    """A call that is on record and was not made yet is made by the next daemon, and does not fail for that."""
    async with House.open(path, INNER, OUTER) as before:
        before.engine.recovered.clear()  # the call waits until then
        outer = await before.start(OUTER)
        before.engine.leave()
        before.engine.recovered.set()
        await before.settle()
        await before.crash()
    async with House.open(path, INNER, OUTER) as after:
        await after.recover()
        (await after.launched("a")).exit(output=b"hi")
        (await after.launched("b")).exit()
        (await after.launched("after")).exit()
        assert (await after.ended(outer)).run.state is RunState.SUCCEEDED
        assert len(await children(after)) == 1


async def test_a_run_that_nobody_called_is_not_taken_for_the_called_one(path: Path) -> None:
    """A run that has the key of a call and another origin, as from before clients were refused it, is not the call's.

    The task fails and says which run is in the way: it never succeeds for what it did not call.
    """
    async with House.open(path, INNER, OUTER) as house:
        house.engine.recovered.clear()  # the call waits until then
        outer = await house.start(OUTER)
        await house.database.write(lambda _tx: None)
        other = await house.start(INNER, params={"who": "eve"}, idempotency_key=f"call {outer}/call/1")
        (await house.launched("a")).exit(output=b"x")
        (await house.launched("b")).exit()
        await house.ended(other)
        house.engine.recovered.set()
        details = await house.ended(outer)
        reason = details.tasks["call"].reason or ""
        assert details.run.state is RunState.FAILED
        assert reason.startswith(f"could not be started: the idempotency key 'call {outer}/call/1' names run {other}")
        assert await children(house) == []


async def test_retry_calls_anew(path: Path) -> None:
    """Each attempt of a call is a run of its own."""
    async with House.open(path, INNER) as house:
        text = "name: outer\ntasks: [{id: call, retry: {attempts: 2}, workflow: {name: inner, params: {who: x}}}]"
        outer = await house.start(load(text))
        (await house.launched("a")).exit(1)
        (await house.launched("a")).exit()
        (await house.launched("b")).exit(output=b"")
        details = await house.ended(outer)
        assert [one.state.value for one in details.attempts["call"]] == ["failed", "failed"]
        assert len(await children(house)) == 2


async def test_recursion(path: Path) -> None:
    """A workflow that calls itself is stopped at a depth, from which all fail upward."""
    loop = load("name: loop\ntasks: [{id: call, workflow: back}]")
    back = load("name: back\ntasks: [{id: call, workflow: loop}]")
    async with House.open(path, loop, back) as house:
        details = await house.ended(await house.start(loop))
        assert details.run.state is RunState.FAILED
        assert await house.database.read("SELECT count(*) FROM runs") == [(11,)]
        deepest = await house.details((await children(house))[-1])
        assert "runs call each other 10 deep; does 'back' call itself?" in (deepest.tasks["call"].reason or "")


async def test_what_the_caller_holds(path: Path) -> None:
    """A called run does not wait for what its caller holds: locks, and places of a group."""
    inner = load("name: inner\nlock: db\nconcurrency: {limit: 1, group: g}\ntasks: [{id: a, shell: make, lock: tape}]")
    outer = load(
        "name: outer\nlock: db\nconcurrency: {limit: 1, group: g}\ntasks: [{id: call, workflow: inner, lock: tape}]"
    )
    async with House.open(path, inner) as house:
        first = await house.start(outer)
        second = await house.start(outer)
        process = await house.launched("a")
        assert len(house.launcher.launched) == 1
        process.exit()
        assert (await house.ended(first)).run.state is RunState.SUCCEEDED
        (await house.launched("a")).exit()
        assert (await house.ended(second)).run.state is RunState.SUCCEEDED


async def test_two_calls_beside_each_other(path: Path) -> None:
    """Runs that one run called do not share what each of them holds."""
    inner = load("name: inner\nlock: db\ntasks: [{id: a, shell: make}]")
    outer = load("name: outer\nlock: db\ntasks: [{parallel: [{id: x, workflow: inner}, {id: y, workflow: inner}]}]")
    async with House.open(path, inner) as house:
        run_id = await house.start(outer)
        process = await house.launched("a")
        await house.settle()
        assert len(house.launcher.launched) == 1
        process.exit()
        (await house.launched("a")).exit()
        assert (await house.ended(run_id)).run.state is RunState.SUCCEEDED
        assert house.launcher.most_live == 1
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM runs WHERE state = 'succeeded'").fetchone() == (3,)


async def test_a_called_run_replaces_its_siblings_and_not_its_caller(path: Path) -> None:
    """Where caller and called share a group whose policy is to replace, the caller is not what makes place."""
    head = "concurrency: {limit: 1, policy: replace, group: g}"
    inner = load(f"name: inner\n{head}\ntasks: [{{id: a, shell: make}}]")
    calls = "[{id: x, workflow: inner}, {id: y, workflow: inner}]"
    outer = load(f"name: outer\n{head}\ntasks: [{{parallel: {calls}}}]")
    async with House.open(path, inner) as house:
        run_id = await house.start(outer)
        process = await house.launched("a")
        await house.settle()
        if process.has_ended:  # it was replaced after its launch, not before
            process = await house.launched("a")
        process.exit()
        details = await house.ended(run_id)
        assert (details.run.state, details.run.stop_cause) == (RunState.FAILED, None)
        assert sorted(task.state.value for task in details.tasks.values()) == ["failed", "failed", "succeeded"]


UNDOING = load("""\
name: inner
params: {who: {type: string, default: anne}}
tasks: [{id: a, shell: make, rollback: {shell: make}}, {id: b, shell: make}]
""")


async def test_a_called_run_tidies_up_over_a_restart(path: Path) -> None:
    """What it undoes, because its caller was cancelled, is not cut short by a restart of the daemon."""
    async with House.open(path, UNDOING, OUTER) as before:
        outer = await before.start(OUTER)
        (await before.launched("a")).exit()
        (await before.launched("b")).begin()
        await before.engine.cancel(outer, "enough")
        (await before.launched("rollback.a")).begin()
        await before.crash()
    async with House.open(path, UNDOING, OUTER) as after:
        after.launcher.otherwise = Finding(Verdict.LIVE)
        await after.recover()
        await after.settle()
        (undo,) = after.launcher.adopted
        assert undo.stops == []
        undo.exit()
        assert (await after.ended(outer)).run.state is RunState.CANCELLED
        (inner,) = await children(after)
        assert (await after.details(inner)).tasks["rollback.a"].state is TaskState.SUCCEEDED


@pytest.mark.parametrize("ends", ["cancel", "fail_fast", "timeout"])
async def test_a_called_run_that_tidies_up_is_left_to_that(path: Path, ends: str) -> None:
    """What it undoes after a failure is not cut short because its caller is to end; if that is asked again, it is."""
    outer = load("""\
name: outer
timeout: 1h
tasks:
- id: both
  parallel: {fail_fast: true, tasks: [{id: call, workflow: inner}, {id: other, shell: make}]}
""")
    clock = StillClock()
    async with House.open(path, UNDOING, outer, clock=clock) as house:
        run_id = await house.start(outer)
        processes = {process.task: process for process in [await house.launcher.next() for _ in range(2)]}
        processes["a"].exit()
        (await house.launched("b")).exit(1)
        undo = await house.launched("rollback.a")
        undo.is_stubborn = True
        if ends == "cancel":
            await house.engine.cancel(run_id, "enough")
        elif ends == "timeout":
            await house.advance(3600)
        else:
            processes["both.other"].exit(1)
        await house.settle()
        assert undo.stops == []
        await house.engine.cancel(run_id, "now")
        await house.engine.cancel(run_id, "at once")
        await eventually_async(lambda: undo.stops != [], LIMIT_SECONDS, "it is ended now")
        undo.exit()
        await house.ended(run_id)
