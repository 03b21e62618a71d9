"""Which runs may go on: those that have a place in their concurrency group and the locks of their workflow."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field

from barbossad.engine.active import ActiveRun
from barbossad.engine.locks import ALONE, Holder, Locks, group_name, lock_name
from barbossad.model.flow import Policy
from barbossad.model.states import RunState


@dataclass(order=True, slots=True)
class _Entry:
    rank: tuple[int, int]
    active: ActiveRun = field(compare=False)


class RunQueue:
    """Runs that wait for others to end, by priority and then in the order of their coming."""

    def __init__(self, locks: Locks) -> None:
        self._locks = locks
        self._count = 0
        self._parked: defaultdict[str, list[_Entry]] = defaultdict(list)
        self._paused: dict[str, _Entry] = {}

    def enter(self, active: ActiveRun) -> bool:
        """Return whether a run may go on; otherwise it is queued, and ``freed`` gives it back."""
        self._count += 1
        entry = _Entry((-active.progress.run.priority, self._count), active)
        if active.progress.run.state is RunState.PAUSED:
            self._paused[active.progress.run.id] = entry
            return False
        return self._try(entry) is None

    def restored(self, active: ActiveRun) -> None:
        """Give a run what it had when an earlier daemon ended."""
        self._locks.force(_wanted(active), _holder(active))

    def freed(self, names: Collection[str]) -> list[ActiveRun]:
        """Return the runs that may go on now that these were given back."""
        admitted: list[ActiveRun] = []
        for name in names:
            heap = self._parked.get(name, [])
            while heap:
                entry = heapq.heappop(heap)
                if entry.active.progress.has_ended:
                    continue
                if entry.active.progress.run.state is RunState.PAUSED:
                    self._paused[entry.active.progress.run.id] = entry
                    continue
                blocking = self._try(entry)
                if blocking is None:
                    admitted.append(entry.active)
                elif blocking == name:
                    break
            if not heap:
                self._parked.pop(name, None)
        return admitted

    def unpaused(self, active: ActiveRun) -> bool:
        """Return whether a run that was paused in the queue may go on now."""
        entry = self._paused.pop(active.progress.run.id, None)
        return entry is not None and self._try(entry) is None

    def forget(self, active: ActiveRun) -> None:
        """Drop a run that has ended."""
        self._paused.pop(active.progress.run.id, None)  # the others are dropped when their turn comes

    def withdraw(self, active: ActiveRun) -> None:
        """Drop a run that could not be created: it has not ended, and would be given a place when its turn comes."""
        self.forget(active)
        for heap in self._parked.values():
            if any(entry.active is active for entry in heap):
                heap[:] = [entry for entry in heap if entry.active is not active]
                heapq.heapify(heap)

    def reason(self, active: ActiveRun) -> str | None:
        """Say why a run waits, None if it does not."""
        if active.is_admitted or active.progress.has_ended:
            return None
        blocking = self._locks.blocking(_wanted(active), active.lineage)
        if blocking is None:
            return "waiting for its turn"
        holders = self._locks.holders(blocking)
        concurrency = active.progress.definition.concurrency
        if concurrency is not None and blocking == group_name(concurrency.group):
            return f"waiting for a slot: {len(holders)} of {concurrency.limit} in group {concurrency.group}"
        return f"waiting for {blocking}" + (f", held by {holders[0].words}" if holders else "")

    def is_full(self, active: ActiveRun) -> bool:
        """Say whether a run that asks now would have to wait."""
        return self._locks.blocking(_wanted(active), active.lineage) is not None

    def in_group(self, active: ActiveRun) -> list[Holder]:
        """Return the runs that have a place in a run's concurrency group, the oldest first."""
        concurrency = active.progress.definition.concurrency
        return self._locks.holders(group_name(concurrency.group)) if concurrency else []

    def replacing(self, group: str) -> list[ActiveRun]:
        """Return the runs that wait for a place in a group which they make by ending others; the oldest first."""
        entries = [*self._paused.values(), *(entry for heap in self._parked.values() for entry in heap)]
        return [entry.active for entry in sorted(entries, key=lambda one: one.rank[1]) if _replaces(entry, group)]

    def _try(self, entry: _Entry) -> str | None:
        """Take what a run needs; park it under the first that cannot be had, and return that."""
        active = entry.active
        blocking = self._locks.take(_wanted(active), _holder(active), active.lineage)
        if blocking is not None:
            heapq.heappush(self._parked[blocking], entry)
        return blocking


def _replaces(entry: _Entry, group: str) -> bool:
    progress = entry.active.progress
    concurrency = progress.definition.concurrency
    if concurrency is None or progress.run.stop_cause is not None:
        return False
    return concurrency.group == group and concurrency.policy is Policy.REPLACE


def _wanted(active: ActiveRun) -> dict[str, int]:
    definition = active.progress.definition
    wanted = {lock_name(name): ALONE for name in definition.locks}
    if definition.concurrency is not None:
        wanted[group_name(definition.concurrency.group)] = definition.concurrency.limit
    return wanted


def _holder(active: ActiveRun) -> Holder:
    run = active.progress.run
    return Holder(run.id, None, f"run {run.id}")
