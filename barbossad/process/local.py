"""The launcher for hosts without systemd: a session for each attempt, under a reaper that lets nothing escape."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import logging
import os
import resource
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from barbossad.clock import Clock
from barbossad.errors import BarbossaError, UnavailableError
from barbossad.model.isolation import UNCONFINED
from barbossad.model.records import AttemptRecord, LogRecord
from barbossad.process import cgroups, failures, leftovers, procfs, protocol, supervisor, taskfiles
from barbossad.process.capture import Capture, Recorder
from barbossad.process.confinement import Confinement
from barbossad.process.launcher import (
    SCRIPT,
    AttemptKey,
    EndCause,
    Finding,
    Launcher,
    LaunchSpec,
    Process,
    ProcessEnd,
    Verdict,
    Watcher,
)
from barbossad.process.logs import LogFolder
from barbossad.process.programs import StartFailureError
from barbossad.process.protocol import Launch, Report, ReportKind, Stage
from barbossad.process.supervisor import Supervisor

logger = logging.getLogger(__name__)

OUTPUT_VARIABLE: Final = "BARBOSSA_OUTPUT"

_CLOSE_SECONDS: Final = 15.0
_QUICK_DEATH_SECONDS: Final = 2.0
_QUICK_DEATHS: Final = 3

_INSTALL: Final = "it is built at installation, so install Barbossa again (make run, make install, pip install)"


@dataclass(frozen=True, slots=True)
class _Command:
    """What a reaper is to do for an attempt; a launch hands over the write ends of its pipes."""

    process: LocalProcess
    tell: Callable[[Supervisor], None]
    fds: tuple[int, ...] = ()


class LocalProcess:
    """One attempt that the local launcher started."""

    def __init__(self, spec: LaunchSpec, serial: int, watcher: Watcher, stop: Callable[[int, float], None]) -> None:
        self.key = spec.key
        self.has_script = spec.script is not None
        self.folder: Path
        self.serial = serial
        self.watcher = watcher
        self.pid: int | None = None
        self.pid_started_ticks: int | None = None
        self.invocation_id: str | None = None
        self.capture: Capture
        self._stop = stop

    @property
    def log(self) -> Capture:
        """Its output so far."""
        return self.capture

    def stop(self, grace_seconds: float) -> None:
        """Ask every process of the attempt to end (SIGTERM); kill what is left after the grace (0: at once)."""
        self._stop(self.serial, grace_seconds)

    def release(self) -> None:
        """Nothing was kept: what the daemon forgets is gone with it."""


class LocalLauncher(Launcher):
    """Starts attempts through a reaper.

    ``runtime_dir`` holds scripts and outputs, is the daemon's alone and best on a tmpfs; its path is also what tells
    this daemon's processes from another's. ``nofile_soft`` is the limit on open files that tasks get (None: that of
    this process). ``hidden`` are more folders and sockets of the daemon that no sandboxed task sees.
    """

    name = "local"
    lacks = (
        "tasks end with the daemon",
        "no limits of memory, processors, processes and disk time",
        "no dynamic users, no filter of system calls, no detach",
        "no sandbox for tasks that name none",
    )
    has_default_profile = False

    def __init__(
        self,
        clock: Clock,
        logs: LogFolder,
        runtime_dir: Path,
        *,
        nofile_soft: int | None = None,
        hidden: Sequence[Path] = (),
    ) -> None:
        self._clock = clock
        self._runtime_dir = runtime_dir.absolute()
        self._nofile_soft = nofile_soft or resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._tag = _tag_of(self._runtime_dir)
        self._shared_dir = taskfiles.shared_folder(self._runtime_dir)
        self._confinement = Confinement([self._runtime_dir, self._shared_dir, *hidden])
        self._logs = logs
        self._recorder: Recorder
        self._supervisor: Supervisor | None = None
        self._commands: deque[_Command] = deque()
        self._serial = 0
        self._live: dict[int, LocalProcess] = {}
        self._cleaning: asyncio.Task[None] | None = None
        self._started_at = 0.0
        self._quick_deaths = 0
        self._idle: asyncio.Event
        self._is_closing = False
        self._was_subreaper = False
        self._has_worked = False

    @property
    def supervisor_pid(self) -> int | None:
        """Return the process id of the reaper that runs now."""
        return self._supervisor.pid if self._supervisor else None

    async def start(self) -> None:
        """Start the reaper. Raise UnavailableError if it cannot be started or does not work, OSError for the rest."""
        self._was_subreaper = procfs.become_subreaper()  # should the reaper die, what it had falls to this process
        taskfiles.clear(self._runtime_dir)
        if self._shared_dir.exists():
            taskfiles.clear(self._shared_dir, taskfiles.SHARED_MODE)
        self._recorder = Recorder(self._clock, self._logs)
        self._idle = asyncio.Event()
        starting = self._start_supervisor()
        if not await starting.is_ready():
            raise UnavailableError(
                f"{supervisor.PROGRAM} does not work here: it ended at once ({starting.reap()}); {_INSTALL}"
            )
        self._has_worked = True

    def enforce(self, spec: LaunchSpec) -> Mapping[str, Any] | None:
        """Return what will be in force for this attempt; raise CannotEnforceError naming what cannot be."""
        return self._confinement.words(self._confinement.plan(spec))

    def launch(self, spec: LaunchSpec, watcher: Watcher) -> Process:
        """Start an attempt; return at once."""
        self._serial += 1
        process = LocalProcess(spec, self._serial, watcher, self._stop)
        process.folder = self._runtime_dir
        self._live[process.serial] = process
        fds: list[int] = []
        try:
            if self._is_closing:
                raise UnavailableError("the daemon is stopping")
            if not os.access(self._runtime_dir, os.F_OK):  # logind removes that of a user who has left
                taskfiles.clear(self._runtime_dir)
            message = self._message(spec, process)
            fds += os.pipe2(os.O_CLOEXEC)
            fds += os.pipe2(os.O_CLOEXEC)
        except (OSError, BarbossaError) as error:
            for fd in fds:
                os.close(fd)
            process.capture = self._recorder.capture(spec.key, {})
            reason = str(error) if isinstance(error, StartFailureError) else f"cannot prepare the start: {error}"
            asyncio.get_running_loop().call_soon(self._fail, process, reason)
            return process
        tell = partial(Supervisor.launch, message=message, stdout=fds[1], stderr=fds[3])
        self._command(_Command(process, tell, (fds[1], fds[3])))
        # What comes of it is told in a later turn: the process can begin meanwhile.
        process.capture = self._recorder.capture(spec.key, {"stdout": fds[0], "stderr": fds[2]}, spec.make_mask)
        return process

    async def survey(self, attempts: Sequence[AttemptRecord]) -> Mapping[AttemptKey, Finding]:
        """End all processes that an earlier daemon left: their pipes and exit statuses died with it."""
        if attempts:
            cgroups.refuse_units(attempt.unit for attempt in attempts if attempt.unit)
            await self._end_leftovers(attempts)
        gone = Finding(Verdict.GONE, "the daemon ended while it ran")
        return {AttemptKey(a.run_id, a.task_id, a.number): gone for a in attempts}

    async def _end_leftovers(self, attempts: Sequence[AttemptRecord]) -> None:
        firsts = {
            attempt.pid: attempt.pid_started_ticks
            for attempt in attempts
            if attempt.pid and attempt.pid_started_ticks and attempt.boot_id == procfs.boot_id()
        }
        markers = {_marker(AttemptKey(a.run_id, a.task_id, a.number)) for a in attempts}
        await self._end_traces(markers, firsts)

    async def close(self, *, leave: bool = False) -> None:  # noqa: ARG002 (nothing here outlives the daemon)
        """End what still runs, without grace, and release everything."""
        self._is_closing = True
        if self._cleaning is not None:
            await self._cleaning
        for process in tuple(self._live.values()):
            process.stop(0)
        if self._live:
            try:
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await self._idle.wait()
            except TimeoutError:
                still = ", ".join(_marker(process.key) for process in self._live.values())
                logger.error(  # noqa: TRY400 (the names say it all)
                    "Attempts that did not end when the daemon stopped: %s", still, extra={"action": "close_timeout"}
                )
        if self._supervisor is not None:
            closing, self._supervisor = self._supervisor, None
            await closing.close()
            with contextlib.suppress(OSError):
                self._shared_dir.rmdir()
            procfs.become_subreaper(self._was_subreaper)  # a script that used an embedded Barbossa is as it was

    # -- to the reaper -------------------------------------------------------------------------------------

    def _message(self, spec: LaunchSpec, process: LocalProcess) -> Launch:
        """Return what the reaper is to do, having written the script."""
        argv, owner, plan = spec.argv, None, None
        if spec.isolation is not UNCONFINED:
            plan = self._confinement.plan(spec)
            owner = plan.account.owner if plan.account else None
            if owner is not None:
                self._shared_dir.mkdir(mode=taskfiles.SHARED_MODE, exist_ok=True)
                process.folder = self._shared_dir
        script = None
        if spec.script is not None:
            script = taskfiles.path_of(process.folder, spec.key, taskfiles.SCRIPT_SUFFIX)
            taskfiles.write_script(script, spec.script, owner)
            argv = tuple(script if argument == SCRIPT else argument for argument in argv)
        env = dict(spec.env)
        output = env[OUTPUT_VARIABLE] = taskfiles.path_of(process.folder, spec.key, taskfiles.OUTPUT_SUFFIX)
        marker = env[procfs.MARKER] = _marker(spec.key)
        if plan is not None:
            files = [("--ro-bind", script)] if script else []
            if owner is not None or plan.has_view:
                taskfiles.make_output(output, owner)
                files.append(("--bind", output))
            argv, env = self._confinement.wrap(plan, argv, env, spec.working_dir, files)
        try:
            return protocol.launch(process.serial, marker, spec.working_dir, argv, env)
        except ValueError:
            raise StartFailureError(failures.start_failure(Stage.PROGRAM, errno.EINVAL, argv[0])) from None

    def _stop(self, serial: int, grace_seconds: float) -> None:
        process = self._live.get(serial)
        if process is not None:
            self._command(_Command(process, partial(Supervisor.stop, serial=serial, grace_seconds=grace_seconds)))

    def _command(self, command: _Command) -> None:
        """Carry out a command now, or when there is a reaper again."""
        self._commands.append(command)
        if self._supervisor is None and self._cleaning is None:
            self._restart_supervisor()
        self._carry_out()

    def _carry_out(self) -> None:
        while self._supervisor is not None and self._commands:
            self._commands.popleft().tell(self._supervisor)

    def _restart_supervisor(self) -> None:
        """Start a reaper in place of one that died; where that cannot be, what waits for it cannot start either."""
        try:
            self._start_supervisor()
        except UnavailableError as error:
            logger.error("%s", error, extra={"action": "supervisor_failed"})  # noqa: TRY400 (it is a sentence)
            waiting, self._commands = self._commands, deque()
            for command in waiting:
                for fd in command.fds:
                    os.close(fd)
                if command.fds:
                    asyncio.get_running_loop().call_soon(self._fail, command.process, str(error))

    def _start_supervisor(self) -> Supervisor:
        self._started_at = self._clock.monotonic()
        try:
            self._supervisor = Supervisor(
                nofile_soft=self._nofile_soft, tag=self._tag, on_report=self._take_report, on_lost=self._lose
            )
        except OSError as error:
            raise UnavailableError(f"{supervisor.PROGRAM} cannot be started: {error.strerror}; {_INSTALL}") from error
        return self._supervisor

    # -- from the reaper -----------------------------------------------------------------------------------

    def _take_report(self, report: Report) -> None:
        process = self._live.get(report.serial)
        if process is None:
            return
        if report.kind == ReportKind.ENDED:
            self._take_end(process, report)
        elif report.kind == ReportKind.STARTED:
            process.pid, process.pid_started_ticks = report.pid, report.start_ticks
            self._tell(process.watcher.started, process, report.started_ms)
        else:
            self._fail(process, failures.start_failure(Stage(report.stage), report.error, report.text))

    def _take_end(self, process: LocalProcess, report: Report) -> None:
        process.pid, status = report.pid, report.wait_status
        make = partial(
            ProcessEnd,
            started_at_ms=report.started_ms,
            finished_at_ms=report.finished_ms,
            cpu_seconds=report.cpu_microseconds / 1e6,
            peak_memory_bytes=report.peak_kib * 1024,
        )
        message = None
        if report.text:
            message = f"processes that cannot be killed hang in the kernel: pid {report.text}"
        if status is None:
            make = partial(make, cause=EndCause.LOST, message=message)
        elif os.WIFSIGNALED(status):
            make = partial(make, cause=EndCause.SIGNALLED, signal=os.WTERMSIG(status), message=message)
        else:
            make = partial(make, cause=EndCause.EXITED, exit_code=os.WEXITSTATUS(status), message=message)
        process.capture.finish(partial(self._end, process, make))

    def _fail(self, process: LocalProcess, message: str) -> None:
        make = partial(ProcessEnd, cause=EndCause.START_FAILED, message=message, finished_at_ms=self._clock.now_ms())
        process.capture.finish(partial(self._end, process, make))

    def _end(self, process: LocalProcess, make: Callable[..., ProcessEnd], log: LogRecord) -> None:
        """Clean up after an attempt of which nothing lives, and tell of its end."""
        output = taskfiles.take_output(taskfiles.path_of(process.folder, process.key, taskfiles.OUTPUT_SUFFIX))
        if process.has_script:
            taskfiles.remove(taskfiles.path_of(process.folder, process.key, taskfiles.SCRIPT_SUFFIX))
        del self._live[process.serial]
        self._tell(process.watcher.ended, process, make(log=log, output=output))
        if self._is_closing and not self._live:
            self._idle.set()

    def _tell(self, call: Callable[..., None], *facts: object) -> None:
        try:
            call(*facts)
        except Exception:  # one watcher's fault must not keep others from being told
            logger.exception("A watcher failed", extra={"action": "watcher_failed"})

    # -- when the reaper is lost -----------------------------------------------------------------------------

    def _lose(self) -> None:
        """End all that the reaper had, because it died, then start another."""
        lost, self._supervisor = self._supervisor, None
        assert lost is not None
        if not self._has_worked:
            return  # the start tells of it
        logger.error("The supervisor process of all tasks died: %s", lost.reap(), extra={"action": "supervisor_died"})
        is_quick = self._clock.monotonic() - self._started_at < _QUICK_DEATH_SECONDS
        self._quick_deaths = self._quick_deaths + 1 if is_quick else 0
        self._cleaning = asyncio.get_running_loop().create_task(
            self._clean(list(self._live.values())), name="local-launcher-clean"
        )

    async def _clean(self, lost: list[LocalProcess]) -> None:
        message = "its supervisor process died"
        try:
            await self._end_traces(
                {_marker(process.key) for process in lost},
                {p.pid: p.pid_started_ticks for p in lost if p.pid and p.pid_started_ticks},
            )
        except UnavailableError as error:
            message = f"{message}; {error}"
            logger.error("%s", error, extra={"action": "leftovers_stay"})  # noqa: TRY400 (it is a sentence)
        self._cleaning = None
        for process in lost:
            make = partial(ProcessEnd, cause=EndCause.LOST, message=message, finished_at_ms=self._clock.now_ms())
            process.capture.finish(partial(self._end, process, make))
        if self._commands or self._quick_deaths < _QUICK_DEATHS:
            self._restart_supervisor()
            self._carry_out()

    async def _end_traces(self, markers: set[str], firsts: dict[int, int]) -> None:
        spared = {self._supervisor.pid} if self._supervisor else set()
        traces = leftovers.Traces(tag=self._tag, markers=markers, firsts=firsts, spared=spared)
        await asyncio.get_running_loop().run_in_executor(None, leftovers.end, traces)


def _marker(key: AttemptKey) -> str:
    return f"{key.run_id}/{key.task_id}/{key.number}"


def _tag_of(runtime_dir: Path) -> int:
    """Return the tag that this daemon's tags count down from: its own among those of the host's daemons."""
    digest = hashlib.sha256(os.fsencode(runtime_dir)).digest()
    return procfs.TAG_FLOOR + int.from_bytes(digest[:3]) * procfs.TAG_SERIALS + procfs.TAG_SERIALS - 1
