"""The loop around the decisions: it records them, launches what got a slot, and hears of every end.

Everything happens in callbacks on the event loop; there is no asyncio task per run or attempt. The order is always:
decide (``transitions``), record (one transaction), and only then act and tell.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from barbossad import crashpoints
from barbossad.clock import Clock
from barbossad.engine import attempt as attempts
from barbossad.engine import progress as progresses
from barbossad.engine import transitions
from barbossad.engine.active import ActiveRun, Batch, Left, LiveAttempt, Watching, log_end
from barbossad.engine.admission import Admission
from barbossad.engine.gate import Gate
from barbossad.engine.live import LiveAttempts
from barbossad.engine.transitions import Decision
from barbossad.errors import BarbossaError, ConflictError, UnavailableError
from barbossad.model.definition import WorkflowDefinition
from barbossad.model.names import RunId, run_id_from_number
from barbossad.model.records import AttemptRecord, LogRecord, RunRecord
from barbossad.model.states import AttemptState, RunState, StopCause, TaskState, TriggerType, WaitsFor
from barbossad.process.launcher import Launcher
from barbossad.store import changes
from barbossad.store.database import Database
from barbossad.store.runs import RunDetails, RunStore

DRAIN_SECONDS: Final = 5.0
"""Beyond the grace: until what was killed is gone and recorded."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the engine stands on."""

    clock: Clock
    database: Database
    runs: RunStore
    launcher: Launcher
    prepare: attempts.Prepare
    parse_outputs: attempts.ParseOutputs
    boot_id: str
    discard_log: Callable[[LogRecord], None]
    """Removes the file of a log whose text is recorded in the store."""


