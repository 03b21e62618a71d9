"""The launcher for hosts without systemd: a session for each attempt, under a reaper that lets nothing escape."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import logging
import os
import resource
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from barbossad.clock import Clock
from barbossad.errors import BarbossaError, UnavailableError
from barbossad.model import boots
from barbossad.model.isolation import UNCONFINED
from barbossad.model.records import AttemptRecord, LogRecord
from barbossad.process import cgroups, failures, procfs, shortage, taskfiles
from barbossad.process.failures import Stage
from barbossad.process.launcher import (
    NEVER_STARTED,
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
    cut_off,
    own_variables,
)
from barbossad.process.local import protocol, supervisor
from barbossad.process.local.confinement import Confinement
from barbossad.process.local.protocol import Launch, Report, ReportKind
from barbossad.process.local.reaping import Command, Lost, Reaping
from barbossad.process.local.supervisor import Supervisor
from barbossad.process.output import pipes
from barbossad.process.output.capture import Capture, Recorder
from barbossad.process.output.logs import LogFolder
from barbossad.process.programs import StartFailureError

logger = logging.getLogger(__name__)

_CLOSE_SECONDS: Final = 15.0
_SHORT_OF: Final[Mapping[Stage, frozenset[int]]] = {
    Stage.DESCRIPTORS: shortage.ERRORS,
    Stage.PROGRAM: frozenset({errno.EAGAIN}),
    Stage.WORKING_DIR: frozenset(),
    Stage.INTERPRETER: frozenset(),
}
"""What a start fails for that others have used up: descriptors, or the processes that there may be."""

_UNKILLABLE: Final = "processes stay that cannot be killed (they hang in the kernel, or are another user's by now)"


class LocalProcess:
    """One attempt that the local launcher started."""

    def __init__(self, spec: LaunchSpec, serial: int, watcher: Watcher, stop: Callable[[int, float], None]) -> None:
        self.spec = spec
        self.key = spec.key
        self.has_script = spec.script is not None
        self.folder: Path
        self.owner: taskfiles.Owner | None = None
        """As whom it runs, if not as the daemon does."""

        self.serial = serial
        self.watcher = watcher
        self.pid: int | None = None
        self.pid_started_ticks: int | None = None
        self.invocation_id: str | None = None
        self.capture: Capture
        self.waiting: asyncio.TimerHandle | None = None
        """Until when it waits to be started, because this process or the reaper is short of something."""

        self.has_waited = False
        self.is_asked_to_stop = False

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
        self._shared_dir = taskfiles.shared_folder(self._runtime_dir)
        self._confinement = Confinement([self._runtime_dir, self._shared_dir, *hidden])
        self._logs = logs
        self._recorder: Recorder
        nofile_soft = nofile_soft or resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._reaping = Reaping(clock, self, nofile_soft=nofile_soft, tag=_tag_of(self._runtime_dir))
        self._serial = 0
        self._live: dict[int, LocalProcess] = {}
        self._idle: asyncio.Event
        self._is_closing = False
        self._was_subreaper = False

    @property
    def supervisor_pid(self) -> int | None:
        """Return the process id of the reaper that runs now."""
        return self._reaping.pid

    async def start(self) -> None:
        """Start the reaper. Raise UnavailableError if it cannot be started or does not work, OSError for the rest."""
        self._was_subreaper = procfs.become_subreaper()  # should the reaper die, what it had falls to this process
        taskfiles.clear(self._runtime_dir)
        if self._shared_dir.exists():
            taskfiles.clear(self._shared_dir, taskfiles.SHARED_MODE)
        self._recorder = Recorder(self._clock, self._logs)
        self._idle = asyncio.Event()
        try:
            await self._reaping.start()
        except UnavailableError:
            procfs.become_subreaper(self._was_subreaper)
            raise

    def enforce(self, spec: LaunchSpec) -> Mapping[str, Any] | None:
        """Return what will be in force for this attempt; raise CannotEnforceError naming what cannot be."""
        return self._confinement.words(self._confinement.plan(spec))

    def launch(self, spec: LaunchSpec, watcher: Watcher) -> Process:
        """Start an attempt; return at once."""
        self._serial += 1
        process = LocalProcess(spec, self._serial, watcher, self._stop)
        process.folder = self._runtime_dir
        self._live[process.serial] = process
        self._start(process)
        return process

    def _start(self, process: LocalProcess) -> None:
        """Have the reaper start an attempt; where there are no descriptors for that, when there are again."""
        spec = process.spec
        fds: list[int] = []
        try:
            if self._is_closing:
                raise UnavailableError("the daemon is stopping")
            if not os.access(self._runtime_dir, os.F_OK):  # logind removes that of a user who has left
                taskfiles.clear(self._runtime_dir)
            message = self._message(spec, process)
            fds += os.pipe2(os.O_CLOEXEC)
            fds += os.pipe2(os.O_CLOEXEC)
            if process.owner is not None:
                pipes.give((fds[1], fds[3]), process.owner)
            packet, memory = supervisor.packet_of(message)
        except (OSError, BarbossaError) as error:
            supervisor.close_all(fds)
            if process.waiting is None:
                process.capture = self._recorder.capture(spec.key, {})
            if isinstance(error, OSError) and shortage.is_one(error):
                self._start_later(process, error)
                return
            process.waiting = None
            reason = str(error) if isinstance(error, StartFailureError) else f"cannot prepare the start: {error}"
            asyncio.get_running_loop().call_soon(self._fail, process, reason)
            return
        theirs = (fds[1], fds[3], *memory)
        tell = partial(Supervisor.launch, packet=packet, fds=theirs)
        self._reaping.command(Command(tell, theirs, partial(self._fail, process)))
        # What comes of it is told in a later turn: the process can begin meanwhile.
        ours = {"stdout": fds[0], "stderr": fds[2]}
        if process.waiting is None:
            process.capture = self._recorder.capture(spec.key, ours, spec.make_mask)
        else:
            process.waiting = None
            process.capture.take(ours, spec.make_mask)
            self._recorder.bring_up(process.capture)

    def _start_later(self, process: LocalProcess, error: object) -> None:
        """Try again soon: what others hold, clients say, they will not hold for ever."""
        if not process.has_waited and not any(other.waiting for other in self._live.values()):
            logger.warning("Tasks wait to be started: %s", error, extra={"action": "starts_wait"})
        process.has_waited = True
        process.waiting = asyncio.get_running_loop().call_later(shortage.RETRY_SECONDS, self._start, process)

    async def survey(self, attempts: Sequence[AttemptRecord]) -> Mapping[AttemptKey, Finding]:
        """End all processes that an earlier daemon left: their pipes and exit statuses died with it."""
        if attempts:
            cgroups.refuse_units(attempt.unit for attempt in attempts if attempt.unit)
            await self._end_leftovers(attempts)
        return {
            AttemptKey(a.run_id, a.task_id, a.number): Finding(Verdict.GONE, cut_off("the daemon ended", a))
            for a in attempts
        }

    async def _end_leftovers(self, attempts: Sequence[AttemptRecord]) -> None:
        firsts = {
            attempt.pid: attempt.pid_started_ticks
            for attempt in attempts
            if attempt.pid and attempt.pid_started_ticks and boots.is_same(attempt.boot_id, procfs.boot_id())
        }
        markers = {str(AttemptKey(a.run_id, a.task_id, a.number)) for a in attempts}
        await self._reaping.end_traces(markers, firsts)

    async def close(self, *, leave: bool = False) -> None:  # noqa: ARG002 (nothing here outlives the daemon)
        """End what still runs, without grace, and release everything."""
        self._is_closing = True
        await self._reaping.cleaned()
        for process in tuple(self._live.values()):
            process.stop(0)
        if self._live:
            try:
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await self._idle.wait()
            except TimeoutError:
                still = ", ".join(str(process.key) for process in self._live.values())
                logger.error(  # noqa: TRY400 (the names say it all)
                    "Attempts that did not end when the daemon stopped: %s", still, extra={"action": "close_timeout"}
                )
        if self._reaping.pid is not None:
            await self._reaping.close()
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
                process.folder, process.owner = self._shared_dir, owner
        script = None
        if spec.script is not None:
            script = taskfiles.path_of(process.folder, spec.key, taskfiles.SCRIPT_SUFFIX)
            taskfiles.write_script(script, spec.script, owner)
            argv = tuple(script if argument == SCRIPT else argument for argument in argv)
        output = taskfiles.path_of(process.folder, spec.key, taskfiles.OUTPUT_SUFFIX)
        env = {**spec.env, **own_variables(spec.key, output)}
        if plan is not None:
            files = [("--ro-bind", script)] if script else []
            if owner is not None or plan.has_view:
                taskfiles.make_output(output, owner)
                files.append(("--bind", output))
            argv, env = self._confinement.wrap(plan, argv, env, spec.working_dir, files)
        try:
            return protocol.launch(process.serial, str(spec.key), spec.working_dir, argv, env)
        except ValueError:
            raise StartFailureError(failures.start_failure(Stage.PROGRAM, errno.EINVAL, argv[0])) from None

    def _stop(self, serial: int, grace_seconds: float) -> None:
        process = self._live.get(serial)
        if process is not None and process.waiting is not None:
            process.waiting.cancel()
            process.waiting = None
            fail = partial(self._fail, process, NEVER_STARTED, cause=EndCause.NEVER_STARTED)
            asyncio.get_running_loop().call_soon(fail)
        elif process is not None:
            process.is_asked_to_stop = True
            self._reaping.command(Command(partial(Supervisor.stop, serial=serial, grace_seconds=grace_seconds)))

    # -- from the reaper -----------------------------------------------------------------------------------

    def take_report(self, report: Report) -> None:
        """See ``reaping.News``."""
        process = self._live.get(report.serial)
        if process is None:
            return
        try:
            self._take(process, report)
        except Exception as error:  # the other reports are to be heard all the same
            logger.exception("A report of %s was lost", process.key, extra={"action": "report_lost"})
            self.on_fault(error)

    def _take(self, process: LocalProcess, report: Report) -> None:
        if report.kind == ReportKind.ENDED:
            self._take_end(process, report)
        elif report.kind == ReportKind.STARTED:
            process.pid, process.pid_started_ticks = report.pid, report.start_ticks
            self._tell(process.watcher.started, process, report.started_ms)
        else:
            self._take_failure(process, Stage(report.stage), report)

    def _take_failure(self, process: LocalProcess, stage: Stage, report: Report) -> None:
        """Tell that an attempt could not be started; where the reaper was short of something, try it again."""
        reason = failures.start_failure(stage, report.error, report.text)
        if report.error not in _SHORT_OF[stage]:
            self._fail(process, reason)
        elif process.is_asked_to_stop:
            self._fail(process, NEVER_STARTED, cause=EndCause.NEVER_STARTED)
        else:
            process.capture.leave()  # of these pipes nobody has the other ends any more
            self._start_later(process, reason)

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
            message = f"{_UNKILLABLE}: pid {report.text}"
            logger.warning("Of %s %s", process.key, message, extra={"action": "leftovers_stay"})
        if status is None:
            make = partial(make, cause=EndCause.LOST, message=message)
        elif os.WIFSIGNALED(status):
            make = partial(make, cause=EndCause.SIGNALLED, signal=os.WTERMSIG(status), message=message)
        else:
            make = partial(make, cause=EndCause.EXITED, exit_code=os.WEXITSTATUS(status), message=message)
        process.capture.finish(partial(self._end, process, make))

    def _fail(self, process: LocalProcess, message: str, *, cause: EndCause = EndCause.START_FAILED) -> None:
        make = partial(ProcessEnd, cause=cause, message=message, finished_at_ms=self._clock.now_ms())
        process.capture.finish(partial(self._end, process, make))

    def _end(self, process: LocalProcess, make: Callable[..., ProcessEnd], log: LogRecord) -> None:
        """Clean up after an attempt of which nothing lives, and tell of its end."""
        try:
            output = taskfiles.take_output(taskfiles.path_of(process.folder, process.key, taskfiles.OUTPUT_SUFFIX))
        except OSError:
            shortage.again(self._end, process, make, log)
            return
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

    def lose(self) -> Lost:
        """See ``reaping.News``: neither what waits to start, nor what has ended and whose output is being read."""
        lost = [p for p in self._live.values() if not p.capture.is_over and p.waiting is None]
        firsts = {p.pid: p.pid_started_ticks for p in lost if p.pid and p.pid_started_ticks}
        return Lost({str(process.key) for process in lost}, firsts, partial(self._lost, lost))

    def _lost(self, processes: Sequence[LocalProcess], reason: str) -> None:
        for process in processes:
            if process.capture.is_over:  # its start had failed when the reaper died, and was about to be told
                continue
            make = partial(ProcessEnd, cause=EndCause.LOST, message=reason, finished_at_ms=self._clock.now_ms())
            process.capture.finish(partial(self._end, process, make))


def _tag_of(runtime_dir: Path) -> int:
    """Return the tag that this daemon's tags count down from: its own among those of the host's daemons.

    In a container there may be one with the same folder, whose processes this one sees.
    """
    namespace = os.readlink("/proc/self/ns/pid")  # noqa: PTH115 (it is no path)
    digest = hashlib.sha256(os.fsencode(runtime_dir) + os.fsencode(namespace)).digest()
    return procfs.TAG_FLOOR + int.from_bytes(digest[:3]) * procfs.TAG_SERIALS + procfs.TAG_SERIALS - 1
