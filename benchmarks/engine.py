"""engine: what the engine itself takes for a task, and whether large workflows cost in proportion to their size.

The engine works in this process, on a real state file, with a launcher whose processes have ended before they began.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path

from barbossad.assembly import parts_of
from barbossad.clock import SystemClock
from barbossad.config import Tasks
from barbossad.engine.engine import Engine
from barbossad.engine.gate import Gate
from barbossad.engine.preparation import Preparation
from barbossad.errors import NotFoundError
from barbossad.model.definition import WorkflowDefinition
from barbossad.model.names import SecretName
from barbossad.model.records import AttemptRecord, LogRecord
from barbossad.model.states import RunState, TriggerType
from barbossad.process.launcher import (
    AttemptKey,
    EndCause,
    Finding,
    Launcher,
    LaunchSpec,
    LiveLog,
    Process,
    ProcessEnd,
    Watcher,
)
from barbossad.process.output.logs import LogFolder
from barbossad.store.database import Database
from barbossad.store.run_details import RunDetails
from barbossad.store.runs import RunStore
from barbossad.tasks import _registry as task_registry
from barbossad.workflows.loader import Loader
from benchmarks.harness import Bench, Figure, seconds

TASKS = 10_000
SMALL = 1_000
COMMITS = 2_000
MOST_MS = 0.5
"""What the engine may take for a task in a chain."""

MOST_GROWTH = 1.6
"""How much more a task of a large workflow may take than one of a workflow a tenth as large."""


class _Ended:
    """A process that did nothing and is over."""

    pid = pid_started_ticks = None
    invocation_id = None

    @property
    def log(self) -> LiveLog:
        """See ``launcher.Process``."""
        raise NotImplementedError("nobody follows it")

    def stop(self, grace_seconds: float) -> None:
        """See ``launcher.Process``."""

    def release(self) -> None:
        """See ``launcher.Process``."""


class NoLauncher(Launcher):
    """Tells of the end of every attempt in the next turn of the loop."""

    name = "none"

    async def start(self) -> None:
        """See ``launcher.Launcher``."""

    def launch(self, spec: LaunchSpec, watcher: Watcher) -> Process:  # noqa: ARG002 (the interface names it)
        """See ``launcher.Launcher``."""
        process = _Ended()
        now_ms = time.time_ns() // 1_000_000
        end = ProcessEnd(cause=EndCause.EXITED, exit_code=0, finished_at_ms=now_ms, log=LogRecord())
        asyncio.get_running_loop().call_soon(watcher.ended, process, end)
        return process

    async def survey(self, attempts: Sequence[AttemptRecord]) -> Mapping[AttemptKey, Finding]:  # noqa: ARG002
        """See ``launcher.Launcher``."""
        return {}

    async def close(self, *, leave: bool = False) -> None:
        """See ``launcher.Launcher``."""


def run(bench: Bench) -> list[Figure]:
    """Measure a chain against bare commits, then shapes of two sizes against each other."""
    chain = asyncio.run(_ran(bench.folder, _chain(TASKS)))
    commit = _commit_seconds(bench.folder)
    figures = [
        Figure(
            workload="engine",
            what="a task of a chain of 10,000, beyond its process and a bare commit",
            value=(chain.run_seconds / TASKS - commit) * 1000,
            unit="ms",
            bar=MOST_MS,
            note=f"in all {seconds(chain.run_seconds / TASKS)}, a bare commit {seconds(commit)}; "
            f"loaded in {seconds(chain.load_seconds)}, {chain.grown_mb:.0f} MB",
        )
    ]
    shapes: dict[str, Callable[[int], str]] = {"fan-out": _fan, "for_each": _loop, "chain": _chain}
    for name, make in shapes.items():
        small, large = (asyncio.run(_ran(bench.folder, make(size))) for size in (SMALL, TASKS))
        growth = (large.run_seconds / TASKS) / (small.run_seconds / SMALL)
        note = f"{TASKS:,} tasks: loaded in {seconds(large.load_seconds)}, ran in {seconds(large.run_seconds)}"
        note += f", {large.grown_mb:.0f} MB"
        figures.append(
            Figure(
                workload="engine",
                what=f"{name}: a task of 10,000 against one of 1,000",
                value=growth,
                unit="x",
                bar=MOST_GROWTH,
                note=note,
            )
        )
    dense = {edges: _load_seconds(_dense(1_000, edges)) for edges in (10_000, 100_000)}
    figures.append(
        Figure(
            workload="engine",
            what="load an edge of 100,000 against one of 10,000",
            value=dense[100_000] / dense[10_000] / 10,
            unit="x",
            bar=MOST_GROWTH,
            note=f"100,000 edges in {seconds(dense[100_000])}",
        )
    )
    return figures


def _chain(size: int) -> str:
    return "name: chain\ntasks:\n" + "".join(f"  - id: t{number}\n    shell: [true]\n" for number in range(size))


def _fan(size: int) -> str:
    tasks = "".join(f"  - {{id: t{number}, depends_on: [], shell: [true]}}\n" for number in range(size))
    return f"name: fan\ntasks:\n{tasks}"


def _loop(size: int) -> str:
    return f'name: loop\ntasks:\n  - id: each\n    for_each: "{{{{ range({size}) }}}}"\n    shell: [true]\n'


def _dense(size: int, edges: int) -> str:
    each = edges // size
    tasks = []
    for number in range(size):
        before = ", ".join(f"t{other}" for other in range(max(0, number - each), number))
        tasks.append(f"  - {{id: t{number}, depends_on: [{before}], shell: [true]}}\n")
    return f"name: dense\ntasks:\n{''.join(tasks)}"


def _load_seconds(text: str) -> float:
    started = time.perf_counter()
    Loader(task_registry.load()).load(text)
    return time.perf_counter() - started


class _Ran:
    """How long a workflow took, and how much memory."""

    load_seconds = run_seconds = grown_mb = 0.0


async def _ran(folder: Path, text: str) -> _Ran:
    ran = _Ran()
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    task_types = task_registry.load()
    definition = Loader(task_types).load(text)
    ran.load_seconds = time.perf_counter() - started
    async with _engine(folder) as engine:
        started = time.perf_counter()
        details = await engine.start_run(definition, params={}, trigger=TriggerType.MANUAL, requested_by="bench")
        assert isinstance(details, RunDetails)
        ended = await engine.wait(details.run.id)
        ran.run_seconds = time.perf_counter() - started
    assert ended is not None
    assert ended.run.state is RunState.SUCCEEDED
    ran.grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib) / 1024
    return ran


@contextlib.asynccontextmanager
async def _engine(folder: Path) -> AsyncIterator[Engine]:
    path = folder / f"language-{time.monotonic_ns()}.db"
    task_types = task_registry.load()
    launcher = NoLauncher()
    clock = SystemClock()
    preparation = Preparation(task_types, Tasks(), "bench", _no_secret, has_default_profile=False, now_ms=clock.now_ms)
    async with Database.open(path) as database:
        logs = LogFolder(root=folder)
        parts = parts_of(clock, database, RunStore(database), launcher, preparation, task_types, logs, _find)
        engine = Engine(parts, Gate(), limit=16)
        try:
            yield engine
        finally:
            await engine.close()
    path.unlink()


async def _find(name: str) -> WorkflowDefinition:
    raise NotFoundError("workflow", name)


def _no_secret(name: SecretName) -> str:
    raise NotFoundError("secret", name)


def _commit_seconds(folder: Path) -> float:
    """Return what a commit of one row takes, as the state file is written."""
    with contextlib.closing(sqlite3.connect(folder / "bare.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE bare (number INTEGER PRIMARY KEY, text TEXT)")
        started = time.perf_counter()
        for number in range(COMMITS):
            connection.execute("INSERT INTO bare VALUES (?, 'succeeded')", (number,))
        return (time.perf_counter() - started) / COMMITS
