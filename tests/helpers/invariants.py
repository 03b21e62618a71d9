"""What must hold of a state file whatever happened to its daemon, checked from the outside with plain SQL."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

_ENDED = ("succeeded", "failed", "timed_out", "cancelled", "upstream_failed", "interrupted")


def broken(database: Path) -> list[str]:
    """Return every invariant that does not hold in the state file of a daemon that has stopped and was idle."""
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        return [*_unended(connection), *_contradictions(connection), *_untold(connection)]
    finally:
        connection.close()


def _unended(connection: sqlite3.Connection) -> list[str]:
    """Nothing stays running for ever (I4)."""
    return [
        f"{table}: {row} is still {row[-1]}"
        for table, key in (("runs", "id"), ("tasks", "run, task"), ("attempts", "run, task, number"))
        for row in connection.execute(f"SELECT {key}, state FROM {table} WHERE state NOT IN {_ENDED}")
    ]


def _contradictions(connection: sqlite3.Connection) -> list[str]:
    """Success stands on a seen exit code 0 (I8), a task ends as its attempt did, a run as its tasks."""
    rules = {
        "succeeded without exit code 0": """
            SELECT run, task FROM attempts WHERE state = 'succeeded' AND exit_code IS NOT 0""",
        "a task that is not what its last attempt is": """
            SELECT run, task, state FROM tasks AS t WHERE state != 'upstream_failed' AND EXISTS
                (SELECT 1 FROM attempts AS a WHERE a.run = t.run AND a.task = t.task) AND state !=
                (SELECT state FROM attempts AS a WHERE a.run = t.run AND a.task = t.task
                 ORDER BY number DESC LIMIT 1)""",
        "a succeeded run with a task that is not": """
            SELECT run, task FROM tasks WHERE state != 'succeeded' AND run IN
                (SELECT id FROM runs WHERE state = 'succeeded')""",
        "a task that was tried twice": "SELECT run, task FROM attempts WHERE number > 1",
    }
    return [f"{rule}: {row}" for rule, sql in rules.items() for row in connection.execute(sql)]


def _untold(connection: sqlite3.Connection) -> list[str]:
    """A change and its event are one transaction (I2): the last event of each row tells the state that it has."""
    last = {
        (run, task): json.loads(data)["state"]
        for run, task, data in connection.execute(
            "SELECT run, task, data FROM events WHERE kind NOT IN ('run_stopping') AND run IS NOT NULL ORDER BY seq"
        )
    }
    found = [((run, None), state) for run, state in connection.execute("SELECT id, state FROM runs")]
    found += [((run, task), state) for run, task, state in connection.execute("SELECT run, task, state FROM tasks")]
    return [f"{key} is {state}, the last event says {last.get(key)}" for key, state in found if last.get(key) != state]
