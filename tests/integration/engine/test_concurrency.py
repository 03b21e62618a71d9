"""Concurrency groups: who has a place, who waits, who is skipped and who is replaced."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from barbossad.errors import ConflictError
from barbossad.model.definition import WorkflowDefinition
from barbossad.model.names import RunId
from barbossad.model.records import RunRecord
from barbossad.model.schedules import Fire, FireState
from barbossad.model.states import RunState
from barbossad.process.launcher import Finding, Verdict
from barbossad.store.fire_changes import FireStarted
from tests.helpers.clock import StillClock
from tests.helpers.house import LIMIT_SECONDS, Blocker, House, load
from tests.helpers.waiting import eventually_async


def flow(
    name: str = "flow", policy: str = "queue", limit: int = 1, group: str = "", more: str = ""
) -> WorkflowDefinition:
    named = f", group: {group}" if group else ""
    concurrency = f"{{limit: {limit}, policy: {policy}{named}}}"
    return load(f"name: {name}\nconcurrency: {concurrency}\n{more}\ntasks: [{{id: a, shell: make}}]")


async def test_queue(house: House) -> None:
    """Runs of a full group wait, say so, and go on in the order of their coming, each when another has ended."""
    first, second, third = [await house.start(flow()) for _ in range(3)]
    process = await house.launched("a")
    await house.settle()
    assert len(house.launcher.launched) == 1
    assert (await house.details(second)).run.state is RunState.QUEUED
    assert house.engine.why(second)[""] == "waiting for a slot: 1 of 1 in group flow"
    assert "" not in house.engine.why(first)
    process.exit()
    await house.ended(first)
    process = await house.launched("a")
    assert process.spec.key.run_id == second
    process.exit(1)
    await house.ended(second)
    assert (await house.launched("a")).spec.key.run_id == third


async def test_a_start_that_is_refused_waits_for_no_place(house: House) -> None:
    """Of starts with one key at once one run comes; when it has ended the place is the next one's."""
    first = await house.start(flow())
    same = await asyncio.gather(*(house.start(flow(), idempotency_key="monday") for _ in range(5)))
    last = await house.start(flow())
    assert len({*same}) == 1
    for run_id in (first, same[0], last):
        process = await house.launched("a")
        assert process.spec.key.run_id == run_id
        process.exit()
        await house.ended(run_id)


async def test_a_start_that_is_refused_replaces_nobody(house: House) -> None:
    """Of starts with one key at once one run comes, and goes on."""
    same = await asyncio.gather(*(house.start(flow(policy="replace"), idempotency_key="monday") for _ in range(5)))
    assert len({*same}) == 1
    (await house.launched("a")).exit()
    assert (await house.ended(same[0])).run.state is RunState.SUCCEEDED


async def test_limit(house: House) -> None:
    """As many as the limit says go on at once."""
    runs = [await house.start(flow(limit=3)) for _ in range(5)]
    await house.settle()
    assert [key.run_id for key in house.launcher.keys] == runs[:3]
    house.launcher.launched[1].exit()
    await house.ended(runs[1])
    await house.settle()
    assert [key.run_id for key in house.launcher.keys] == runs[:4]


async def test_group_of_several_workflows(house: House) -> None:
    """A group that is named is shared by the workflows that name it; others are not concerned."""
    first = await house.start(flow("one", group="backups"))
    other = await house.start(flow("two", group="backups"))
    free = await house.start(flow("three"))
    assert [key.run_id for key in house.launcher.keys] == [first, free]
    assert house.engine.why(other)[""] == "waiting for a slot: 1 of 1 in group backups"
    house.launcher.launched[0].exit()
    await house.ended(first)
    await house.settle()
    assert house.launcher.keys[-1].run_id == other


async def test_skip(house: House) -> None:
    """A run that finds its group full is refused, with the runs that are in it; nothing is recorded of it."""
    first = await house.start(flow(policy="skip"))
    with pytest.raises(ConflictError, match=f"1 of 1 in group flow are running \\({first}\\) and its policy is skip"):
        await house.start(flow(policy="skip"))
    assert await house.database.read("SELECT count(*) FROM runs") == [(1,)]
    house.launcher.launched[0].exit()
    await house.ended(first)
    assert await house.start(flow(policy="skip")) != first
    assert len(house.launcher.launched) == 2


