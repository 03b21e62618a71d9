"""An engine on a real state file with a scripted launcher; it can be left, crash, and be opened again."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any

from barbossad.clock import Clock, SystemClock
from barbossad.engine import recovery
from barbossad.engine.engine import Engine, Parts
from barbossad.engine.gate import Gate
from barbossad.engine.progress import RunProgress
from barbossad.errors import NotFoundError, StoreError
from barbossad.model.definition import WorkflowDefinition
from barbossad.model.names import RunId, VersionId, WorkflowName
from barbossad.model.records import LogRecord
from barbossad.model.states import TriggerType
from barbossad.process.launcher import AttemptKey, LaunchSpec, ProcessEnd
from barbossad.store.database import Database
from barbossad.store.runs import RunDetails, RunStore
from barbossad.tasks._report import Report
from tests.helpers.scripted import ScriptedLauncher

LIMIT_SECONDS = 15


class House:
    """What a daemon would have, as far as runs are concerned."""

    def __init__(
        self, database: Database, workflows: Mapping[str, WorkflowDefinition], clock: Clock, limit: int
    ) -> None:
        self.database = database
        self.runs = RunStore(database)
        self.launcher = ScriptedLauncher()
        self.workflows = dict(workflows)
        self.discarded: list[LogRecord] = []
        self.logs: dict[AttemptKey, LogRecord] = {}
        """What a recovery finds of the output of attempts."""

        self.unprepared: dict[str, Exception] = {}
        """Tasks of which no attempt can be made, and why."""

        self.parts = Parts(
            clock=clock,
            database=database,
            runs=self.runs,
            launcher=self.launcher,
            prepare=self._prepare,
            parse_outputs=_parse_outputs,
            boot_id="this-boot",
            discard_log=self.discarded.append,
        )
        self.engine = Engine(self.parts, Gate(), limit=limit)
        database.on_fault(self.engine.gate.store_fault)

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls, path: Path, *workflows: WorkflowDefinition, limit: int = 8, clock: Clock | None = None
    ) -> AsyncIterator[House]:
        """Open the state file; nothing is recovered yet. Leaving without ``engine.stop`` is a crash."""
        async with Database.open(path, busy_seconds=0.05, retry_seconds=0.02) as database:
            known: dict[str, WorkflowDefinition] = {definition.name: definition for definition in workflows}
            house = cls(database, known, clock or SystemClock(), limit)
            try:
                yield house
            finally:
                house._abandon()

    def _abandon(self) -> None:
        """Let nothing that the engine still waits for come: the process that it lived in is no more."""
        for active in self.engine._active.values():
            active.disarm()
            for live in active.live.values():
                if live.timeout is not None:
                    live.timeout.cancel()
        self.engine._live._spawned.clear()
        if self.engine.crash.done():
            self.engine.crash.exception()
        else:
            self.engine.crash.cancel()  # what processes still tell the engine is no fault of anybody

    async def recover(self) -> None:
        """Do what a new daemon does first."""
        await recovery.recover(self.engine, self.parts, self._find, self.logs.get)

    async def start(self, definition: WorkflowDefinition, **more: Any) -> RunId:
        """Start a run; return its id."""
        facts: dict[str, Any] = {"params": {}, "trigger": TriggerType.MANUAL, "requested_by": "anne"}
        started = await self.engine.start_run(definition, **{**facts, **more})
        return started.run.id if isinstance(started, RunDetails) else started

    async def ended(self, run_id: RunId) -> RunDetails:
        """Return a run after its end, as the store has it."""
        async with asyncio.timeout(LIMIT_SECONDS):
            told = await self.engine.wait(run_id)
        details = await self.details(run_id)
        assert told is None or (told.run, told.tasks) == (details.run, details.tasks)
        return details

    async def details(self, run_id: RunId) -> RunDetails:
        """Return a run as the store has it."""
        found = self.runs.get(run_id)
        assert found is not None
        return found

    async def settle(self) -> None:
        """Return when what was decided until now is recorded and has been acted on."""
        await self.database.write(lambda _tx: None, is_fact=True)

    async def refuse_something(self) -> None:
        """Ask for a change of a locked file, so that the fault is noticed."""
        with contextlib.suppress(StoreError):
            await self.database.write(lambda _tx: None)
        assert self.database.fault is not None

    def _prepare(self, progress: RunProgress, position: int, number: int) -> LaunchSpec:
        task = progress.definition.tasks[position]
        if task.id in self.unprepared:
            raise self.unprepared[task.id]
        key = AttemptKey(progress.run.id, task.id, number)
        return LaunchSpec(key=key, argv=("true",), env={}, working_dir="/")

    async def _find(self, name: WorkflowName, version: VersionId) -> WorkflowDefinition:
        if name not in self.workflows:
            raise NotFoundError("version", version)
        return self.workflows[name]


def _parse_outputs(_task_type: str, end: ProcessEnd) -> Report:
    if end.output == b"nonsense":
        return Report(failure="its outputs cannot be read: line 1 is no output")
    return Report(outputs=None if end.output is None else {"written": end.output.decode()})


class Blocker:
    """A change that holds the writer in the middle of its transaction until it is let go."""

    def __init__(self, database: Database) -> None:
        self._is_inside = threading.Event()
        self._may_go_on = threading.Event()
        self.done = database.write(self._wait)

    async def inside(self) -> None:
        """Return when the transaction has begun."""
        assert await asyncio.to_thread(self._is_inside.wait, LIMIT_SECONDS)

    def let_go(self) -> None:
        """Let the transaction go on."""
        self._may_go_on.set()

    def _wait(self, _tx: sqlite3.Connection) -> None:
        self._is_inside.set()
        assert self._may_go_on.wait(LIMIT_SECONDS)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a state file as another process would that writes to it and does not come to an end."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        try:
            yield
        finally:
            other.execute("ROLLBACK")
