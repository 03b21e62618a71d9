"""Who runs next: a fixed number of slots, given by priority and then first come, first served.

Claims that cannot be met at the moment (a lock is taken, their run is paused) are parked under the reason and stand in
nobody's way. Whoever gives something back wakes the best of those that wait for it, one at a time: ten thousand tasks
that want the same lock are nothing special.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from barbossad.engine.active import ActiveRun
from barbossad.engine.locks import ALONE, Holder, Locks, lock_name
from barbossad.model.flow import TaskKind
from barbossad.model.states import RunState, TaskState, WaitsFor


class Gate(Protocol):
    """What may keep everybody from starting."""

    @property
    def closed(self) -> str | None:
        """Why nothing new may start, if it may not."""


class Taken(Protocol):
    """Who holds slots."""

    count: int
    """How many are held now."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A task that is ready."""

    active: ActiveRun
    index: int

    @property
    def is_void(self) -> bool:
        """Whether nobody makes it any more: the task was cancelled while it waited."""
        record = self.active.progress.cells[self.index].record
        return record.state is not TaskState.PENDING and record.waits_for is not WaitsFor.SLOT

    @property
    def needs_slot(self) -> bool:
        """Whether a process will be started for it."""
        return self.active.progress.cells[self.index].task.kind is TaskKind.PROCESS

    @property
    def locks(self) -> dict[str, int]:
        """The locks that it needs, as ``Locks`` calls them."""
        return {lock_name(name): ALONE for name in self.active.progress.cells[self.index].task.locks}

    @property
    def holder(self) -> Holder:
        """Who will hold them."""
        progress = self.active.progress
        words = f"task {progress.cells[self.index].id} of run {progress.run.id}"
        return Holder(progress.run.id, self.index, words)


@dataclass(order=True, slots=True)
class _Entry:
    rank: tuple[int, int, int]
    """The run's priority and the task's, both turned round, then the order of coming."""

    claim: Claim = field(compare=False)
    woken_for: str | None = field(default=None, compare=False)
    """The lock whose release had it look again: if it does not take that, the next one is to look."""


class Admission:
    """Slots for tasks in flight, over all runs."""

    def __init__(self, limit: int, gate: Gate, locks: Locks) -> None:
        self.limit = limit
        self._gate = gate
        self._locks = locks
        self._count = 0
        self._for_slots: list[_Entry] = []
        self._for_nothing: list[_Entry] = []
        self._parked: defaultdict[str, list[_Entry]] = defaultdict(list)

    def __len__(self) -> int:
        parked = sum(len(entries) for entries in self._parked.values())
        return len(self._for_slots) + len(self._for_nothing) + parked

    def claim(self, claim: Claim) -> None:
        """Queue up."""
        self._count += 1
        progress = claim.active.progress
        priority = progress.cells[claim.index].task.priority
        self._push(_Entry((-progress.run.priority, -priority, self._count), claim))

    def forget(self, is_void: Callable[[Claim], bool]) -> None:
        """Drop claims that nobody makes any more."""
        woken: set[str] = set()
        for heap in (self._for_slots, self._for_nothing, *self._parked.values()):
            woken.update(entry.woken_for for entry in heap if entry.woken_for and is_void(entry.claim))
            heap[:] = [entry for entry in heap if not is_void(entry.claim)]
            heapq.heapify(heap)
        self.wake(woken)

    def admit(self, taken: Taken) -> Iterator[Claim]:
        """Yield the next claim as long as it can be met; who uses it counts it in ``taken`` before the next.

        What is claimed meanwhile, since a task could not be started say, has its turn as well.
        """
        while self._gate.closed is None:
            if self._for_nothing:
                yield from self._next(self._for_nothing)
            elif self._for_slots and taken.count < self.limit:
                yield from self._next(self._for_slots)
            else:
                return

    def _next(self, heap: list[_Entry]) -> Iterator[Claim]:
        entry = heapq.heappop(heap)
        claim = entry.claim
        is_paused = claim.active.progress.run.state is RunState.PAUSED
        locks = claim.locks
        if claim.is_void or is_paused:
            if is_paused and not claim.is_void:
                heapq.heappush(self._parked[_paused(claim)], entry)
            self.wake(locks)  # it may have been woken for what it does not need now
            return
        blocking = self._locks.take(locks, claim.holder, claim.active.lineage) if locks else None
        if blocking is not None:
            heapq.heappush(self._parked[blocking], entry)
            if entry.woken_for is not None and entry.woken_for != blocking:
                self.wake([entry.woken_for])
            return
        yield claim

    def wake(self, names: Collection[str]) -> None:
        """Have the best of those look again who wait for one of these."""
        for name in names:
            if self._parked.get(name):
                entry = heapq.heappop(self._parked[name])
                entry.woken_for = name
                self._push(entry)
                if not self._parked[name]:
                    del self._parked[name]

    def unpaused(self, active: ActiveRun) -> None:
        """Have all claims of a run look again that was paused."""
        for entry in self._parked.pop(f"run {active.progress.run.id}", []):
            self._push(entry)

    def keep_locks(self, active: ActiveRun, index: int) -> None:
        """Give a task that lives on after a restart the locks that it had."""
        claim = Claim(active, index)
        self._locks.force(claim.locks, claim.holder)

    def _push(self, entry: _Entry) -> None:
        heapq.heappush(self._for_slots if entry.claim.needs_slot else self._for_nothing, entry)

    def reason(self, claim: Claim, taken: int) -> str:
        """Say why a claim waits."""
        if self._gate.closed is not None:
            return f"waiting: {self._gate.closed}"
        if claim.active.progress.run.state is RunState.PAUSED:
            return "waiting: the run is paused"
        blocking = self._locks.blocking(claim.locks, claim.active.lineage)
        if blocking is not None:
            holder = next(iter(self._locks.holders(blocking)), None)
            return f"waiting for {blocking}" + (f", held by {holder.words}" if holder else "")
        return f"waiting for a slot: {taken} of {self.limit} taken"


def _paused(claim: Claim) -> str:
    return f"run {claim.active.progress.run.id}"
