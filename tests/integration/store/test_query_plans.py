"""No statement walks through a table that grows: what is fast with ten runs is fast with a million."""

from __future__ import annotations

import importlib
import pkgutil
import re
import sqlite3
from collections.abc import Iterator

import pytest

from barbossad import store
from barbossad.store.change import Statement

GROWING = ("runs", "tasks", "attempts", "logs", "long_values", "events", "versions", "fires")
_STATEMENT = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\s")


def _named(place: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, str) and _STATEMENT.match(value):
        yield place, value
    elif isinstance(value, Statement):
        yield from _named(f"{place}.one", value.one)
        yield from _named(f"{place}.many", value.many)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _named(f"{place}[{key!r}]", item)


def statements() -> dict[str, str]:
    """Return every SQL constant of the store, of its modules and of their classes, by where it stands."""
    found: dict[str, str] = {}
    for module_info in pkgutil.iter_modules(store.__path__):
        module = importlib.import_module(f"{store.__name__}.{module_info.name}")
        for name, value in vars(module).items():
            found.update(_named(f"{module_info.name}.{name}", value))
            if isinstance(value, type) and value.__module__ == module.__name__:
                for member, constant in vars(value).items():
                    found.update(_named(f"{module_info.name}.{name}.{member}", constant))
    return found


def scans(connection: sqlite3.Connection, sql: str) -> list[str]:
    """Return the steps of a statement's plan that walk through a whole table that grows."""
    values = [None] * max(sql.count("?"), *(int(number) for number in re.findall(r"\?(\d+)", sql)), 0)
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
    tables = "|".join(GROWING)
    # A bare SEARCH starts at one end of the table: right for max(id), but it walks on where there is a condition.
    walk = rf"SCAN ({tables})\b|SEARCH ({tables})$" if "WHERE" in sql else rf"SCAN ({tables})\b"
    return [step for step in plan if re.match(walk, step)]


@pytest.mark.parametrize("place", statements())
def test_no_scan(connection: sqlite3.Connection, place: str) -> None:
    """A statement finds its rows by an index."""
    sql = statements()[place]
    if "IN ()" not in sql:  # it can concern no row: nothing leads to the state that it sets
        assert scans(connection, sql) == []


def test_statements_are_found() -> None:
    """The search sees constants of classes, of modules, and in tables of them."""
    places = statements()
    assert len(places) > 30
    assert {
        "runs.RunStore.GET",
        "runs.RunStore.PAGE[('workflow', 'state')]",
        "workflows.WorkflowStore.VERSIONS",
        "run_changes._MOVE_RUNS[<RunState.FAILED: 'failed'>].many[32]",
    } <= set(places)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT id FROM runs WHERE requested_by = ?",
        "SELECT max(seq) FROM events WHERE task = ?",
        "UPDATE tasks SET reason = '' WHERE state = ?",
        "SELECT count(*) FROM versions",
        "SELECT * FROM runs ORDER BY created_at_ms DESC LIMIT ?",
    ],
)
def test_scans_are_seen(connection: sqlite3.Connection, sql: str) -> None:
    """What would walk through a table is found out."""
    assert scans(connection, sql)
