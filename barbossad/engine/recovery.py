"""What a new daemon does with the runs that an earlier one left: each attempt is settled, each run goes on."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from barbossad.engine import growth, transitions
from barbossad.engine import progress as progresses
from barbossad.engine.active import Left, log_ends
from barbossad.engine.calls import LAUNCHER
from barbossad.engine.driver import Parts
from barbossad.engine.engine import Engine
from barbossad.engine.progress import RunProgress
from barbossad.errors import BarbossaError
from barbossad.model import boots
from barbossad.model.definition import WorkflowDefinition
from barbossad.model.names import RunId, VersionId, WorkflowName
from barbossad.model.records import AttemptRecord, LogRecord
from barbossad.model.states import ATTEMPT_ENDED, TASK_ENDED, OnInterrupt, RunState, TaskState
from barbossad.process.launcher import AttemptKey, Finding, LaunchSpec, Verdict, cut_off
from barbossad.process.output.blackout import Blackout
from barbossad.security.masking import make_mask_of
from barbossad.store import changes
from barbossad.store.changes import Change
from barbossad.store.highwater import UNKNOWN
from barbossad.store.run_details import RunDetails

log = logging.getLogger(__name__)

_STATE_OF_LEFT: Final = {TaskState.WAITING: TaskState.CANCELLED, TaskState.RUNNING: TaskState.INTERRUPTED}
"""What becomes of a task without a live attempt, one that waits or a group, when its run cannot go on."""

FindDefinition = Callable[[WorkflowName, VersionId], Awaitable[WorkflowDefinition]]
RecoverLog = Callable[[AttemptKey], LogRecord | None]


@dataclass(frozen=True, slots=True)
class _Left:
    """A run that an earlier daemon left unended."""

    details: RunDetails
    definition: WorkflowDefinition | None
    why_not: str | None = None
    """Why it cannot go on, if it cannot."""

    @property
    def unended(self) -> list[AttemptRecord]:
        return [tries[-1] for tries in self.details.attempts.values() if tries[-1].state not in ATTEMPT_ENDED]

    @property
    def live(self) -> list[AttemptRecord]:
        """Those of processes."""
        return [attempt for attempt in self.unended if attempt.launcher != LAUNCHER]


async def recover(
    engine: Engine, parts: Parts, find: FindDefinition, recover_log: RecoverLog, *, is_rolled_back: bool = False
) -> None:
    """Settle every run that has not ended.

    First it is found out what became of their live attempts, and everything else that an earlier daemon left is ended;
    then the attempts are adopted, launched or recorded as interrupted, and only then does anything new start. Raise
    UnavailableError if a process will not die: a second one of the same task must never run beside it.

    With ``is_rolled_back`` the state file is an older one that was put back: nobody knows what its runs have done
    since, so all of them end as interrupted, their processes with them, and nothing follows from that.
    """
    engine.begin_recovery()
    engine.seed_ids(await parts.runs.newest_number())
    left = [await _look_up(parts, record.id, find) for record in await parts.runs.unended()]
    if is_rolled_back:
        left = [replace(run, why_not=UNKNOWN) for run in left]
    of_this_boot = [attempt for run in left for attempt in run.live if boots.is_same(attempt.boot_id, parts.boot_id)]
    findings = await parts.launcher.survey(of_this_boot)
    await _end_strays(parts, [_key(attempt) for run in left if run.why_not for attempt in run.live])
    settle = _Settlement(parts, findings, recover_log)
    for run in left:
        if run.definition is None or run.why_not is not None:
            await _give_up(parts, run, settle)
        else:
            progress = growth.restore(run.definition, run.details)
            left_of_it = settle.left(progress, run.live)
            left_of_it.calls += [progress.index[attempt.task_id] for attempt in run.unended if attempt not in run.live]
            engine.resume(progress, left_of_it)
    engine.end_recovery()
    if left:
        log.warning(
            "unfinished runs found: %d; tasks that go on: %d, interrupted: %d", len(left), settle.adopted,
            settle.interruptions, extra={"action": "recovered"},
        )  # fmt: skip


class _Settlement:
    """Decides on each live attempt by what was found of it."""

    def __init__(self, parts: Parts, findings: Mapping[AttemptKey, Finding], recover_log: RecoverLog) -> None:
        self._parts = parts
        self._findings = findings
        self._recover_log = recover_log
        self.adopted = 0
        self.interruptions = 0

    def left(self, progress: RunProgress, attempts: list[AttemptRecord]) -> Left:
        """Return what becomes of a run's live attempts."""
        left = Left()
        for attempt in attempts:
            index = progress.index[attempt.task_id]
            verdict = self._finding(attempt).verdict
            if verdict is Verdict.GONE:
                left.interrupted[index] = (
                    self.interrupted(attempt),
                    self._then(progress, index, attempt),
                )
            elif verdict is Verdict.LIVE:
                left.live[index] = self._adopted(progress, index, attempt)
                self.adopted += 1
            else:
                self._start(progress, index, attempt, left)
        return left

    def _start(self, progress: RunProgress, index: int, attempt: AttemptRecord, left: Left) -> None:
        """Have an attempt launched that never was, if it still can be."""
        try:
            left.unstarted[index] = self._parts.prepare(progress, index, attempt.number)
        except BarbossaError as error:
            record = self.interrupted(attempt, f"it had not started, and cannot be: {error}")
            left.interrupted[index] = (record, self._then(progress, index, attempt))

    def interrupted(self, attempt: AttemptRecord, reason: str | None = None) -> AttemptRecord:
        """Return an attempt as interrupted, with the output that it left."""
        self.interruptions += 1
        output = self._recover_log(_key(attempt))
        now_ms = self._parts.clock.now_ms()
        reason = reason or self._finding(attempt).reason
        return transitions.attempt_interrupted(replace(attempt, log=output), reason, now_ms)

    def _finding(self, attempt: AttemptRecord) -> Finding:
        if attempt.launcher == LAUNCHER:
            return Finding(Verdict.GONE)
        if not boots.is_same(attempt.boot_id, self._parts.boot_id):
            return Finding(Verdict.GONE, cut_off("the host was restarted", attempt))
        found = self._findings[_key(attempt)]
        if found.verdict is Verdict.NEVER_STARTED and attempt.boot_id != self._parts.boot_id:
            return Finding(Verdict.GONE, "whether it had started is not known: the host may have been restarted since")
        return found

    def _then(self, progress: RunProgress, index: int, attempt: AttemptRecord) -> OnInterrupt:
        task = progress.cells[index].task
        return task.on_interrupt if boots.is_same(attempt.boot_id, self._parts.boot_id) else task.on_reboot

    def _adopted(self, progress: RunProgress, index: int, attempt: AttemptRecord) -> LaunchSpec:
        """Return what was launched; it is masked by the secrets that it was given, whatever they are today."""
        secrets = self._finding(attempt).secrets
        is_unknown = secrets is None and bool(progress.cells[index].task.secrets)
        make_mask = Blackout if is_unknown else make_mask_of(secrets or ())
        return replace(self._spec(progress, index, attempt), make_mask=make_mask, secrets=secrets or frozenset())

    def _spec(self, progress: RunProgress, index: int, attempt: AttemptRecord) -> LaunchSpec:
        """Return what was launched; where that cannot be said any more, as much as it takes to go on."""
        try:
            return self._parts.prepare(progress, index, attempt.number)
        except BarbossaError as error:
            log.warning("run %s task %s goes on, though it could not be started again: %s", *_key(attempt)[:2], error,
                        extra={"action": "unprepared", "run_id": attempt.run_id, "task": attempt.task_id})  # fmt: skip
            detach = progress.cells[index].task.detach
            return LaunchSpec(key=_key(attempt), argv=(), env={}, working_dir="/", detach=detach)