async def test_skip_is_not_about_what_has_the_same_key(house: House) -> None:
    """Starts with one key at once are one run, as if they had been asked for one after another."""
    same = await asyncio.gather(*(house.start(flow(policy="skip"), idempotency_key="monday") for _ in range(5)))
    assert len({*same}) == 1
    with pytest.raises(ConflictError, match="its policy is skip"):
        await house.start(flow(policy="skip"), idempotency_key="tuesday")


async def test_a_caller_that_went_away_has_its_key(house: House) -> None:
    """Who starts a run and does not wait for the answer has started it: the same key is that run at any moment."""
    blocker = Blocker(house.database)
    await blocker.inside()
    gone = asyncio.create_task(house.start(flow(policy="skip"), idempotency_key="monday"))
    await eventually_async(lambda: house.engine.counts["active"] == 1, LIMIT_SECONDS, "it is being recorded")
    gone.cancel()
    again = asyncio.create_task(house.start(flow(policy="skip"), idempotency_key="monday"))
    await asyncio.wait([gone])
    blocker.let_go()
    started = await again
    assert [key.run_id for key in house.launcher.keys] == [started]
    assert await house.database.read("SELECT count(*) FROM runs") == [(1,)]


async def test_replace(house: House) -> None:
    """The oldest run of a full group is cancelled, and only when it has ended does the new one go on."""
    first = await house.start(flow(policy="replace"))
    old = await house.launched("a")
    old.is_stubborn = True
    second = await house.start(flow(policy="replace"))
    await house.settle()
    assert len(old.stops) == 1
    assert len(house.launcher.launched) == 1
    old.exit(1)
    ended = await house.ended(first)
    assert (ended.run.state, ended.run.reason) == (RunState.CANCELLED, f"replaced by run {second}")
    (await house.launched("a")).exit()
    assert (await house.ended(second)).run.state is RunState.SUCCEEDED


async def test_replace_leaves_one_of_those_that_come_at_once(house: House) -> None:
    """Of many that replace one another, those in between never start, and the last does."""
    runs = [await house.start(flow(policy="replace")) for _ in range(5)]
    ends = [await house.ended(run_id) for run_id in runs[:-1]]
    assert [end.run.state for end in ends] == [RunState.CANCELLED] * 4
    await house.settle()
    assert [key.run_id for key in house.launcher.keys] == [runs[0], runs[-1]]
    house.launcher.launched[-1].exit()
    assert (await house.ended(runs[-1])).run.state is RunState.SUCCEEDED


async def test_replace_with_a_larger_limit(house: House) -> None:
    """Of a group of two only the oldest goes."""
    first, second, third = [await house.start(flow(policy="replace", limit=2)) for _ in range(3)]
    assert (await house.ended(first)).run.state is RunState.CANCELLED
    await house.settle()
    assert [key.run_id for key in house.launcher.keys] == [first, second, third]
    assert house.launcher.launched[1].stops == []


async def test_cancelled_in_the_queue(house: House) -> None:
    """A run that is cancelled while it waits for its place ends at once, and keeps nobody behind it."""
    first, second, third = [await house.start(flow()) for _ in range(3)]
    assert await house.engine.cancel(second, "enough")
    assert (await house.ended(second)).run.state is RunState.CANCELLED
    house.launcher.launched[0].exit()
    await house.ended(first)
    await house.settle()
    assert [key.run_id for key in house.launcher.keys] == [first, third]


async def test_what_always_runs_does_not_hold_a_run_that_never_began(house: House) -> None:
    """A run that is cancelled in the queue has nothing to tidy up: not even its ``trigger: always`` tasks run."""
    await house.start(flow())
    text = (
        "name: flow\nconcurrency: {limit: 1}\ntasks:\n- {id: a, shell: make, trigger: always}\n- {id: b, shell: make}"
    )
    waiting = await house.start(load(text))
    assert await house.engine.cancel(waiting, "enough")
    assert (await house.details(waiting)).run.state is RunState.CANCELLED
    assert len(house.launcher.launched) == 1


