"""The loop around the decisions: it records them, launches what got a slot, and hears of every end.

Everything happens in callbacks on the event loop; there is no asyncio task per run or attempt, but for calls of other
runs. The order is always: decide (``transitions``), record (one transaction), and only then act and tell.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from barbossad import crashpoints
from barbossad.clock import Clock
from barbossad.engine import attempt as attempts
from barbossad.engine import places, retries, timing, transitions
from barbossad.engine.active import ActiveRun, Batch, LiveAttempt, Watching, log_ends
from barbossad.engine.admission import Admission, Claim
from barbossad.engine.calls import LAUNCHER, Calls
from barbossad.engine.decision import Decision
from barbossad.engine.gate import Gate
from barbossad.engine.live import LiveAttempts, Means
from barbossad.engine.locks import Locks
from barbossad.engine.progress import TASK_STATE_AFTER, Cell, Evaluate, RunProgress
from barbossad.engine.runqueue import RunQueue
from barbossad.engine.settling import start_run
from barbossad.errors import BarbossaError, StoreError
from barbossad.model.definition import WorkflowDefinition
from barbossad.model.flow import ApprovalRequest, CallRequest, TaskKind
from barbossad.model.names import WorkflowName
from barbossad.model.records import AttemptRecord, LogRecord, RunRecord
from barbossad.model.states import AttemptState, RunState, StopCause, TaskState
from barbossad.process.launcher import CATCH_UP_SECONDS, Launcher
from barbossad.security.making import Maker
from barbossad.security.masking import Masking
from barbossad.store.database import Database
from barbossad.store.runs import RunStore
from barbossad.units import format_duration

LONGEST_TIMER_SECONDS: Final = 3600.0
"""Timers are armed anew after this, so that a clock that was set is noticed."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the engine stands on."""

    clock: Clock
    database: Database
    runs: RunStore
    launcher: Launcher
    prepare: attempts.Prepare
    evaluate: Evaluate
    prepare_approval: Callable[[RunProgress, int], ApprovalRequest]
    prepare_call: Callable[[RunProgress, int], CallRequest]
    find: Callable[[WorkflowName], Awaitable[WorkflowDefinition]]
    """Finds the version in force of a workflow that is called; raises BarbossaError."""

    parse_outputs: attempts.ParseOutputs
    read_stdout: Callable[[LogRecord], str]
    boot_id: str
    discard_log: Callable[[LogRecord], None]
    """Removes the file of a log whose text is recorded in the store."""