async def _end_strays(parts: Parts, forsaken: Sequence[AttemptKey]) -> None:
    """End what carries our names but no run; say so where not even the history knows it."""
    strays = await parts.launcher.end_strays(parts.runs.had_unit, forsaken)
    for name in strays:
        log.warning("%s belonged to no run that is known; it was stopped", name, extra={"action": "stray_ended"})
    if strays:
        now_ms = parts.clock.now_ms()
        await parts.database.write(lambda tx: changes.tell_strays(tx, strays, now_ms), is_fact=True)


def _key(attempt: AttemptRecord) -> AttemptKey:
    return AttemptKey(attempt.run_id, attempt.task_id, attempt.number)


async def _look_up(parts: Parts, run_id: RunId, find: FindDefinition) -> _Left:
    details = parts.runs.get(run_id)
    assert details is not None
    run = details.run
    try:
        return _Left(details, await find(run.workflow, run.version))
    except BarbossaError as error:
        log.error(  # noqa: TRY400 (the sentence says it all)
            "run %s cannot go on: version %s of %s is not understood: %s", run.id, run.version, run.workflow, error,
            extra={"action": "run_given_up", "run_id": run.id},
        )  # fmt: skip
        why_not = f"this version of Barbossa does not understand its workflow ({error})"
        why_not += "; apply the workflow again and start anew"
        return _Left(details, None, why_not)


async def _give_up(parts: Parts, left: _Left, settle: _Settlement) -> None:
    """End a run that cannot go on, with all its tasks: nobody knows what would follow, so nothing does."""
    now_ms = parts.clock.now_ms()
    details, reason = left.details, left.why_not
    interrupted = [settle.interrupted(attempt, reason) for attempt in left.unended]
    steps: list[Change] = [
        changes.AttemptEnded(
            replace(
                details.tasks[attempt.task_id],
                state=progresses.TASK_STATE_AFTER[attempt.state],
                reason=attempt.reason,
                finished_at_ms=now_ms,
            ),
            attempt,
        )
        for attempt in interrupted
    ]
    others = [
        replace(
            task, state=_STATE_OF_LEFT[task.state], reason=reason, finished_at_ms=now_ms, waits_for=None,
            waits_until_ms=None,
        )
        for task in details.tasks.values()
        if task.state not in TASK_ENDED and task.task_id not in {attempt.task_id for attempt in interrupted}
    ]  # fmt: skip
    if others:
        steps.append(changes.TasksMoved(others, now_ms, "task_finished"))
    run = details.run
    state, reason = (run.outcome, run.outcome_reason) if run.outcome else (RunState.INTERRUPTED, reason)
    ended = replace(run, state=state, reason=reason, finished_at_ms=now_ms, paused_at_ms=None)
    await parts.database.record([*steps, changes.RunMoved(ended, "run_finished", now_ms)], is_fact=True)
    log_ends(interrupted, ended)
    for attempt in interrupted:
        if attempt.log is not None:
            parts.discard_log(attempt.log)
