"""Named locks of tasks and of whole workflows: held by one, waited for by any number, given back whatever happens."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from barbossad.model.states import RunState
from barbossad.process.launcher import Finding, Verdict
from tests.helpers.house import House, load

DB = load("name: db\ntasks: [{id: a, shell: make, lock: db}]")
OTHER = load("name: other\ntasks: [{id: b, shell: make, lock: [db, tape]}]")
FREE = load("name: free\ntasks: [{id: c, shell: make}]")
WHOLE = load("name: whole\nlock: db\ntasks: [{id: d, shell: make}, {id: e, shell: make}]")


async def test_of_tasks(house: House) -> None:
    """Of tasks that want a lock one runs, the others say who has it; tasks without one are not concerned."""
    first, second = await house.start(DB), await house.start(OTHER)
    free = await house.start(FREE)
    await house.settle()
    assert [key.run_id for key in house.launcher.keys] == [first, free]
    assert house.engine.why(second) == {"b": f"waiting for lock 'db', held by task a of run {first}"}
    house.launcher.launched[0].exit(1)
    await house.settle()
    assert house.launcher.keys[-1].run_id == second


async def test_of_a_workflow(house: House) -> None:
    """A run holds its workflow's locks from its first task to its end; its own tasks do not wait for them."""
    whole = await house.start(WHOLE)
    first, later = await house.start(DB), await house.start(WHOLE)
    (await house.launched("d")).exit()
    process = await house.launched("e")
    await house.settle()
    assert len(house.launcher.launched) == 2
    assert house.engine.why(first)["a"] == f"waiting for lock 'db', held by run {whole}"
    assert house.engine.why(later)[""] == f"waiting for lock 'db', held by run {whole}"
    process.exit()
    await house.ended(whole)
    house.launcher.exit_codes = lambda _spec: 0
    for process in list(house.launcher.live):
        process.exit()
    assert (await house.ended(first)).run.state is RunState.SUCCEEDED
    assert (await house.ended(later)).run.state is RunState.SUCCEEDED


@pytest.mark.parametrize("how", ["cancel", "fail", "unstartable"])
async def test_given_back(house: House, how: str) -> None:
    """However a task ends, the next one gets its lock."""
    if how == "unstartable":
        house.launcher.in_force = ValueError("no such thing")
    first = await house.start(DB)
    house.launcher.in_force = None
    second = await house.start(OTHER)
    if how == "cancel":
        await house.engine.cancel(first, "enough")
    if how == "fail":
        house.launcher.launched[0].fail_to_start("no such file")
    await house.ended(first)
    await house.settle()
    assert house.launcher.keys[-1].run_id == second


async def test_a_run_that_cannot_be_recorded_holds_nothing(house: House) -> None:
    """What was given to a run that then could not be created is given back."""
    await house.start(DB, idempotency_key="monday")
    house.launcher.launched[0].exit()
    await house.settle()
    first = await house.start(OTHER)
    house.launcher.launched[-1].exit()
    await house.ended(first)
    await house.database.write(lambda tx: tx.execute("CREATE TEMP TRIGGER deaf BEFORE INSERT ON main.runs BEGIN "
                                                     "SELECT RAISE(ABORT, 'deaf'); END").rowcount)  # fmt: skip
    with pytest.raises(Exception, match="deaf"):
        await house.start(WHOLE)
    await house.database.write(lambda tx: tx.execute("DROP TRIGGER deaf").rowcount)
    await house.start(DB)
    await house.settle()
    assert len(house.launcher.live) == 1


async def test_who_waits_for_two_keeps_nobody_from_one(house: House) -> None:
    """A task that is woken for one lock and then waits for another lets the next one have the first."""
    tape = await house.start(load("name: tape\ntasks: [{id: t, shell: make, lock: tape}]"))
    first = await house.start(DB)
    both = await house.start(OTHER)
    one = await house.start(DB)
    house.launcher.launched[1].exit()
    await house.ended(first)
    await house.settle()
    assert [key.run_id for key in house.launcher.keys] == [tape, first, one]
    for process in list(house.launcher.live):
        process.exit()
    assert (await house.launcher.next()).spec.key.run_id in {tape, first}
    await house.settle()
    assert house.launcher.keys[-1].run_id == both


async def test_paused_while_it_waits_for_a_lock(house: House) -> None:
    """A paused run does not keep others from a lock that it is not using."""
    first, paused, last = [await house.start(DB) for _ in range(3)]
    assert await house.engine.pause(paused, "lunch")
    house.launcher.launched[0].exit()
    await house.ended(first)
    await house.settle()
    assert [key.run_id for key in house.launcher.keys] == [first, last]
    assert await house.engine.unpause(paused, "back")
    await house.settle()
    assert len(house.launcher.launched) == 2
    house.launcher.launched[1].exit()
    await house.ended(last)
    await house.settle()
    assert house.launcher.keys[-1].run_id == paused


async def test_adopted(path: Path) -> None:
    """A task that lives on after a crash has its lock again, and so has a run its workflow's."""
    async with House.open(path, DB, WHOLE) as before:
        first = await before.start(DB)
        (await before.launched("a")).begin()
        waiting = [await before.start(WHOLE), await before.start(DB)]
        await before.settle()
    async with House.open(path, DB, WHOLE) as after:
        after.launcher.otherwise = Finding(Verdict.LIVE)
        await after.recover()
        await after.settle()
        assert after.launcher.launched == []
        after.launcher.adopted[0].exit()
        after.launcher.exit_codes = lambda _spec: 0
        for run_id in (first, *waiting):
            assert (await after.ended(run_id)).run.state is RunState.SUCCEEDED
        assert after.launcher.most_live == 1


async def test_thousands_wait(path: Path) -> None:
    """Ten times as many that want one lock take ten times as long, not a hundred: each end wakes one."""

    async def seconds(house: House, count: int) -> float:
        wide = load(f"name: wide\ntasks: [{{id: t, shell: make, lock: one, for_each: '{{{{ range({count}) }}}}'}}]")
        begun = time.process_time()
        run_id = await house.start(wide)
        assert (await house.ended(run_id)).run.state is RunState.SUCCEEDED
        return time.process_time() - begun

    async with House.open(path, limit=8) as house:
        house.launcher.exit_codes = lambda _spec: 0
        await seconds(house, 20)
        few, many = await seconds(house, 200), await seconds(house, 2000)
        assert house.launcher.most_live == 1
        assert len(house.launcher.launched) == 2220
        assert many < 30 * few