class Driver(Watching):
    """Takes decisions over, records them, acts on them."""

    def __init__(self, parts: Parts, gate: Gate, *, limit: int) -> None:
        super().__init__()
        self._parts = parts
        self._clock = parts.clock
        self._evaluate = parts.evaluate
        self.gate = gate
        gate.opened = self._go_on
        self._locks = Locks()
        self._queue = RunQueue(self._locks)
        self._admission = Admission(limit, self.gate, self._locks)
        self._maker = Maker()
        self._dirty: list[ActiveRun] = []
        self._caught_up_at = 0.0
        self._calls = Calls()
        self._live = LiveAttempts(
            Means(
                launcher=parts.launcher,
                clock=parts.clock,
                calls=self._calls,
                evaluate=parts.evaluate,
                parse_outputs=parts.parse_outputs,
                read_stdout=parts.read_stdout,
            ),
            decided=self._apply,
            released=self._release_locks,
            go_on=self._go_on,
            crashed=self.fail,
        )
        self.on_end: Callable[[RunRecord], None] | None = None
        """Is told of each run whose end is recorded."""

        self.is_closed = False
        """Whether the store is being closed: what a process tells now is told again to the next daemon."""

        self.crash: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Fails when a decision could not be made or recorded, and not for the disk's sake: the daemon must end."""

    def fail(self, error: BaseException) -> None:
        """End the daemon over what must never happen: the next one finds every run as it was last recorded."""
        if not self.crash.done():
            log.critical("a fault of Barbossa itself: %r", error, exc_info=error, extra={"action": "engine_failed"})
            self.crash.set_exception(error)

    # -- deciding ------------------------------------------------------------------------------------------

    def _apply(self, active: ActiveRun, decision: Decision) -> None:
        """Take over what was decided; ``_go_on`` records it and goes on."""
        if decision.changes and not active.changes:
            self._dirty.append(active)
        active.changes.extend(decision.changes)
        for index in decision.ready:
            self._admission.claim(Claim(active, index))
        for stop in decision.stop:
            self._live.stop_as(active, stop)
        for index in decision.timed:
            self._arm(active, index)
        if decision.changes:
            self._arm_run(active)

    def _begin_run(self, active: ActiveRun) -> None:
        """Begin a run that has its place, or go on with it."""
        active.is_admitted = True
        self._apply(active, transitions.begin(active.progress, self._evaluate, self._clock.now_ms()))

    def _release_locks(self, active: ActiveRun, index: int | None) -> None:
        """Give back what a task, or a whole run, held; who waited for it goes on."""
        names = self._locks.release((active.progress.run.id, index))
        if names:
            self._admission.wake(names)
            for admitted in self._queue.freed(names):
                self._begin_run(admitted)

    # -- recording -----------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Give free slots away, then record all that was decided in this turn."""
        if self.is_closed:
            return
        for claim in self._admission.admit(self._live):
            self._begin_task(claim.active, claim.index)
        dirty, self._dirty = self._dirty, []
        for active in dirty:
            if active.is_created or active.recording is None:
                self._record(active)
            else:  # its creation may still be refused: what followed meanwhile waits for the answer
                self._dirty.append(active)

    def _record(self, active: ActiveRun) -> None:
        steps, active.changes = active.changes, []
        batch = Batch(active, active.launches, active.finished, active.ended, run=active.progress.run,
                      announced=active.announced, is_end=active.progress.has_ended)  # fmt: skip
        active.launches, active.finished, active.ended, active.announced = [], [], [], False
        then = partial(self._recorded, batch)
        active.recording = self._parts.database.record(steps, is_fact=active.is_created, then=then)

    def _recorded(self, batch: Batch, recorded: asyncio.Future[None]) -> None:
        """Act on what is now durable: launch, and tell those who wait."""
        error = None if recorded.cancelled() else recorded.exception()
        if error is not None:
            self._not_recorded(batch, error)
            return
        active = batch.active
        if not active.is_created:
            self._created(active)
        if batch.announced:
            crashpoints.reach("running-recorded")
        for process in batch.ended:
            process.release()
        for live in batch.launches:
            self._launch(active, live, self._maker.begin(live.spec.secrets) if live.spec is not None else None)
        for attempt in batch.finished:
            if attempt.log is not None and attempt.log.path is not None:
                self._parts.discard_log(attempt.log)
        if batch.is_end:
            self._finish(active)
        else:
            active.tell_change()
        if batch.finished or batch.is_end:
            asyncio.get_running_loop().call_soon(log_ends, batch.finished, batch.run)  # who waits is told first
        if active.changes:
            self._go_on()

    def _created(self, active: ActiveRun) -> None:
        """Have those make room for a new run that it replaces, now that there is such a run."""
        active.is_created = True
        replaced, active.replaces = active.replaces, []
        if replaced:
            crashpoints.reach("replacing-recorded")
            self._replace(active, replaced)
            self._go_on()

    def _replace(self, active: ActiveRun, replaced: list[ActiveRun]) -> None:
        """Have runs make room for another, if they are there and do not end by now."""
        for other in replaced:
            run = other.progress.run
            if self._active.get(run.id) is other and not places.is_ending(run):
                self._stop_run(other, StopCause.CANCEL, f"replaced by run {active.progress.run.id}")

    def _launch(self, active: ActiveRun, live: LiveAttempt, making: asyncio.Future[Masking] | None) -> None:
        """Launch what is recorded as starting, when it is made what masks its output, if that takes long."""
        if making is not None and not making.done():
            making.add_done_callback(partial(self._launch, active, live))
        elif not (self.gate.is_leaving or self.is_closed):  # otherwise the next daemon finds that it never started
            self._live.launch(active, live)

    def _not_recorded(self, batch: Batch, error: BaseException) -> None:
        """Take back a run that could not be created; anything else ends the daemon, which then recovers.

        What the disk refuses to the end, when the store is closed, is nobody's fault.
        """
        active = batch.active
        run = active.progress.run
        if active.is_created:
            if self.is_closed and isinstance(error, StoreError):
                log.error("what became of run %s is not recorded; the next start sees what it can: %s", run.id, error,
                          extra={"action": "end_unrecorded", "run_id": run.id})  # fmt: skip
            else:
                self.fail(error)
            return
        self._active.pop(run.id, None)
        self._queue.withdraw(active)
        self._dirty = [other for other in self._dirty if other is not active]
        self._admission.forget(lambda claim: claim.active is active)
        active.disarm()
        for index in list(active.live):
            self._release_locks(active, index)
        self._live.forget(active)
        self._release_locks(active, None)
        active.tell_refusal(error)
        self._go_on()

    def _finish(self, active: ActiveRun) -> None:
        """Forget a run whose end is recorded, and tell it; who waited for its place goes on."""
        run = active.progress.run
        active.disarm()
        self._active.pop(run.id, None)
        self._queue.forget(active)
        self._release_locks(active, None)
        active.tell_end()
        if self.on_end is not None:
            self.on_end(run)
        self._go_on()

    # -- beginning a task ----------------------------------------------------------------------------------

    def _begin_task(self, active: ActiveRun, index: int) -> None:
        """Use a slot for a ready task: prepare it and record it as starting, or ask the person that it waits for."""
        cell = active.progress.cells[index]
        if active.progress.run.started_at_ms is None:  # now, so that its first task sees when that was
            begun = Decision()
            start_run(active.progress, begun, self._clock.now_ms())
            self._apply(active, begun)
        given_up = retries.given_up(cell, self._clock.now_ms())
        if given_up is not None:
            state, reason = given_up
            self._unstartable(active, index, reason, TASK_STATE_AFTER[state])
            return
        try:
            if cell.task.kind is TaskKind.APPROVAL and not cell.attempts:
                self._ask(active, index)
                return
            live, in_force = self._prepared(active, index, cell)
        except BarbossaError as error:
            self._unstartable(active, index, str(error))
            return
        except Exception as error:  # a fault of ours, or of a task type: it must cost this task and nothing else
            run_id = active.progress.run.id
            log.exception("run %s task %s cannot be prepared", run_id, cell.id,
                          extra={"action": "prepare_failed", "run_id": run_id, "task": cell.id})  # fmt: skip
            self._unstartable(active, index, f"it could not be prepared: {error!r}; the daemon's log says more")
            return
        is_call = live.spec is None
        launcher = self._parts.launcher
        attempt = AttemptRecord(
            run_id=active.progress.run.id,
            task_id=cell.id,
            number=len(cell.attempts) + 1,
            state=AttemptState.STARTING,
            launcher=LAUNCHER if is_call else launcher.name,
            unit=None if live.spec is None else launcher.unit_name(live.spec.key),
            boot_id=self._parts.boot_id,
            in_force=in_force,
        )
        active.live[index] = live
        active.launches.append(live)
        self._live.count += not is_call
        self._apply(active, transitions.attempt_starting(active.progress, index, attempt, self._clock.now_ms()))

    def _prepared(self, active: ActiveRun, index: int, cell: Cell) -> tuple[LiveAttempt, attempts.InForce]:
        """Return the attempt that is about to start, and what will be in force for it."""
        if cell.task.kind is TaskKind.CALL:
            return LiveAttempt(index, call=self._parts.prepare_call(active.progress, index)), None
        spec = self._parts.prepare(active.progress, index, len(cell.attempts) + 1)
        return LiveAttempt(index, spec), self._parts.launcher.enforce(spec)

    def _ask(self, active: ActiveRun, index: int) -> None:
        """Have an approval wait for a person."""
        request = self._parts.prepare_approval(active.progress, index)
        now_ms = self._clock.now_ms()
        deadline_ms = None if request.deadline_seconds is None else now_ms + round(request.deadline_seconds * 1000)
        self._release_locks(active, index)
        self._apply(active, transitions.approval_asked(active.progress, index, request.message, deadline_ms, now_ms))

    def _unstartable(self, active: ActiveRun, index: int, reason: str, state: TaskState = TaskState.FAILED) -> None:
        self._release_locks(active, index)
        progress, now_ms = active.progress, self._clock.now_ms()
        self._apply(active, transitions.task_unstartable(progress, index, reason, self._evaluate, now_ms, state=state))

    # -- time ----------------------------------------------------------------------------------------------

    def _arm(self, active: ActiveRun, index: int) -> None:
        """Have a task looked at when something is due for it."""
        for due_ms in timing.due(active.progress.cells[index]):
            key = (index, due_ms)
            if key not in active.timers:
                active.timers[key] = self._at(due_ms, self._time_passed, active, key)

    def _time_passed(self, active: ActiveRun, key: tuple[int, int], now_ms: int) -> None:
        active.timers.pop(key, None)
        index, due_ms = key
        if now_ms < due_ms:
            self._arm(active, index)
            return
        cell = active.progress.cells[index]
        was_late = cell.record.late_at_ms
        self._apply(active, transitions.time_passed(active.progress, index, self._evaluate, now_ms))
        if cell.record.late_at_ms != was_late:
            log.warning("task %s of run %s takes longer than its warn_after of %s", cell.id, active.progress.run.id,
                        format_duration(cell.task.warn_after_seconds or 0),
                        extra={"action": "task_late", "run_id": active.progress.run.id, "task": cell.id})  # fmt: skip
        self._go_on()

    def _arm_run(self, active: ActiveRun) -> None:
        """Keep the clocks of the run's own limits."""
        progress = active.progress
        if progress.definition.timeout_seconds is None and progress.definition.warn_after_seconds is None:
            return
        deadline_ms, late_ms = timing.run_deadline_ms(progress), timing.run_late_ms(progress)
        if (deadline_ms is None) != (active.timeout is None) or (late_ms is None) != (active.lateness is None):
            active.disarm_run()
            if deadline_ms is not None:
                active.timeout = self._at(deadline_ms, self._run_time_passed, active)
            if late_ms is not None:
                active.lateness = self._at(late_ms, self._run_time_passed, active)

    def _run_time_passed(self, active: ActiveRun, now_ms: int) -> None:
        active.disarm_run()
        progress = active.progress
        deadline_ms, late_ms = timing.run_deadline_ms(progress), timing.run_late_ms(progress)
        if late_ms is not None and late_ms <= now_ms:
            log.warning("run %s takes longer than its warn_after of %s", progress.run.id,
                        format_duration(progress.definition.warn_after_seconds or 0),
                        extra={"action": "run_late", "run_id": progress.run.id})  # fmt: skip
            self._apply(active, transitions.run_late(progress, now_ms))
        if deadline_ms is not None and deadline_ms <= now_ms:
            limit = format_duration(progress.definition.timeout_seconds or 0)
            self._stop_run(active, StopCause.RUN_TIMEOUT, f"the run did not end within its timeout of {limit}")
        self._arm_run(active)
        self._go_on()

    def _at(self, due_ms: int, call: Callable[..., None], *facts: object) -> asyncio.TimerHandle:
        """Call at an instant, with the time that it is then; before it only where that is far off.

        It is at least that instant, also where the clock is set back meanwhile: delays and timeouts are spans of time.
        """
        loop, seconds = asyncio.get_running_loop(), (due_ms - self._clock.now_ms()) / 1000
        if seconds <= 0:
            seconds = max(self._caught_up_at - loop.time(), 0)
        is_far = seconds > LONGEST_TIMER_SECONDS
        told = partial(self._on_time, 0 if is_far else due_ms, call, *facts)
        return loop.call_later(LONGEST_TIMER_SECONDS if is_far else seconds, told)

    def _on_time(self, due_ms: int, call: Callable[..., None], *facts: object) -> None:
        call(*facts, max(due_ms, self._clock.now_ms()))

    def _catch_up(self) -> None:
        """Leave what is overdue alone until the ends of adopted attempts can have been heard."""
        self._caught_up_at = asyncio.get_running_loop().time() + CATCH_UP_SECONDS

    def _stop_run(self, active: ActiveRun, cause: StopCause, reason: str) -> None:
        was_paused = active.progress.run.state is RunState.PAUSED
        self._apply(active, transitions.stop(active.progress, cause, reason, self._evaluate, self._clock.now_ms()))
        if was_paused:
            self._admission.unpaused(active)
