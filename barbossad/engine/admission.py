"""Who runs next: a fixed number of slots, given first come, first served."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar

Claim = TypeVar("Claim")


class Gate(Protocol):
    """What may keep everybody from starting."""

    @property
    def closed(self) -> str | None:
        """Why nothing new may start, if it may not."""


class Taken(Protocol):
    """Who holds slots."""

    count: int
    """How many are held now."""


class Admission(Generic[Claim]):
    """Slots for tasks in flight, over all runs."""

    def __init__(self, limit: int, gate: Gate) -> None:
        self.limit = limit
        self._gate = gate
        self._waiting: deque[Claim] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def claim(self, claim: Claim) -> None:
        """Queue up for a slot."""
        self._waiting.append(claim)

    def forget(self, is_void: Callable[[Claim], bool]) -> None:
        """Drop claims that nobody makes any more."""
        self._waiting = deque(claim for claim in self._waiting if not is_void(claim))

    def admit(self, taken: Taken) -> Iterator[Claim]:
        """Yield the next claim as long as there is a slot; who uses it counts it in ``taken`` before the next."""
        while self._waiting and taken.count < self.limit and self._gate.closed is None:
            yield self._waiting.popleft()

    def reason(self, taken: int) -> str:
        """Say why a claim waits."""
        if self._gate.closed is not None:
            return f"waiting: {self._gate.closed}"
        return f"waiting for a slot: {taken} of {self.limit} taken"