async def test_priority_in_the_queue(house: House) -> None:
    """Of those that wait for a place the most urgent goes first, and then the first that came."""
    first = await house.start(flow())
    runs = {
        name: await house.start(flow(group="flow", more=f"priority: {priority}"))
        for name, priority in {"low": -5, "middle": 0, "late": 0, "high": 7}.items()
    }
    house.launcher.exit_codes = lambda _spec: 0
    house.launcher.launched[0].exit()
    for run_id in (first, *runs.values()):
        await house.ended(run_id)
    order = [key.run_id for key in house.launcher.keys[1:]]
    assert order == [runs["high"], runs["middle"], runs["late"], runs["low"]]


async def test_crash(path: Path) -> None:
    """After a crash the run that had the place has it again, and those that waited wait, in their order."""
    definition = flow()
    async with House.open(path, definition) as before:
        runs = [await before.start(definition) for _ in range(3)]
        await before.settle()
    async with House.open(path, definition) as after:
        await after.recover()
        await after.settle()
        assert (await after.details(runs[0])).run.state is RunState.INTERRUPTED
        assert [key.run_id for key in after.launcher.keys] == [runs[1]]
        assert after.engine.why(runs[2])[""] == "waiting for a slot: 1 of 1 in group flow"
        after.launcher.launched[0].exit()
        await after.ended(runs[1])
        await after.settle()
        assert [key.run_id for key in after.launcher.keys] == runs[1:]


async def test_the_place_of_what_lives_on(path: Path) -> None:
    """A run whose task is adopted keeps its place after a restart."""
    definition = flow()
    async with House.open(path, definition) as before:
        runs = [await before.start(definition) for _ in range(2)]
        await before.settle()
    async with House.open(path, definition) as after:
        after.launcher.otherwise = Finding(Verdict.LIVE)
        await after.recover()
        await after.settle()
        assert after.launcher.launched == []
        after.launcher.adopted[0].exit()
        await after.ended(runs[0])
        await after.settle()
        assert [key.run_id for key in after.launcher.keys] == [runs[1]]


async def test_replaced_runs_are_tidied_up_once(house: House) -> None:
    """That a run is replaced again while it still ends does not cost it its hooks."""
    hooked = flow(policy="replace", more="on_cancel: [{id: tidy, shell: make}]")
    first = await house.start(hooked)
    old = await house.launched("a")
    old.is_stubborn = True
    for _ in range(3):
        await house.start(hooked)
    house.launcher.exit_codes = lambda _spec: 0
    old.exit(1)
    ended = await house.ended(first)
    assert ended.tasks["on_cancel.tidy"].state.value == "succeeded"
    assert len(old.stops) == 1


async def test_a_run_that_asked_to_wait_is_not_replaced_while_it_does(house: House) -> None:
    """Where workflows share a group, one that replaces takes the place of who runs, not of who queues up before it."""
    running = await house.start(flow("one", group="g"))
    queued = await house.start(flow("two", group="g"))
    last = await house.start(flow("three", policy="replace", group="g"))
    assert (await house.ended(running)).run.state is RunState.CANCELLED
    await house.settle()
    assert [key.run_id for key in house.launcher.keys] == [running, queued]
    house.launcher.launched[-1].exit()
    assert (await house.ended(queued)).run.state is RunState.SUCCEEDED
    await house.settle()
    assert house.launcher.keys[-1].run_id == last


async def test_a_run_that_tidies_up_is_left_to_that(house: House) -> None:
    """What a run undoes after a failure is not cut short for one that is to take its place: that waits for its end."""
    undoing = load(
        "name: flow\nconcurrency: {limit: 1, policy: replace}\ntasks:\n"
        "- {id: a, shell: make, rollback: {shell: make}}\n- {id: b, shell: make}"
    )
    first = await house.start(undoing)
    (await house.launched("a")).exit()
    (await house.launched("b")).exit(1)
    undo = await house.launched("rollback.a")
    undo.is_stubborn = True
    second = await house.start(undoing)
    await house.settle()
    assert undo.stops == []
    assert house.engine.why(second)[""] == "waiting for a slot: 1 of 1 in group flow"
    undo.exit()
    ended = await house.ended(first)
    assert (ended.run.state, ended.tasks["rollback.a"].state.value) == (RunState.FAILED, "succeeded")
    assert (await house.launched("a")).spec.key.run_id == second


