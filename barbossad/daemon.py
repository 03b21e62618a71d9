"""The daemon: stages of start and stop, signals, reload, watchdog."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import grp
import logging
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from barbossad import __version__
from barbossad import config as configs
from barbossad import log as logs
from barbossad.assembly import make_folder, open_services
from barbossad.clock import SystemClock
from barbossad.config import Config
from barbossad.errors import BarbossaError, Fault, InvalidConfigError, InvalidWorkflowError
from barbossad.model.states import StopCause
from barbossad.operations import registry
from barbossad.operations.services import Reloaded, Services
from barbossad.process.launcher import STOP_KIND_SECONDS, StopKind
from barbossad.process.systemd.kept import tasks_wait
from barbossad.retention.loop import RetentionLoop
from barbossad.rpc.dispatch import Dispatcher
from barbossad.rpc.server import Server, own_socket
from barbossad.security.access import AccessTable
from barbossad.systemd import Manager

DRAIN_SECONDS: Final = 5.0
"""Beyond the grace of tasks: until killed ones have ended, and once more until that is recorded."""

ANSWER_SECONDS: Final = 2.0
"""How long calls under way may take to be answered when the daemon stops."""

START_SIGN_SECONDS: Final = 5.0
"""How often systemd hears of a start that takes long: a large state file is checked, many tasks are taken over."""

START_PATIENCE_SECONDS: Final = 60.0
"""How much longer it is to wait each time; the unit's ``TimeoutStartSec`` ends only a start that says nothing."""

RELEASE_SECONDS: Final = 10.0
"""How long the launcher and the store may take to be closed."""

COLLECTIONS: Final = (2_000, 500, 10)
"""When the garbage collector looks for cycles (``gc.set_threshold``): at what is young often and in small pieces, at
what has lived for a while seldom. Runs leave no cycles behind, and to look at a burst of them takes 10 ms."""

SWITCH_SECONDS: Final = 0.0005
"""How long a thread may keep the interpreter from another: the loop and the store's writer take turns all the time."""

GROUP: Final = "barbossa"
MOST_DESCRIPTORS: Final = 65536

_REFUSED: Final = {"action": "reload_refused"}

log = logging.getLogger(__name__)


def longest_stop_seconds() -> float:
    """Return how long a stop may take at most; the unit's ``TimeoutStopSec`` is above it."""
    tasks_seconds = configs.MAX_SHUTDOWN_GRACE_SECONDS + 2 * DRAIN_SECONDS
    return STOP_KIND_SECONDS + tasks_seconds + ANSWER_SECONDS + RELEASE_SECONDS


