"""A past to prune: runs that have ended, of any age and size, with logs in the store and in files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from barbossad.model.records import LogRecord
from barbossad.model.states import AttemptState, RunState, TaskState
from barbossad.process.launcher import AttemptKey
from barbossad.process.output.logs import LogFolder
from barbossad.store.changes import AttemptEnded, AttemptStarting, Change, RunCreated
from barbossad.store.database import Database
from tests.helpers.records import NOON_MS, attempt, moved, run, run_id, task

DAY_MS = 86_400_000


def past(number: int, workflow: str = "backup", *, text: bytes = b"", path: str | None = None) -> list[Change]:
    """Return all that happened to a run that was made so many milliseconds after noon and took one."""
    at: dict[str, Any] = {"started_at_ms": NOON_MS + number}
    end: dict[str, Any] = {**at, "finished_at_ms": NOON_MS + number + 1}
    log = LogRecord(text=text or None, path=path, size_bytes=len(text) or 1)
    return [
        *present(number, workflow),
        AttemptEnded(
            task(TaskState.SUCCEEDED, number=number, outputs={"of": "x" * 50}, **end),
            attempt(AttemptState.SUCCEEDED, number=number, exit_code=0, log=log, **end),
        ),
        moved(run(number, workflow, state=RunState.SUCCEEDED, **end)),
    ]


def present(number: int, workflow: str = "backup") -> list[Change]:
    """Return what happened to a run that is under way."""
    at: dict[str, Any] = {"started_at_ms": NOON_MS + number}
    return [
        RunCreated(run(number, workflow)),
        moved(run(number, workflow, state=RunState.RUNNING, **at)),
        AttemptStarting(task(number=number, **at), attempt(number=number, **at)),
    ]


async def record(database: Database, runs: Iterable[list[Change]]) -> None:
    """Put runs in the store."""
    for changes in runs:
        await database.record(changes, is_fact=True)


def write_log(logs: LogFolder, number: int, size_bytes: int = 10_000) -> str:
    """Write the file of the attempt's log; return its path in the folder of logs."""
    path = logs.path_of(AttemptKey(run_id(number), task(number=number).task_id, 1))
    file = logs.root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"x" * size_bytes)
    return path


def files(root: Path) -> list[str]:
    """Return every path below a folder."""
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


async def numbers(database: Database) -> list[int]:
    """Return which runs there are, as milliseconds after noon."""
    return [row[0] - NOON_MS for row in await database.read("SELECT id FROM runs ORDER BY id")]
