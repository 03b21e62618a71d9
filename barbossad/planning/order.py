"""Put the tasks of a workflow into the order in which they would start, each group directly before its members."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Final

from barbossad.model.definition import WorkflowDefinition
from barbossad.model.flow import Section

SECTIONS: Final = tuple(Section)
"""In the order in which they come: the run proper, rollback, hooks."""


def order(definition: WorkflowDefinition) -> Iterator[tuple[int, int]]:
    """Yield the position of each task and how deep in groups it stands.

    Among siblings those that wait come after those that they wait for, and otherwise as in the file. Rollback goes from
    the last task that is taken back to the first; what takes back one task goes in an order of its own.
    """
    beneath: dict[int | None, list[int]] = {}
    for position, task in enumerate(definition.tasks):
        beneath.setdefault(task.parent, []).append(position)
    main: list[int] = []
    for section in SECTIONS:
        top = [position for position in beneath.get(None, []) if definition.tasks[position].section is section]
        ordered = _sorted(definition, top)
        if section is Section.ROLLBACK:
            turn: dict[int | None, int] = {position: number for number, position in enumerate(reversed(main))}
            ordered.sort(key=lambda position: turn[definition.tasks[position].rolls_back])
        for first in ordered:
            for position, depth in _with_members(definition, beneath, first):
                if section is Section.MAIN:
                    main.append(position)
                yield position, depth


def _with_members(
    definition: WorkflowDefinition, beneath: dict[int | None, list[int]], first: int
) -> Iterator[tuple[int, int]]:
    stack = [(first, 0)]
    while stack:
        position, depth = stack.pop()
        yield position, depth
        members = _sorted(definition, beneath.get(position, []))
        stack.extend((member, depth + 1) for member in reversed(members))


def _sorted(definition: WorkflowDefinition, siblings: list[int]) -> list[int]:
    """Return siblings sorted by what they wait for, directly or through a member of another."""
    if len(siblings) < 2:
        return siblings
    owner = {
        inner: sibling for sibling in siblings for inner in range(sibling, sibling + definition.tasks[sibling].size)
    }
    after: dict[int, set[int]] = {sibling: set() for sibling in siblings}
    waits: dict[int, int] = dict.fromkeys(siblings, 0)
    for inner, sibling in owner.items():
        for name in definition.tasks[inner].depends_on:
            before = owner.get(definition.positions[name], sibling)
            if before != sibling and sibling not in after[before]:
                after[before].add(sibling)
                waits[sibling] += 1
    ready = [sibling for sibling in siblings if not waits[sibling]]
    heapq.heapify(ready)
    found: list[int] = []
    while ready:
        found.append(heapq.heappop(ready))
        for sibling in after[found[-1]]:
            waits[sibling] -= 1
            if not waits[sibling]:
                heapq.heappush(ready, sibling)
    return found