class Daemon:
    """One run of ``barbossad``."""

    def __init__(self, config: Config, config_path: Path | None, *, is_user: bool) -> None:
        self._config = config
        self._config_path = config_path
        self._is_user = is_user
        self._manager = Manager()
        self._stop = asyncio.Event()
        self._hurry = asyncio.Event()
        self._reload = asyncio.Event()
        self._is_ready = False
        self._reloading = asyncio.Lock()
        self._services: Services | None = None
        self._server: Server | None = None
        self._retention: RetentionLoop | None = None

    async def run(self) -> None:
        """Start, serve until told to stop, stop. Raise BarbossaError if it cannot start or must end."""
        soft_limit = _raise_descriptor_limit()
        self._config = self._with_true_socket(self._config)
        self._catch_signals()
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(self._manager.close)
            patience = asyncio.create_task(self._ask_for_patience(), name="patience")
            stack.callback(patience.cancel)
            services = await stack.enter_async_context(
                open_services(
                    self._config,
                    SystemClock(),
                    config_path=self._config_file(),
                    nofile_soft=soft_limit,
                    manager=self._manager,
                )
            )
            self._services = services
            services.reload = self._reload_now
            server = Server(services, Dispatcher(registry.load()), AccessTable(self._config.access))
            self._server = server
            self._retention = RetentionLoop(services.pruner)
            sockets = list(self._manager.sockets)
            for path in self._manager.paths:
                if not path.exists():
                    log.error("%s is gone; nobody reaches this daemon: systemctl restart barbossad.socket barbossad",
                              path, extra={"action": "socket_gone"})  # fmt: skip
            if not sockets:
                sockets = [await stack.enter_async_context(self._own_socket())]
            applied, faults = await services.workflow_folder.apply(self._config.workflows_dir)
            services.files_fault = _of_refused(faults)
            await _schedules_changed(services, applied)
            services.database.on_fault(self._store_fault)
            services.workflows.counted = services.engine.gate.drained = self._show_status
            services.logs.losses.changed = self._show_status
            server.listen(sockets)
            gc.collect()
            gc.freeze()  # what stands now stands until the end: later collections need not walk it
            gc.set_threshold(*COLLECTIONS)
            sys.setswitchinterval(SWITCH_SECONDS)
            patience.cancel()
            self._manager.ready(self._status())
            self._is_ready = True
            log.info(
                "barbossad %s is ready: %d workflows, listening at %s", __version__, len(services.workflows),
                self._config.socket, extra={"action": "ready", "pid": os.getpid()},
            )  # fmt: skip
            await self._serve(services)
            await self._end(services, server)
        log.info("barbossad has stopped", extra={"action": "stopped"})

    async def _ask_for_patience(self) -> None:
        """Have systemd wait for a start that takes long, for as long as this loop lives."""
        begun = time.monotonic()
        while True:
            await asyncio.sleep(START_SIGN_SECONDS)
            taken = round(time.monotonic() - begun)
            self._manager.starting(f"starting for {taken} s: {self._manager.stage}", START_PATIENCE_SECONDS)

    def tell_of_tasks(self) -> None:
        """Say, if the start failed, what becomes of the tasks of the daemon before this one."""
        if not self._is_ready:
            tasks_wait(self._manager)

    async def _serve(self, services: Services) -> None:
        """Run the loops until a signal says stop, or one of them cannot go on."""
        stopping = asyncio.create_task(self._stop.wait(), name="stop-signal")
        loops: list[asyncio.Task[Any]] = [stopping, asyncio.create_task(self._reload_on_signal(), name="reload-signal")]
        loops.append(asyncio.create_task(services.high_water.run(), name="high-water"))
        loops.append(asyncio.create_task(services.scheduler.run(), name="scheduler"))
        if self._retention is not None:
            loops.append(asyncio.create_task(self._retention.run(), name="retention"))
        if self._manager.watchdog_seconds:
            loops.append(asyncio.create_task(self._feed_watchdog(services), name="watchdog"))
        try:
            waiting: list[asyncio.Future[Any]] = [*loops, services.engine.crash]
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for finished in done - {stopping}:
                finished.result()
        finally:
            for loop in loops:
                loop.cancel()
            await asyncio.gather(*loops, return_exceptions=True)

    # -- stop ----------------------------------------------------------------------------------------------

    async def _end(self, services: Services, server: Server) -> None:
        """Stop in stages: nothing new, the tasks, the answers; what is open is closed after this."""
        services.is_stopping = True
        kind = await services.launcher.stop_kind()
        is_restart = kind is StopKind.RESTART and services.launcher.can_leave
        running = services.engine.counts["running"]
        words = f"{running} tasks {'go on without the daemon' if is_restart else 'are being ended'}"
        self._manager.stopping(f"stopping: {words}")
        log.info("stopping; %s", words, extra={"action": "stopping"})
        server.stop_accepting()
        if is_restart:
            services.engine.leave()
        else:
            await self._end_tasks(services, StopCause.HOST_DOWN if kind is StopKind.HOST_DOWN else StopCause.SHUTDOWN)
        await server.close(ANSWER_SECONDS)

    async def _end_tasks(self, services: Services, cause: StopCause) -> None:
        """End what runs with grace, or at once when asked to stop again."""
        ending = asyncio.create_task(services.engine.stop(self._config.shutdown_grace, cause), name="end-tasks")
        hurrying = asyncio.create_task(self._hurry.wait(), name="hurry")
        await asyncio.wait([ending, hurrying], return_when=asyncio.FIRST_COMPLETED)
        if not ending.done():
            log.warning("asked again: the tasks are killed now", extra={"action": "stop_forced"})
            await services.engine.stop(0, cause)
        hurrying.cancel()
        for left in await ending:
            log.error("it would not end within its grace: %s", left, extra={"action": "stop_left"})

    def _catch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked_to_stop)
        loop.add_signal_handler(signal.SIGHUP, self._reload.set)

    def _asked_to_stop(self) -> None:
        if self._stop.is_set():
            self._hurry.set()
        self._stop.set()

    # -- reload --------------------------------------------------------------------------------------------

    async def _reload_on_signal(self) -> None:
        while True:
            await self._reload.wait()
            self._reload.clear()
            with contextlib.suppress(BarbossaError):  # said by _reload_now
                await self._reload_now()

    async def _reload_now(self) -> Reloaded:
        """Read the config and the workflow files again. A broken config leaves the one before it in force."""
        assert self._services is not None
        async with self._reloading:
            self._manager.reloading()
            fault = "the reload failed; the log says why"
            try:
                config = configs.load(self._config_path, user=self._is_user)
                done = await self._take_over(self._services, config)
                fault = _of_refused(done.faults)
            except InvalidConfigError as error:
                for each in error.faults:
                    log.error("config not reloaded: %s: %s", error.subject, each, extra=_REFUSED)  # noqa: TRY400
                fault = f"config not reloaded, the one before is in force: {error}"
                raise
            except BarbossaError as error:
                log.error("reloaded in part: %s", error, extra=_REFUSED)  # noqa: TRY400 (the sentence says it all)
                fault = f"reloaded in part: {error}"
                raise
            finally:
                self._services.files_fault = fault
                self._manager.ready(self._status())  # systemd waits for it, whatever came of the reload
            return done

    async def _take_over(self, services: Services, config: Config) -> Reloaded:
        config = self._with_true_socket(config)
        changes = self._config.changes(config)
        for name in changes.needing_restart:
            log.warning("%s changed in the config; it needs a restart", name, extra={"action": "needs_restart"})
        kept = {
            name: getattr(self._config, name)
            for name in ("state_dir", "runtime_dir", "socket", "workflows_dir", "secrets_dir", "clients")
        }
        config = config.model_copy(update=kept)
        self._config = services.config = config
        services.config_path = self._config_file()
        logs.set_level(config.logging.level)
        services.engine.set_limit(config.tasks.limit)
        services.preparation.configure(config.tasks)
        services.logs.cap_bytes = config.tasks.log_limit
        services.pruner.settings = config.retention
        if self._retention is not None:
            self._retention.wake()
        assert self._server is not None
        self._server.admit_by(AccessTable(config.access))
        await services.scheduler.control.zones_changed()
        applied, faults = await services.workflow_folder.apply(config.workflows_dir)
        await _schedules_changed(services, applied)
        in_force = tuple(name for name in changes.changed if name not in changes.needing_restart)
        log.info("reloaded: %s", ", ".join((*in_force, *applied)) or "nothing changed", extra={"action": "reloaded"})
        return Reloaded(
            changed=(*in_force, *(f"workflow {name}" for name in applied)),
            needing_restart=changes.needing_restart,
            faults=tuple(faults),
        )

    # -- signs of life -------------------------------------------------------------------------------------

    async def _feed_watchdog(self, services: Services) -> None:
        """Tell systemd that every loop lives: this one, and the store's writer, whose answer may be a refusal."""
        assert self._manager.watchdog_seconds
        while True:
            await services.database.answer()
            self._manager.alive()
            await asyncio.sleep(self._manager.watchdog_seconds / 2)

    def _store_fault(self, fault: str | None) -> None:
        assert self._services is not None
        self._services.engine.gate.store_fault(fault)
        if self._retention is not None and self._services.database.is_out_of_room:
            self._retention.wake()
        self._show_status()

    def _show_status(self) -> None:
        assert self._services is not None
        if not self._services.is_stopping:  # which is what is shown then
            self._manager.status(self._status())

    def _status(self) -> str:
        """Return what the daemon does, in a line for ``systemctl status``: of what is not as usual the worst."""
        services = self._services
        assert services is not None
        if services.database.fault:
            return f"DEGRADED: the state file refuses changes: {services.database.fault}"
        if services.logs.losses.reason:
            return f"DEGRADED: {services.logs.losses.reason}"
        counts = f"{len(services.workflows)} workflows, launcher {services.launcher.name}"
        if services.engine.gate.is_draining:
            return f"draining, nothing new is started until `barbossactl daemon drain --end`, {counts}"
        return services.files_fault or f"running, {counts}"

    def _config_file(self) -> Path | None:
        """Return the file that the settings come from, None where there is none."""
        path = self._config_path or configs.default_path(user=self._is_user)
        return path if path.exists() else None

    def _with_true_socket(self, config: Config) -> Config:
        """Return the settings with the socket that systemd handed over, if it did: that is where the daemon listens."""
        paths = self._manager.paths
        if not paths or config.socket in paths:
            return config
        log.warning(
            "the config has the socket at %s, but systemd listens at %s: to move it, systemctl edit barbossad.socket"
            " (an empty ListenStream= and ListenStream=%s); socket: %s in the config ends this warning",
            config.socket, paths[0], config.socket, paths[0], extra={"action": "socket_elsewhere"},
        )  # fmt: skip
        return config.model_copy(update={"socket": paths[0]})

    def _own_socket(self) -> contextlib.AbstractAsyncContextManager[socket.socket]:
        make_folder(self._config.socket.parent)
        group = None if self._is_user else _group_id()
        return own_socket(self._config.socket, mode=0o600 if group is None else 0o660, group=group)


