"""After a restart nobody starts on what a run that is found later still holds."""

from __future__ import annotations

from pathlib import Path

from barbossad.process.launcher import Finding, Verdict
from tests.helpers import invariants
from tests.helpers.house import House, load

LIVE = Finding(Verdict.LIVE)
FIRST = load("name: first\ntasks: [{id: x, shell: make}, {id: y, shell: make, lock: tape}]")
SECOND = load("name: second\ntasks: [{id: z, shell: make, lock: tape}]")
OTHERS = load("name: others\ntasks: [{id: x, shell: make}, {id: y, shell: make}]")
HOLDER = load("name: holder\nconcurrency: {limit: 1, group: g}\ntasks: [{id: h, shell: make}]")
LOW = load("name: low\nconcurrency: {limit: 1, group: g}\ntasks: [{id: l, shell: make}]")
HIGH = load("name: high\npriority: 9\nconcurrency: {limit: 1, group: g}\ntasks: [{id: h, shell: make}]")


async def test_slots(path: Path) -> None:
    """A task of an older run does not take the slot of one that lives on in a newer run."""
    async with House.open(path, OTHERS, SECOND, limit=1) as before:
        older = await before.start(OTHERS)
        await before.start(SECOND)
        (await before.launched("x")).exit()
        (await before.launched("z")).begin()
        await before.crash()
        (left,) = before.launcher.live
    async with House.open(path, OTHERS, SECOND, limit=1) as after:
        after.launcher.findings[left.spec.key] = LIVE
        await after.recover()
        await after.settle()
        assert after.launcher.launched == []
        assert after.engine.why(older)["y"] == "waiting for a slot: 1 of 1 taken"
        after.launcher.adopted[0].exit()
        (await after.launched("y")).exit()
        await after.ended(older)
    assert invariants.broken(path, has_texts=False) == []


async def test_locks(path: Path) -> None:
    """Nor does it take a lock that such a task holds."""
    async with House.open(path, FIRST, SECOND) as before:
        older = await before.start(FIRST)
        newer = await before.start(SECOND)
        first, _ = await before.launched("x"), await before.launched("z")
        first.exit()
        await before.crash()
        (left,) = before.launcher.live
        assert left.task == "z"
    async with House.open(path, FIRST, SECOND) as after:
        after.launcher.findings[left.spec.key] = LIVE
        await after.recover()
        await after.settle()
        assert after.launcher.launched == []
        assert after.engine.why(older)["y"] == f"waiting for lock 'tape', held by task z of run {newer}"
        after.launcher.adopted[0].exit()
        (await after.launched("y")).exit()
        await after.ended(older)
    assert invariants.broken(path, has_texts=False) == []


async def test_groups(path: Path) -> None:
    """A run that waited is not begun in the place of a newer one that came first for its priority."""
    async with House.open(path, HOLDER, LOW, HIGH) as before:
        await before.start(HOLDER)
        low, high = await before.start(LOW), await before.start(HIGH)
        (await before.launched("h")).exit()
        await before.launched("h")
        await before.crash()
        (left,) = before.launcher.live
        assert left.spec.key.run_id == high
    async with House.open(path, HOLDER, LOW, HIGH) as after:
        after.launcher.findings[left.spec.key] = LIVE
        await after.recover()
        await after.settle()
        assert after.launcher.launched == []
        assert after.engine.why(low)[""] == "waiting for a slot: 1 of 1 in group g"
        after.launcher.adopted[0].exit()
        (await after.launched("l")).exit()
        await after.ended(low)
    assert invariants.broken(path, has_texts=False) == []