def dies_before_it_replaces(house: House) -> None:
    """Let nobody make room for those that come: the daemon dies before, each time."""
    house.engine._replace = lambda _active, _replaced: None  # type: ignore[method-assign]


@pytest.mark.parametrize("comers", [1, 2])
async def test_a_crash_before_others_make_room(path: Path, comers: int) -> None:
    """The next daemon has the older ones go: of several that replaced each other the last one runs."""
    definition = flow(policy="replace")
    async with House.open(path, definition) as before:
        first = await before.start(definition)
        (await before.launched("a")).begin()
        dies_before_it_replaces(before)
        *between, last = [await before.start(definition) for _ in range(comers)]
        await before.crash()
    async with House.open(path, definition) as after:
        after.launcher.otherwise = Finding(Verdict.LIVE)
        await after.recover()
        ends = [(await after.ended(run_id)).run for run_id in (first, *between)]
        assert [end.state for end in ends] == [RunState.CANCELLED] * comers
        assert ends[0].reason == f"replaced by run {(*between, last)[0]}"
        process = await after.launched("a")
        assert [key.run_id for key in after.launcher.keys] == [last]
        process.exit()
        assert (await after.ended(last)).run.state is RunState.SUCCEEDED


@pytest.mark.parametrize("dies", [True, False])
async def test_a_crash_before_one_of_several_makes_room(path: Path, *, dies: bool) -> None:
    """Of a group of two one goes, the one that began first, whether or not it was told before the crash."""
    definition = flow(policy="replace", limit=2)
    async with House.open(path, definition) as before:
        runs = [await before.start(definition) for _ in range(2)]
        for _ in runs:
            process = await before.launched("a")
            process.begin()
            process.is_stubborn = True
        if dies:
            dies_before_it_replaces(before)
        runs.append(await before.start(definition))
        await before.crash()
    async with House.open(path, definition) as after:
        after.launcher.otherwise = Finding(Verdict.LIVE)
        await after.recover()
        oldest, newer = after.launcher.adopted
        oldest.exit(1)
        assert (await after.ended(runs[0])).run.state is RunState.CANCELLED
        assert (await after.launched("a")).spec.key.run_id == runs[2]
        assert newer.stops == []


async def test_after_a_crash_who_came_later_is_not_replaced(path: Path) -> None:
    """A run that had waited for its place, and got it from one that was replaced, keeps it."""
    definitions = flow("one", group="g"), flow("two", group="g"), flow("three", policy="replace", group="g")
    clock = StillClock()
    async with House.open(path, *definitions, clock=clock) as before:
        running, queued, last = [await before.start(definition) for definition in definitions]
        clock.at_ms += 1
        assert (await before.ended(running)).run.state is RunState.CANCELLED
        assert (await before.launched("a")).spec.key.run_id == running
        (await before.launched("a")).begin()
        await before.crash()
    async with House.open(path, *definitions) as after:
        after.launcher.otherwise = Finding(Verdict.LIVE)
        await after.recover()
        await after.settle()
        (process,) = after.launcher.adopted
        assert process.stops == []
        process.exit()
        assert (await after.ended(queued)).run.state is RunState.SUCCEEDED
        assert (await after.launched("a")).spec.key.run_id == last


async def test_nobody_makes_room_who_was_refused(house: House) -> None:
    """Of two that come at once the second would replace the first, but that could not be recorded: it goes on alone."""
    fire = Fire(schedule="gone", key="1", nominal_ms=1, due_ms=1, decided_at_ms=1, state=FireState.STARTED)

    def refused(run: RunRecord) -> FireStarted:
        return FireStarted(run=run, fire=replace(fire, run_id=run.id), watermark=1, is_new=True)

    running = await house.start(flow(policy="replace"))
    first, second = await asyncio.gather(
        house.start(flow(policy="replace"), also=refused), house.start(flow(policy="replace")), return_exceptions=True
    )
    assert isinstance(first, ConflictError)
    assert isinstance(second, str)
    await house.ended(running)
    await house.settle()
    assert house.launcher.keys[-1].run_id == second
    house.launcher.launched[-1].exit()
    assert (await house.ended(RunId(second))).run.state is RunState.SUCCEEDED
    assert house.engine._dirty == []