async def _schedules_changed(services: Services, workflows: Iterable[str]) -> None:
    for workflow in workflows:
        await services.scheduler.control.changed(workflow)


def _of_refused(faults: Sequence[Fault]) -> str:
    """Say that workflow files were refused and why, nothing where none was."""
    return f"workflow file refused: {InvalidWorkflowError(faults[0].file, faults)}" if faults else ""


def _group_id() -> int | None:
    """Return the group whose members may connect, if this host has it."""
    try:
        return grp.getgrnam(GROUP).gr_gid
    except KeyError:
        return None


def _raise_descriptor_limit() -> int:
    """Allow as many open files as the host lets us: each client and each task's output needs some.

    Return the limit before, which is what tasks get: some programs walk through all descriptors that there may be.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, MOST_DESCRIPTORS) if hard != resource.RLIM_INFINITY else MOST_DESCRIPTORS
    if soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return soft


async def serve(config: Config, config_path: Path | None, *, is_user: bool) -> None:
    """Run a daemon until it is told to stop. Raise BarbossaError, when it is told, if it cannot start or must end."""
    daemon = Daemon(config, config_path, is_user=is_user)
    try:
        await daemon.run()
    except Exception as error:
        if isinstance(error, BarbossaError):  # what nobody foresaw is told with its traceback
            log.critical("%s", error, extra={"action": "ended"})
        daemon.tell_of_tasks()
        raise
