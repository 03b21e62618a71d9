"""What of a task is too long to stand in its row: its outputs, its stdout, the items of a loop.

A row that is long is dragged along by every change of it, and by every search for one that lies beside it. In a table
of their own these values are touched by who writes, reads or deletes them alone (docs/decisions/0113).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

from barbossad.model.records import TaskRecord
from barbossad.store import rows
from barbossad.store.change import Statement

Name = Literal["outputs", "stdout", "items"]
"""Which value of a task it is."""

InRow = tuple[str | None, int | None]
"""What stands in the row: the text, or how many bytes it has elsewhere."""

Fetch = Callable[[str, Sequence[Any]], list[rows.Row]]
"""Runs a query with its parameters, and returns all of its rows."""

ROW_LENGTH: Final = 512
"""Characters up to which a value stands in the row, which then has room on a page, with its neighbours."""

PART_BYTES: Final = 128 * 1024
"""As much as one transaction deletes on a full disk (``retention.rules``)."""

_FEW: Final = 32
"""Of more members than that none is looked at: the value is long."""

_INSERT: Final = Statement("""
INSERT INTO long_values (run, task, name, part, text) SELECT $0, $1, $2, $3, $4 $rows
""")

READ: Final = """
SELECT long_values.task, long_values.part, long_values.text FROM json_each(?) AS wanted CROSS JOIN long_values
WHERE long_values.run = ? AND long_values.task = wanted.value AND long_values.name = ?"""
"""Without an order: SQLite would write it all into a temporary file."""


class Parting:
    """Some rows on their way into the store, without their long values; those are inserted after them."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: list[tuple[int, str, Name, int, bytes]] = []

    def outputs(self, task: TaskRecord) -> InRow:
        """Return what of a task's outputs stands in its row."""
        return self._in_row(task, "outputs", _to_json(task.outputs))

    def stdout(self, task: TaskRecord) -> InRow:
        """Return what of its stdout does."""
        return self._in_row(task, "stdout", rows.text(task.stdout))

    def items(self, task: TaskRecord) -> InRow:
        """Return what of the items of a loop does."""
        return self._in_row(task, "items", _to_json(task.items))

    def insert(self, tx: sqlite3.Connection) -> None:
        """Insert what was taken out of the rows."""
        if self._parts:
            _INSERT.run(tx, self._parts, "a long value could not be inserted")

    def _in_row(self, task: TaskRecord, name: Name, text: str | None) -> InRow:
        if text is None or len(text) <= ROW_LENGTH:
            return text, None
        whole = text.encode()
        place = (rows.number(task.run_id), task.task_id, name)
        starts = range(0, len(whole), PART_BYTES)
        self._parts += [(*place, part, whole[at : at + PART_BYTES]) for part, at in enumerate(starts)]
        return None, len(whole)


def _to_json(value: Mapping[str, Any] | Sequence[Any] | None) -> str | None:
    if value is None:
        return None
    return rows.to_json_in_turns(value) if isinstance(value, list | tuple) else rows.to_json(value)


def weight(task: TaskRecord) -> int:
    """Return how many rows a task with its values is to write, about, as far as that is seen at a glance."""
    if not (task.outputs or task.stdout or task.items):
        return 1
    return 1 + sum(_weight(value) for value in (task.outputs, task.stdout, task.items))


def _weight(value: Any) -> int:
    if isinstance(value, str):
        return len(value) // ROW_LENGTH
    if not isinstance(value, Mapping | list | tuple):
        return 0
    if len(value) > _FEW:
        return len(value) // _FEW + _FEW
    return sum(map(_weight, value.values() if isinstance(value, Mapping) else value))


def read(fetch: Fetch, run: int, name: Name, sizes: Mapping[str, int]) -> dict[str, str]:
    """Return values of one kind of some tasks of a run, whose sizes in bytes their rows tell.

    Of an ended run that is being deleted they may be there in part, and are not returned.
    """
    parts: dict[str, dict[int, bytes]] = {}
    for task, part, text in fetch(READ, (rows.to_json_list(list(sizes)), run, name)) if sizes else ():
        parts.setdefault(task, {})[part] = text
    joined = {task: b"".join(some[part] for part in sorted(some)) for task, some in parts.items()}
    return {task: text.decode() for task, text in joined.items() if len(text) == sizes[task]}
