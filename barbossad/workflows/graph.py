"""Order tasks: who waits for whom, circles, and who comes before whom.

Nothing here recurses, so that a chain of thousands of tasks is nothing special; all is linear but ``ancestors``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

Edges = Sequence[Sequence[int]]
"""For each position, the positions that it waits for."""


def dependants_of(dependencies: Edges) -> list[list[int]]:
    """Return for each position those that wait for it, in rising order."""
    dependants: list[list[int]] = [[] for _ in dependencies]
    for position, waited_for in enumerate(dependencies):
        for other in waited_for:
            dependants[other].append(position)
    return dependants


def in_order(dependencies: Edges) -> list[int]:
    """Return the positions so that each comes after all that it waits for.

    Those in a circle, and those that wait for them, are left out.
    """
    dependants = dependants_of(dependencies)
    counts = [len(waited_for) for waited_for in dependencies]
    ready = deque(position for position, count in enumerate(counts) if count == 0)
    ordered: list[int] = []
    while ready:
        position = ready.popleft()
        ordered.append(position)
        for other in dependants[position]:
            counts[other] -= 1
            if counts[other] == 0:
                ready.append(other)
    return ordered


def cycles(dependencies: Edges) -> list[list[int]]:
    """Return circles that share no task: each position waits for the next, and the last for the first.

    Every group of tasks that wait for each other in circles has at least one of its circles among them.
    """
    found: list[list[int]] = []
    settled = bytearray(len(dependencies))
    for position in in_order(dependencies):
        settled[position] = 1
    for start in range(len(dependencies)):
        if not settled[start]:
            found.extend(_circles_from(dependencies, start, settled))
    return found


def _circles_from(dependencies: Edges, start: int, settled: bytearray) -> Iterator[list[int]]:
    """Follow dependencies from ``start`` depth first; settle what was passed, yield each circle that closes."""
    path = [start]
    place_on_path = {start: 0}
    branches = [iter(dependencies[start])]
    while path:
        following = next(branches[-1], None)
        keep = len(path)
        if following is None:
            keep -= 1
        elif following in place_on_path:
            keep = place_on_path[following]
            yield path[keep:]
        elif not settled[following]:
            place_on_path[following] = len(path)
            path.append(following)
            branches.append(iter(dependencies[following]))
            continue
        for position in path[keep:]:
            settled[position] = 1
            del place_on_path[position]
        del path[keep:], branches[keep:]


def ancestors(dependencies: Edges) -> list[int]:
    """Return for each position the set of all that it waits for, directly or not, as the bits of an integer."""
    sets = [0] * len(dependencies)
    for position in in_order(dependencies):
        bits = 0
        for other in dependencies[position]:
            bits |= sets[other] | 1 << other
        sets[position] = bits
    return sets
