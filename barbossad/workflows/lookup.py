"""Find the task that a name means: those beside it first, then those around it, as blocks of a program do."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from barbossad.model.flow import Section
from barbossad.workflows.entries import Entry, Place

Home = int | tuple[Section, int | None]
"""A list of tasks with names of its own: the position of a group, or a section and the task that it takes back."""


def home_of(place: Place) -> Home:
    """Return the list that a task stands in."""
    return place.parent if place.parent is not None else (place.section, place.rolls_back)


class Lookup:
    """The tasks of one file by their names."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = entries
        self._names: dict[Home, dict[str, int]] = {}
        self._ids: dict[str, int] = {}
        for position, entry in enumerate(entries):
            if not entry.place.is_nameless:
                self._names.setdefault(home_of(entry.place), {}).setdefault(entry.name, position)
            self._ids.setdefault(entry.id, position)

    def by_id(self, task_id: str) -> int | None:
        """Return the position of a task by its whole id."""
        return self._ids.get(task_id)

    def homes(self, position: int | None) -> Iterator[Home]:
        """Yield the lists whose names a task sees, from its own outward; None sees those of the run alone."""
        if position is None:
            yield (Section.MAIN, None)
            return
        while True:
            place = self.entries[position].place
            yield home_of(place)
            if place.parent is None:
                return
            position = place.parent

    def find(self, keys: Sequence[str], homes: Collection[Home]) -> tuple[int, int] | None:
        """Return the task that ``keys`` begin with and how many of them name it; the innermost list wins."""
        for home in homes:
            found = self._names.get(home, {}).get(keys[0])
            if found is not None:
                return self._descend(found, keys)
        return None

    def _descend(self, found: int, keys: Sequence[str]) -> tuple[int, int]:
        count = 1
        for key in keys[1:]:
            member = self._names.get(found, {}).get(key) if self.entries[found].members else None
            if member is None:
                break
            found, count = member, count + 1
        return found, count

    def names(self, homes: Collection[Home]) -> list[str]:
        """Return all names of some lists."""
        return [name for home in homes for name in self._names.get(home, ())]

    def ancestors(self, position: int) -> Iterator[int]:
        """Yield the groups that a task stands in, from the inside out."""
        parent = self.entries[position].place.parent
        while parent is not None:
            yield parent
            parent = self.entries[parent].place.parent

    def is_within(self, position: int, group: int) -> bool:
        """Say whether a task stands in a group, at any depth."""
        return group < position < group + self.entries[group].size

    def branches_off(self, position: int, other: int) -> int | None:
        """Return the condition of which ``other`` stands in another branch than ``position``."""
        if self.entries[other].place.parent is None:
            return None
        own = {self.entries[step].place.parent: self.entries[step].place.branch for step in self._upward(position)}
        for step in self._upward(other):
            place = self.entries[step].place
            if place.parent is not None and place.branch != own.get(place.parent, place.branch):
                return place.parent
        return None

    def _upward(self, position: int) -> Iterator[int]:
        yield position
        yield from self.ancestors(position)

    def is_cut_off(self, position: int, other: int) -> int | None:
        """Return the group with ``for_each`` that ``other`` stands in and ``position`` does not."""
        for group in self.ancestors(other):
            if self.entries[group].is_loop and group != position and not self.is_within(position, group):
                return group
        return None
