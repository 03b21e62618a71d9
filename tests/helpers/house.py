"""An engine on a real state file with a scripted launcher; it can be left, crash, and be opened again."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from barbossad.clock import Clock, SystemClock
from barbossad.config import Tasks
from barbossad.engine import recovery
from barbossad.engine.driver import Parts
from barbossad.engine.engine import Engine
from barbossad.engine.gate import Gate
from barbossad.engine.preparation import Preparation
from barbossad.engine.progress import RunProgress
from barbossad.errors import NotFoundError, StoreError
from barbossad.model.definition import WorkflowDefinition
from barbossad.model.names import RunId, VersionId, WorkflowName
from barbossad.model.records import LogRecord
from barbossad.model.states import TaskState, TriggerType
from barbossad.process.launcher import AttemptKey, LaunchSpec, ProcessEnd
from barbossad.store.database import Database
from barbossad.store.run_details import RunDetails
from barbossad.store.runs import RunStore
from barbossad.tasks import _registry as task_registry
from barbossad.tasks._report import Report
from barbossad.workflows import params as workflow_params
from barbossad.workflows.loader import Loader
from tests.helpers.clock import StillClock
from tests.helpers.scripted import ScriptedLauncher, ScriptedProcess
from tests.helpers.waiting import eventually_async

LIMIT_SECONDS = 60


class House:
    """What a daemon would have, as far as runs are concerned."""

    def __init__(
        self, database: Database, workflows: Mapping[str, WorkflowDefinition], clock: Clock, limit: int
    ) -> None:
        self.database = database
        self.runs = RunStore(database)
        self.launcher = ScriptedLauncher()
        self.launcher.monotonic = clock.monotonic
        self.workflows = dict(workflows)
        self.discarded: list[LogRecord] = []
        self.logs: dict[AttemptKey, LogRecord] = {}
        """What a recovery finds of the output of attempts."""

        self.unprepared: dict[str, Exception] = {}
        """Tasks of which no attempt can be made, and why."""

        preparation = Preparation(
            TYPES, Tasks(), "host", lambda name: f"the secret {name}",
            has_default_profile=False, now_ms=clock.now_ms,
        )  # fmt: skip
        self._preparation = preparation
        self.clock = clock
        self.parts = Parts(
            clock=clock,
            database=database,
            runs=self.runs,
            launcher=self.launcher,
            prepare=self._prepare,
            evaluate=preparation.value,
            prepare_approval=preparation.approval,
            prepare_call=preparation.call,
            find=self._find_in_force,
            parse_outputs=_parse_outputs,
            read_stdout=lambda log: (log.text or b"").decode(),
            boot_id="this-boot",
            discard_log=self.discarded.append,
        )
        self.engine = Engine(self.parts, Gate(), limit=limit)
        self.timers: HandTimers | None = None
        if isinstance(clock, StillClock):  # then time passes when the test says so
            self.timers = HandTimers(clock)
            self.launcher.now_ms = clock.now_ms
            self.engine._at = self.timers.at  # type: ignore[method-assign, assignment]
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
                await house.engine.close()  # who waits for a called run goes with it

    def _abandon(self) -> None:
        """Let nothing that the engine still waits for come: the process that it lived in is no more."""
        if self.engine.crash.cancelled():
            return
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

    async def recover(self, *, is_rolled_back: bool = False) -> None:
        """Do what a new daemon does first, on the file of the one before or an older one that was put back."""
        await recovery.recover(self.engine, self.parts, self._find, self.logs.get, is_rolled_back=is_rolled_back)

    async def start(
        self, definition: WorkflowDefinition, *, params: Mapping[str, Any] | None = None, **more: Any
    ) -> RunId:
        """Start a run; return its id."""
        facts: dict[str, Any] = {"trigger": TriggerType.MANUAL, "requested_by": "anne"}
        bound = workflow_params.bind(definition, params or {}) if definition.params else params or {}
        started = await self.engine.start_run(definition, params=bound, **{**facts, **more})
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

    async def launched(self, task_id: str) -> ScriptedProcess:
        """Return the next process that is launched, which is that of this task."""
        process = await self.launcher.next()
        assert process.task == task_id
        return process

    async def running(self, run_id: RunId, index: int = 0) -> None:
        """Return when it is recorded that the process of a task, the first if none is named, exists."""

        def runs() -> bool:
            progress = self.engine.progress(run_id)
            return progress is not None and progress.cells[index].record.state is TaskState.RUNNING

        await eventually_async(runs, LIMIT_SECONDS, "it runs")
        await self.settle()

    async def states(self, run_id: RunId) -> dict[str, str]:
        """Return the states of a run's tasks by id, and under the empty id its own, as the store has them."""
        await self.settle()
        details = await self.details(run_id)
        return {"": details.run.state.value} | {name: task.state.value for name, task in details.tasks.items()}

    async def settle(self) -> None:
        """Return when what was decided until now is recorded and has been acted on."""
        while True:
            await self.database.write(lambda _tx: None, is_fact=True)
            runs = self.engine._active.values()
            asked = [active.recording for active in runs]
            calls = [live for active in runs for live in active.live.values() if live.call and not live.child]
            is_called = not calls or self.engine.gate.is_stopping
            if is_called and all(recording is None or recording.done() for recording in asked):
                return

    async def refuse_something(self) -> None:
        """Ask for a change of a locked file, so that the fault is noticed."""
        with contextlib.suppress(StoreError):
            await self.database.write(lambda _tx: None)
        assert self.database.fault is not None

    async def crash(self) -> None:
        """Let nothing come of what the engine still waits for, as if its process had ended here."""
        await self.settle()
        self._abandon()
        await self.engine.close()

    async def advance(self, seconds: float) -> None:
        """Let so much time pass: what is due on the way happens at its instant, and is recorded."""
        assert self.timers is not None
        async for _ in self.timers.advance(seconds):
            await self.settle()
        await self.settle()

    def _prepare(self, progress: RunProgress, index: int, number: int) -> LaunchSpec:
        cell = progress.cells[index]
        if cell.id in self.unprepared:
            raise self.unprepared[cell.id]
        if cell.task.params is not None:
            return self._preparation.launch_spec(progress, index, number)
        return LaunchSpec(key=AttemptKey(progress.run.id, cell.id, number), argv=("true",), env={}, working_dir="/")

    async def _find(self, name: WorkflowName, version: VersionId) -> WorkflowDefinition:
        if name not in self.workflows:
            raise NotFoundError("version", version)
        return self.workflows[name]

    async def _find_in_force(self, name: WorkflowName) -> WorkflowDefinition:
        if name not in self.workflows:
            raise NotFoundError("workflow", name)
        return self.workflows[name]


