"""How many tasks the loops of a run may make, and how many an item of one is. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from barbossad.errors import BarbossaError
from barbossad.model.definition import WorkflowDefinition

MAX_ITEMS_IN_ALL: Final = 20_000
"""Of all loops of a run's main part: members of items, loops within loops and what takes them back included.

Rollback and the hooks may have as many again, each for itself: they must come also after a main part that is full.
"""

_TOO_MANY: Final = "the loops of the run would come to"


def of_items(definition: WorkflowDefinition, position: int, count: int) -> int:
    """Return how many tasks so many items of a loop are, with their members, and with what would take them back.

    The items of loops within it are counted when those are known.
    """
    task = definition.tasks[position]
    made = [position, *_outside_loops(definition, range(position + 1, position + task.size))]
    taking_back = (definition.rollbacks.get(one, ()) for one in made)
    return count * (len(made) + sum(1 for some in taking_back for _ in _outside_loops(definition, some)))


def check(total: int) -> None:
    """Raise BarbossaError if so many tasks are more than the loops of a run may come to."""
    if total > MAX_ITEMS_IN_ALL:
        raise BarbossaError(
            f"{_TOO_MANY} {total} tasks, more than {MAX_ITEMS_IN_ALL}: "
            "shorten their lists, or have each item call a workflow that does the rest"
        )


def is_refusal(reason: str | None) -> bool:
    """Say whether a loop failed because of ``check``."""
    return reason is not None and _TOO_MANY in reason


def _outside_loops(definition: WorkflowDefinition, positions: Iterable[int]) -> Iterator[int]:
    """Yield positions in the order of the file, but for those of members of loops among them."""
    until = 0
    for position in positions:
        if position >= until:
            yield position
            if definition.tasks[position].for_each is not None:
                until = position + definition.tasks[position].size
