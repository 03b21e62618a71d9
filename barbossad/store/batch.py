"""What waits to be written, and writing some of it in one transaction, with what the disk says to that."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from barbossad.store import changes
from barbossad.store.changes import Change

_REFUSALS: Final = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_PERM,
    }
)
"""What the disk or the file says no with, as opposed to a change that is wrong (primary result codes)."""

Outcome = tuple["Waiting", Any, BaseException | None]
"""A change that was decided on: its result, or what it raised."""

Refusal = tuple["Waiting", sqlite3.Error]
"""A change that the disk did not take, and why."""

Written = tuple[list[Outcome], list[Refusal], float]
"""What became of a batch, and how many seconds that took."""


@dataclass(slots=True)
class Waiting:
    """What is in the queue: steps of runs, or another change. Facts are kept until the disk takes them."""

    future: asyncio.Future[Any]
    is_fact: bool
    steps: Sequence[Change] = ()
    function: Callable[[sqlite3.Connection], Any] | None = None
    then: Callable[[asyncio.Future[Any]], None] | None = None
    """Called with the future when it is done, in the same turn of the loop."""

    makes_room: bool = False
    """Whether it deletes what is old: while the store refuses changes it overtakes the facts that found no room."""

    is_alone: bool = False
    """Whether ``function`` wants no transaction around it: a checkpoint cannot be made inside one."""

    @property
    def weight(self) -> int:
        """How many rows its steps change, about."""
        return sum(step.weight for step in self.steps)


def commit_timed(connection: sqlite3.Connection, batch: list[Waiting]) -> Written:
    """Commit a batch; return also how long that took. Never raises."""
    start = time.monotonic()
    outcomes, refused = _commit_group(connection, batch)
    return outcomes, refused, time.monotonic() - start


def _commit_group(connection: sqlite3.Connection, batch: list[Waiting]) -> tuple[list[Outcome], list[Refusal]]:
    """Commit a batch; return what was decided on, and what the disk refused. Never raises."""
    try:
        results = _transact(connection, batch)
    except BaseException as error:  # noqa: BLE001 (whatever a change raises belongs to its caller)
        if isinstance(error, sqlite3.Error) and primary_code(error) in _REFUSALS:
            if primary_code(error) == sqlite3.SQLITE_CORRUPT:
                connection.execute("PRAGMA shrink_memory")  # a page once read as bad would be bad for ever
            return [], [(item, error) for item in batch]
        if len(batch) > 1:  # one of them is at fault: each gets a transaction of its own
            return _commit_one_by_one(connection, batch)
        return [(batch[0], None, error)], []
    return [(item, result, None) for item, result in zip(batch, results, strict=True)], []


def _commit_one_by_one(connection: sqlite3.Connection, batch: list[Waiting]) -> tuple[list[Outcome], list[Refusal]]:
    outcomes: list[Outcome] = []
    for position, item in enumerate(batch):
        done, refused = _commit_group(connection, [item])
        outcomes += done
        if refused:  # what follows may build on it, so it must not overtake it
            return outcomes, [(later, refused[0][1]) for later in batch[position:]]
    return outcomes, []


def primary_code(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code; 0 for errors of Python's module, such as a missing binding."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF


def _transact(connection: sqlite3.Connection, batch: list[Waiting]) -> list[Any]:
    """Do everything of a batch in one transaction. The steps of all runs go first, and together."""
    if batch[0].is_alone:
        return [item.function(connection) if item.function else None for item in batch]
    connection.execute("BEGIN IMMEDIATE")
    try:
        steps = [step for item in batch for step in item.steps]
        if steps:
            changes.apply_all(connection, steps)
        results = [item.function(connection) if item.function else None for item in batch]
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return results
