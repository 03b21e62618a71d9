"""Named locks, and the places of concurrency groups: who holds them, and whether one more may."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from barbossad.model.names import RunId

ALONE: Final = 1
"""How many may hold a lock."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A run (no index) or one of its tasks."""

    run_id: RunId
    index: int | None = None
    words: str = ""
    """How messages call it."""

    @property
    def key(self) -> tuple[RunId, int | None]:
        """What it is known by."""
        return self.run_id, self.index


Lineage = frozenset[tuple[RunId, int | None]]
"""A run itself, and the runs and tasks that it was called by: what they hold, it need not wait for."""


class Locks:
    """All of them. Names of locks and of groups are kept apart by who makes them (``lock_name``, ``group_name``)."""

    def __init__(self) -> None:
        self._holders: dict[str, dict[tuple[RunId, int | None], Holder]] = {}
        self._held: dict[tuple[RunId, int | None], set[str]] = {}

    def take(self, wanted: Mapping[str, int], holder: Holder, lineage: Lineage) -> str | None:
        """Take all of ``wanted`` (from names to how many may hold each); return None, or the first that is taken."""
        blocking = self.blocking(wanted, lineage)
        if blocking is None:
            self.force(wanted, holder)
        return blocking

    def blocking(self, wanted: Mapping[str, int], lineage: Lineage) -> str | None:
        """Return the first of ``wanted`` that cannot be had, None if all can."""
        for name, limit in wanted.items():
            holders = self._holders.get(name)
            if holders and len(holders.keys() - lineage) >= limit:
                return name
        return None

    def force(self, wanted: Collection[str], holder: Holder) -> None:
        """Give a holder what it had before a restart, whoever else has it."""
        for name in wanted:
            self._holders.setdefault(name, {})[holder.key] = holder
            self._held.setdefault(holder.key, set()).add(name)

    def release(self, key: tuple[RunId, int | None]) -> set[str]:
        """Give back all that a holder has; return the names."""
        names = self._held.pop(key, set())
        for name in names:
            holders = self._holders[name]
            del holders[key]
            if not holders:
                del self._holders[name]
        return names

    def holders(self, name: str) -> list[Holder]:
        """Return who holds a lock or has a place in a group, the first to come first."""
        return list(self._holders.get(name, {}).values())


def lock_name(name: str) -> str:
    """Return how ``Locks`` calls a lock."""
    return f"lock {name!r}"


def group_name(name: str) -> str:
    """Return how ``Locks`` calls a concurrency group."""
    return f"group {name!r}"
