"""In which order the tasks of a run ended. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from barbossad.engine.progress import Cell, RunProgress


def order(progress: RunProgress) -> list[Cell]:
    """Return all cells in the order of their end.

    What comes after another ended after it, also where the clock says otherwise: it may have been set back, or not have
    moved. Beyond that ids decide, not the order of cells, which is another after a restart.
    """
    cells = progress.cells
    # Each cell has two nodes: 2n is its begin, 2n + 1 its end. A group begins before its members and ends after them.
    follow: list[list[int]] = [[] for _ in range(2 * len(cells))]
    waits_for = [0] * len(follow)
    for before, after in _edges(cells):
        follow[before].append(after)
        waits_for[after] += 1
    rank = [(0, 0)] * len(follow)  # the instant, and how many are known to come before within it
    reached = [node for node, count in enumerate(waits_for) if not count]
    for node in reached:  # which grows meanwhile
        at_ms, depth = rank[node]
        if node % 2:
            at_ms = max(at_ms, cells[node // 2].record.finished_at_ms or 0)
        rank[node] = at_ms, depth
        for after in follow[node]:
            rank[after] = max(rank[after][0], at_ms), max(rank[after][1], depth + 1)
            waits_for[after] -= 1
            if not waits_for[after]:
                reached.append(after)
    return [cells[n] for n in sorted(range(len(cells)), key=lambda n: (*rank[2 * n + 1], cells[n].id))]


def _edges(cells: list[Cell]) -> Iterator[tuple[int, int]]:
    for index, cell in enumerate(cells):
        yield 2 * index, 2 * index + 1
        if cell.record.started_at_ms is None:
            continue  # what was cancelled, for one, waited for nobody
        for other in cell.depends_on:
            yield 2 * other + 1, 2 * index
        if cell.parent is not None:
            yield 2 * cell.parent, 2 * index
            yield 2 * index + 1, 2 * cell.parent + 1
