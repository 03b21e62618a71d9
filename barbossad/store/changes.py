"""Changes of a run, as data, and how many of them are written at once.

The engine decides on lists of these, and the writer applies the lists of all runs that wait in one transaction. A
state is changed by compare-and-set: the row must be in a state from which the new one may be entered
(``model.states``), otherwise StateError is raised and nothing of the transaction happens.

Each statement takes any number of rows: SQLite's own work is small, but at each statement the writer's
thread gives the interpreter away and has to wait for it again. With a statement a row, a commit of sixteen tasks
took twenty times as long while the event loop was busy.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

from barbossad.model.names import RunId
from barbossad.store import rows
from barbossad.store.attempt_changes import AttemptEnded, AttemptRunning, AttemptStarting
from barbossad.store.change import Change, Statement
from barbossad.store.fire_changes import FireStarted
from barbossad.store.run_changes import RunCreated, RunMoved, RunStopping
from barbossad.store.task_changes import TasksEndedUnstarted, TasksEntered, TasksMoved

__all__ = [
    "AttemptEnded",
    "AttemptRunning",
    "AttemptStarting",
    "Change",
    "RunCreated",
    "RunMoved",
    "RunStopping",
    "TasksEndedUnstarted",
    "TasksEntered",
    "TasksMoved",
    "apply_all",
    "tell_strays",
]

_ONCE_A_STRETCH: Final = (RunCreated, RunStopping, RunMoved, TasksMoved)
"""Kinds that may change the same row again: two such changes in one statement would be one."""


_INSERT_EVENTS: Final = Statement("INSERT INTO events (at_ms, kind, run, task, data) SELECT $0, $1, $2, $3, $4 $rows")


def apply_all(tx: sqlite3.Connection, changes: Sequence[Change]) -> None:
    """Write changes, those of one run in their order, and the events of all in the order of the list."""
    for stretch in _stretches(_folded(changes)):
        for kind in sorted(stretch, key=lambda kind: kind.rank):
            kind.write(tx, stretch[kind])
    events = [event for change in changes for event in change.events()]
    _INSERT_EVENTS.run(tx, events, "an event could not be inserted")


def tell_strays(tx: sqlite3.Connection, names: Sequence[str], at_ms: int) -> None:
    """Write an event for each unit that belonged to no run and was stopped."""
    _INSERT_EVENTS.run(tx, [(at_ms, "stray_ended", None, None, rows.to_json({"unit": name})) for name in names], "")


def _folded(changes: Sequence[Change]) -> Iterable[Change]:
    """Have a run that is made and started in one commit inserted as what it then is, instead of changed at once.

    That a schedule fired with it changes nothing of the run itself.
    """
    made: dict[RunId, int] = {}  # where in the list the runs are that nothing has changed since
    folded: list[Change] = []
    for change in changes:
        if isinstance(change, FireStarted):
            folded.append(change)
            continue
        place = made.pop(change.run_id, None)
        if isinstance(change, RunCreated):
            made[change.run_id] = len(folded)
        elif place is not None and isinstance(change, RunMoved) and change.kind == "run_started":
            folded[place] = RunCreated(change.run)
            continue
        folded.append(change)
    return folded


def _stretches(changes: Iterable[Change]) -> list[dict[type[Change], list[Change]]]:
    """Part the changes so that writing a part by rank keeps the order of each run's own steps."""
    stretches: list[dict[type[Change], list[Change]]] = []
    reached: dict[RunId, tuple[int, int]] = {}  # of each run: its stretch, and the rank of its last step in it
    for change in changes:
        stretch, rank = reached.get(change.run_id, (0, -1))
        if change.rank < rank or (change.rank == rank and isinstance(change, _ONCE_A_STRETCH)):
            stretch += 1
        reached[change.run_id] = stretch, change.rank
        while len(stretches) <= stretch:
            stretches.append(defaultdict(list))
        stretches[stretch][type(change)].append(change)
    return stretches
