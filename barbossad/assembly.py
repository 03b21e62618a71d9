"""Put the parts of a daemon together, in the order of their start; leaving takes them apart in reverse."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from barbossad.alarm import Alarm
from barbossad.aside import Aside
from barbossad.clock import Clock, booted_at_ms
from barbossad.config import Config
from barbossad.engine import recovery
from barbossad.engine.driver import Parts
from barbossad.engine.engine import Engine
from barbossad.engine.gate import Gate
from barbossad.engine.preparation import Preparation
from barbossad.errors import StoreError
from barbossad.model.definition import WorkflowDefinition
from barbossad.model.names import WorkflowName
from barbossad.operations.services import Reloaded, Services
from barbossad.process import choice, procfs
from barbossad.process.launcher import Launcher
from barbossad.process.mounts import private_tmp
from barbossad.process.output.logs import LogFolder, stdout_of
from barbossad.retention.pruner import Pruner
from barbossad.scheduler import parts as scheduling
from barbossad.scheduler.scheduler import Scheduler
from barbossad.security.secrets import SecretSource
from barbossad.store import lock, mark
from barbossad.store.database import Database
from barbossad.store.events import EventStore
from barbossad.store.fires import FireStore
from barbossad.store.highwater import HighWater
from barbossad.store.holds import HoldStore
from barbossad.store.runs import RunStore
from barbossad.store.schedules import ScheduleStore
from barbossad.store.shown_runs import ShownRuns
from barbossad.store.workflows import WorkflowStore
from barbossad.systemd import Manager, folder_hint, is_read_only
from barbossad.tasks import _outputs as outputs
from barbossad.tasks import _registry as task_registry
from barbossad.tasks._types import TaskType
from barbossad.trusted import UntrustedFileError, check_folder, check_path
from barbossad.workflows.folder import WorkflowFolder
from barbossad.workflows.loader import Loader
from barbossad.workflows.reader import Reader
from barbossad.workflows.registry import Registry

DATABASE_FILE: Final = "barbossa.db"
LOG_FOLDER: Final = "logs"

log = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def open_services(
    config: Config,
    clock: Clock,
    *,
    config_path: Path | None = None,
    nofile_soft: int | None = None,
    manager: Manager | None = None,
) -> AsyncIterator[Services]:
    """Open the state, settle what an earlier daemon left, and yield the running parts.

    ``nofile_soft`` is the limit on open files that tasks get (None: that of this process); ``manager`` is systemd,
    where this process is a service of it. Raise AlreadyRunningError if another daemon owns the state folder, StoreError
    if the state is damaged or others may change it, UnavailableError if a process of an earlier daemon will not die.
    """
    _make_folders(config)
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(lock.own(config.state_dir))
        _at(manager, "the state file is opened and checked")
        database, high_water = await _open_store(config, clock, stack)
        _at(manager, "the workflows are read")
        task_types = task_registry.discover().types
        reader, workflows = await _open_workflows(database, task_types, clock, stack)
        runs = RunStore(database)
        logs = _log_folder(config, database)
        _at(manager, "what runs is looked up")
        launcher = await choice.started_launcher(config, clock, logs, nofile_soft=nofile_soft, manager=manager)
        gate = Gate()
        stack.push_async_callback(lambda: launcher.close(leave=gate.is_leaving))
        preparation = _preparation(config, clock, task_types, launcher)
        parts = parts_of(clock, database, runs, launcher, preparation, task_types, logs, workflows.runnable)
        engine = Engine(parts, gate, limit=config.tasks.limit)
        database.on_fault(gate.store_fault)
        launcher.on_fault = engine.fail
        stack.push_async_callback(engine.close)
        await _take_over(engine, parts, workflows, logs, high_water, manager)
        scheduler = await _scheduler(clock, database, high_water, runs, workflows, engine, stack)
        yield Services(
            clock=clock,
            config=config,
            config_path=config_path,
            database=database,
            runs=runs,
            shown_runs=ShownRuns(database),
            workflows=workflows,
            workflow_reader=reader,
            workflow_folder=WorkflowFolder(workflows, reader),
            engine=engine,
            scheduler=scheduler,
            fires=FireStore(database),
            launcher=launcher,
            logs=logs,
            preparation=preparation,
            task_types=task_types,
            pruner=Pruner(clock, database, logs, config.retention, lost_runs=high_water.lost_runs),
            high_water=high_water,
            aside=stack.enter_context(contextlib.closing(Aside("asked-for"))),
            showing=stack.enter_context(contextlib.closing(Aside("showing"))),
            started_monotonic=clock.monotonic(),
            reload=_nothing_to_reload,
        )


async def _open_workflows(
    database: Database, task_types: Mapping[str, TaskType], clock: Clock, stack: contextlib.AsyncExitStack
) -> tuple[Reader, Registry]:
    """Return what reads texts of workflows, and the workflows that the state file knows."""
    reader = stack.enter_context(contextlib.closing(Reader(Loader(task_types))))
    workflows = Registry(WorkflowStore(database), reader, clock)
    await workflows.open()
    return reader, workflows


async def _take_over(  # noqa: PLR0917 (the one place where they come together)
    engine: Engine, parts: Parts, workflows: Registry, logs: LogFolder, high_water: HighWater, manager: Manager | None
) -> None:
    """Settle what an earlier daemon began."""
    _at(manager, "what an earlier daemon began is taken over")
    is_rolled_back = high_water.rolled_back is not None
    await recovery.recover(engine, parts, workflows.begun, logs.recover, is_rolled_back=is_rolled_back)
    if manager is not None:
        manager.drop_kept()  # what nobody took over; not before it is known that no task lives in a unit
        manager.stage = "schedules are worked out"


async def _scheduler(  # noqa: PLR0917 (the one place where they come together)
    clock: Clock,
    database: Database,
    high_water: HighWater,
    runs: RunStore,
    workflows: Registry,
    engine: Engine,
    stack: contextlib.AsyncExitStack,
) -> Scheduler:
    """Return the scheduler, which knows what is due and waits for its loop to be run."""
    alarm = Alarm()
    stack.callback(alarm.close)
    scheduler = Scheduler(
        scheduling.Parts(
            clock=clock,
            alarm=alarm,
            schedules=ScheduleStore(database),
            fires=FireStore(database),
            holds=HoldStore(database),
            events=EventStore(database),
            runs=runs,
            workflows=workflows,
            runner=engine,
            host_name=socket.gethostname(),
            boot_id=procfs.boot_id(),
            booted_at_ms=booted_at_ms,
        )
    )
    stack.push_async_callback(scheduler.close)
    await scheduler.open(is_rolled_back=high_water.rolled_back is not None)
    await high_water.settled()  # runs were before this
    return scheduler


def parts_of(  # noqa: PLR0917 (the one place where they come together)
    clock: Clock,
    database: Database,
    runs: RunStore,
    launcher: Launcher,
    preparation: Preparation,
    task_types: Mapping[str, TaskType],
    logs: LogFolder,
    find: Callable[[WorkflowName], Awaitable[WorkflowDefinition]],
) -> Parts:
    """Return what the engine stands on."""
    return Parts(
        clock=clock,
        database=database,
        runs=runs,
        launcher=launcher,
        prepare=preparation.launch_spec,
        evaluate=preparation.value,
        prepare_approval=preparation.approval,
        prepare_call=preparation.call,
        find=find,
        parse_outputs=outputs.reader(task_types),
        read_stdout=partial(stdout_of, logs),
        boot_id=procfs.boot_id(),
        discard_log=logs.discard,
    )


def _at(manager: Manager | None, stage: str) -> None:
    """Note what the start is at, which systemd hears if it takes long."""
    if manager is not None:
        manager.stage = stage


async def _open_store(config: Config, clock: Clock, stack: contextlib.AsyncExitStack) -> tuple[Database, HighWater]:
    """Open the state file, which nobody else may change, and see whether it is the one that was closed last."""
    _check_state(config.state_dir)
    database = await stack.enter_async_context(Database.open(config.state_dir / DATABASE_FILE))
    high_water = HighWater(database, clock, mark.beside(database.path))
    await high_water.check()
    stack.push_async_callback(high_water.keep)
    return database, high_water


def _preparation(config: Config, clock: Clock, task_types: Mapping[str, TaskType], launcher: Launcher) -> Preparation:
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    secrets = SecretSource(config.secrets_dir, Path(credentials) if credentials else None)
    host_name = socket.gethostname()
    return Preparation(
        task_types, config.tasks, host_name, secrets.get,
        has_default_profile=launcher.has_default_profile, now_ms=clock.now_ms,
    )  # fmt: skip


def _make_folders(config: Config) -> None:
    for folder in (config.state_dir, config.runtime_dir):
        _make_own_folder(folder)
    _make_log_folder(config.state_dir / LOG_FOLDER)


def make_folder(folder: Path) -> None:
    """Make a folder that only its owner, and the group that it is given, may enter."""
    _make(folder)
    _check_writable(folder)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o750)
    except OSError as error:
        raise StoreError(f"cannot make the folder {folder}: {error.strerror}; {folder_hint(folder, error)}") from error


def _check_writable(folder: Path) -> None:
    if not os.access(folder, os.W_OK | os.X_OK):
        refused = OSError(errno.EROFS if is_read_only(folder) else errno.EACCES, "")
        raise StoreError(f"may not write into the folder {folder}; {folder_hint(folder, refused)}")


def _check_lasts(folder: Path) -> None:
    """Raise StoreError for a folder that would be gone after a restart, with all that lies in it."""
    own = private_tmp(str(folder.resolve()))
    if own is not None:
        raise StoreError(
            f"{folder} lies in a {own} that systemd makes for this service alone (PrivateTmp=) and removes when it "
            "stops; name another folder in the configuration (docs/systemd.md, `To have a folder elsewhere`)"
        )


def _make_own_folder(folder: Path) -> None:
    """Make a folder whose content is believed: who may change that may do all that the daemon may."""
    _check_lasts(folder)
    make_folder(folder)
    with _believed():
        check_folder(folder)


def _make_log_folder(folder: Path) -> None:
    """Make the folder of logs. A disk of its own that takes none keeps no daemon from what it has to do.

    It ends none that runs either; and tasks of the daemon before this one may wait to be taken over.
    """
    _check_lasts(folder)
    _make(folder)
    with _believed():
        check_folder(folder)
    try:
        _check_writable(folder)
    except StoreError as error:
        log.error("no logs can be written, and of what tasks print little is kept: %s", error,  # noqa: TRY400 (a sentence)
                  extra={"action": "logs_unwritable"})  # fmt: skip


def _log_folder(config: Config, database: Database) -> LogFolder:
    """Return the folder of logs, which leaves the last room of a disk to the state file."""
    logs = LogFolder(root=config.state_dir / LOG_FOLDER, cap_bytes=config.tasks.log_limit)
    logs.losses.is_full = lambda: database.is_out_of_room
    logs.losses.found_full = database.look_for_room
    return logs


def _check_state(state_dir: Path) -> None:
    """Raise StoreError if others may change what is believed in a state folder: one that was copied, say."""
    database = state_dir / DATABASE_FILE
    real = database.resolve()  # beside which SQLite has its log
    with _believed():
        for path in (database, real.with_name(f"{real.name}-wal"), real.with_name(f"{real.name}-shm")):
            check_path(path)
        check_path(mark.beside(database))


@contextlib.contextmanager
def _believed() -> Iterator[None]:
    try:
        yield
    except UntrustedFileError as error:
        raise StoreError(f"{error} ({error.hint})") from error


async def _nothing_to_reload() -> Reloaded:
    return Reloaded(changed=(), needing_restart=(), faults=())
