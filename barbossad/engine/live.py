"""The attempts in flight: launched once recorded, stopped for a cause, and heard of until their end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from barbossad import crashpoints
from barbossad.clock import Clock
from barbossad.config import MAX_SHUTDOWN_GRACE_SECONDS
from barbossad.engine import attempt as attempts
from barbossad.engine import transitions
from barbossad.engine.active import ActiveRun, LiveAttempt
from barbossad.engine.calls import Calls
from barbossad.engine.decision import Decision, Stop
from barbossad.engine.progress import Evaluate
from barbossad.engine.transitions import End
from barbossad.model.definition import TaskDefinition
from barbossad.model.records import AttemptRecord, LogRecord, changed
from barbossad.model.states import AttemptState, OnInterrupt, StopCause
from barbossad.process import shortage
from barbossad.process.launcher import NEVER_STARTED, EndCause, Launcher, Process, ProcessEnd
from barbossad.process.output.blackout import Blackout

RECORD_RUNNING_SECONDS: Final = 0.01
"""A process that ends sooner is recorded as ended at once, without a commit for ``running`` in between."""

_FOR_THE_RUN: Final = frozenset({StopCause.CANCEL, StopCause.RUN_TIMEOUT, StopCause.GROUP_TIMEOUT, StopCause.FAIL_FAST})
"""Why an attempt is ended when no other may follow it."""

Printed = tuple[str, str | None]
"""What an attempt printed, and what is wrong if that is not all."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What the attempts in flight need of others."""

    launcher: Launcher
    clock: Clock
    calls: Calls
    evaluate: Evaluate
    parse_outputs: attempts.ParseOutputs
    read_stdout: Callable[[LogRecord], str]


