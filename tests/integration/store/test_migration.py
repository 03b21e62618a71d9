"""A state file of an earlier schema keeps every row and every fact when it is opened today."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from barbossad.model.names import run_id_from_number
from barbossad.model.states import RunState, TaskState, WaitsFor
from barbossad.store import schema
from barbossad.store.database import Database
from barbossad.store.runs import RunStore
from tests.helpers.records import NOON_MS

TABLES = ("runs", "tasks", "attempts", "logs", "events", "workflows", "versions", "newest_deleted")
RUN_STATES = ("queued", "running", "succeeded", "failed", "timed_out", "cancelled", "interrupted")
TASK_STATES = (
    *("waiting", "starting", "running", "succeeded", "failed"),
    *("timed_out", "cancelled", "upstream_failed", "interrupted"),
)
ATTEMPT_STATES = ("starting", "running", "succeeded", "failed", "timed_out", "cancelled", "interrupted")


def rows(connection: sqlite3.Connection) -> dict[str, list[dict[str, Any]]]:
    """Return all rows of all tables, by the names of their columns."""
    found: dict[str, list[dict[str, Any]]] = {}
    for table in TABLES:
        names = [row[0] for row in connection.execute("SELECT name FROM pragma_table_info(?)", (table,))]
        select = f"SELECT * FROM {table} ORDER BY 1, 2" if len(names) > 1 else f"SELECT * FROM {table}"
        found[table] = [dict(zip(names, row, strict=True)) for row in connection.execute(select)]
    return found


def fill(connection: sqlite3.Connection, table: str, count: int, **given: Any) -> None:
    """Insert rows with a value of its own in every column; of what is given each row takes its turn."""
    columns = connection.execute("SELECT name, type FROM pragma_table_info(?)", (table,)).fetchall()
    for number in range(count):
        values = []
        for name, kind in columns:
            if name in given:
                values.append(given[name][number % len(given[name])])
            else:
                value = f"{table} {name} {number} ☠"
                values.append({"TEXT": value, "BLOB": value.encode(), "REAL": number + 0.5}.get(kind, 100 + number))
        connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(values))})", values)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A file of schema 3 with rows in every table and every state."""
    path = tmp_path / "barbossa.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        for number, script in schema.scripts().items():
            if number <= 3:
                connection.executescript(script)
        ids = [NOON_MS + number for number in range(len(RUN_STATES))]
        fill(connection, "runs", len(ids), id=ids, state=RUN_STATES, trigger=["manual", "schedule"],
             params=['{"a": 1}'], stop_cause=[None, "cancel"])  # fmt: skip
        names = [f"t{number}" for number in range(len(TASK_STATES))]
        fill(connection, "tasks", len(names), run=ids[:1], task=names, state=TASK_STATES, outputs=['{"x": "y"}'],
             waits_for=["person", *[None] * 8])  # fmt: skip
        fill(connection, "attempts", len(ATTEMPT_STATES), run=ids[:1], task=names, state=ATTEMPT_STATES, number=[1],
             in_force=['{"user": "bob"}'], log_path=[None, "x.log"])  # fmt: skip
        fill(connection, "logs", 3, run=ids[:1], task=names, number=[1])
        fill(connection, "newest_deleted", 1, one=[1])
        fill(connection, "events", 5)
    return path


async def test_everything_is_kept(old: Path) -> None:
    """Each row has each of its facts after the move to the language's schema; what is new says nothing of them."""
    with closing(sqlite3.connect(old)) as connection:
        before = rows(connection)
        assert connection.execute("PRAGMA user_version").fetchone() == (3,)
    assert all(before[table] for table in TABLES if table not in {"workflows", "versions"})
    async with Database.open(old):
        pass
    with closing(sqlite3.connect(old)) as connection:
        after = rows(connection)
        assert connection.execute("PRAGMA user_version").fetchone() == (max(schema.scripts()),)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        left = connection.execute("SELECT name FROM sqlite_schema WHERE name LIKE '%_before'").fetchall()
    assert left == []
    new: dict[str, set[Any]] = {}
    for table in TABLES:
        assert len(after[table]) == len(before[table])
        for was, is_now in zip(before[table], after[table], strict=True):
            assert {name: is_now[name] for name in was} == was
            new.setdefault(table, set()).update(is_now[name] for name in is_now.keys() - was.keys())
    assert {table: values for table, values in new.items() if values} == {"runs": {None, 0}, "tasks": {None}}


async def test_it_is_read_as_ever(old: Path) -> None:
    """The records of an old file have their facts; what has ended there stays as it ended."""
    async with Database.open(old) as database:
        store = RunStore(database)
        details = store.get(run_id_from_number(NOON_MS))
        assert details is not None
        assert (details.run.state, details.run.params, details.run.priority) == (RunState.QUEUED, {"a": 1}, 0)
        assert (details.run.outcome, details.run.parent_run, details.run.warnings) == (None, None, 0)
        waiting = details.tasks["t0"]
        assert (waiting.state, waiting.waits_for, waiting.outputs) == (TaskState.WAITING, WaitsFor.PERSON, {"x": "y"})
        assert details.attempts["t3"][0].in_force == {"user": "bob"}
        assert [run.state for run in await store.unended()] == [RunState.QUEUED, RunState.RUNNING]
        log = store.log(run_id_from_number(NOON_MS), "t2", 1)
        assert log is not None
        assert log.text == "logs text 2 ☠".encode()
        with pytest.raises(sqlite3.IntegrityError, match="has ended"):
            await database.write(lambda tx: tx.execute("UPDATE runs SET state = 'running' WHERE state = 'failed'"))
        await database.write(lambda tx: tx.execute("DELETE FROM runs WHERE state = 'queued'").rowcount)
        assert await database.read("SELECT (SELECT count(*) FROM tasks), (SELECT count(*) FROM logs)") == [(0, 0)]
