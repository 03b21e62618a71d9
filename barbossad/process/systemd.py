"""The launcher for hosts with systemd: a transient unit for each attempt, which outlives the daemon.

A start: pipes, made known to systemd's descriptor store, then the unit. An end: systemd keeps the unit, with its exit
status and accounting, and the pipes until the engine has recorded both and calls ``release``. So whenever the daemon is
killed, the next one finds either nothing or everything (``survey``, ``adopt``).
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from dbus_fast import Variant

from barbossad import crashpoints
from barbossad.clock import Clock
from barbossad.errors import BarbossaError, UnavailableError
from barbossad.model.records import AttemptRecord, LogRecord
from barbossad.model.states import AttemptState
from barbossad.process import cgroups, inflight, procfs, taskfiles, unit_files, units
from barbossad.process.bus import JOB, MANAGER, PATH, SERVICE, UNIT, Bus, SystemdError, object_path
from barbossad.process.capture import Recorder
from barbossad.process.inflight import Inflight
from barbossad.process.launcher import (
    AttemptKey,
    EndCause,
    Finding,
    Launcher,
    LaunchSpec,
    Process,
    ProcessEnd,
    StopKind,
    Verdict,
    Watcher,
)
from barbossad.process.logs import LogFolder
from barbossad.process.unit_ends import UnitFacts, figure
from barbossad.process.unit_process import SIGKILL, UnitProcess
from barbossad.systemd import Manager

ANNOUNCE_SECONDS: Final = 0.05
"""A process that ends sooner is told of once, not twice."""

_CLOSE_SECONDS: Final = 15.0
_STREAMS: Final = ("stdout", "stderr")
_KEPT: Final = re.compile(r"(?P<unit>barbossa-.+\.service)\.(?P<stream>stdout|stderr)\.(?P<slot>[0-9]{1,5})")
_FACTS: Final = (
    "MainPID", "Result", "ExecMainCode", "ExecMainStatus", "ExecMainPID", "ExecMainStartTimestamp",
    "ExecMainExitTimestamp",
)  # fmt: skip

logger = logging.getLogger(__name__)


class SystemdLauncher(Launcher):
    """Starts attempts as transient units.

    ``runtime_dir`` is for environment files, the daemon's alone; ``task_dir`` for scripts, which every user may enter
    and nobody list, both best on a tmpfs and ``task_dir`` below /run.
    """

    name = "systemd"
    can_leave = True

    def __init__(self, clock: Clock, logs: LogFolder, manager: Manager, runtime_dir: Path, task_dir: Path) -> None:
        self._clock = clock
        self._logs = logs
        self._manager = manager
        self._files = unit_files.UnitFiles(runtime_dir, task_dir)
        self._bus = Bus(self._hear, self._resync_all)
        self._inflight: Inflight
        self._recorder: Recorder
        self._kept: dict[str, int] = {}
        self._live: dict[str, UnitProcess] = {}
        self._unreleased: dict[str, UnitProcess] = {}
        self._jobs: set[asyncio.Task[None]] = set()
        self._barrier: asyncio.Task[None] | None = None
        self._foreign: list[str] = []
        self._idle = asyncio.Event()
        self._is_closing = False

    # -- start and stop ------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Connect to systemd. Raise UnavailableError if it does not answer."""
        await self._bus.connect()
        environment = await self._bus.get(PATH, MANAGER, "Environment")
        self._foreign = [entry.partition("=")[0] for entry in environment]
        self._files.prepare()
        self._kept = dict(self._manager.kept)
        self._manager.kept.clear()
        fd = self._kept.pop(inflight.NAME, None)
        self._inflight = Inflight.create() if fd is None else Inflight.reopen(fd)
        if self._inflight.fd != fd:
            self._manager.let_go([inflight.NAME])
            self._manager.keep({inflight.NAME: self._inflight.fd})
            await self._manager.barrier()
        self._recorder = Recorder(self._clock, self._logs, self._inflight)

    async def close(self, *, leave: bool = False) -> None:
        """Release everything; kill what still runs, or leave it for the next daemon."""
        self._is_closing = True
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                if not leave:
                    for process in tuple(self._live.values()):
                        process.stop(0)
                    while self._live:
                        self._idle.clear()
                        await self._idle.wait()
                while self._jobs:
                    await asyncio.wait(self._jobs)
        except TimeoutError:
            logger.error("Units that did not end when the daemon stopped: %s", ", ".join(self._live),  # noqa: TRY400
                         extra={"action": "close_timeout"})  # fmt: skip
        for job in self._jobs:
            job.cancel()
        await asyncio.gather(*self._jobs, return_exceptions=True)
        for process in self._live.values():
            process.disarm()
            process.capture.leave()
        for fd in self._kept.values():
            os.close(fd)
        self._inflight.close()
        await self._bus.close()

    def launch(self, spec: LaunchSpec, watcher: Watcher) -> Process:
        """Start an attempt; return at once."""
        process = UnitProcess(spec, watcher, self)
        self._live[process.path] = process
        write_ends: list[int] = []
        try:
            if self._is_closing:
                raise UnavailableError("the daemon is stopping")
            write_ends = self._make_pipes(process)
        except (OSError, BarbossaError) as error:
            process.capture = self._recorder.capture(spec.key, {})
            asyncio.get_running_loop().call_soon(self._fail, process, f"cannot prepare the start: {error}")
            return process
        crashpoints.reach("pipes-made")
        self._run(self._start(process, write_ends), f"start {process.unit}")
        return process

    def _make_pipes(self, process: UnitProcess) -> list[int]:
        """Make the pipes of an attempt and have systemd keep their read ends; return the write ends."""
        ends: list[int] = []
        try:
            for _ in _STREAMS:
                ends += os.pipe2(os.O_CLOEXEC)
            slots = {stream: self._inflight.take_slot() for stream in _STREAMS}
            process.kept = {f"{process.unit}.{stream}.{slot}": slot for stream, slot in slots.items()}
            self._manager.keep(dict(zip(process.kept, ends[::2], strict=True)))
        except OSError:
            for end in ends:
                os.close(end)
            raise
        read_ends = dict(zip(_STREAMS, ends[::2], strict=True))
        process.capture = self._recorder.capture(process.spec.key, read_ends, process.spec.make_mask, slots)
        return ends[1::2]

    async def _start(self, process: UnitProcess, write_ends: list[int]) -> None:
        """Have systemd make the unit, once it is known to keep the pipes."""
        spec = process.spec
        try:
            await self._kept_by_systemd()
            crashpoints.reach("pipes-kept")
            argv, files = self._files.write(spec, process.unit)
            crashpoints.reach("files-written")
            properties = units.properties(spec, argv, files, self._foreign)
            if process.is_asked_to_stop:
                self._fail(process, "it was stopped before it started", cause=EndCause.LOST)
                return
            await self._bus.call(
                "StartTransientUnit", "ssa(sv)a(sa(sv))", process.unit, "fail", properties, [], fds=write_ends
            )
            crashpoints.reach("unit-started")
        except SystemdError as error:
            self._fail(process, f"systemd refuses its unit: {error}")
            return
        except (OSError, BarbossaError) as error:
            await self._fail_unknown(process, str(error))
            return
        finally:
            for end in write_ends:
                os.close(end)
        process.is_started = True
        if process.is_asked_to_stop:
            process.ask()
        asyncio.get_running_loop().call_later(ANNOUNCE_SECONDS, self._announce_soon, process)

    async def _kept_by_systemd(self) -> None:
        """Return when all pipes that were given to systemd have arrived; those who ask in one turn share the answer."""
        if self._barrier is None:
            self._barrier = asyncio.get_running_loop().create_task(self._ask_barrier(), name="pipes-barrier")
        await asyncio.shield(self._barrier)

    async def _ask_barrier(self) -> None:
        await asyncio.sleep(0)  # let the others of this turn join
        self._barrier = None
        await self._manager.barrier()

    # -- while it runs -------------------------------------------------------------------------------------

    def _announce_soon(self, process: UnitProcess) -> None:
        if process.facts is None and process.path in self._live and not self._is_closing:
            self._run(self._announce(process), f"announce {process.unit}")

    async def _announce(self, process: UnitProcess) -> None:
        """Tell that a process lives, when its program was executed; drop what was needed only until then."""
        wanted = ((UNIT, "InvocationID"), (UNIT, "ActiveEnterTimestampMonotonic"), (SERVICE, "MainPID"),
                  (SERVICE, "ExecMainStartTimestamp"))  # fmt: skip
        invocation, active_us, pid, started_us = await self._bus.get_many(process.path, *wanted)
        if process.facts is not None:
            return
        if not active_us:
            asyncio.get_running_loop().call_later(ANNOUNCE_SECONDS, self._announce_soon, process)
            return
        process.invocation_id = bytes(invocation).hex() if invocation else None
        process.pid = pid or None
        found = procfs.stat(pid) if pid else None
        process.pid_started_ticks = found.start_ticks if found else None
        process.started_at_ms = started_us // 1000 if started_us else self._clock.now_ms()
        self._files.forget_environment(process.unit)
        self._tell(process.watcher.started, process, process.started_at_ms)

    def kill(self, process: UnitProcess, number: int) -> None:
        """Send a signal to everything in a unit; what is not started yet is not started."""
        if process.is_started:
            self._run(self._kill(process.unit, number), f"kill {process.unit}")

    async def _kill(self, unit: str, number: int) -> None:
        try:
            await self._bus.call("KillUnit", "ssi", unit, "all", number)
        except SystemdError as error:
            logger.debug("signal %d for %s: %s", number, unit, error)  # nobody there any more
        if number != SIGKILL:
            crashpoints.reach("stop-asked")

    def _hear(self, path: str, changed: Mapping[str, Variant]) -> None:
        process = self._live.get(path)
        if process is not None and process.hear(units.facts(changed)):
            self._run(self._take_end(process), f"end {process.unit}")

    # -- its end -------------------------------------------------------------------------------------------

    async def _take_end(self, process: UnitProcess) -> None:
        """Find out the rest about a unit whose first process has ended, then read its output to the end."""
        facts = process.facts
        assert facts is not None
        crashpoints.reach("end-seen")
        message = None
        if not process.spec.detach and not await process.leftovers_gone():
            message = "processes that cannot be killed hang in the kernel"
        crashpoints.reach("leftovers-ended")
        wanted = [(UNIT, "ActiveState"), (SERVICE, "Result"), (SERVICE, "CPUUsageNSec"), (SERVICE, "IOReadBytes"),
                  (SERVICE, "IOWriteBytes"), (SERVICE, "MemoryPeak"), (UNIT, "InvocationID"),
                  (UNIT, "ActiveEnterTimestampMonotonic")]  # fmt: skip
        state, result, cpu_ns, read, written, peak, invocation, active_us = await self._bus.get_many(
            process.path, *wanted
        )
        process.invocation_id = process.invocation_id or (bytes(invocation).hex() if invocation else None)
        is_there = state in {"active", "failed"} or process.is_asked_to_stop
        facts = UnitFacts(
            result=result if state == "failed" else facts.result, code=facts.code, status=facts.status, pid=facts.pid,
            started_at_us=facts.started_at_us, exited_at_us=facts.exited_at_us,
            was_active=bool(active_us) or not is_there or process.started_at_ms is not None,
            is_stopped=not is_there and facts.result == "success",
        )  # fmt: skip
        found = process.explained(facts)
        process.pid = process.pid or facts.pid or None
        cpu_ns = figure(cpu_ns)
        make = partial(
            ProcessEnd,
            cause=found.cause, exit_code=found.exit_code, signal=found.signal, message=message or found.message,
            started_at_ms=facts.started_at_us // 1000 or process.started_at_ms,
            finished_at_ms=facts.exited_at_us // 1000 or self._clock.now_ms(),
            cpu_seconds=None if cpu_ns is None else cpu_ns / 1e9,
            peak_memory_bytes=figure(peak) or process.peak_memory_bytes,
            io_read_bytes=figure(read), io_write_bytes=figure(written),
        )  # fmt: skip
        process.capture.finish(partial(self._end, process, make))

    def _fail(self, process: UnitProcess, message: str, *, cause: EndCause = EndCause.START_FAILED) -> None:
        """End an attempt for which systemd made no unit."""
        process.facts = process.facts or UnitFacts(code=0)
        make = partial(ProcessEnd, cause=cause, message=message, finished_at_ms=self._clock.now_ms())
        process.capture.finish(partial(self._end, process, make))

    async def _fail_unknown(self, process: UnitProcess, message: str) -> None:
        """End an attempt of which it is not known whether systemd made its unit: it is sought when systemd answers."""
        while True:
            try:
                load_state = await self._bus.get(process.path, UNIT, "LoadState")
                break
            except (SystemdError, UnavailableError):
                await asyncio.sleep(1)
        if load_state != "not-found":
            process.is_started = True
            await self._resync(process)
        else:
            self._fail(process, message)

    def _end(self, process: UnitProcess, make: Callable[..., ProcessEnd], log: LogRecord) -> None:
        """Tell of an end; the unit and the pipes stay until that is recorded."""
        crashpoints.reach("output-drained")
        process.disarm()
        output = taskfiles.take_output(self._files.output_of(process.unit), keep=True)
        del self._live[process.path]
        self._unreleased[process.path] = process
        self._tell(process.watcher.ended, process, make(log=log, output=output))
        if self._is_closing and not self._live:
            self._idle.set()

    def let_go(self, process: UnitProcess) -> None:
        """Release a unit whose end is recorded."""
        crashpoints.reach("end-recorded")
        self._run(self._release(process), f"release {process.unit}")

    async def _release(self, process: UnitProcess) -> None:
        if process.is_started:
            await self._unload(process.unit, is_failed=process.facts is None or not _exited_well(process.facts))
        crashpoints.reach("unit-released")
        self._manager.let_go(list(process.kept))
        crashpoints.reach("pipes-let-go")
        for slot in process.kept.values():
            self._inflight.free_slot(slot)
        self._files.forget(process.unit)
        self._unreleased.pop(process.path, None)

    async def _unload(self, unit: str, *, is_failed: bool) -> None:
        """Have systemd forget a unit, killing what may be left in it."""
        for member, signature, *more in (
            ("StopUnit", "ss", "replace"),
            *((("ResetFailedUnit", "s"),) if is_failed else ()),
        ):
            try:
                await self._bus.call(member, signature, unit, *more)
            except SystemdError as error:
                logger.debug("%s of %s: %s", member, unit, error)  # it is gone already

    # -- after a restart, or when news may have been missed --------------------------------------------------

    async def survey(self, attempts: Sequence[AttemptRecord]) -> Mapping[AttemptKey, Finding]:
        """Find out what became of attempts that an earlier daemon started since the host booted."""
        loaded = await self._loaded()
        found: dict[AttemptKey, Finding] = {}
        for attempt in attempts:
            key = AttemptKey(attempt.run_id, attempt.task_id, attempt.number)
            finding = await self._find(attempt, units.unit_name(key), loaded)
            if finding.verdict is Verdict.GONE and attempt.unit is not None:
                await self._end_unit(attempt.unit)
            found[key] = finding
        live = {units.unit_name(key) for key, finding in found.items() if finding.verdict is Verdict.LIVE}
        self._drop_kept(lambda unit: unit not in live)
        interrupted = self._inflight.interrupted
        if interrupted is not None and not any(name.endswith(f".{interrupted.slot}") for name in self._kept):
            self._inflight.forget_interrupted()
        return found

    async def _find(self, attempt: AttemptRecord, unit: str, loaded: set[str]) -> Finding:
        if attempt.launcher != self.name:
            return Finding(Verdict.GONE, "the daemon ended while it ran")
        if unit not in loaded:
            if attempt.state is AttemptState.STARTING and attempt.invocation_id is None:
                return Finding(Verdict.NEVER_STARTED)
            return Finding(Verdict.GONE, "its unit was removed by hand while the daemon was away")
        invocation = bytes(await self._bus.get(object_path(unit), UNIT, "InvocationID")).hex()
        if attempt.invocation_id not in {None, invocation}:
            return Finding(Verdict.GONE, "its unit was removed by hand, and another of its name started")
        if len(self._kept_of(unit)) < len(_STREAMS):
            return Finding(Verdict.GONE, "the daemon's unit was stopped while it ran, and nobody read its output")
        return Finding(Verdict.LIVE)

    async def _loaded(self) -> set[str]:
        (rows,) = await self._bus.call("ListUnitsByPatterns", "asas", [], [units.PATTERN])
        # Not only "loaded": a unit whose file is not understood after a daemon-reload lives all the same.
        return {row[0] for row in rows if row[2] != "not-found"}

    def _kept_of(self, unit: str) -> dict[str, re.Match[str]]:
        matches = ((name, _KEPT.fullmatch(name)) for name in self._kept)
        return {name: match for name, match in matches if match and match["unit"] == unit}

    def _drop_kept(self, is_unwanted: Callable[[str], bool]) -> None:
        """Close the pipes of units that nobody adopts, here and at systemd."""
        for name in tuple(self._kept):
            match = _KEPT.fullmatch(name)
            if match is None or is_unwanted(match["unit"]):
                os.close(self._kept.pop(name))
                self._manager.let_go([name])

    async def _end_unit(self, unit: str) -> None:
        """Kill everything in a unit and have it forgotten. Raise UnavailableError if something will not die."""
        await self._kill(unit, SIGKILL)
        deadline = asyncio.get_running_loop().time() + _CLOSE_SECONDS
        while cgroups.is_populated(unit):
            if asyncio.get_running_loop().time() > deadline:
                raise UnavailableError(f"processes of {unit}, which an earlier daemon left, cannot be killed")
            await asyncio.sleep(0.02)
        await self._unload(unit, is_failed=True)
        self._files.forget(unit)

    def adopt(self, spec: LaunchSpec, watcher: Watcher) -> Process:
        """Go on with an attempt that ``survey`` found live."""
        process = UnitProcess(spec, watcher, self)
        kept = self._kept_of(process.unit)
        process.kept = {name: self._inflight.take_slot(int(match["slot"])) for name, match in kept.items()}
        pipes = {match["stream"]: self._kept.pop(name) for name, match in kept.items()}
        slots = {match["stream"]: int(match["slot"]) for match in kept.values()}
        process.capture = self._recorder.adopt(spec.key, pipes, spec.make_mask, slots)
        process.is_started = True
        self._live[process.path] = process
        self._run(self._resync(process), f"adopt {process.unit}")
        return process

    def _resync_all(self) -> None:
        for process in self._live.values():
            if process.is_started and process.facts is None:
                self._run(self._resync(process), f"resync {process.unit}")
        for process in tuple(self._unreleased.values()):
            if process.is_started:
                self._run(self._release(process), f"release {process.unit}")

    async def _resync(self, process: UnitProcess) -> None:
        """Ask how a unit stands, instead of being told."""
        names = [(SERVICE, name) for name in _FACTS]
        load_state, *values = await self._bus.get_many(process.path, (UNIT, "LoadState"), *names)
        facts = dict(zip(_FACTS, values, strict=True))
        if load_state == "not-found":
            facts = {"Result": "success", "ExecMainCode": 0}
            process.facts = process.facts or UnitFacts(is_stopped=True)
            await self._take_end(process)
        elif process.hear(facts):
            await self._take_end(process)
        elif process.facts is None:
            await self._announce(process)

    async def stop_kind(self) -> StopKind:
        """Ask systemd what it wants with our own unit, and with the host."""
        try:
            state = await self._bus.get(PATH, MANAGER, "SystemState")
            if state == "stopping":
                return StopKind.HOST_DOWN
            (unit,) = await self._bus.call("GetUnitByPID", "u", os.getpid())
            number, job = await self._bus.get(unit, UNIT, "Job")
            kind = await self._bus.get(job, JOB, "JobType") if number else "none"
        except (SystemdError, UnavailableError) as error:
            logger.warning("cannot tell a restart from a stop: %s", error, extra={"action": "stop_kind_unknown"})
            return StopKind.STOP
        return StopKind.RESTART if kind == "restart" else StopKind.STOP

    async def end_strays(self, known: Callable[[AttemptKey], bool]) -> Sequence[str]:
        """End units that carry our names and belong to no live attempt; return those of attempts nobody knows."""
        strays = []
        live = {process.unit for process in self._live.values()}
        for unit in sorted(await self._loaded() - live):
            key = units.key_of(unit)
            if key is None or not known(key):
                strays.append(unit)
            await self._end_unit(unit)
        return strays

    # -- jobs ----------------------------------------------------------------------------------------------

    def _run(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Do something in the background, where a fault is logged and the bus may be away for a while."""
        job = asyncio.get_running_loop().create_task(work, name=name)
        self._jobs.add(job)
        job.add_done_callback(self._done)

    def _done(self, job: asyncio.Task[None]) -> None:
        self._jobs.discard(job)
        error = None if job.cancelled() else job.exception()
        if isinstance(error, UnavailableError):
            logger.warning("%s: %s; tried again when systemd answers", job.get_name(), error,
                           extra={"action": "systemd_away"})  # fmt: skip
        elif error is not None:
            logger.error("%s failed", job.get_name(), exc_info=error, extra={"action": "unit_job_failed"})

    def _tell(self, call: Callable[..., None], *facts: object) -> None:
        try:
            call(*facts)
        except Exception:  # one watcher's fault must not keep others from being told
            logger.exception("A watcher failed", extra={"action": "watcher_failed"})


def _exited_well(facts: UnitFacts) -> bool:
    return facts.result == "success"