class LiveAttempts:
    """Stands between the launcher and the engine; what it hears becomes a ``Decision`` that the engine records."""

    def __init__(
        self,
        means: Means,
        *,
        decided: Callable[[ActiveRun, Decision], None],
        released: Callable[[ActiveRun, int], None],
        go_on: Callable[[], None],
        crashed: Callable[[Exception], None],
    ) -> None:
        self._means = means
        self._launcher = means.launcher
        self._clock = means.clock
        self._decided = decided
        self._released = released
        self._go_on = go_on
        self.crashed = crashed
        """Is told when the end of an attempt could not be dealt with: without it, its run would stay live for ever."""

        means.calls.ended = self.call_ended
        self._spawned: list[tuple[ActiveRun, LiveAttempt, AttemptRecord]] = []
        self._idle: set[asyncio.Future[None]] = set()
        self.count = 0
        """How many processes there are, from the decision to start one to its end; each holds a slot."""

    def launch(self, active: ActiveRun, live: LiveAttempt) -> None:
        """Start the process, or the run, of an attempt that is recorded as starting."""
        if live.stop_cause is not None:  # it was stopped between the decision and the commit
            if live.spec is None:
                self.call_ended(active, live, AttemptState.CANCELLED, live.stop_reason, {})
            else:
                self.process_ended(active, live, _never_started(self._clock.now_ms()))
            return
        if live.spec is None:
            self._means.calls.start(active, live)
        else:
            crashpoints.reach("starting-recorded")
            live.process = self._launcher.launch(live.spec, _Watcher(self, active, live))
        self._arm_timeout(active, live, passed_seconds=0)

    def adopt(self, active: ActiveRun, live: LiveAttempt) -> None:
        """Go on with an attempt that an earlier daemon launched; its timeout goes on too, and so does its end."""
        if active.progress.is_being_ended(live.index):
            live.stopped_at_ms = 0
        if live.spec is None:
            self._means.calls.start(active, live)
        else:
            live.process = self._launcher.adopt(live.spec, _Watcher(self, active, live))
        passed_seconds = attempts.age_seconds(active.progress.cells[live.index].attempts[-1], self._clock)
        self._arm_timeout(active, live, passed_seconds=passed_seconds)

    def _arm_timeout(self, active: ActiveRun, live: LiveAttempt, *, passed_seconds: float) -> None:
        seconds = _task(active, live).timeout_seconds
        if seconds is not None:
            left = seconds - passed_seconds
            deadline_ms = self._clock.now_ms() + round(left * 1000)
            live.timeout = asyncio.get_running_loop().call_later(
                max(left, 0), self._time_over, active, live, deadline_ms
            )

    def _time_over(self, active: ActiveRun, live: LiveAttempt, deadline_ms: int) -> None:
        if live.stopped_at_ms is None:  # a deadline that passed while no daemon was there was kept by systemd
            live.stopped_at_ms = min(deadline_ms, self._clock.now_ms())
        self.stop(active, live, StopCause.TASK_TIMEOUT)

    def stop_as(self, active: ActiveRun, stop: Stop) -> None:
        """End an attempt, if it is live, as was decided."""
        live = active.live.get(stop.index)
        if live is not None:
            live.stop_reason = live.stop_reason or stop.reason
            self.stop(active, live, stop.cause, is_again=stop.is_again)

    def stop(
        self,
        active: ActiveRun,
        live: LiveAttempt,
        cause: StopCause,
        limit_seconds: float | None = None,
        *,
        is_again: bool = False,
    ) -> None:
        """End an attempt with its task's grace; the first cause given is the one that is told."""
        if live.stop_cause is None:
            live.stop_cause = cause
        if live.stopped_at_ms is None:
            live.stopped_at_ms = self._clock.now_ms()
        if live.spec is None:
            if cause not in (StopCause.SHUTDOWN, StopCause.HOST_DOWN):  # then the called run goes on with this one
                self._means.calls.stop(live, self._stopped(active, live), is_again=is_again)
            return
        grace = _task(active, live).grace_seconds
        if limit_seconds is not None:
            grace = min(grace, limit_seconds)
        if live.process is not None:
            live.process.stop(grace)

    async def all_ended(self) -> None:
        """Return when no process is left."""
        if self.count:
            idle: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._idle.add(idle)
            try:
                await idle
            finally:
                self._idle.discard(idle)

    async def ended(self, seconds: float, more_seconds: float) -> None:
        """Wait for the end of all processes. Raise TimeoutError if there is one after ``seconds``.

        While they end, one after another, it is waited for longer: ``more_seconds`` each time, within what a stop may
        take at most.
        """
        async with asyncio.timeout(max(seconds, MAX_SHUTDOWN_GRACE_SECONDS)):
            while True:
                before = self.count
                try:
                    async with asyncio.timeout(seconds):
                        return await self.all_ended()
                except TimeoutError:
                    if self.count == before:
                        raise
                    seconds = more_seconds

    def process_started(self, active: ActiveRun, live: LiveAttempt, process: Process, started_at_ms: int) -> None:
        """Note that a process exists; recorded a moment later, if it still does."""
        before = active.progress.cells[live.index].attempts[-1]
        if before.state is AttemptState.RUNNING:
            return  # an earlier daemon has recorded it
        known = attempts.identity(process)
        attempt = changed(before, **known, state=AttemptState.RUNNING, started_at_ms=started_at_ms)
        if not self._spawned:
            asyncio.get_running_loop().call_later(RECORD_RUNNING_SECONDS, self._record_running)
        self._spawned.append((active, live, attempt))

    def process_ended(
        self, active: ActiveRun, live: LiveAttempt, end: ProcessEnd, printed: Printed | None = None
    ) -> None:
        """Record the end of an attempt, which ``printed`` this, and what follows from it; its slot is free."""
        assert live.spec is not None
        self.count -= 1
        before, process = active.progress.cells[live.index].attempts[-1], live.process
        if process is not None:
            active.ended.append(process)
            live.process = None  # it holds the watcher, which holds this: they would wait for the garbage collector
        end = attempts.without_secrets(end, live.spec.make_mask)
        task = _task(active, live)
        read = partial(self._means.parse_outputs, task.type)
        if live.spec.make_mask is Blackout:
            read = partial(attempts.untold, read)
        has_begun = end.cause is not EndCause.NEVER_STARTED
        is_its_own = attempts.ended_by_itself(end, live.stopped_at_ms)
        stopped = None if is_its_own else self._stopped(active, live, has_begun=has_begun)
        attempt, outputs = attempts.outcome(before, end, stopped, read, process=process)
        attempt, outputs, stdout = _with_stdout(task, attempt, outputs, printed)
        then = self._after_interruption(active, live, end)
        self._ended(active, live, End(attempt=attempt, outputs=outputs, stdout=stdout, then=then,
                                      is_stopped=live.stop_cause in _FOR_THE_RUN))  # fmt: skip
        self._tell_if_idle()

    def printed(self, active: ActiveRun, live: LiveAttempt, log: LogRecord) -> Printed | None:
        """Return what an attempt printed, where anybody looks at it. Raise OSError if descriptors are missing."""
        if not _task(active, live).keeps_stdout:
            return None
        try:
            return attempts.readable(self._means.read_stdout(log), log)
        except OSError as error:
            if shortage.is_one(error):
                raise
            return "", f"its stdout cannot be read: {error.strerror}"

    def call_started(self, active: ActiveRun, live: LiveAttempt) -> None:
        """Record that the run exists that an attempt called."""
        before = active.progress.cells[live.index].attempts[-1]
        if active.live.get(live.index) is live and before.state is AttemptState.STARTING:
            attempt = changed(before, state=AttemptState.RUNNING, started_at_ms=self._clock.now_ms())
            self._decided(active, transitions.attempt_running(active.progress, live.index, attempt))
            self._go_on()

    def call_ended(
        self,
        active: ActiveRun,
        live: LiveAttempt,
        state: AttemptState,
        reason: str | None,
        outputs: Mapping[str, Any],
    ) -> None:
        """Record what became of a call: how the run ended that was called, or why there was none."""
        stopped = self._stopped(active, live)
        if stopped is not None and state is not AttemptState.SUCCEEDED:
            state, reason = attempts.stopped_state(stopped[0]), stopped[1]
        before = active.progress.cells[live.index].attempts[-1]
        attempt = changed(before, state=state, reason=reason, finished_at_ms=self._clock.now_ms())
        then = _task(active, live).on_interrupt
        is_stopped = live.stop_cause in _FOR_THE_RUN
        self._ended(active, live, End(attempt=attempt, outputs=outputs, then=then, is_stopped=is_stopped))

    def _ended(self, active: ActiveRun, live: LiveAttempt, end: End) -> None:
        if live.timeout is not None:
            live.timeout.cancel()
        del active.live[live.index]
        self._released(active, live.index)
        self._decided(active, transitions.attempt_ended(active.progress, live.index, end, self._means.evaluate))
        active.finished.append(active.progress.cells[live.index].attempts[-1])  # as its expectations left it
        self._go_on()

    def _after_interruption(self, active: ActiveRun, live: LiveAttempt, end: ProcessEnd) -> OnInterrupt:
        """Return what follows if this end is an interruption; who stopped a unit by hand does not want it again."""
        task = _task(active, live)
        if live.stop_cause is StopCause.HOST_DOWN:
            return task.on_reboot
        is_by_hand = end.cause is EndCause.REMOVED and live.stop_cause is None
        return OnInterrupt.FAIL if is_by_hand else task.on_interrupt

    def forget(self, active: ActiveRun) -> None:
        """Give back the slots of a run that could not be created; nothing of it was launched."""
        self.count -= sum(1 for live in active.live.values() if live.spec is not None)
        active.live.clear()
        self._tell_if_idle()

    def _tell_if_idle(self) -> None:
        if not self.count:
            for future in self._idle:
                if not future.done():
                    future.set_result(None)

    def _record_running(self) -> None:
        spawned, self._spawned = self._spawned, []
        for active, live, attempt in spawned:
            if active.live.get(live.index) is live:
                self._decided(active, transitions.attempt_running(active.progress, live.index, attempt))
                active.announced = True
        self._go_on()

    def _stopped(self, active: ActiveRun, live: LiveAttempt, *, has_begun: bool = True) -> tuple[StopCause, str] | None:
        """Return why an attempt is being ended, in words, if it is."""
        cause = live.stop_cause
        if cause is None:
            return None
        when = "while it ran" if has_begun else "before it began"
        if cause is StopCause.SHUTDOWN:
            return cause, f"the daemon was stopped {when}"
        if cause is StopCause.HOST_DOWN:
            return cause, f"the host was shut down {when}"
        if cause is StopCause.TASK_TIMEOUT:
            return cause, attempts.timeout_reason(_task(active, live).timeout_seconds or 0)
        return cause, live.stop_reason or active.progress.run.stop_reason or cause.value


