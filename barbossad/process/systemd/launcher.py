"""The launcher for hosts with systemd: a transient unit for each attempt, which outlives the daemon.

A start: pipes, made known to systemd's descriptor store, then the unit. An end: systemd keeps the unit, with its exit
status and accounting, and the pipes until the engine has recorded both and calls ``release``. So whenever the daemon is
killed, the next one finds either nothing or everything (``survey``, ``adopt``).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from dbus_fast import Variant

from barbossad import crashpoints
from barbossad.clock import Clock
from barbossad.errors import BarbossaError, UnavailableError
from barbossad.model.names import RunId
from barbossad.model.records import AttemptRecord, LogRecord
from barbossad.process import cgroups, procfs, shortage, taskfiles
from barbossad.process.launcher import (
    NEVER_STARTED,
    AttemptKey,
    EndCause,
    Finding,
    Launcher,
    LaunchSpec,
    Process,
    ProcessEnd,
    StopKind,
    Watcher,
)
from barbossad.process.output.capture import Recorder
from barbossad.process.output.logs import LogFolder
from barbossad.process.shortage import GivenUpError
from barbossad.process.systemd import own_unit, unit_files, units
from barbossad.process.systemd.bus import RETRY_SECONDS, SERVICE, Bus, SystemdError
from barbossad.process.systemd.kept import Keeper
from barbossad.process.systemd.survivors import Survivors
from barbossad.process.systemd.unit_control import UnitControl
from barbossad.process.systemd.unit_ends import UnitFacts
from barbossad.process.systemd.unit_journal import Journal
from barbossad.process.systemd.unit_process import (
    ACTIVE_SINCE,
    FACTS,
    INVOCATION,
    LOADED,
    STANDING,
    Answers,
    UnitProcess,
)
from barbossad.process.systemd.unit_start import Starts
from barbossad.systemd import Manager

SAMPLE_SECONDS: Final = 5.0
"""How often the most memory of what runs is looked up: the kernel forgets it with the control group, at the end."""

ANNOUNCE_SECONDS: Final = 0.05
"""A process that ends sooner is told of once, not twice."""

LONGEST_ANNOUNCE_SECONDS: Final = 5.0
"""How late it is told of at most, beyond the time that systemd took to start it."""

RELEASE_SECONDS: Final = 0.003
"""How long a unit stays after its end is recorded: who waits is answered first."""

_CLOSE_SECONDS: Final = 15.0
logger = logging.getLogger(__name__)


class SystemdLauncher(Launcher):
    """Starts attempts as transient units.

    ``runtime_dir`` is for environment files, the daemon's alone; ``task_dir`` for scripts, which every user may enter
    and nobody list, both best on a tmpfs and ``task_dir`` below /run. ``hidden`` is what else no sandboxed task sees.
    """

    name = "systemd"
    can_leave = True

    def __init__(
        self,
        clock: Clock,
        logs: LogFolder,
        manager: Manager,
        runtime_dir: Path,
        task_dir: Path,
        *,
        hidden: Sequence[Path] = (),
    ) -> None:
        self._clock = clock
        self._logs = logs
        self._keeper = Keeper(manager)
        self._files = unit_files.UnitFiles(runtime_dir, task_dir)
        self._bus = Bus(self._hear, self._resync_all)
        self._control = UnitControl(self._bus)
        self._journal = Journal()
        self._starts = Starts(self._bus, self._control, self._keeper, self._files, [str(path) for path in hidden])
        self._recorder: Recorder
        self._live: dict[str, UnitProcess] = {}
        self._survivors = Survivors(self.name, self._bus, self._control, self._keeper, self._files)
        self._jobs: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()
        self._is_closing = False

    # -- start and stop ------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Connect to systemd. Raise UnavailableError if it does not answer; it may be asked again then."""
        await self._bus.connect()
        self._files.prepare()
        await self._keeper.start()
        self._recorder = Recorder(self._clock, self._logs, self._keeper.inflight)

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
        await self._starts.close()
        await self._keeper.close()
        await self._bus.close()

    def unit_name(self, key: AttemptKey) -> str:
        """Return the name of the unit that an attempt will have."""
        return units.unit_name(key)

    def launch(self, spec: LaunchSpec, watcher: Watcher) -> Process:
        """Start an attempt; return at once."""
        process = UnitProcess(spec, watcher, self)
        self._live[process.path] = process
        write_ends: list[int] | None = None
        try:
            if self._is_closing:
                raise UnavailableError("the daemon is stopping")
            write_ends = self._starts.make_pipes(process, self._recorder)
        except (OSError, BarbossaError) as error:
            process.capture = self._recorder.capture(spec.key, {})
            if not shortage.is_one(error):
                asyncio.get_running_loop().call_soon(self._fail, process, f"cannot prepare the start: {error}")
                return process
        crashpoints.reach("pipes-made")
        self._run(self._start(process, write_ends, self._starts.ask()), f"start {process.unit}")
        return process

    async def _start(
        self, process: UnitProcess, write_ends: list[int] | None, foreign: asyncio.Task[list[str]]
    ) -> None:
        is_wanted = lambda: not (process.is_asked_to_stop or self._is_closing)  # noqa: E731 (asked in several places)
        try:
            await self._starts.make(process, self._recorder, write_ends, foreign, is_wanted=is_wanted)
        except GivenUpError:
            if process.is_asked_to_stop:  # or else it is the next daemon that starts it
                self._fail(process, NEVER_STARTED, cause=EndCause.NEVER_STARTED)
        except SystemdError as error:
            await self._refused(process, error)
        except (OSError, BarbossaError) as error:
            self._fail(process, str(error))
        except ValueError as error:
            self._fail(process, f"cannot start {process.spec.argv[0]!r}: {error}")
        else:
            process.is_started = True
            self._announce_later(process)

    async def _refused(self, process: UnitProcess, error: SystemdError) -> None:
        """End an attempt whose unit systemd does not make; one that was due while the host goes down never started."""
        await self._while_host_goes_down(process)
        if process.is_asked_to_stop:
            self._fail(process, NEVER_STARTED, cause=EndCause.NEVER_STARTED)
        else:
            self._fail(process, units.refusal(process.spec, error))

    # -- while it runs -------------------------------------------------------------------------------------

    def _announce_later(self, process: UnitProcess, seconds: float = ANNOUNCE_SECONDS) -> None:
        asyncio.get_running_loop().call_later(seconds, self._announce_soon, process, seconds)

    def _announce_soon(self, process: UnitProcess, waited_seconds: float) -> None:
        is_left = self._is_closing and not process.is_asked_to_stop
        if process.facts is None and process.path in self._live and not is_left:
            self._run(self._announce(process, waited_seconds), f"announce {process.unit}")

    async def _announce(self, process: UnitProcess, waited_seconds: float) -> None:
        """Tell that a process lives, when its program was executed; drop what was needed only until then.

        It may have ended unnoticed: the first time that systemd would tell of a change, it tells of the unit instead.
        """
        await self._take_standing(process, await self._bus.answers(process.path, STANDING), waited_seconds)

    async def _take_standing(
        self, process: UnitProcess, answers: Answers, waited_seconds: float = ANNOUNCE_SECONDS
    ) -> None:
        """Take in how a unit stands.

        One that is not active yet is asked again, each time after twice as long: systemd has much to do then, and would
        come to nothing else but answering.
        """
        facts = {name: answers[SERVICE, name] for name in FACTS}
        if process.hear(facts):
            await self._take_end(process)
        if process.facts is not None:
            return
        if not answers[ACTIVE_SINCE]:
            self._announce_later(process, min(2 * waited_seconds, LONGEST_ANNOUNCE_SECONDS))
            return
        pid, started_us = facts["MainPID"], facts["ExecMainStartTimestamp"]
        process.invocation_id = bytes(answers[INVOCATION] or ()).hex() or None
        process.pid = pid or None
        process.pid_started_ticks = procfs.start_ticks(pid)
        is_news = process.started_at_ms is None
        process.started_at_ms = started_us // 1000 if started_us else self._clock.now_ms()
        self._files.forget_environment(process.unit)
        if is_news:  # or it was asked about once more, as after a restart of the bus
            process.catch_up()
            self._sample(process)
        self._tell(process.watcher.started, process, process.started_at_ms)

    def _sample(self, process: UnitProcess) -> None:
        """Note the most memory of a process, now and then, for as long as it runs. Older systemd does not keep it."""
        if process.facts is None and not self._is_closing:
            process.peak_memory_bytes = cgroups.peak_memory_bytes(process.unit) or process.peak_memory_bytes
            if process.peak_memory_bytes is not None:
                asyncio.get_running_loop().call_later(SAMPLE_SECONDS, self._sample, process)

    def kill(self, process: UnitProcess, number: int) -> None:
        """Send a signal to everything in a unit; what is not started yet is not started."""
        if process.is_started:
            self._run(self._signal(process.unit, number), f"signal {process.unit}")

    async def _signal(self, unit: str, number: int) -> None:
        await self._control.kill(unit, number)
        crashpoints.reach("stop-asked")

    def _hear(self, path: str, changed: Mapping[str, Variant]) -> None:
        process = self._live.get(path)
        if process is not None and process.hear(units.facts(changed)):
            self._run(self._take_end(process), f"end {process.unit}")

    # -- its end -------------------------------------------------------------------------------------------

    async def _take_end(self, process: UnitProcess) -> None:
        """Find out the rest about a unit whose first process has ended, then read its output to the end."""
        crashpoints.reach("end-seen")
        message = None
        if not process.spec.detach and not await process.leftovers_gone():
            message = "processes that cannot be killed hang in the kernel"
        crashpoints.reach("leftovers-ended")
        answers = await process.ask_why(self._bus, self._journal)
        if process.is_stopped_by_others(answers):
            await self._while_host_goes_down(process)
        make = process.end(answers, message, self._clock.now_ms())
        process.capture.finish(partial(self._end, process, make))

    async def _while_host_goes_down(self, process: UnitProcess) -> None:
        """Wait, if the host goes down, until the daemon is told as well, and asks its tasks to end.

        Then it is known why this one did, and nothing follows from it until the host is back.
        """
        while not (process.is_asked_to_stop or self._is_closing) and await own_unit.is_host_going_down(self._bus):
            with suppress(TimeoutError):
                async with asyncio.timeout(RETRY_SECONDS):
                    await process.asked_to_stop.wait()

    def _fail(self, process: UnitProcess, message: str, *, cause: EndCause = EndCause.START_FAILED) -> None:
        """End an attempt for which systemd made no unit."""
        process.facts = process.facts or UnitFacts(code=0)
        make = partial(ProcessEnd, cause=cause, message=message, finished_at_ms=self._clock.now_ms())
        process.capture.finish(partial(self._end, process, make))

    def _end(self, process: UnitProcess, make: Callable[..., ProcessEnd], log: LogRecord) -> None:
        """Tell of an end; the unit and the pipes stay until that is recorded."""
        crashpoints.reach("output-drained")
        process.disarm()
        try:
            output = taskfiles.take_output(self._files.output_of(process.unit), keep=True)
        except OSError:
            shortage.again(self._end, process, make, log)
            return
        del self._live[process.path]
        self._tell(process.watcher.ended, process, make(log=log, output=output))
        if self._is_closing and not self._live:
            self._idle.set()

    def let_go(self, process: UnitProcess) -> None:
        """Release a unit whose end is recorded."""
        crashpoints.reach("end-recorded")
        self._run(self._release(process), f"release {process.unit}")

    async def _release(self, process: UnitProcess) -> None:
        if process.is_started:
            await asyncio.sleep(RELEASE_SECONDS)
            await self._control.unload(process.unit, is_failed=not process.was_left_active)
        crashpoints.reach("unit-released")
        if process.pipes is not None:
            self._keeper.let_go(process.pipes)
        crashpoints.reach("pipes-let-go")
        self._files.forget(process.unit)

    # -- after a restart, or when news may have been missed --------------------------------------------------

    async def survey(self, attempts: Sequence[AttemptRecord]) -> Mapping[AttemptKey, Finding]:
        """Find out what became of attempts that an earlier daemon started since the host booted."""
        return await self._survivors.survey(attempts)

    async def end_strays(
        self, known: Callable[[RunId, str], bool], forsaken: Collection[AttemptKey] = ()
    ) -> Sequence[str]:
        """End units that carry our names and belong to no live attempt; return those of attempts nobody knows."""
        return await self._survivors.end_strays(known, forsaken)

    def adopt(self, spec: LaunchSpec, watcher: Watcher) -> Process:
        """Go on with an attempt that ``survey`` found live."""
        process = UnitProcess(spec, watcher, self)
        kept = process.pipes = self._keeper.adopt(process.unit)
        process.capture = self._recorder.adopt(spec.key, kept.read_ends, spec.make_mask, kept.slots)
        process.is_started = True
        self._live[process.path] = process
        self._run(self._resync(process), f"adopt {process.unit}")
        return process

    def _resync_all(self) -> None:
        for process in self._live.values():
            if process.is_started and process.facts is None:
                self._run(self._resync(process), f"resync {process.unit}")

    async def _resync(self, process: UnitProcess) -> None:
        """Ask how a unit stands, instead of being told."""
        answers = await self._bus.answers(process.path, (LOADED, *STANDING))
        if answers[LOADED] != "not-found":
            await self._take_standing(process, answers)
        elif process.facts is None:
            process.facts = UnitFacts(is_stopped=True)
            await self._take_end(process)

    async def stop_kind(self) -> StopKind:
        """Ask systemd what it wants with our own unit, and with the host."""
        return await own_unit.stop_kind(self._bus)

    # -- jobs ----------------------------------------------------------------------------------------------

    def _run(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Do something in the background, where a fault is logged and the bus may be away for a while."""
        job = asyncio.get_running_loop().create_task(work, name=name)
        self._jobs.add(job)
        job.add_done_callback(self._done)

    def _done(self, job: asyncio.Task[None]) -> None:
        self._jobs.discard(job)
        error = None if job.cancelled() else job.exception()
        if error is not None:
            logger.error("%s failed", job.get_name(), exc_info=error, extra={"action": "unit_job_failed"})
            self.on_fault(error)

    def _tell(self, call: Callable[..., None], *facts: object) -> None:
        try:
            call(*facts)
        except Exception:  # one watcher's fault must not keep others from being told
            logger.exception("A watcher failed", extra={"action": "watcher_failed"})
