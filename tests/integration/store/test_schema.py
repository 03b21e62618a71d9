"""The shape of the state file: how it comes about, and what it forbids whoever writes to it."""

from __future__ import annotations

import hashlib
import re
import sqlite3
from contextlib import closing
from enum import StrEnum
from pathlib import Path

import pytest

from barbossad.model.schedules import FIRE_ACTIVE, FireState
from barbossad.model.states import ATTEMPT_ENDED, RUN_ENDED, TASK_ENDED, AttemptState, RunState, TaskState
from barbossad.store import schema

RELEASED = {
    1: "6cfce8d507327e571fcb007bf187bd3fa67930eabd9e54da620a050f20a4e500",
}
"""The sums of the scripts that users' files have run. Add a script's line with the release that brings it."""


def shape(connection: sqlite3.Connection) -> list[tuple[str, ...]]:
    """Return every object of a file with the statement that made it."""
    return connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name").fetchall()


def test_fresh_equals_migrated(tmp_path: Path) -> None:
    """A file that lived through every version is shaped as one that is made today."""
    with (
        closing(sqlite3.connect(tmp_path / "old.db", isolation_level=None)) as old,
        closing(sqlite3.connect(tmp_path / "new.db", isolation_level=None)) as new,
    ):
        for script in schema.scripts().values():  # one version after the other, each with a start of its own
            old.executescript(script)
            old.execute("ANALYZE")
            old.execute("DROP TABLE IF EXISTS sqlite_stat1")
            old.execute("DROP TABLE IF EXISTS sqlite_stat4")
        assert schema.migrate(new) == max(schema.scripts())
        assert shape(old) == shape(new)
        assert old.execute("PRAGMA user_version").fetchone() == new.execute("PRAGMA user_version").fetchone()


def test_migrating_again_changes_nothing(connection: sqlite3.Connection) -> None:
    """Scripts that a file has had are not run again."""
    before = shape(connection)
    assert schema.migrate(connection) == max(schema.scripts())
    assert shape(connection) == before


def test_released_scripts_are_never_edited() -> None:
    """Users' files have run them: a change of the schema is a new script."""
    for number, digest in RELEASED.items():
        assert hashlib.sha256(schema.scripts()[number].encode()).hexdigest() == digest, f"script {number} was edited"


@pytest.mark.parametrize("number", schema.scripts())
def test_script_is_one_transaction(number: int) -> None:
    """A script is whole or not at all and says itself which version it makes: executescript commits before it."""
    lines = [line for line in schema.scripts()[number].splitlines() if line and not line.startswith("--")]
    assert lines[0] == "BEGIN;"
    assert lines[-1] == "COMMIT;"
    assert lines[-2] == f"PRAGMA user_version = {number};"
    assert sum(bool(re.match("BEGIN|COMMIT", line)) for line in lines) == 2


def test_scripts_are_numbered_without_gaps() -> None:
    """The number of a script is the version that it makes."""
    assert list(schema.scripts()) == list(range(1, len(schema.scripts()) + 1))


def test_failing_script_leaves_the_file_as_it_was(
    connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A migration that fails in its middle changes nothing."""
    before = shape(connection)
    version = max(schema.scripts())
    broken = (
        f"BEGIN;\nCREATE TABLE half (a INTEGER) STRICT;\nNONSENSE;\nPRAGMA user_version = {version + 1};\nCOMMIT;\n"
    )
    monkeypatch.setattr(schema, "scripts", lambda: {version + 1: broken})
    with pytest.raises(sqlite3.OperationalError):
        schema.migrate(connection)
    connection.rollback()
    assert shape(connection) == before
    assert connection.execute("PRAGMA user_version").fetchone() == (version,)


INSERT = {
    "runs": """INSERT INTO runs (id, workflow, version, state, trigger, params, requested_by, created_at_ms)
        VALUES (:id, 'w', 'v', :state, 'manual', '{}', 'x', 0)""",
    "tasks": "INSERT INTO tasks (run, task, state) VALUES (1, :id, :state)",
    "attempts": """INSERT INTO attempts (run, task, number, state, launcher, boot_id)
        VALUES (1, '1', :id, :state, 'l', 'b')""",
}
STATES: dict[str, type[StrEnum]] = {"runs": RunState, "tasks": TaskState, "attempts": AttemptState}
ENDED = {"runs": RUN_ENDED, "tasks": TASK_ENDED, "attempts": ATTEMPT_ENDED}
UNSTORED = {TaskState.PENDING}
"""A pending task has no row."""


def insert(connection: sqlite3.Connection, table: str, state: str, number: int = 1) -> None:
    """Insert a row in a state, with the rows that it belongs to."""
    for parent, statement in INSERT.items():
        if parent == table:
            break
        connection.execute(statement.replace("INSERT", "INSERT OR IGNORE", 1), {"id": 1, "state": "running"})
    connection.execute(INSERT[table], {"id": number, "state": state})


@pytest.mark.parametrize("table", STATES)
def test_states_are_those_of_the_model(connection: sqlite3.Connection, table: str) -> None:
    """The file takes every state that the model knows, and no other."""
    for number, state in enumerate(STATES[table], start=10):
        if state not in UNSTORED:
            insert(connection, table, state, number)
    for other in ("pending", "lost", "", "RUNNING"):
        with pytest.raises(sqlite3.IntegrityError):
            insert(connection, table, other, 99)


@pytest.mark.parametrize(
    ("table", "ended"), [(table, state) for table, ended in ENDED.items() for state in sorted(ended)]
)
def test_what_ended_stays_ended(connection: sqlite3.Connection, table: str, ended: str) -> None:
    """No statement, whoever writes it, moves a row out of a state that is an end; not even into the same one."""
    insert(connection, table, ended)
    before = connection.execute(f"SELECT * FROM {table}").fetchall()
    for state in STATES[table]:
        for statement in (
            f"UPDATE {table} SET state = ?",
            f"UPDATE OR IGNORE {table} SET state = ?, reason = 'changed'",
        ):
            with pytest.raises(sqlite3.IntegrityError, match="has ended"):
                connection.execute(statement, (state.value,))
    assert connection.execute(f"SELECT * FROM {table}").fetchall() == before


FIRE = "INSERT INTO fires (schedule, key, nominal_ms, due_ms, decided_at_ms, state) VALUES ('w/s', ?, 0, 0, 0, ?)"


def test_states_of_fires(connection: sqlite3.Connection) -> None:
    """The file takes every state of a fire that the model knows, and no other."""
    for state in FireState:
        connection.execute(FIRE, (state.value, state.value))
    for other in ("pending", "lost", "", "STARTED"):
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute(FIRE, (other, other))


@pytest.mark.parametrize("ended", sorted(set(FireState) - FIRE_ACTIVE))
def test_a_fire_that_is_over_stays_so(connection: sqlite3.Connection, ended: FireState) -> None:
    """No statement moves a fire out of a state that is an end."""
    connection.execute(FIRE, ("one", ended.value))
    for state in FireState:
        with pytest.raises(sqlite3.IntegrityError, match="is over"):
            connection.execute("UPDATE OR IGNORE fires SET state = ?", (state.value,))
    assert connection.execute("SELECT state FROM fires").fetchall() == [(ended.value,)]


def test_tables_are_strict(connection: sqlite3.Connection) -> None:
    """A column holds what its type says and nothing else."""
    for name, is_strict in connection.execute("SELECT name, strict FROM pragma_table_list WHERE schema = 'main'"):
        assert is_strict or name.startswith("sqlite_"), name
