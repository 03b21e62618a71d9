"""What a new daemon does with what an earlier one left."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from barbossad.errors import NotFoundError, UnavailableError
from barbossad.model.records import LogRecord
from barbossad.model.states import ATTEMPT_ENDED, RUN_ENDED, AttemptState, RunState, TaskState
from barbossad.process.launcher import AttemptKey, Finding, Verdict
from barbossad.store import backup
from barbossad.store.highwater import UNKNOWN
from tests.helpers import invariants
from tests.helpers.clock import StillClock
from tests.helpers.house import House, load
from tests.helpers.records import workflow

ONE = workflow({"a": []}, name="one")
CHAIN = workflow({"a": [], "b": ["a"]}, name="chain")
PAIR = workflow({"a": [], "b": []}, name="pair")
ALL = (ONE, CHAIN, PAIR)


async def test_nothing_to_do(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """On a new state file, or after a quiet end, there is nothing to settle and nothing to say."""
    caplog.set_level(logging.INFO)
    await house.recover()
    assert house.launcher.leftovers == []
    assert caplog.records == []


async def test_live_attempts_are_interrupted(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What was running is declared interrupted after its processes are gone; nothing of it is launched again."""
    caplog.set_level(logging.INFO)
    async with House.open(path, *ALL) as before:
        started = await before.start(CHAIN)
        process = await before.launcher.next()
        process.begin()
        await before.running(started)
    async with House.open(path, *ALL) as after:
        await after.recover()
        details = await after.ended(started)
        (left,) = after.launcher.leftovers
        assert (left.task_id, left.pid, left.pid_started_ticks) == ("a", process.pid, process.pid_started_ticks)
        assert after.launcher.launched == []
        assert details.run.state is RunState.INTERRUPTED
        assert details.tasks["a"].reason == "the daemon ended while it ran"
        assert details.tasks["b"].state is TaskState.UPSTREAM_FAILED
        assert after.engine.counts["active"] == 0
    said = [record.getMessage() for record in caplog.records if record.__dict__.get("action") == "recovered"]
    assert said == ["unfinished runs found: 1; tasks that go on: 0, interrupted: 1"]
    (ended,) = [record for record in caplog.records if record.__dict__.get("action") == "attempt_finished"]
    assert (vars(ended)["run_id"], vars(ended)["task"], vars(ended)["state"]) == (started, "a", "interrupted")


async def test_starting_attempts_are_interrupted_too(path: Path) -> None:
    """Whether an attempt that was about to start did start is not known, so it is not started again (I5)."""
    async with House.open(path, *ALL) as before:
        started = await before.start(ONE)
        assert (await before.details(started)).attempts["a"][0].state is AttemptState.STARTING
    async with House.open(path, *ALL) as after:
        await after.recover()
        assert (await after.ended(started)).run.state is RunState.INTERRUPTED
        assert after.launcher.launched == []


async def test_pending_tasks_go_on(path: Path) -> None:
    """Tasks that had not started when the daemon was stopped do so now: each run is taken up where it was left."""
    async with House.open(path, *ALL, limit=1) as before:
        chain = await before.start(CHAIN)
        pair = await before.start(PAIR)
        queued = await before.start(ONE)
        (await before.launcher.next()).exit(0)
        assert (await before.launcher.next()).spec.key.run_id == pair
        assert await before.engine.stop(0) == []
    async with House.open(path, *ALL) as after:
        after.launcher.exit_codes = lambda _spec: 0
        await after.recover()
        ends = [(await after.ended(run)).run.state for run in (chain, pair, queued)]
        assert ends == [RunState.SUCCEEDED, RunState.INTERRUPTED, RunState.SUCCEEDED]
        assert [key[:2] for key in after.launcher.keys] == [(chain, "b"), (pair, "b"), (queued, "a")]


@pytest.mark.parametrize("has_begun", [True, False])
async def test_host_was_restarted(path: Path, has_begun: bool) -> None:
    """Of an earlier boot no process can be left: none is looked for, and the reason says what happened."""
    async with House.open(path, *ALL) as before:
        before.engine._parts = replace(before.parts, boot_id="another-boot")
        started = await before.start(ONE)
        process = await before.launcher.next()
        if has_begun:
            process.begin()
            await before.running(started)
    async with House.open(path, *ALL) as after:
        await after.recover()
        assert after.launcher.leftovers == []
        when = "while it ran" if has_begun else "before it was known to have begun"
        assert (await after.ended(started)).tasks["a"].reason == f"the host was restarted {when}"


@pytest.mark.parametrize(
    ("boot_id", "state", "launched"),
    [
        ("this-boot", RunState.RUNNING, 1),
        ("this-boot@7", RunState.INTERRUPTED, 0),
        ("this-boot@9", RunState.RUNNING, 1),
    ],
)
async def test_what_had_not_started_in_this_boot_is_started(
    path: Path, boot_id: str, state: RunState, launched: int
) -> None:
    """Where it may have been another, it is not: what is not there now may have been there before a reboot (I5)."""
    async with House.open(path, *ALL) as before:
        before.engine._parts = replace(before.parts, boot_id="this-boot@9" if boot_id == "this-boot@9" else "this-boot")
        started = await before.start(ONE)
    async with House.open(path, *ALL) as after:
        after.engine._parts = after.parts = replace(after.parts, boot_id=boot_id)
        after.launcher.otherwise = Finding(Verdict.NEVER_STARTED)
        await after.recover()
        await after.settle()
        assert ((await after.details(started)).run.state, len(after.launcher.launched)) == (state, launched)


