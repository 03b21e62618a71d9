"""The engine as others see it: what may be asked of it, and how it starts and stops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from barbossad.engine import growth, keys, places, transitions, waits
from barbossad.engine import progress as progresses
from barbossad.engine.active import ActiveRun, Left, LiveAttempt
from barbossad.engine.decision import Decision
from barbossad.engine.driver import Driver, Parts
from barbossad.engine.faults import contained
from barbossad.engine.gate import Gate
from barbossad.engine.keys import Keys
from barbossad.engine.locks import Lineage
from barbossad.engine.progress import RunProgress
from barbossad.engine.transitions import Answer, End
from barbossad.errors import BarbossaError, ConflictError, UnavailableError
from barbossad.model.definition import WorkflowDefinition
from barbossad.model.names import RunId, TaskId, run_id_from_number
from barbossad.model.records import RunRecord, TaskRecord
from barbossad.model.states import RunState, StopCause, TriggerType, WaitsFor
from barbossad.store import changes
from barbossad.store.change import Change
from barbossad.store.run_details import RunDetails
from barbossad.workflows import params as workflow_params

DRAIN_SECONDS: Final = 5.0
"""Beyond the grace: until what was killed is gone, or some of it more; nor is a commit waited for any longer."""

MOST_CALLERS: Final = 10
"""How deep runs may call others."""


class Engine(Driver):
    """Runs workflows."""

    def __init__(self, parts: Parts, gate: Gate, *, limit: int) -> None:
        super().__init__(parts, gate, limit=limit)
        self._keys = Keys(parts.runs)
        self._last_number = 0
        self._resumed: list[ActiveRun] = []
        self.recovered = asyncio.Event()
        """Not set while runs of an earlier daemon are being found: one that was called may not be among them yet."""

        self.recovered.set()
        self._calls.begin = self._begin_call
        self._calls.wait = self._called_end
        self._calls.cancel = self.cancel
        self._calls.started = self._live.call_started
        self._calls.crashed = self.fail

    # -- what the outside asks for -------------------------------------------------------------------------

    async def start_run(
        self,
        definition: WorkflowDefinition,
        *,
        params: Mapping[str, Any],
        trigger: TriggerType,
        requested_by: str,
        idempotency_key: str | None = None,
        parent: tuple[RunId, TaskId] | None = None,
        retry_of: RunId | None = None,
        kept: Mapping[str, TaskRecord] | None = None,
        schedule: str | None = None,
        scheduled_for_ms: int | None = None,
        chain: int = 0,
        also: Callable[[RunRecord], Change] | None = None,
    ) -> RunId | RunDetails:
        """Record a run and start it as soon as it may; return it after the commit, as that has it.

        ``params`` are bound and checked. With an ``idempotency_key`` that was used before for this workflow nothing is
        started, and the id of the earlier run is returned. ``parent`` is the run and the task that call it, ``kept``
        are the tasks that the run ``retry_of`` has done, by id. ``also`` makes a change that is recorded in one
        transaction with the run, of a ``schedule`` that fires. Raise UnavailableError while the daemon stops or the
        store refuses changes, ConflictError if its group is full (``skip``), the key is another run's, or for ``also``.
        """
        if idempotency_key is not None:
            earlier = await self._keys.earlier(definition.name, idempotency_key, parent, retry_of)
            if earlier:
                return earlier
        self._check_open()
        run = RunRecord(
            id=self._next_id(),
            workflow=definition.name,
            version=definition.version,
            state=RunState.QUEUED,
            trigger=trigger,
            params=params,
            requested_by=requested_by,
            idempotency_key=idempotency_key,
            priority=definition.priority,
            parent_run=parent[0] if parent else None,
            parent_task=parent[1] if parent else None,
            retry_of=retry_of,
            schedule=schedule,
            scheduled_for_ms=scheduled_for_ms,
            chain=chain,
            created_at_ms=self._clock.now_ms(),
        )
        active = self._enter(definition, run, kept or {}, also)
        if idempotency_key is not None:
            self._keys.ask(definition.name, idempotency_key, active.next_change())
        created = active.next_change()
        self._go_on()
        await created
        return progresses.details(active.progress)

    def _enter(
        self,
        definition: WorkflowDefinition,
        run: RunRecord,
        kept: Mapping[str, TaskRecord],
        also: Callable[[RunRecord], Change] | None,
    ) -> ActiveRun:
        """Take a new run among the active ones, and begin it if it has its place. Raise ConflictError if not."""
        progress = growth.create(definition, run)
        active = ActiveRun(progress, self._lineage(run), is_created=False)
        active.replaces = places.replaced(self._queue, self._active, active)
        self._active[run.id] = active
        also_recorded = [] if also is None else [also(run)]
        self._apply(active, Decision(changes=[changes.RunCreated(run), *also_recorded]))
        if kept:
            self._apply(active, transitions.keep(progress, kept, run.created_at_ms))
        if self._queue.enter(active):
            self._begin_run(active)
        return active

    async def earlier(self, workflow: str, idempotency_key: str, retry_of: RunId | None = None) -> RunId | None:
        """Return the run that was asked for with a key before, when it is recorded. Raise ConflictError as above."""
        return await self._keys.earlier(workflow, idempotency_key, retry_of=retry_of)

    async def cancel(self, run_id: RunId, reason: str, *, unless_ending: bool = False) -> bool:
        """Cancel an active run; return after that is recorded, while its processes are being ended.

        Its rollback and hooks still run; cancelled again while they do, they end too, but ``unless_ending``. Return
        False if it has ended.
        """
        active = self._active.get(run_id)
        if active is None:
            return False
        has_ended = active.progress.has_ended
        if not has_ended and not (unless_ending and places.is_ending(active.progress.run)):
            self._stop_run(active, StopCause.CANCEL, reason)
            self._go_on()
        await active.recorded()
        return not has_ended

    async def pause(self, run_id: RunId, reason: str) -> bool:
        """Let nothing more of a run start, nor of the runs that it called; return False if it is not active or paused.

        The answer comes after that is recorded.
        """
        active = self._active.get(run_id)
        if active is None or active.progress.run.state not in (RunState.QUEUED, RunState.RUNNING):
            return False
        for one in self._with_called(active):
            if one.progress.run.state in (RunState.QUEUED, RunState.RUNNING):
                self._apply(one, transitions.pause(one.progress, reason, self._clock.now_ms()))
        self._go_on()
        await active.recorded()
        return True

    async def unpause(self, run_id: RunId, reason: str) -> bool:
        """Go on with a paused run, and those that it called; return False if it is not paused."""
        active = self._active.get(run_id)
        if active is None or active.progress.run.state is not RunState.PAUSED:
            return False
        for one in self._with_called(active):
            if one.progress.run.state is RunState.PAUSED:
                self._apply(one, transitions.unpause(one.progress, reason, self._clock.now_ms()))
                self._admission.unpaused(one)
                if not one.is_admitted and self._queue.unpaused(one):
                    self._begin_run(one)
        self._go_on()
        await active.recorded()
        return True

    async def answer(
        self,
        run_id: RunId,
        task_id: str,
        *,
        is_approved: bool,
        words: str,
        by: str = "",
        values: Mapping[str, Any] | None = None,
    ) -> bool:
        """Tell a task that waits for a person what that person says; return after it is recorded.

        ``values`` are those of the approval's form, checked (``approval``). Return False if no such task of an active
        run waits for a person.
        """
        active = self._active.get(run_id)
        index = active.progress.index.get(task_id) if active else None
        if active is None or index is None or active.progress.cells[index].record.waits_for is not WaitsFor.PERSON:
            return False
        outputs = {**(values or {}), "by": by, "words": words}
        answer = Answer(is_approved=is_approved, words=words, outputs=outputs)
        self._apply(active, transitions.answered(active.progress, index, answer, self._evaluate, self._clock.now_ms()))
        self._go_on()
        await active.recorded()
        return True

    @property
    def counts(self) -> dict[str, int]:
        """How many runs are active, and how many tasks are in flight and wait for a slot."""
        return {
            "active": len(self._active),
            "queued": sum(active.progress.run.state is RunState.QUEUED for active in self._active.values()),
            "running": self._live.count,
            "waiting": len(self._admission),
            "limit": self._admission.limit,
        }

    def why(self, run_id: RunId) -> Mapping[str, str]:
        """Return why tasks of a run wait, in words, by id; and under the empty id why the run itself does."""
        active = self._active.get(run_id)
        return waits.reasons(active, self._queue, self._admission, self._live.count) if active else {}

    def set_limit(self, limit: int) -> None:
        """Change how many tasks may be in flight; what runs goes on."""
        self._admission.limit = limit
        self._go_on()

    async def drained(self) -> None:
        """Return when nothing runs any more, or draining is undone."""
        await self.gate.while_draining(self._live.all_ended())

    # -- start and stop ------------------------------------------------------------------------------------

    def seed_ids(self, newest_number: int) -> None:
        """Make ids above those of recorded runs, also when the clock was set back."""
        self._last_number = max(self._last_number, newest_number)

    def begin_recovery(self) -> None:
        """Start nothing new until all runs of an earlier daemon are found, with what they hold."""
        self.recovered.clear()
        self.gate.is_recovering = True

    def end_recovery(self) -> None:
        """Let what is ready begin in all runs that were found, and those make room that were about to."""
        for active in self._resumed:
            self._replace(active, places.unreplaced(active, self._resumed))
        resumed = sorted(self._resumed, key=lambda active: -active.progress.run.priority)
        self._resumed.clear()
        self.gate.is_recovering = False
        for active in resumed:
            has_begun = active.progress.run.started_at_ms is not None
            if not active.progress.has_ended and (has_begun or self._queue.enter(active)):
                self._begin_run(active)
            self._arm_run(active)
        self.recovered.set()
        self._go_on()

    def resume(self, progress: RunProgress, left: Left) -> None:
        """Go on with a run that an earlier daemon left; those that called others come before those.

        Its interrupted attempts are recorded; those that live are adopted, and those that never started are launched.
        """
        active = ActiveRun(progress, self._lineage(progress.run))
        self._active[progress.run.id] = active
        if progress.run.started_at_ms is not None:
            self._queue.restored(active)
        for index, (record, then) in left.interrupted.items():
            end = End(attempt=record, then=then)
            decision = transitions.attempt_ended(progress, index, end, self._evaluate)
            decision.ready.clear()  # all that is ready is found below
            self._apply(active, decision)
            active.finished.append(record)
        for index, spec in (left.live | left.unstarted).items():
            live = active.live[index] = LiveAttempt(index, spec)
            self._live.count += 1
            self._admission.keep_locks(active, index)
            (self._live.adopt if index in left.live else self._live.launch)(active, live)
        if left.live:
            self._catch_up()
        for index in left.calls:
            self._resume_call(active, index)
        if progress.run.stop_cause is not None:
            self._apply(active, transitions.stop_restored(progress, self._evaluate, self._clock.now_ms()))
        self._resumed.append(active)

    def leave(self) -> None:
        """Start nothing new, and leave what runs to the next daemon; what ends meanwhile is recorded."""
        self.gate.stop(leave=True)
        for active in self._active.values():
            active.disarm()

    async def close(self) -> None:
        """Wait for no called run any more, and record nothing more: the store is closed next."""
        self.is_closed = True
        await self._calls.close()

    async def stop(self, grace_seconds: float, cause: StopCause = StopCause.SHUTDOWN) -> list[str]:
        """Start nothing new, end what runs within the grace, record it and let go of it; return what would not end.

        Runs with tasks that have not started stay as they are and go on at the next start.
        """
        self.gate.stop()
        await self._calls.close()
        for active in self._active.values():
            for live in active.live.values():
                self._live.stop(active, live, cause, grace_seconds)
        try:
            await self._live.ended(grace_seconds + DRAIN_SECONDS, DRAIN_SECONDS)
            if recording := [active.recording for active in self._active.values() if active.recording is not None]:
                await asyncio.wait(recording, timeout=DRAIN_SECONDS)  # what ended is released then
        except TimeoutError:
            specs = [live.spec for active in self._active.values() for live in active.live.values()]
            return [str(spec.key) for spec in specs if spec is not None]
        finally:
            for active in self._active.values():
                active.disarm()
        return []

    # -- within --------------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if self.gate.is_stopping:
            raise UnavailableError("the daemon is stopping and starts nothing new; try again when it is back")
        if self._parts.database.fault:
            raise UnavailableError(f"the state file refuses changes ({self._parts.database.fault}); nothing is started")

    def _next_id(self) -> RunId:
        self._last_number = max(self._clock.now_ms(), self._last_number + 1)
        return run_id_from_number(self._last_number)

    def _lineage(self, run: RunRecord) -> Lineage:
        """Return a run, and the runs and tasks that it was called by."""
        own: Lineage = frozenset({(run.id, None)})
        caller = self._active.get(run.parent_run) if run.parent_run else None
        if caller is None or run.parent_task is None:
            return own
        return own | caller.lineage | {(caller.progress.run.id, caller.progress.index.get(run.parent_task))}

    def _with_called(self, active: ActiveRun) -> list[ActiveRun]:
        """Return a run and all that it called, directly or not."""
        found = [active]
        for one in found:  # which grows meanwhile
            found += [other for other in self._active.values() if other.progress.run.parent_run == one.progress.run.id]
        return found

    def _resume_call(self, active: ActiveRun, index: int) -> None:
        """Go on waiting for the run that a task called before the daemon went down."""
        try:
            with contained(active.progress.run.id, active.progress.cells[index].id):
                live = LiveAttempt(index, call=self._parts.prepare_call(active.progress, index))
        except BarbossaError as error:
            before, now_ms = active.progress.cells[index].attempts[-1], self._clock.now_ms()
            record = transitions.attempt_interrupted(before, str(error), now_ms)
            self._apply(active, transitions.attempt_ended(active.progress, index, End(attempt=record), self._evaluate))
            active.finished.append(record)
            return
        active.live[index] = live
        self._admission.keep_locks(active, index)
        self._live.adopt(active, live)

    async def _begin_call(self, active: ActiveRun, live: LiveAttempt) -> RunId:
        """Start the run that a task calls, once for each attempt. Raise BarbossaError."""
        assert live.call is not None
        await self.recovered.wait()
        cell, run = active.progress.cells[live.index], active.progress.run
        parent = (run.id, cell.id)
        key = keys.of_call(parent, len(cell.attempts))
        earlier = await self._keys.earlier(live.call.workflow, key, parent)
        if earlier is not None:
            return earlier
        if sum(1 for _, index in active.lineage if index is not None) >= MOST_CALLERS:
            raise ConflictError(f"runs call each other {MOST_CALLERS} deep; does {live.call.workflow!r} call itself?")
        definition = await self._parts.find(live.call.workflow)
        if self.gate.is_stopping:  # then it is the next daemon that makes this call: it is on record
            await asyncio.get_running_loop().create_future()
        with contained(run.id, cell.id):
            bound = workflow_params.bind(definition, live.call.params)
        started = await self.start_run(
            definition,
            params=bound,
            trigger=TriggerType.WORKFLOW,
            requested_by=run.requested_by,
            idempotency_key=key,
            parent=parent,
            chain=run.chain,
        )
        called = started.run.id if isinstance(started, RunDetails) else started
        if active.progress.run.state is RunState.PAUSED:  # since the call was decided on
            await self.pause(called, "")
        return called

    async def _called_end(self, run_id: RunId) -> RunDetails:
        """Return a called run when it has ended."""
        await self.recovered.wait()
        ended = await self.wait(run_id) or self._parts.runs.get(run_id)
        if ended is None:
            raise BarbossaError(f"run {run_id} is not there any more")
        return ended
