"""Make what is told of a large run fit into one answer: what was done is never answered as an error for its length."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from barbossad import wire
from barbossad.model.states import TaskState, WaitsFor
from barbossad.operations.nodes import Node
from barbossad.operations.views import RunView, Shown
from barbossad.store.run_details import RunDetails
from barbossad.store.shown_runs import SHOWN_BYTES

SPARE_BYTES: Final = wire.MAX_REQUEST_BYTES + 64 * 1024
"""Of an answer: for what stands around a run in it, and an id as long as a request may have."""

_NAMED_BYTES: Final = 24
"""What the name of a task costs beside its letters where it stands among those whose outputs are left out."""

_NOTABLE: Final = frozenset(
    {TaskState.FAILED, TaskState.TIMED_OUT, TaskState.INTERRUPTED, TaskState.STARTING, TaskState.RUNNING}
)


def is_light(found: RunDetails) -> bool:
    """Say whether the outputs of a run that is in memory may be shown, as far as can be told without writing them."""
    left = SHOWN_BYTES
    waiting: list[Any] = [record.outputs for record in found.tasks.values() if record.outputs]
    if found.run.outputs:
        waiting.append(found.run.outputs)
    while waiting and left >= 0:
        value = waiting.pop()
        if isinstance(value, str):
            left -= len(value)
        elif isinstance(value, Mapping):
            waiting.extend(value)
            waiting.extend(value.values())
        elif isinstance(value, list | tuple):
            waiting.extend(value)
        left -= 4
    return left >= 0


def text(shown: Shown, most_bytes: int = wire.MAX_MESSAGE_BYTES) -> wire.Encoded:
    """Return a run in no more bytes than one answer may have, with as many of its tasks as fit, in their order.

    What failed, runs, waits for a person or is no item of a loop goes before the rest.
    """
    sizes = shown.details.left_out
    left = most_bytes - SPARE_BYTES - len(wire.encode(shown.head(1, {"": sizes.get("", 0)})))
    pieces: dict[int, bytes] = {}
    notable = [position for position, node in enumerate(shown.nodes) if _is_notable(shown, node)]
    seen = frozenset(notable)
    for position in (*notable, *(other for other in range(len(shown.nodes)) if other not in seen)):
        node = shown.nodes[position]
        piece = wire.encode(shown.task(node))  # its end takes the place of a comma
        left -= len(piece) + (len(node.id) * 4 + _NAMED_BYTES if node.id in sizes else 0)
        if left < 0:
            break
        pieces[position] = piece[:-1]
    told = sorted(pieces)
    outputs = shown.outputs_left_out(shown.nodes[position].id for position in told)
    head = wire.encode(shown.head(len(shown.nodes) - len(told), outputs))
    return wire.Encoded(head.removesuffix(b"]}\n") + b",".join(pieces[position] for position in told) + b"]}")


def _is_notable(shown: Shown, node: Node) -> bool:
    record = shown.details.tasks.get(node.id)
    if "[" not in node.id:
        return True
    return record is not None and (record.state in _NOTABLE or record.waits_for is WaitsFor.PERSON)


def without_tasks(run: RunView) -> RunView:
    """Return a run without its tasks and outputs: what is told where one of few tasks is too large all the same."""
    before = run["left_out"] or {"tasks": 0, "outputs": {}}
    return {**run, "left_out": {**before, "tasks": before["tasks"] + len(run["tasks"])}, "outputs": {}, "tasks": []}
