"""Slots: never more than the limit, by priority and then first come, first served; nobody stands in another's way."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Any

import pytest

from barbossad.engine import growth
from barbossad.engine.active import ActiveRun
from barbossad.engine.admission import Admission, Claim
from barbossad.engine.locks import Locks
from barbossad.model.flow import TaskKind
from barbossad.model.records import changed
from barbossad.model.states import RunState, TaskState
from tests.helpers.flows import task, workflow
from tests.helpers.records import run


@dataclass
class Gate:
    closed: str | None = None


@dataclass
class Taken:
    count: int = 0


def runs(*tasks: Any, number: int = 0, **facts: Any) -> ActiveRun:
    """Return a run of these tasks that has all it needs."""
    progress = growth.create(workflow(*tasks), run(number, **facts))
    return ActiveRun(progress, frozenset({(progress.run.id, None)}), is_admitted=True)


def claims(count: int, **keys: Any) -> list[Claim]:
    """Return the claims of so many like tasks of one run."""
    active = runs(*(task(f"t{index}", **keys) for index in range(count)))
    return [Claim(active, index) for index in range(count)]


def admission_of(limit: int, made: list[Claim], gate: Gate | None = None) -> tuple[Admission, Locks]:
    locks = Locks()
    admission = Admission(limit, gate or Gate(), locks)
    for claim in made:
        admission.claim(claim)
    return admission, locks


def admit_all(admission: Admission, taken: Taken) -> list[str]:
    """Use every slot there is; return the ids of the tasks that got one."""
    admitted = []
    for claim in admission.admit(taken):
        taken.count += claim.needs_slot
        admitted.append(name(claim))
        start(claim)
    return admitted


def name(claim: Claim) -> str:
    return claim.active.progress.cells[claim.index].id


def start(claim: Claim, state: TaskState = TaskState.STARTING) -> None:
    cell = claim.active.progress.cells[claim.index]
    cell.record = changed(cell.record, state=state)


def release(admission: Admission, locks: Locks, claim: Claim) -> None:
    """Give back what a task held, as the driver does."""
    admission.wake(locks.release((claim.active.progress.run.id, claim.index)))


def pause(active: ActiveRun, *, is_on: bool = True) -> None:
    active.progress.run = replace(active.progress.run, state=RunState.PAUSED if is_on else RunState.RUNNING)


def test_first_come_first_served() -> None:
    """Claims get slots in their order; who does not use a slot leaves it to the next."""
    admission, _ = admission_of(2, claims(5))
    taken = Taken()
    assert admit_all(admission, taken) == ["t0", "t1"]
    assert admit_all(admission, taken) == []
    assert len(admission) == 3
    taken.count -= 1
    unused = list(zip(admission.admit(taken), range(2), strict=False))
    assert [name(claim) for claim, _ in unused] == ["t2", "t3"]


@pytest.mark.by_chance
def test_limit_holds_whatever_happens() -> None:
    """Whatever is claimed, ended and set, no more are admitted than the limit of the moment allows."""
    for _ in range(50):
        made = claims(60)
        admission, _ = admission_of(random.randint(1, 5), [])
        taken, asked, served = Taken(), 0, []
        for _ in range(60):
            match random.randrange(4):
                case 0:
                    admission.claim(made[asked])
                    asked += 1
                case 1:
                    admission.limit = random.randint(1, 6)
                case 2:
                    taken.count = max(taken.count - 1, 0)
                case _:
                    before = taken.count
                    served += admit_all(admission, taken)
                    assert taken.count <= max(admission.limit, before)
                    assert taken.count >= admission.limit or not len(admission)
        assert served == [f"t{index}" for index in range(len(served))]


def test_closed() -> None:
    """While it is closed nothing starts, and the reason says so."""
    gate = Gate()
    (claim,) = claims(1)
    admission, _ = admission_of(2, [claim], gate)
    gate.closed = "the daemon is stopping"
    assert admit_all(admission, Taken()) == []
    assert admission.reason(claim, 0) == "waiting: the daemon is stopping"
    gate.closed = None
    assert admission.reason(claim, 2) == "waiting for a slot: 2 of 2 taken"
    assert admit_all(admission, Taken()) == ["t0"]


def test_closing_in_the_middle() -> None:
    """Closing takes effect before the next claim, also while slots are being given away."""
    gate = Gate()
    admission, _ = admission_of(5, claims(3), gate)
    for _ in admission.admit(Taken()):
        gate.closed = "the daemon is stopping"
    assert len(admission) == 2


def test_forget() -> None:
    """Claims that nobody makes any more are dropped; the others keep their order."""
    admission, _ = admission_of(9, claims(6))
    admission.forget(lambda claim: claim.index % 2 == 0)
    assert admit_all(admission, Taken()) == ["t1", "t3", "t5"]


def test_the_cancelled_are_passed_over() -> None:
    """A task that was cancelled while it waited takes nobody's slot."""
    made = claims(3)
    admission, _ = admission_of(1, made)
    start(made[0], TaskState.CANCELLED)
    assert admit_all(admission, Taken()) == ["t1"]