def _with_stdout(
    task: TaskDefinition, attempt: AttemptRecord, outputs: Mapping[str, Any] | None, printed: Printed | None
) -> tuple[AttemptRecord, Mapping[str, Any] | None, str | None]:
    """Return an attempt with what it printed, where that is asked for."""
    if printed is None:
        return attempt, outputs, None
    stdout, lack = printed
    if attempt.state is not AttemptState.SUCCEEDED:
        return attempt, outputs, stdout
    try:
        if task.is_json_output and lack is None:
            outputs = attempts.json_outputs(stdout, outputs)
    except ValueError as error:
        lack = f"its stdout cannot be read: {error}"
    if lack is not None:
        attempt = changed(attempt, state=AttemptState.FAILED, reason=lack)
    return attempt, outputs, stdout


def _task(active: ActiveRun, live: LiveAttempt) -> TaskDefinition:
    return active.progress.cells[live.index].task


class _Watcher:
    """Carries the news of one process."""

    __slots__ = ("_active", "_attempts", "_live")

    def __init__(self, live_attempts: LiveAttempts, active: ActiveRun, live: LiveAttempt) -> None:
        self._attempts = live_attempts
        self._active = active
        self._live = live

    def started(self, process: Process, started_at_ms: int) -> None:
        """See ``launcher.Watcher``."""
        self._attempts.process_started(self._active, self._live, process, started_at_ms)

    def ended(self, process: Process, end: ProcessEnd) -> None:
        """See ``launcher.Watcher``."""
        try:
            try:
                printed = self._attempts.printed(self._active, self._live, end.log)
            except OSError:
                shortage.again(self.ended, process, end)
                return
            self._attempts.process_ended(self._active, self._live, end, printed)
        except Exception as error:
            self._attempts.crashed(error)
            raise


def _never_started(now_ms: int) -> ProcessEnd:
    return ProcessEnd(cause=EndCause.NEVER_STARTED, message=NEVER_STARTED, finished_at_ms=now_ms, log=LogRecord())
