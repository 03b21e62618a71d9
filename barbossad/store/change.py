"""What every change of a run is made of: its interface, its events, and statements that take any number of rows."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Any, ClassVar, Final, Protocol

from barbossad.errors import StateError
from barbossad.model import states
from barbossad.model.names import RunId
from barbossad.store import rows

Event = tuple[int | None, str, int | None, str | None, str]
"""When, what, of which run and task, and the facts of it: the columns of ``events`` but for its number."""


SIZES: Final = (32, 16, 8, 4, 2)
"""How many values are bound together, as many as possible first."""


class Change(Protocol):
    """One step of a run's life."""

    rank: ClassVar[int]
    """Its place among the steps that are written together: those of a lower rank come first."""

    @property
    def weight(self) -> int:
        """How many rows it changes, about: one, or one for each of its tasks."""

    @property
    def run_id(self) -> RunId:
        """The run that it concerns."""

    @staticmethod
    def write(tx: sqlite3.Connection, steps: Sequence[Any]) -> None:
        """Write the rows of some steps of this kind. Raise StateError if one is not in a state that allows it."""

    def events(self) -> Iterable[Event]:
        """Return what is told of it."""


def event(at_ms: int | None, kind: str, run_id: RunId, task: str | None, **data: Any) -> Event:
    """Return an event; facts that are None are left out."""
    return at_ms, kind, rows.number(run_id), task, _facts(tuple(data.items()))


@lru_cache(maxsize=512)
def _facts(items: tuple[tuple[str, Any], ...]) -> str:
    """Return facts as JSON text; those of most events are like those of the one before."""
    return rows.to_json({name: value for name, value in items if value is not None})


def allowed(target: StrEnum, moves: Any, *, itself: bool = False) -> str:
    """Return the states from which ``target`` may be entered, as a list for ``IN (…)``; ``itself``: also that one."""
    own = (target.value,) if itself else ()
    return ", ".join(f"'{state}'" for state in (*states.sources(moves, target), *own))


class Statement:
    """A statement that changes one row for each of its values, whether there is one or a thousand.

    In its text ``$0``, ``$1`` … stand for the members of a value, and ``$rows`` for where they come from. Many values
    are bound as tables of ``SIZES`` rows, so that SQLite is called a few times and prepares a few texts.
    """

    __slots__ = ("many", "one")

    def __init__(self, text: str) -> None:
        members = re.findall(r"\$(\d+)", text)
        row = f"({', '.join('?' * (1 + max(map(int, members))))})"
        self.one = re.sub(r"\$(\d+)", lambda match: f"?{int(match[1]) + 1}", text.replace("$rows", ""))
        named = re.sub(r"\$(\d+)", lambda match: f"new.column{int(match[1]) + 1}", text)  # as VALUES calls them
        self.many = {size: named.replace("$rows", f"FROM (VALUES {', '.join([row] * size)}) AS new") for size in SIZES}

    def run(self, tx: sqlite3.Connection, values: Sequence[Sequence[Any]], otherwise: str) -> None:
        """Run it. Raise StateError, with ``otherwise``, if it changed fewer rows than there are values."""
        # No name for a cursor: the traceback of a failure would hold it, and with it the file.
        changed = done = 0
        for size, text in self.many.items():
            while len(values) - done >= size:
                bound = [member for value in values[done : done + size] for member in value]
                changed += tx.execute(text, bound).rowcount
                done += size
        if done < len(values):
            changed += tx.execute(self.one, values[done]).rowcount
        if changed != len(values):
            raise StateError(otherwise)


def by_state(steps: Sequence[Any], member: str) -> Mapping[Any, list[Any]]:
    """Return steps by the state of their run, task or attempt: each state has a statement of its own."""
    found: dict[StrEnum, list[Any]] = {}
    for step in steps:
        found.setdefault(getattr(step, member).state, []).append(step)
    return found


def named(steps: Sequence[Change]) -> str:
    """Return how a message calls the runs of some steps."""
    return f"run {steps[0].run_id}" if len(steps) == 1 else f"one of {len(steps)} runs"
