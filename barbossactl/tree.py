"""The tasks of a run as an indented tree, in which a loop of many items takes a few lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from barbossactl import text
from barbossactl.records import TASK_ACTIVE, TASK_FAILED, Run, Task

SHOWN_ITEMS: Final = 12
"""A loop of no more items is shown whole."""

NOTABLE_ITEMS: Final = 8
"""So many of the failed items of a longer one are shown, and so many of those that run or wait for a person."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line: a task, or words about what is not shown."""

    task: Task
    depth: int
    words: str = ""
    """Counts of a loop's items by state, where not all are shown."""


def rows(run: Run, *, is_whole: bool = False) -> Iterator[Row]:
    """Yield the tasks in their order, each with its depth; of a long loop what matters, unless ``is_whole``."""
    loops = {} if is_whole else _long_loops(run)
    depths: dict[str, int] = {}
    hidden: set[str] = set()
    for task in run.tasks:
        if task.parent in hidden or (task.parent in loops and task.id not in loops[task.parent].shown):
            hidden.add(task.id)
            continue
        depths[task.id] = depths.get(task.parent or "", -1) + 1
        loop = loops.get(task.id)
        yield Row(task, depths[task.id], loop.words if loop else "")


def hidden_items(run: Run) -> frozenset[str]:
    """Return the ids of the tasks that are in a loop too long to be told of one by one."""
    found: set[str] = set()
    loops = _long_loops(run)
    for task in run.tasks:
        if task.parent in loops or task.parent in found:
            found.add(task.id)
    return frozenset(found)


@dataclass(frozen=True, slots=True)
class _Loop:
    shown: frozenset[str]
    words: str


def _long_loops(run: Run) -> dict[str, _Loop]:
    """Return the loops that are not shown whole, by id: which of their items are, and how all of them did."""
    long = {task.id: task for task in run.tasks if (task.items or 0) > SHOWN_ITEMS}
    if not long:
        return {}
    items: dict[str, list[Task]] = {name: [] for name in long}
    for task in run.tasks:
        if task.parent in items:
            items[task.parent].append(task)
    return {name: _summed(long[name], found) for name, found in items.items()}


def _summed(loop: Task, items: list[Task]) -> _Loop:
    failed = [item.id for item in items if item.state in TASK_FAILED]
    busy = [item.id for item in items if item.state in TASK_ACTIVE or item.waits_for == "person"]
    counts = Counter(loop.item_states).most_common()
    by_state = ", ".join(f"{number} {state.replace('_', ' ')}" for state, number in counts)
    words = f"{text.count(loop.items or 0, 'item')}: {by_state}"
    if len(failed) > NOTABLE_ITEMS:
        words += f"; the first {NOTABLE_ITEMS} that failed are shown"
    return _Loop(frozenset((*failed[:NOTABLE_ITEMS], *busy[:NOTABLE_ITEMS])), words)
