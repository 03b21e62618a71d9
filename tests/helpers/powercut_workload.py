"""What the power is cut in: a state file under its real ``Database``, and a line for each change that is acknowledged.

Each run is the fire of a schedule, which has to be there if and only if the run is.

Usage: FOLDER RUNS SYNCHRONOUS [DELETED]. Lines of ``FOLDER/told.acks``: the number of a run and the state that was
promised. Of each ten runs DELETED are deleted again, and the room is given back: that is told before and after.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
from pathlib import Path
from typing import Any

from barbossad.model.schedules import FireOutcome, FireState
from barbossad.model.states import AttemptState, RunState, TaskState
from barbossad.store import database as databases
from barbossad.store.changes import AttemptEnded, AttemptStarting, Change, RunCreated
from barbossad.store.database import Database
from barbossad.store.retention import History
from tests.helpers.records import NOON_MS, attempt, moved, task
from tests.helpers.schedule_records import HOURLY, Stores, schedule, scheduled, started

SESSIONS = 3
AT_ONCE = 6
PAGES = 4
CREATED, STARTED, ENDED = "queued", "running", "succeeded"
DELETING, DELETED = "deleting", "deleted"


def steps(number: int) -> list[tuple[str, list[Change]]]:
    """Return the three commits of a run's life."""
    begun: dict[str, Any] = {"started_at_ms": NOON_MS + number}
    ended = {**begun, "finished_at_ms": NOON_MS + number + 1}
    output = attempt(AttemptState.SUCCEEDED, number=number, exit_code=0, **ended)
    return [
        (CREATED, [RunCreated(scheduled(number)), started(scheduled(number), watermark=NOON_MS + number)]),
        (
            STARTED,
            [
                moved(scheduled(number, state=RunState.RUNNING, **begun)),
                AttemptStarting(task(number=number, **begun), attempt(number=number, **begun)),
            ],
        ),
        (
            ENDED,
            [
                AttemptEnded(task(TaskState.SUCCEEDED, number=number, outputs={"of": "x" * 900}, **ended), output),
                moved(scheduled(number, state=RunState.SUCCEEDED, reason="y" * 700, **ended)),
            ],
        ),
    ]


async def work(path: Path, numbers: range, acks: int, deleted: int) -> None:
    """Bring runs to their end, some at a time, and tell each step once it is committed."""
    left = iter(numbers)

    async def forget(database: Database, number: int) -> None:
        history = History(database)
        os.write(acks, f"{number} {DELETING}\n".encode())
        await history.delete([NOON_MS + number], at_ms=NOON_MS, by="test")
        os.write(acks, f"{number} {DELETED}\n".encode())
        await history.give_back(PAGES)
        if number % 20 < AT_ONCE:
            await history.checkpoint()

    async def one_after_another(database: Database) -> None:
        schedules = Stores(database)
        for number in left:
            for state, changes in steps(number):
                await database.record(changes, is_fact=state != CREATED)
                os.write(acks, f"{number} {state}\n".encode())
            then = FireOutcome(state=FireState.SUCCEEDED, failures=0)
            await schedules.fires.settle(started(scheduled(number)).fire, then, at_ms=NOON_MS)
            if number % 10 < deleted:
                await forget(database, number)

    async with Database.open(path, readers=1) as database:
        if await Stores(database).schedules.get(HOURLY) is None:
            await Stores(database).schedules.add(schedule())
        await asyncio.gather(*(one_after_another(database) for _ in range(AT_ONCE)))


def main(folder: str, runs: str, synchronous: str, deleted: str = "0") -> None:
    """Work in several sessions, so that the log is also seen to come and go."""
    databases._WRITER_PRAGMAS = (*databases._WRITER_PRAGMAS, f"PRAGMA synchronous = {synchronous}")  # type: ignore[misc]
    acks = os.open(Path(folder) / "told.acks", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    borders = [int(runs) * part // SESSIONS for part in range(SESSIONS + 1)]
    for first, last in itertools.pairwise(borders):
        asyncio.run(work(Path(folder) / "barbossa.db", range(first, last), acks, int(deleted)))
    os.close(acks)


if __name__ == "__main__":
    main(*sys.argv[1:])