class Engine(Watching):
    """Runs workflows."""

    def __init__(self, parts: Parts, gate: Gate, *, limit: int) -> None:
        super().__init__()
        self._parts = parts
        self._clock = parts.clock
        self.gate = gate
        gate.opened = self._go_on
        self._admission: Admission[tuple[ActiveRun, int]] = Admission(limit, self.gate)
        self._dirty: list[ActiveRun] = []
        self._last_number = 0
        self._live = LiveAttempts(
            parts.launcher,
            parts.clock,
            parts.parse_outputs,
            decided=self._apply,
            go_on=self._go_on,
            crashed=self.fail,
        )
        self.crash: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Fails when a decision could not be made or recorded, and not for the disk's sake: the daemon must end."""

    # -- what the outside asks for -------------------------------------------------------------------------

    async def start_run(
        self,
        definition: WorkflowDefinition,
        *,
        params: dict[str, Any],
        trigger: TriggerType,
        requested_by: str,
        idempotency_key: str | None = None,
    ) -> RunId | RunDetails:
        """Record a run and start it as soon as there is a slot; return it after the commit, as that has it.

        ``params`` are bound and checked. With an ``idempotency_key`` that was used before for this workflow
        nothing is started, and the id of the earlier run is returned. Raise UnavailableError while the daemon stops or
        the store refuses changes.
        """
        if self.gate.is_stopping:
            raise UnavailableError("the daemon is stopping and starts nothing new; try again when it is back")
        if self._parts.database.fault:
            raise UnavailableError(f"the state file refuses changes ({self._parts.database.fault}); nothing is started")
        if idempotency_key is not None:
            earlier = await self._parts.runs.find_by_key(definition.name, idempotency_key)
            if earlier:
                return earlier
        run = RunRecord(
            id=self._next_id(),
            workflow=definition.name,
            version=definition.version,
            state=RunState.QUEUED,
            trigger=trigger,
            params=params,
            requested_by=requested_by,
            idempotency_key=idempotency_key,
            created_at_ms=self._clock.now_ms(),
        )
        active = ActiveRun(progresses.create(definition, run), is_created=False)
        created = asyncio.get_running_loop().create_future()
        active.changers.add(created)
        self._active[run.id] = active
        self._apply(active, Decision(changes=[changes.RunCreated(run)], ready=transitions.begin(active.progress).ready))
        self._go_on()
        try:
            await created
        except ConflictError:
            earlier = await self._parts.runs.find_by_key(definition.name, idempotency_key or "")
            if earlier is None:
                raise
            return earlier
        return progresses.details(active.progress)

    async def cancel(self, run_id: RunId, reason: str) -> bool:
        """Cancel an active run; return after that is recorded, while its processes are being ended.

        Return False if the run has ended.
        """
        active = self._active.get(run_id)
        if active is None:
            return False
        has_ended = active.progress.has_ended
        if not has_ended:
            self._stop_run(active, StopCause.CANCEL, reason)
            self._go_on()
        await active.recorded()
        return not has_ended

    async def answer(self, run_id: RunId, task_id: str, *, is_approved: bool, words: str) -> bool:
        """Tell a task that waits for a person what that person says; return after it is recorded.

        Return False if no such task of an active run waits for a person.
        """
        active = self._active.get(run_id)
        position = active.progress.definition.positions.get(task_id) if active else None
        if active is None or position is None:
            return False
        if active.progress.tasks[position].record.waits_for is not WaitsFor.PERSON:
            return False
        now_ms = self._clock.now_ms()
        self._apply(
            active, transitions.answered(active.progress, position, is_approved=is_approved, words=words, now_ms=now_ms)
        )
        self._go_on()
        await active.recorded()
        return True

    @property
    def counts(self) -> dict[str, int]:
        """How many runs are active, and how many tasks are in flight and wait for a slot."""
        queued = sum(1 for active in self._active.values() if active.progress.run.state is RunState.QUEUED)
        return {
            "active": len(self._active),
            "queued": queued,
            "running": self._live.count,
            "waiting": len(self._admission),
            "limit": self._admission.limit,
        }

    def waiting_reason(self) -> str:
        """Say why a task that is ready does not start."""
        return self._admission.reason(self._live.count)

    def set_limit(self, limit: int) -> None:
        """Change how many tasks may be in flight; what runs goes on."""
        self._admission.limit = limit
        self._go_on()

    async def drained(self) -> None:
        """Return when nothing runs any more."""
        await self._live.all_ended()

    # -- start and stop ------------------------------------------------------------------------------------

    def seed_ids(self, newest_number: int) -> None:
        """Make ids above those of recorded runs, also when the clock was set back."""
        self._last_number = max(self._last_number, newest_number)

    def resume(self, progress: progresses.RunProgress, left: Left) -> None:
        """Go on with a run that an earlier daemon left.

        Its interrupted attempts are recorded; those that live are adopted, those that never started are launched; and
        what is ready begins.
        """
        active = ActiveRun(progress)
        self._active[progress.run.id] = active
        for position, (record, then) in left.interrupted.items():
            steps = transitions.attempt_ended(progress, position, record, None, then).changes
            self._apply(active, Decision(changes=steps))
            if record.log is not None:
                active.ended_logs.append(record.log)
        for position, spec in (left.live | left.unstarted).items():
            live = active.live[position] = LiveAttempt(position, spec)
            self._live.count += 1
            (self._live.adopt if position in left.live else self._live.launch)(active, live)
        if progress.run.stop_cause is not None:
            self._stop_run(active, progress.run.stop_cause, progress.run.stop_reason or "")
        elif not progress.has_ended:
            self._apply(active, transitions.begin(progress))
        self._arm_run_timeout(active)
        self._go_on()

    def leave(self) -> None:
        """Start nothing new, and leave what runs to the next daemon; what ends meanwhile is recorded."""
        self.gate.stop(leave=True)
        for active in self._active.values():
            active.disarm()

    async def stop(self, grace_seconds: float, cause: StopCause = StopCause.SHUTDOWN) -> list[str]:
        """Start nothing new, end what runs within the grace, record it; return what would not end.

        Runs with tasks that have not started stay as they are and go on at the next start.
        """
        self.gate.stop()
        for active in self._active.values():
            for live in active.live.values():
                self._live.stop(active, live, cause, grace_seconds)
        try:
            async with asyncio.timeout(grace_seconds + DRAIN_SECONDS):
                await self._live.all_ended()
        except TimeoutError:
            return [str(live.spec.key) for active in self._active.values() for live in active.live.values()]
        finally:
            for active in self._active.values():
                active.disarm()
        return []

    # -- deciding, recording, acting -----------------------------------------------------------------------

    def _next_id(self) -> RunId:
        self._last_number = max(self._clock.now_ms(), self._last_number + 1)
        return run_id_from_number(self._last_number)

    def _apply(self, active: ActiveRun, decision: Decision) -> None:
        """Take over what was decided; ``_go_on`` records it and goes on."""
        if decision.changes and not active.changes:
            self._dirty.append(active)
        active.changes.extend(decision.changes)
        for position in decision.ready:
            self._admission.claim((active, position))
        for position in decision.stop:
            live = active.live.get(position)
            cause = active.progress.run.stop_cause
            if live is not None and cause is not None:
                self._live.stop(active, live, cause)

    def _go_on(self) -> None:
        """Give free slots away, then record all that was decided in this turn."""
        for active, position in self._admission.admit(self._live):
            self._begin_attempt(active, position)
        dirty, self._dirty = self._dirty, []
        for active in dirty:
            if active.is_created or active.recording is None:
                self._record(active)
            else:  # its creation may still be refused: what followed meanwhile waits for the answer
                self._dirty.append(active)

    def _record(self, active: ActiveRun) -> None:
        steps, active.changes = active.changes, []
        batch = Batch(
            active,
            active.launches,
            active.ended_logs,
            active.ended,
            announced=active.announced,
            is_end=active.progress.has_ended,
        )
        active.launches, active.ended_logs, active.ended, active.announced = [], [], [], False
        then = partial(self._recorded, batch)
        active.recording = self._parts.database.record(steps, is_fact=active.is_created, then=then)

    def _begin_attempt(self, active: ActiveRun, position: int) -> None:
        """Use a slot for a ready task: prepare its command and record it as starting."""
        progress = active.progress
        cell = progress.tasks[position]
        if cell.record.state is not TaskState.PENDING and cell.record.waits_for is not WaitsFor.SLOT:
            return  # it was cancelled while it waited
        task = progress.definition.tasks[position]
        now_ms = self._clock.now_ms()
        number = len(cell.attempts) + 1
        try:
            spec = self._parts.prepare(progress, position, number)
            in_force = self._parts.launcher.enforce(spec)
        except BarbossaError as error:
            self._apply(active, transitions.task_unstartable(progress, position, str(error), now_ms))
            return
        except Exception as error:  # a fault of ours, or of a task type: it must cost this task and nothing else
            log.exception("run %s task %s cannot be prepared", progress.run.id, task.id,
                          extra={"action": "prepare_failed", "run_id": progress.run.id, "task": task.id})  # fmt: skip
            reason = f"it could not be prepared: {error!r}; the daemon's log says more"
            self._apply(active, transitions.task_unstartable(progress, position, reason, now_ms))
            return
        attempt = AttemptRecord(
            run_id=progress.run.id,
            task_id=task.id,
            number=number,
            state=AttemptState.STARTING,
            launcher=self._parts.launcher.name,
            unit=self._parts.launcher.unit_name(spec.key),
            boot_id=self._parts.boot_id,
            in_force=in_force,
        )
        live = LiveAttempt(position, spec)
        active.live[position] = live
        active.launches.append(live)
        self._live.count += 1
        self._apply(active, transitions.attempt_starting(progress, position, attempt, now_ms))
        self._arm_run_timeout(active)

    def _recorded(self, batch: Batch, recorded: asyncio.Future[None]) -> None:
        """Act on what is now durable: launch, and tell those who wait."""
        error = None if recorded.cancelled() else recorded.exception()
        if error is not None:
            self._not_recorded(batch, error)
            return
        active = batch.active
        active.is_created = True
        if batch.announced:
            crashpoints.reach("running-recorded")
        for process in batch.ended:
            process.release()
        if not self.gate.is_leaving:  # otherwise the next daemon finds that they never started
            for live in batch.launches:
                self._live.launch(active, live)
        for log_record in batch.logs:
            if log_record.path is not None:
                self._parts.discard_log(log_record)
        if batch.is_end:
            self._finish(active)
        else:
            active.tell_change()
        if active.changes:
            self._go_on()

    def _not_recorded(self, batch: Batch, error: BaseException) -> None:
        """Take back a run that could not be created; anything else ends the daemon, which then recovers."""
        active = batch.active
        run = active.progress.run
        if not active.is_created:
            self._active.pop(run.id, None)
            self._dirty = [other for other in self._dirty if other is not active]
            self._admission.forget(lambda claim: claim[0] is active)
            active.disarm()
            self._live.forget(active)
            active.tell_refusal(error)
            self._go_on()
        else:
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """End the daemon over what must never happen: the next one finds every run as it was last recorded."""
        if not self.crash.done():
            log.critical("a fault of Barbossa itself: %r", error, exc_info=error, extra={"action": "engine_failed"})
            self.crash.set_exception(error)

    def _finish(self, active: ActiveRun) -> None:
        """Forget a run whose end is recorded, and tell it."""
        run = active.progress.run
        active.disarm()
        self._active.pop(run.id, None)
        active.tell_end()
        asyncio.get_running_loop().call_soon(log_end, run)  # who waits is told first

    def _stop_run(self, active: ActiveRun, cause: StopCause, reason: str) -> None:
        self._apply(active, transitions.stop(active.progress, cause, reason, self._clock.now_ms()))

    def _arm_run_timeout(self, active: ActiveRun) -> None:
        """Start the clock of the run's own timeout when the run starts."""
        progress = active.progress
        limit, started = progress.definition.timeout_seconds, progress.run.started_at_ms
        if limit is None or started is None or active.timeout is not None or progress.has_ended:
            return
        left = started / 1000 + limit - self._clock.now_ms() / 1000
        active.timeout = asyncio.get_running_loop().call_later(max(left, 0), self._run_timed_out, active, limit)

    def _run_timed_out(self, active: ActiveRun, limit: float) -> None:
        self._stop_run(active, StopCause.RUN_TIMEOUT, f"the run did not end within its timeout of {limit:g} s")
        self._go_on()
