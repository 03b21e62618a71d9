"""Many runs that share slots, locks and groups, call each other, ask people, and lose their daemon at any moment."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from barbossad.errors import ConflictError
from barbossad.model.definition import WorkflowDefinition
from barbossad.model.names import RunId
from barbossad.model.states import RUN_ENDED, RunState, TaskState, WaitsFor
from barbossad.process.launcher import AttemptKey, Finding, Verdict
from tests.helpers import invariants
from tests.helpers.chance_files import any_files
from tests.helpers.clock import StillClock
from tests.helpers.house import LIMIT_SECONDS, House
from tests.helpers.waiting import eventually_async

SLOTS = 3
ROUNDS = 25
STEPS = 60


@dataclass
class Chaos:
    """What chance does to a house, and what it must never see."""

    path: Path
    chance: random.Random
    workflows: Sequence[WorkflowDefinition]
    clock: StillClock = field(default_factory=StillClock)
    asked: list[RunId] = field(default_factory=list)
    launched: Counter[AttemptKey] = field(default_factory=Counter)
    known: set[AttemptKey] = field(default_factory=set)
    """Those that were started under the last daemon; of others nothing can be left."""

    async def session(self, steps: int) -> None:
        """Open the house, let things happen, and crash."""
        async with House.open(self.path, *self.workflows, limit=SLOTS, clock=self.clock) as house:
            await self.recover(house)
            for _ in range(steps):
                await self.step(house)
                await self.check(house)
            await self.go_down(house)
            self.left(house)

    async def go_down(self, house: House) -> None:
        """End a daemon: by a crash, amid its commits or not, by a restart that leaves what runs alone, or for good."""
        how = self.chance.choice(["crash", "cut", "cut", "restart", "stop"])
        if how == "stop":
            assert await house.engine.stop(5) == []
            assert not house.launcher.live
        elif how == "restart":
            house.engine.leave()
            for process in list(house.launcher.live):
                if self.chance.random() < 0.5:
                    process.exit(0)
        elif how == "cut":
            for process in list(house.launcher.live):
                if self.chance.random() < 0.5:
                    process.exit(self.chance.choice([0, 1]))
            house._abandon()
            await house.engine.close()
            return
        await house.crash()

    async def finish(self) -> None:
        """Open the house for the last time and bring everything to its end."""
        async with House.open(self.path, *self.workflows, limit=SLOTS, clock=self.clock) as house:
            await self.recover(house)
            house.launcher.exit_codes = lambda _spec: 0
            for _ in range(200):
                if not house.engine.counts["active"]:
                    break
                for process in list(house.launcher.live):
                    process.exit(0)
                for run_id in list(house.engine._active):
                    await house.engine.unpause(run_id, "chance")
                for run_id, task_id in self.questions(house):
                    await house.engine.answer(run_id, task_id, is_approved=True, words="chance")
                await house.advance(30)
                await self.calls(house)
                await self.check(house)
            why = {run_id: house.engine.why(run_id) for run_id in house.engine._active}
            assert house.engine.counts["active"] == 0, why
            assert not house.engine._locks._holders, "somebody left with a lock"
            assert len(house.engine._admission) == 0
            assert not house.engine._queue._parked
            assert not house.engine._queue._paused
            assert house.timers is not None
            assert house.timers.count == 0
            self.launched.update(house.launcher.keys)
            for run_id in self.asked:
                assert (await house.details(run_id)).run.state in RUN_ENDED

    async def recover(self, house: House) -> None:
        house.launcher.otherwise = Finding(Verdict.NEVER_STARTED)
        for key in self.known:
            verdict = self.chance.choice([Verdict.LIVE, Verdict.GONE])
            house.launcher.findings[key] = Finding(verdict, "the daemon ended")
        await house.recover()
        await house.settle()
        await self.calls(house)

    def left(self, house: House) -> None:
        """Note what a daemon leaves behind."""
        self.launched.update(house.launcher.keys)
        self.known = {process.spec.key for process in (*house.launcher.launched, *house.launcher.adopted)}

    async def calls(self, house: House) -> None:
        """Return when no call is about to start what it calls: those are asyncio tasks, which take turns."""

        def are_started() -> bool:
            live = [one for active in house.engine._active.values() for one in active.live.values()]
            return all(one.child is not None for one in live if one.call is not None)

        await eventually_async(lambda: are_started() or house.engine.crash.done(), LIMIT_SECONDS, "calls are started")
        await house.settle()

    # -- what happens --------------------------------------------------------------------------------------

    async def step(self, house: House) -> None:
        live = sorted(house.launcher.live, key=lambda process: process.spec.key)
        for process in live:
            if process.pid is None and self.chance.random() < 0.5:
                process.begin()
        active = list(house.engine._active)
        match self.chance.choices(range(7), [3, 6 if live else 0, 1, 0.4, 0.6, 2, 2])[0]:
            case 0 if len(active) < 12:
                await self.start(house)
            case 1:
                self.chance.choice(live).exit(0 if self.chance.random() < 0.8 else 1)
            case 2 if active:
                await house.engine.cancel(self.chance.choice(active), "chance")
            case 3 if active:
                await house.engine.pause(self.chance.choice(active), "chance")
            case 4:
                for run_id in active:
                    await house.engine.unpause(run_id, "chance")
            case 5:
                await house.advance(self.chance.choice([1, 20, 61]))
            case 6 if questions := self.questions(house):
                run_id, task_id = self.chance.choice(questions)
                is_approved = self.chance.random() < 0.7
                assert await house.engine.answer(run_id, task_id, is_approved=is_approved, words="chance")
        await house.settle()
        await self.calls(house)

    async def start(self, house: House) -> None:
        with contextlib.suppress(ConflictError):  # of a group that is full and skips
            self.asked.append(await house.start(self.chance.choice(self.workflows)))

    def questions(self, house: House) -> list[tuple[RunId, str]]:
        return [
            (run_id, cell.id)
            for run_id, active in house.engine._active.items()
            for cell in active.progress.cells
            if cell.record.waits_for is WaitsFor.PERSON
        ]

    # -- what must hold ------------------------------------------------------------------------------------

    async def check(self, house: House) -> None:
        assert not house.engine.crash.done(), house.engine.crash
        self.check_slots(house)
        self.check_locks(house)
        self.check_groups(house)
        self.check_reasons(house)

    def check_slots(self, house: House) -> None:
        """A process holds a slot, and only those that outlived their daemon may be more than there are slots."""
        count = house.engine.counts["running"]
        assert count == len(house.launcher.live)
        assert count <= max(SLOTS, len([one for one in house.launcher.adopted if not one.has_ended]))

    def check_locks(self, house: House) -> None:
        """Who has a lock of a task is alone with it, but for runs that called each other."""
        holders: dict[str, list[tuple[RunId, int]]] = {}
        for run_id, active in house.engine._active.items():
            for index in active.live:
                for name in active.progress.cells[index].task.locks:
                    holders.setdefault(name, []).append((run_id, index))
        for name, found in holders.items():
            for run_id, index in found:
                lineage = house.engine._active[run_id].lineage
                others = [
                    other
                    for other in found
                    if other != (run_id, index)
                    and other not in lineage
                    and (run_id, index) not in house.engine._active[other[0]].lineage
                ]
                assert not others, f"{name} is held by {found}"

    def check_groups(self, house: House) -> None:
        """No more runs of a group have begun than its limit says."""
        begun: Counter[str] = Counter()
        limits: dict[str, int] = {}
        for active in house.engine._active.values():
            concurrency = active.progress.definition.concurrency
            run = active.progress.run
            if concurrency is not None and run.started_at_ms is not None:
                limits[concurrency.group] = concurrency.limit
                begun[concurrency.group] += 1
        assert all(count <= limits[group] for group, count in begun.items()), begun

    def check_reasons(self, house: House) -> None:
        """Everything that does not run says why, and nothing waits for nothing."""
        for run_id, active in house.engine._active.items():
            why = house.engine.why(run_id)
            assert all(why.values()), why
            progress = active.progress
            if progress.run.state is RunState.PAUSED or not active.is_admitted:
                assert "" in why
                continue
            groups = (TaskState.PENDING, TaskState.WAITING)
            for cell in progress.cells:
                if cell.record.state in groups and not cell.is_group:
                    assert cell.id in why, f"{cell.id} does not say why it waits"


@pytest.mark.by_chance
@pytest.mark.parametrize("number", range(ROUNDS))
async def test_chaos(path: Path, number: int) -> None:
    """Whatever happens: every run ends, nothing starts twice, and nobody keeps what belongs to others."""
    chance = random.Random(random.getrandbits(64))
    chaos = Chaos(path, chance, any_files(chance))
    for _ in range(chance.randint(1, 3)):
        async with asyncio.timeout(4 * LIMIT_SECONDS):
            await chaos.session(chance.randint(10, STEPS))
    async with asyncio.timeout(4 * LIMIT_SECONDS):
        await chaos.finish()
    assert set(chaos.launched.values()) <= {1}, "started twice"
    assert invariants.broken(path, has_texts=False) == []