async def test_process_that_will_not_die(path: Path) -> None:
    """While a process of an earlier daemon lives nothing is started and nothing is declared (I3, I4)."""
    async with House.open(path, *ALL) as before:
        started = await before.start(ONE)
        waiting = await before.start(workflow({"x": []}, name="one"))
    for _ in range(2):
        async with House.open(path, *ALL) as after:
            after.launcher.immortal = "pid 77 cannot be killed"
            with pytest.raises(UnavailableError, match="pid 77"):
                await after.recover()
            assert after.launcher.launched == []
            assert (await after.details(started)).run.state is RunState.RUNNING
            assert (await after.details(waiting)).run.state is RunState.RUNNING


async def test_output_is_recovered(path: Path) -> None:
    """What an interrupted attempt had printed is on record, and a file whose text is in the store goes."""
    async with House.open(path, *ALL) as before:
        started = await before.start(PAIR)
    small = LogRecord(text=b"last words\n", path="day/a.log", size_bytes=11)
    large = LogRecord(path="day/b.log", size_bytes=99_999)
    async with House.open(path, *ALL) as after:
        after.logs = {
            AttemptKey(started, task.id, 1): log for task, log in zip(PAIR.tasks, (small, large), strict=True)
        }
        await after.recover()
        await after.ended(started)
        assert after.runs.log(started, "a", 1) == replace(small, path=None)
        assert after.runs.log(started, "b", 1) == large
        assert small in after.discarded


async def test_what_cannot_be_started_any_more(path: Path) -> None:
    """An attempt that had not been launched, and can be prepared no more, ends as interrupted with the reason."""
    async with House.open(path, *ALL) as before:
        started = await before.start(ONE)
    async with House.open(path, *ALL) as after:
        after.launcher.otherwise = Finding(Verdict.NEVER_STARTED)
        after.unprepared["a"] = NotFoundError("secret", "key")
        await after.recover()
        details = await after.ended(started)
        assert details.run.state is RunState.INTERRUPTED
        assert details.tasks["a"].reason == "it had not started, and cannot be: there is no secret 'key'"
        assert after.launcher.launched == []


async def test_what_runs_and_could_not_be_started_any_more(path: Path) -> None:
    """It goes on, and its secrets stay hidden: what it was given is known, whatever keeps it from being prepared."""
    secretive = load("name: secretive\nsecrets: {KEY: key}\ntasks: [{id: a, shell: make}]")
    async with House.open(path, secretive) as before:
        started = await before.start(secretive)
        (await before.launched("a")).begin()
    async with House.open(path, secretive) as after:
        after.launcher.otherwise = Finding(Verdict.LIVE, secrets=frozenset({"the secret key"}))
        after.unprepared["a"] = NotFoundError("task type", "measure")
        await after.recover()
        (process,) = after.launcher.adopted
        assert process.spec.make_mask is not None
        assert process.spec.make_mask().feed(b"it is the secret key, so", is_last=True) == b"it is ***, so"
        process.exit()
        assert (await after.ended(started)).run.state is RunState.SUCCEEDED