def test_priorities() -> None:
    """The run's priority comes first, then the task's, then who came first."""
    low = runs(task("low"), task("low-urgent", priority=9), number=1)
    high = runs(task("high"), task("high-urgent", priority=1), number=2, priority=1)
    admission, _ = admission_of(9, [Claim(active, index) for active in (low, high) for index in (0, 1)])
    assert admit_all(admission, Taken()) == ["high-urgent", "high", "low-urgent", "low"]


@pytest.mark.parametrize("kind", [TaskKind.CALL, TaskKind.APPROVAL])
def test_who_needs_no_process_needs_no_slot(kind: TaskKind) -> None:
    """A person is asked, and another run is called, also while all slots are taken."""
    active = runs(task("busy"), task("other", kind=kind))
    admission, _ = admission_of(1, [Claim(active, 0), Claim(active, 1)])
    assert admit_all(admission, Taken(1)) == ["other"]


def test_a_lock_is_held_by_one() -> None:
    """Of those that want the same lock one runs; it stands in nobody else's way, and the best of them is next."""
    active = runs(
        task("a", locks=("db",)), task("b", locks=("db",)), task("urgent", locks=("db",), priority=1), task("free")
    )
    made = [Claim(active, index) for index in range(4)]
    admission, locks = admission_of(4, [made[0]])
    taken = Taken()
    assert admit_all(admission, taken) == ["a"]
    for claim in made[1:]:
        admission.claim(claim)
    assert admit_all(admission, taken) == ["free"]
    words = f"waiting for lock 'db', held by task a of run {active.progress.run.id}"
    assert admission.reason(made[1], taken.count) == words
    release(admission, locks, made[0])
    assert admit_all(admission, taken) == ["urgent"]
    release(admission, locks, made[2])
    assert admit_all(admission, taken) == ["b"]


def test_who_cannot_use_what_was_freed_leaves_it_to_others() -> None:
    """A task that still lacks its other lock does not keep those waiting who need only the one that is free."""
    active = runs(
        task("a", locks=("one",)),
        task("b", locks=("two",)),
        task("both", locks=("one", "two")),
        task("c", locks=("one",)),
    )
    made = [Claim(active, index) for index in range(4)]
    admission, locks = admission_of(9, made)
    assert admit_all(admission, Taken()) == ["a", "b"]
    release(admission, locks, made[0])
    assert admit_all(admission, Taken()) == ["c"]
    release(admission, locks, made[1])
    release(admission, locks, made[3])
    assert admit_all(admission, Taken()) == ["both"]


@pytest.mark.by_chance
def test_locks_in_any_order() -> None:
    """Whoever wants which locks in whichever order: none is held by two, and in the end all have had what they want."""
    for _ in range(100):
        names = ["one", "two", "three"]
        wanted = [tuple(random.sample(names, random.randint(0, 3))) for _ in range(12)]
        active = runs(*(task(f"t{index}", locks=locks) for index, locks in enumerate(wanted)))
        waiting = [Claim(active, index) for index in range(12)]
        admission, locks = admission_of(20, [])
        running: list[Claim] = []
        done = 0
        while waiting or running:
            if waiting and random.random() < 0.6:
                admission.claim(waiting.pop())
            elif running:
                done += 1
                release(admission, locks, running.pop(random.randrange(len(running))))
            for claim in admission.admit(Taken()):
                start(claim)
                running.append(claim)
            held = [lock for claim in running for lock in claim.locks]
            assert len(held) == len(set(held))
            assert running or not len(admission), "somebody waits for what nobody holds"
        assert done == 12


