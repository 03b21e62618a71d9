"""In which order the tasks of a run are shown, and which group or loop each is in. Pure.

Those of the main part stand as in the file; items of loops, rollback and hooks only once they have a row.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from barbossad.model.definition import TaskDefinition, WorkflowDefinition
from barbossad.model.flow import Section
from barbossad.model.records import TaskRecord
from barbossad.model.states import TaskState

_ITEM: Final = re.compile(r"\[(\d+)\]")
_SECTIONS: Final = {section: number for number, section in enumerate(Section)}
_UNSTARTED: Final = 1 << 62


FEW_ITEMS: Final = 12
"""A loop of no more items is always told whole."""

KEPT_DEFINITIONS: Final = 64
_PLAIN: Final[dict[int, tuple[WorkflowDefinition, list[Node] | None]]] = {}
"""By the identity of a definition, which is kept with it, so that no other can have it."""

_GOOD: Final = frozenset({TaskState.SUCCEEDED, TaskState.SKIPPED})


class Node(NamedTuple):
    """One task of a run, with its definition if that is known, and the id of the group or loop that it is in."""

    id: str
    task: TaskDefinition | None
    parent: str | None = None
    may_fail: bool = False
    """Whether the run goes on, and may succeed, though it failed: it may itself, or a group that it is in."""


def nodes(definition: WorkflowDefinition | None, rows: Mapping[str, TaskRecord]) -> list[Node]:
    """Return the tasks of a run, each group or loop directly before what is in it."""
    if definition is None:
        return [Node(task_id, None) for task_id in rows]
    plain = _plain(definition)
    if plain is not None:
        return plain
    standing = list(_standing(definition, rows))
    known = {node.id for node in standing}
    made = [_made(definition, rows, task_id) for task_id in rows if task_id not in known]
    return _in_order(definition, rows, [*standing, *made]) if made else standing


def _plain(definition: WorkflowDefinition) -> list[Node] | None:
    """Return the tasks of a workflow whose runs make no others, found once; None for one whose runs may.

    Runs are shown a hundred times a second, and their definitions are few.
    """
    known = _PLAIN.get(id(definition))
    if known is None or known[0] is not definition:
        is_plain = len(definition.sections) <= 1 and not any(task.for_each is not None for task in definition.tasks)
        known = definition, list(_standing(definition, {})) if is_plain else None
        if len(_PLAIN) >= KEPT_DEFINITIONS:
            _PLAIN.clear()
        _PLAIN[id(definition)] = known
    return known[1]


def _standing(definition: WorkflowDefinition, rows: Mapping[str, TaskRecord]) -> Iterable[Node]:
    """Yield the tasks that a run has from its beginning; those in a loop are there for its items alone."""
    in_loop = 0
    for position, task in enumerate(definition.tasks):
        if task.section is not Section.MAIN or (position < in_loop and task.id not in rows):
            continue
        parent = definition.tasks[task.parent].id if task.parent is not None else None
        yield Node(task.id, task, parent, _may_fail(definition, task))
        if task.for_each is not None:
            in_loop = max(in_loop, position + task.size)


def _made(definition: WorkflowDefinition, rows: Mapping[str, TaskRecord], task_id: str) -> Node:
    """Return a task that the run has made: an item, or a member of one, or one of the sections at the end."""
    position = definition.positions.get(_ITEM.sub("", task_id))
    task = definition.tasks[position] if position is not None else None
    parent: str | None = None
    if task_id.endswith("]"):
        parent = task_id[: task_id.rindex("[")]
    elif task is not None and task.parent is not None:
        parent = task_id.rpartition(".")[0]
    is_there = parent in rows or parent in definition.positions
    if task is not None and task.section is not Section.MAIN:
        is_there = parent in rows  # what takes back an item is not in what would take back its loop
    may_fail = task is not None and _may_fail(definition, task)
    return Node(task_id, task, parent if is_there else None, may_fail)


def _may_fail(definition: WorkflowDefinition, task: TaskDefinition) -> bool:
    while not task.continue_on_error and task.parent is not None:
        task = definition.tasks[task.parent]
    return task.continue_on_error


def _in_order(definition: WorkflowDefinition, rows: Mapping[str, TaskRecord], found: Iterable[Node]) -> list[Node]:
    inside: dict[str | None, list[Node]] = {}
    for node in found:
        inside.setdefault(node.parent, []).append(node)

    def rank(node: Node) -> tuple[int, int, int, list[int]]:
        section = node.task.section if node.task is not None else Section.ON_EXIT
        record = rows.get(node.id)
        started = (record.started_at_ms if record is not None else None) or _UNSTARTED
        position = definition.positions[node.task.id] if node.task is not None else len(definition.tasks)
        items = [int(number) for number in _ITEM.findall(node.id)]
        return _SECTIONS[section], started if section is Section.ROLLBACK else 0, position, items

    for siblings in inside.values():
        siblings.sort(key=rank)
    ordered: list[Node] = []
    waiting = inside.get(None, [])[::-1]
    while waiting:
        node = waiting.pop()
        ordered.append(node)
        waiting.extend(reversed(inside.get(node.id, ())))
    return ordered


class Loops:
    """The loops of a run that have begun: how their items do, and which have too many to tell of each."""

    def __init__(self, rows: Mapping[str, TaskRecord]) -> None:
        totals = {name: len(row.items) for name, row in rows.items() if row.items is not None}
        self.long = frozenset(name for name, total in totals.items() if total > FEW_ITEMS)
        self._states: dict[str, Counter[str]] = {name: Counter() for name in totals}
        if totals:
            for name, row in rows.items():
                if name.endswith("]") and (loop := name[: name.rindex("[")]) in totals:
                    self._states[loop][row.state.value] += 1
        for name, total in totals.items():
            left = total - self._states[name].total()
            if left:
                self._states[name][TaskState.PENDING.value] += left

    def states(self, loop: str) -> dict[str, int] | None:
        """Return how many items of a loop are in which state; None for what is no loop, or has not begun."""
        found = self._states.get(loop)
        return dict(found) if found is not None else None

    def without_good(self, found: list[Node], rows: Mapping[str, TaskRecord], before_ms: int) -> list[Node]:
        """Return the nodes without the items of long loops that went well before an instant, and what is in them."""
        if not self.long:
            return found
        left_out: set[str] = set()
        kept = []
        for node in found:
            row = rows.get(node.id)
            is_old = row is not None and row.state in _GOOD and (row.finished_at_ms or 0) < before_ms
            if node.parent in left_out or (node.parent in self.long and is_old):
                left_out.add(node.id)
            else:
                kept.append(node)
        return kept
