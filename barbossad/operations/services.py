"""What operations work with, handed in by the composition root, and who calls them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from barbossad.aside import Aside
from barbossad.clock import Clock
from barbossad.config import Config
from barbossad.engine.engine import Engine
from barbossad.engine.preparation import Preparation
from barbossad.errors import Fault
from barbossad.process.launcher import Launcher
from barbossad.process.output.logs import LogFolder
from barbossad.retention.pruner import Pruner
from barbossad.scheduler.scheduler import Scheduler
from barbossad.security.access import Caller
from barbossad.store.database import Database
from barbossad.store.fires import FireStore
from barbossad.store.highwater import HighWater
from barbossad.store.run_details import RunDetails
from barbossad.store.runs import RunStore
from barbossad.store.shown_runs import ShownRuns
from barbossad.tasks._types import TaskType
from barbossad.wire import Encoded
from barbossad.workflows.folder import WorkflowFolder
from barbossad.workflows.reader import Reader
from barbossad.workflows.registry import Registry

LOGS_READ_AT_ONCE: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Reloaded:
    """What a reload did: the settings in force anew, those that wait for a restart, and faults of files."""

    changed: tuple[str, ...]
    needing_restart: tuple[str, ...]
    faults: tuple[Fault, ...]


@dataclass(slots=True, kw_only=True)
class Services:
    """The parts of a running daemon."""

    clock: Clock
    config: Config
    config_path: Path | None
    database: Database
    runs: RunStore
    shown_runs: ShownRuns
    workflows: Registry
    workflow_reader: Reader
    workflow_folder: WorkflowFolder
    engine: Engine
    scheduler: Scheduler
    fires: FireStore
    launcher: Launcher
    logs: LogFolder
    preparation: Preparation
    task_types: Mapping[str, TaskType]
    pruner: Pruner
    high_water: HighWater
    aside: Aside
    """Where is computed what callers ask for that may take long, and that changes nothing."""

    showing: Aside
    """Where what is told of large runs is put together: not behind what may take seconds."""

    started_monotonic: float
    reload: Callable[[], Any]
    """Reads the config and the workflow files again; awaited, it gives a ``Reloaded``."""

    log_reading: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(LOGS_READ_AT_ONCE))
    """Held while a piece of a log file is in memory and not yet an answer."""

    backing_up: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a backup of the state file is made."""

    retrying: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held from the question whether a run was retried until its retry is recorded: an approval holds for one."""

    shared: dict[tuple[int, bool], tuple[RunDetails, asyncio.Task[Encoded]]] = field(default_factory=dict)
    """What is told to many at once: by the identity of the run that ended, kept with it, and whether in brief."""

    files_fault: str = ""
    """What of the config and the workflow files is not in force since they were read last, and why."""

    is_stopping: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """One call: by whom, on what."""

    services: Services
    caller: Caller