async def test_unknown_workflow(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A run whose workflow is not understood any more ends interrupted, with what to do; others go on."""
    async with House.open(path, *ALL, limit=1) as before:
        lost = await before.start(PAIR)
        fine = await before.start(ONE)
    async with House.open(path, ONE) as after:
        after.launcher.exit_codes = lambda _spec: 0
        key = AttemptKey(lost, PAIR.tasks[0].id, 1)
        after.logs = {key: LogRecord(text=b"x", path="day/a.log", size_bytes=1)}
        await after.recover()
        details = await after.details(lost)
        assert details.run.state is RunState.INTERRUPTED
        assert "(there is no version '" in (details.run.reason or "")
        assert "apply the workflow again" in (details.run.reason or "")
        assert details.attempts["a"][0].state is AttemptState.INTERRUPTED
        assert after.discarded == [after.logs[key]]
        assert (await after.ended(fine)).run.state is RunState.SUCCEEDED
    assert [record for record in caplog.records if record.__dict__.get("action") == "run_given_up"]


async def test_cancel_is_not_forgotten(path: Path) -> None:
    """A run that was being cancelled when the daemon died ends cancelled, with the reason that was given."""
    async with House.open(path, *ALL) as before:
        started = await before.start(CHAIN)
        (await before.launcher.next()).is_stubborn = True
        await before.engine.cancel(started, "cancelled by anne")
    async with House.open(path, *ALL) as after:
        await after.recover()
        details = await after.ended(started)
        assert (details.run.state, details.run.reason) == (RunState.CANCELLED, "cancelled by anne")
        assert after.launcher.launched == []


async def test_run_timeout_goes_on(path: Path) -> None:
    """The time that passed before the crash, and during it, counts: a run that is over its time ends at once."""
    slow, clock = workflow({"a": [], "b": [], "c": []}, name="slow", timeout_seconds=60), StillClock()
    async with House.open(path, slow, limit=1, clock=clock) as before:
        started = await before.start(slow)
        await before.launched("a")
        await before.advance(40)
    clock.at_ms += 20_000
    async with House.open(path, slow, clock=clock) as after:
        await after.recover()
        await after.advance(0)
        details = await after.ended(started)
        assert details.run.state is RunState.TIMED_OUT
        assert details.tasks["a"].state is TaskState.INTERRUPTED
        assert {task.state for task in details.tasks.values()} <= {"interrupted", "timed_out", "cancelled"}


@pytest.mark.by_chance
@pytest.mark.parametrize("repetition", range(12))
async def test_crash_upon_crash(path: Path, repetition: int) -> None:
    """A daemon that dies again and again, at any moment, loses no run, starts nothing twice, leaves nothing open."""
    ids = [f"t{number}" for number in range(6)]
    waits_for = {one: [other for other in ids[:place] if random.random() < 0.3] for place, one in enumerate(ids)}
    shapes = [workflow(waits_for, name="x"), workflow(dict.fromkeys(ids, ()), name="y")]
    acknowledged = []
    launched: Counter[AttemptKey] = Counter()
    for _ in range(8):
        async with AsyncExitStack() as stack:
            house = await stack.enter_async_context(House.open(path, *shapes, limit=3))
            house.launcher.exit_codes = lambda _spec: random.choice([0, 0, 0, 1, None])
            await house.recover()
            acknowledged += [await house.start(random.choice(shapes)) for _ in range(random.randint(0, 3))]
            for _ in range(random.randint(0, 12)):
                await asyncio.sleep(0)
                if random.random() < 0.1 and acknowledged:
                    await house.engine.cancel(random.choice(acknowledged), "chance")
        launched.update(house.launcher.keys)
    async with House.open(path, *shapes) as house:
        house.launcher.exit_codes = lambda _spec: 0
        await house.recover()
        for run in acknowledged:
            details = await house.ended(run)
            assert details.run.state in RUN_ENDED
            assert len(details.tasks) == len(ids)
            assert all(one.state in ATTEMPT_ENDED for tries in details.attempts.values() for one in tries)
        launched.update(house.launcher.keys)
        assert not house.engine.crash.done()
        assert await house.database.read("SELECT count(*) FROM runs") == [(len(acknowledged),)]
    assert set(launched.values()) <= {1}


RESTORED = (
    ONE,
    CHAIN,
    load("name: asks\ntasks: [{id: ok, approval: {message: May it?}}, {id: then, depends_on: [ok], shell: ':'}]"),
    load("name: group\ntasks: [{id: both, parallel: [{id: a, shell: ':', on_interrupt: retry}]}]"),
    load("name: single\nconcurrency: {limit: 1, policy: queue}\ntasks: [{id: a, shell: ':'}]"),
    load("name: hooked\ntasks: [{id: a, shell: ':'}]\non_exit: [{id: hook, shell: ':'}]"),
)


@pytest.mark.parametrize("verdict", [Verdict.GONE, Verdict.LIVE, Verdict.NEVER_STARTED])
async def test_an_older_state_file_was_put_back(path: Path, verdict: Verdict) -> None:
    """Of what it has under way nobody knows what became: all ends as interrupted, with the reason, nothing follows.

    That goes for what is found to run still, too.
    """
    copy = path.with_name("copy")
    async with House.open(path, *RESTORED) as before:
        runs = {one.name: await before.start(one) for one in RESTORED}
        queued = await before.start(RESTORED[4])
        await before.settle()
        for _ in range(5):  # those of all but the approval, and of the run that is queued
            process = await before.launcher.next()
            process.begin()
            if process.spec.key.run_id == runs["hooked"]:
                process.exit(0)
        (await before.launched("on_exit.hook")).begin()
        await before.settle()
        await asyncio.to_thread(backup.make, path, copy)
    copy.replace(path)
    for left in ("-wal", "-shm"):
        path.with_name(path.name + left).unlink(missing_ok=True)
    async with House.open(path, *RESTORED) as after:
        after.launcher.exit_codes = lambda _spec: 0
        after.launcher.otherwise = Finding(verdict)
        await after.recover(is_rolled_back=True)
        assert (after.launcher.launched, after.launcher.adopted) == ([], [])
        for run_id in (*runs.values(), queued):
            details = await after.details(run_id)
            has_decided = run_id == runs["hooked"]
            assert details.run.state is (RunState.SUCCEEDED if has_decided else RunState.INTERRUPTED)
            assert details.run.reason == (None if has_decided else UNKNOWN)
            left = [task for task in details.tasks.values() if task.state is not TaskState.SUCCEEDED]
            assert {task.reason for task in left} <= {UNKNOWN}
        again = await after.start(ONE)
        assert (await after.ended(again)).run.state is RunState.SUCCEEDED
    assert invariants.broken(path, has_texts=False) == []
