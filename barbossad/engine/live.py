"""The attempts in flight: launched once recorded, stopped for a cause, and heard of until their end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Final

from barbossad import crashpoints
from barbossad.clock import Clock
from barbossad.engine import attempt as attempts
from barbossad.engine import transitions
from barbossad.engine.active import ActiveRun, LiveAttempt
from barbossad.engine.transitions import Decision
from barbossad.model.records import AttemptRecord, LogRecord
from barbossad.model.states import AttemptState, OnInterrupt, StopCause
from barbossad.process.launcher import EndCause, Launcher, Process, ProcessEnd

RECORD_RUNNING_SECONDS: Final = 0.01
"""A process that ends sooner is recorded as ended at once, without a commit for ``running`` in between."""

log = logging.getLogger(__name__)


class LiveAttempts:
    """Stands between the launcher and the engine; what it hears becomes a ``Decision`` that the engine records."""

    def __init__(
        self,
        launcher: Launcher,
        clock: Clock,
        parse_outputs: attempts.ParseOutputs,
        *,
        decided: Callable[[ActiveRun, Decision], None],
        go_on: Callable[[], None],
        crashed: Callable[[Exception], None],
    ) -> None:
        self._launcher = launcher
        self._clock = clock
        self._parse_outputs = parse_outputs
        self._decided = decided
        self._go_on = go_on
        self.crashed = crashed
        """Is told when the end of an attempt could not be dealt with: without it, its run would stay live for ever."""

        self._spawned: list[tuple[ActiveRun, LiveAttempt, AttemptRecord]] = []
        self._idle: list[asyncio.Future[None]] = []
        self.count = 0
        """How many there are, from the decision to start one to its end; each holds a slot."""

    def launch(self, active: ActiveRun, live: LiveAttempt) -> None:
        """Start the process of an attempt that is recorded as starting."""
        if live.stop_cause is not None:  # it was stopped between the decision and the commit
            self.process_ended(active, live, _never_started(self._clock.now_ms()))
            return
        crashpoints.reach("starting-recorded")
        live.process = self._launcher.launch(live.spec, _Watcher(self, active, live))
        self._arm_timeout(active, live, passed_seconds=0)

    def adopt(self, active: ActiveRun, live: LiveAttempt) -> None:
        """Go on with an attempt that an earlier daemon launched; its timeout goes on too."""
        live.process = self._launcher.adopt(live.spec, _Watcher(self, active, live))
        started_at_ms = active.progress.tasks[live.position].record.started_at_ms or self._clock.now_ms()
        self._arm_timeout(active, live, passed_seconds=(self._clock.now_ms() - started_at_ms) / 1000)

    def _arm_timeout(self, active: ActiveRun, live: LiveAttempt, *, passed_seconds: float) -> None:
        seconds = active.progress.definition.tasks[live.position].timeout_seconds
        if seconds is not None:
            left = max(seconds - passed_seconds, 0)
            loop = asyncio.get_running_loop()
            live.timeout = loop.call_later(left, self.stop, active, live, StopCause.TASK_TIMEOUT)

    def stop(self, active: ActiveRun, live: LiveAttempt, cause: StopCause, limit_seconds: float | None = None) -> None:
        """End an attempt with its task's grace; the first cause given is the one that is told."""
        if live.stop_cause is None:
            live.stop_cause = cause
        grace = active.progress.definition.tasks[live.position].grace_seconds
        if limit_seconds is not None:
            grace = min(grace, limit_seconds)
        if live.process is not None:
            live.process.stop(grace)

    async def all_ended(self) -> None:
        """Return when none is left."""
        if self.count:
            idle: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._idle.append(idle)
            await idle

    def process_started(self, active: ActiveRun, live: LiveAttempt, process: Process, started_at_ms: int) -> None:
        """Note that a process exists; recorded a moment later, if it still does."""
        before = active.progress.tasks[live.position].attempts[-1]
        if before.state is AttemptState.RUNNING:
            return  # an earlier daemon has recorded it
        attempt = replace(
            before,
            state=AttemptState.RUNNING,
            pid=process.pid,
            pid_started_ticks=process.pid_started_ticks,
            invocation_id=process.invocation_id,
            started_at_ms=started_at_ms,
        )
        if not self._spawned:
            asyncio.get_running_loop().call_later(RECORD_RUNNING_SECONDS, self._record_running)
        self._spawned.append((active, live, attempt))

    def process_ended(self, active: ActiveRun, live: LiveAttempt, end: ProcessEnd) -> None:
        """Record the end of an attempt and what follows from it; its slot is free."""
        if live.timeout is not None:
            live.timeout.cancel()
        del active.live[live.position]
        self.count -= 1
        progress = active.progress
        before = progress.tasks[live.position].attempts[-1]
        if live.process is not None:
            process = live.process
            before = replace(
                before,
                pid=process.pid,
                pid_started_ticks=process.pid_started_ticks,
                invocation_id=process.invocation_id,
            )
            active.ended.append(process)
            live.process = None  # it holds the watcher, which holds this: they would wait for the garbage collector
        end = attempts.without_secrets(end, live.spec.make_mask)
        read = partial(self._parse_outputs, progress.definition.tasks[live.position].type)
        attempt, outputs = attempts.outcome(before, end, self._stopped(active, live), read)
        tell_end(attempt, progress.run.workflow)
        active.ended_logs.append(end.log)
        then = self._after_interruption(active, live, end)
        self._decided(active, transitions.attempt_ended(progress, live.position, attempt, outputs, then))
        self._go_on()
        self._tell_if_idle()

    def _after_interruption(self, active: ActiveRun, live: LiveAttempt, end: ProcessEnd) -> OnInterrupt:
        """Return what follows if this end is an interruption; who stopped a unit by hand does not want it again."""
        task = active.progress.definition.tasks[live.position]
        if live.stop_cause is StopCause.HOST_DOWN:
            return task.on_reboot
        return OnInterrupt.FAIL if end.cause is EndCause.REMOVED else task.on_interrupt

    def forget(self, active: ActiveRun) -> None:
        """Give back the slots of a run that could not be created; nothing of it was launched."""
        self.count -= len(active.live)
        active.live.clear()
        self._tell_if_idle()

    def _tell_if_idle(self) -> None:
        if not self.count:
            idle, self._idle = self._idle, []
            for future in idle:
                if not future.done():
                    future.set_result(None)

    def _record_running(self) -> None:
        spawned, self._spawned = self._spawned, []
        for active, live, attempt in spawned:
            if active.live.get(live.position) is live:
                self._decided(active, transitions.attempt_running(active.progress, live.position, attempt))
                active.announced = True
        self._go_on()

    def _stopped(self, active: ActiveRun, live: LiveAttempt) -> tuple[StopCause, str] | None:
        """Return why an attempt is being ended, in words, if it is."""
        cause = live.stop_cause
        if cause is None:
            return None
        if cause is StopCause.SHUTDOWN:
            return cause, "the daemon was stopped while it ran"
        if cause is StopCause.HOST_DOWN:
            return cause, "the host was shut down while it ran"
        if cause is StopCause.TASK_TIMEOUT:
            seconds = active.progress.definition.tasks[live.position].timeout_seconds or 0
            return cause, attempts.timeout_reason(seconds)
        return cause, active.progress.run.stop_reason or cause.value


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

    def ended(self, process: Process, end: ProcessEnd) -> None:  # noqa: ARG002 (the interface names it)
        """See ``launcher.Watcher``."""
        try:
            self._attempts.process_ended(self._active, self._live, end)
        except Exception as error:
            self._attempts.crashed(error)
            raise


def tell_end(attempt: AttemptRecord, workflow: str) -> None:
    """Log that an attempt has ended, and how."""
    started_at_ms, finished_at_ms = attempt.started_at_ms, attempt.finished_at_ms
    seconds = (finished_at_ms - started_at_ms) / 1000 if started_at_ms and finished_at_ms else 0.0
    log.info(
        "task %s of run %s %s after %.3f s%s",
        attempt.task_id, attempt.run_id, attempt.state, seconds, f": {attempt.reason}" if attempt.reason else "",
        extra={
            "action": "attempt_finished", "run_id": attempt.run_id, "workflow": workflow, "task": attempt.task_id,
            "attempt": attempt.number, "state": attempt.state.value, "exit_code": attempt.exit_code, "seconds": seconds,
        },
    )  # fmt: skip


def _never_started(now_ms: int) -> ProcessEnd:
    return ProcessEnd(
        cause=EndCause.LOST, message="it was stopped before it started", finished_at_ms=now_ms, log=LogRecord()
    )