class _Timer:
    """What a ``HandTimers`` holds, as the engine sees it."""

    def __init__(self, call: Callable[[int], None]) -> None:
        self.call = call
        self.is_cancelled = False

    def cancel(self) -> None:
        """See ``asyncio.TimerHandle``."""
        self.is_cancelled = True


class HandTimers:
    """The engine's timers, in the hand of a test that moves the clock."""

    def __init__(self, clock: StillClock) -> None:
        self._clock = clock
        self._waiting: list[tuple[int, int, _Timer]] = []
        self._count = 0

    def at(self, due_ms: int, call: Callable[..., None], *facts: object) -> _Timer:
        """See ``Driver._at``."""
        timer = _Timer(partial(call, *facts))
        self._count += 1
        heapq.heappush(self._waiting, (due_ms, self._count, timer))
        return timer

    async def advance(self, seconds: float) -> AsyncIterator[None]:
        """Move the clock from one due instant to the next, doing what is due; yield after each."""
        until_ms = self._clock.at_ms + round(seconds * 1000)
        while self._waiting and self._waiting[0][0] <= until_ms:
            due_ms, _, timer = heapq.heappop(self._waiting)
            if not timer.is_cancelled:
                self._clock.at_ms = max(self._clock.at_ms, due_ms)
                timer.call(self._clock.at_ms)
                yield
        self._clock.at_ms = until_ms

    @property
    def count(self) -> int:
        """How many have not come and were not cancelled."""
        return sum(1 for _, _, timer in self._waiting if not timer.is_cancelled)


TYPES = task_registry.discover().types


def load(text: str) -> WorkflowDefinition:
    """Return a workflow file as it is checked and compiled."""
    return Loader(TYPES).load(text)


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
