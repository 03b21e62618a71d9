"""Who comes before whom, where groups begin before their members and end after them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from barbossad.workflows import graph
from barbossad.workflows.entries import Entry


@dataclass(slots=True)
class Order:
    """The graph of a file's tasks: a node at which each begins, and for each group one more, at which it ends."""

    dependencies: Sequence[Sequence[int]]
    """For each position, those that it waits for."""

    edges: list[list[int]]
    _ends: dict[int, int]
    """The node at which a group ends."""

    _groups: list[int]
    """The groups, by their node of the end less the number of tasks."""

    _ancestors: list[int] = field(default_factory=list)

    def task(self, node: int) -> int:
        """Return the position of the task that a node belongs to."""
        count = len(self.dependencies)
        return node if node < count else self._groups[node - count]

    def is_within_group(self, node: int, following: int) -> bool:
        """Say whether an edge is there because of a group: it waits for its members, or they for it."""
        return node >= len(self.dependencies) or following in self._ends

    def is_before(self, other: int, position: int) -> bool:
        """Say whether ``other`` has ended when ``position`` begins; of a task in a circle, or after one, say yes."""
        waited_for = self.dependencies[position]
        if len(waited_for) <= 100 and other in waited_for:
            return True
        if not self._ancestors:
            self._ancestors = graph.ancestors(self.edges)
            for node in set(range(len(self.edges))).difference(graph.in_order(self.edges)):
                self._ancestors[node] = -1  # the circle is told of; what follows from it is not
        return bool(self._ancestors[position] >> self._ends.get(other, other) & 1)


def order_of(entries: Sequence[Entry], dependencies: Sequence[Sequence[int]]) -> Order:
    """Return the graph of tasks that wait for each other as ``dependencies`` has it."""
    groups = [position for position, entry in enumerate(entries) if entry.members]
    ends = {group: len(entries) + index for index, group in enumerate(groups)}
    edges = [[ends.get(other, other) for other in waited_for] for waited_for in dependencies]
    edges.extend([group] for group in groups)
    for position, entry in enumerate(entries):
        if entry.place.parent is not None:
            edges[position].append(entry.place.parent)
            edges[ends[entry.place.parent]].append(ends.get(position, position))
    return Order(dependencies, edges, ends, groups)