def test_locks_of_callers_count_as_ones_own() -> None:
    """What the task that called a run holds, a task of that run may have too; another run may not."""
    caller = runs(task("call", kind=TaskKind.CALL, locks=("db",)), number=1)
    called = runs(task("inner", locks=("db",)), number=2)
    called.lineage |= {(caller.progress.run.id, 0)}
    other = runs(task("other", locks=("db",)), number=3)
    admission, locks = admission_of(9, [Claim(caller, 0), Claim(other, 0), Claim(called, 0)])
    assert admit_all(admission, Taken()) == ["call", "inner"]
    release(admission, locks, Claim(called, 0))
    assert admit_all(admission, Taken()) == [], "the caller holds it still"
    release(admission, locks, Claim(caller, 0))
    assert admit_all(admission, Taken()) == ["other"]


def test_siblings_exclude_each_other() -> None:
    """Two tasks of one run that want the same lock run one after the other."""
    made = claims(2, locks=("db",))
    admission, _ = admission_of(9, made)
    assert admit_all(admission, Taken()) == ["t0"]


def test_paused_runs_stand_in_nobodys_way() -> None:
    """Tasks of a paused run wait without a slot and without a lock, and keep their turn."""
    paused, other = runs(task("p", locks=("db",)), task("q"), number=1), runs(task("o", locks=("db",)), number=2)
    admission, locks = admission_of(9, [Claim(paused, 0), Claim(paused, 1), Claim(other, 0)])
    pause(paused)
    taken = Taken()
    assert admit_all(admission, taken) == ["o"]
    assert admission.reason(Claim(paused, 0), 1) == "waiting: the run is paused"
    pause(paused, is_on=False)
    admission.unpaused(paused)
    assert admit_all(admission, taken) == ["q"]
    release(admission, locks, Claim(other, 0))
    assert admit_all(admission, taken) == ["p"]


def test_a_paused_run_passes_a_lock_on() -> None:
    """Who is woken for a lock while its run is paused leaves it to the next."""
    holder = runs(task("h", locks=("db",)), number=1)
    paused = runs(task("p", locks=("db",)), number=2, priority=5)
    other = runs(task("o", locks=("db",)), number=3)
    admission, locks = admission_of(9, [Claim(holder, 0)])
    assert admit_all(admission, Taken()) == ["h"]
    admission.claim(Claim(paused, 0))
    admission.claim(Claim(other, 0))
    assert admit_all(admission, Taken()) == []
    pause(paused)
    release(admission, locks, Claim(holder, 0))
    assert admit_all(admission, Taken()) == ["o"]


def test_what_was_held_before_a_restart_is_held_after_it() -> None:
    """A task that lives on has its locks before anything new starts."""
    made = claims(2, locks=("db",))
    admission, locks = admission_of(9, [])
    admission.keep_locks(made[0].active, 0)
    admission.claim(made[1])
    assert admit_all(admission, Taken()) == []
    release(admission, locks, made[0])
    assert admit_all(admission, Taken()) == ["t1"]


class Counting(Locks):
    """Counts how often somebody looks."""

    looks = 0

    def blocking(self, wanted: Any, lineage: Any) -> str | None:
        """See ``Locks``."""
        self.looks += 1
        return super().blocking(wanted, lineage)


def test_thousands_that_want_one_lock() -> None:
    """Each of them costs as much as the first: nobody looks at all that wait when one is done."""
    made = claims(3000, locks=("db",))
    locks = Counting()
    admission = Admission(10_000, Gate(), locks)
    for claim in made:
        admission.claim(claim)
    order = []
    while True:
        admitted = list(admission.admit(Taken()))
        if not admitted:
            break
        (claim,) = admitted
        order.append(claim.index)
        start(claim)
        release(admission, locks, claim)
    assert order == list(range(3000))
    assert locks.looks <= 4 * 3000
