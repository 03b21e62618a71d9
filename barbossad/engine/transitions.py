"""What a run does next: functions from where it stands and a fact to what follows. No I/O, no clock.

Each takes a ``RunProgress``, changes it to what it becomes, and returns a ``Decision``: the changes to record (in
one transaction, with their events), the tasks that are ready for a slot, and the attempts to stop. The same facts
in the same order always give the same states, so that a run can be rebuilt from its rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from barbossad.engine import progress as progresses
from barbossad.engine.progress import RunProgress, TaskProgress
from barbossad.model.records import AttemptRecord, TaskRecord
from barbossad.model.states import TASK_MOVES, AttemptState, OnInterrupt, RunState, StopCause, TaskState, WaitsFor
from barbossad.store import changes
from barbossad.store.changes import Change

MOST_INTERRUPTIONS: Final = 5
"""How often a task under ``on_interrupt: retry`` is interrupted before it is given up: it may be what kills us."""


@dataclass(slots=True)
class Decision:
    """What follows from a fact. Tasks are named by their position in the definition."""

    changes: list[Change] = field(default_factory=list)
    ready: list[int] = field(default_factory=list)
    stop: list[int] = field(default_factory=list)


def begin(progress: RunProgress) -> Decision:
    """Decide what a new or restored run starts with: every task that waits for nothing but a slot."""
    ready = [
        position
        for position, cell in enumerate(progress.tasks)
        if (cell.record.state is TaskState.PENDING and cell.waits_for == 0) or cell.record.waits_for is WaitsFor.SLOT
    ]
    return Decision(ready=ready)


def attempt_starting(progress: RunProgress, position: int, attempt: AttemptRecord, now_ms: int) -> Decision:
    """Record that a ready task got its slot; the run starts with its first task."""
    decision = Decision()
    _start_run(progress, decision, now_ms)
    cell = progress.tasks[position]
    _move_task(progress, position, TaskState.STARTING, started_at_ms=now_ms, waits_for=None, reason=None)
    cell.attempts.append(attempt)
    decision.changes.append(changes.AttemptStarting(cell.record, attempt))
    return decision


def attempt_running(progress: RunProgress, position: int, attempt: AttemptRecord) -> Decision:
    """Record that the process of a task's attempt exists."""
    cell = progress.tasks[position]
    _move_task(progress, position, TaskState.RUNNING, started_at_ms=attempt.started_at_ms)
    cell.attempts[-1] = attempt
    return Decision(changes=[changes.AttemptRunning(cell.record, attempt)])


def attempt_ended(
    progress: RunProgress,
    position: int,
    attempt: AttemptRecord,
    outputs: Mapping[str, Any] | None,
    then: OnInterrupt = OnInterrupt.FAIL,
) -> Decision:
    """Record an attempt's end and, if there is no further one, its task's; then see who waited for it.

    ``then`` says what follows if it was interrupted and the run is not being ended.
    """
    cell = progress.tasks[position]
    if attempt.state is AttemptState.INTERRUPTED and progress.run.stop_cause is None:
        waiting = _after_interruption(cell, attempt, then)
        if waiting is not None:
            return _wait(progress, position, attempt, *waiting)
    _move_task(
        progress,
        position,
        progresses.TASK_STATE_AFTER[attempt.state],
        reason=attempt.reason,
        outputs=outputs,
        started_at_ms=attempt.started_at_ms or cell.record.started_at_ms,
        finished_at_ms=attempt.finished_at_ms,
    )
    cell.attempts[-1] = attempt
    decision = Decision(changes=[changes.AttemptEnded(cell.record, attempt)])
    assert attempt.finished_at_ms is not None
    _settle(progress, [position], decision, attempt.finished_at_ms)
    return decision


def _after_interruption(cell: TaskProgress, attempt: AttemptRecord, then: OnInterrupt) -> tuple[WaitsFor, str] | None:
    """Return what an interrupted task waits for, and why; None if it ends."""
    if then is OnInterrupt.ASK:
        return WaitsFor.PERSON, f"{attempt.reason}; it waits for a person to approve another attempt, or to reject it"
    if then is OnInterrupt.RESUME:
        return WaitsFor.SLOT, f"{attempt.reason}; it is resumed"
    interruptions = 1 + sum(1 for past in cell.attempts[:-1] if past.state is AttemptState.INTERRUPTED)
    if then is OnInterrupt.RETRY and interruptions < MOST_INTERRUPTIONS:
        return WaitsFor.SLOT, f"{attempt.reason}; it is tried again"
    return None


def _wait(progress: RunProgress, position: int, attempt: AttemptRecord, waits_for: WaitsFor, reason: str) -> Decision:
    cell = progress.tasks[position]
    _move_task(progress, position, TaskState.WAITING, reason=reason, waits_for=waits_for)
    cell.attempts[-1] = attempt
    ready = [position] if waits_for is WaitsFor.SLOT else []
    return Decision(changes=[changes.AttemptEnded(cell.record, attempt)], ready=ready)


def answered(progress: RunProgress, position: int, *, is_approved: bool, words: str, now_ms: int) -> Decision:
    """Record what a person said to a task that waits for one: another attempt, or its end."""
    cell = progress.tasks[position]
    assert cell.record.waits_for is WaitsFor.PERSON
    if is_approved:
        cell.record = replace(cell.record, reason=words, waits_for=WaitsFor.SLOT)
        return Decision(changes=[changes.WaitingTask(cell.record, now_ms)], ready=[position])
    _move_task(progress, position, TaskState.INTERRUPTED, reason=words, waits_for=None, finished_at_ms=now_ms)
    decision = Decision(changes=[changes.WaitingTask(cell.record, now_ms)])
    _settle(progress, [position], decision, now_ms)
    return decision


def task_unstartable(progress: RunProgress, position: int, reason: str, now_ms: int) -> Decision:
    """Record that a ready task failed before an attempt could be made of it."""
    decision = Decision()
    _start_run(progress, decision, now_ms)
    was_waiting = progress.tasks[position].record.state is TaskState.WAITING
    _move_task(progress, position, TaskState.FAILED, reason=reason, waits_for=None, finished_at_ms=now_ms)
    record = progress.tasks[position].record
    decision.changes.append(
        changes.WaitingTask(record, now_ms) if was_waiting else changes.TasksEndedUnstarted([record])
    )
    _settle(progress, [position], decision, now_ms)
    return decision


def stop(progress: RunProgress, cause: StopCause, reason: str, now_ms: int) -> Decision:
    """End the run: what is pending is cancelled, what is live is stopped. A run that is being ended stays so."""
    decision = Decision()
    if progress.has_ended:
        return decision
    if progress.run.stop_cause is None:
        progress.run = replace(progress.run, stop_cause=cause, stop_reason=reason)
        decision.changes.append(changes.RunStopping(progress.run, now_ms))
    decision.stop = [position for position, cell in enumerate(progress.tasks) if cell.is_live]
    ended = []
    for position, cell in enumerate(progress.tasks):
        if cell.record.state is TaskState.PENDING:
            _move_task(progress, position, TaskState.CANCELLED, reason=progress.run.stop_reason, finished_at_ms=now_ms)
            ended.append(cell.record)
        elif cell.record.state is TaskState.WAITING:
            facts = {"reason": progress.run.stop_reason, "waits_for": None, "finished_at_ms": now_ms}
            _move_task(progress, position, TaskState.CANCELLED, **facts)
            decision.changes.append(changes.WaitingTask(cell.record, now_ms))
    if ended:
        decision.changes.append(changes.TasksEndedUnstarted(ended))
    _finish_if_done(progress, decision, now_ms)
    return decision


def _start_run(progress: RunProgress, decision: Decision, now_ms: int) -> None:
    """Move a queued run to running: its first task leaves the queue."""
    if progress.run.state is RunState.QUEUED:
        progress.run = replace(progress.run, state=RunState.RUNNING, started_at_ms=now_ms)
        decision.changes.append(changes.RunMoved(progress.run))


def _settle(progress: RunProgress, ended: list[int], decision: Decision, now_ms: int) -> None:
    """Tell the dependants of tasks that ended: ready, or never to start; end the run after its last task."""
    unreachable: list[TaskRecord] = []
    while ended:
        position = ended.pop()
        for dependant in progress.definition.dependants[position]:
            cell = progress.tasks[dependant]
            cell.waits_for -= 1
            if cell.record.state is not TaskState.PENDING:
                continue
            if progress.tasks[position].record.state is not TaskState.SUCCEEDED:
                _move_task(
                    progress,
                    dependant,
                    TaskState.UPSTREAM_FAILED,
                    reason=_upstream_reason(progress, position),
                    finished_at_ms=now_ms,
                )
                unreachable.append(cell.record)
                ended.append(dependant)
            elif cell.waits_for == 0:
                decision.ready.append(dependant)
    if unreachable:
        decision.changes.append(changes.TasksEndedUnstarted(unreachable))
    _finish_if_done(progress, decision, now_ms)


def _upstream_reason(progress: RunProgress, position: int) -> str:
    record = progress.tasks[position].record
    if record.state is TaskState.UPSTREAM_FAILED and record.reason:
        return record.reason
    return f"task {record.task_id!r} {_WORDS[record.state]}"


def _finish_if_done(progress: RunProgress, decision: Decision, now_ms: int) -> None:
    if progress.unended or progress.has_ended:
        return
    state, reason = _verdict(progress)
    progress.run = replace(
        progress.run,
        state=state,
        reason=reason,
        finished_at_ms=now_ms,
    )
    decision.changes.append(changes.RunMoved(progress.run))


_STOPPED: dict[StopCause, RunState] = {
    StopCause.CANCEL: RunState.CANCELLED,
    StopCause.RUN_TIMEOUT: RunState.TIMED_OUT,
}


def _verdict(progress: RunProgress) -> tuple[RunState, str | None]:
    """Return how a run whose tasks have all ended ends, and why if not well."""
    by_state: dict[TaskState, list[str]] = {}
    for cell in progress.tasks:
        by_state.setdefault(cell.record.state, []).append(cell.record.task_id)
    if by_state.keys() == {TaskState.SUCCEEDED}:
        return RunState.SUCCEEDED, None
    if progress.run.stop_cause is not None:
        return _STOPPED[progress.run.stop_cause], progress.run.stop_reason
    for state, outcome in (
        (TaskState.INTERRUPTED, RunState.INTERRUPTED),
        (TaskState.FAILED, RunState.FAILED),
        (TaskState.TIMED_OUT, RunState.FAILED),
    ):
        if state in by_state:
            names = by_state[state]
            listed = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
            word = _WORDS[state] if len(names) == 1 else _WORDS[state].replace("was ", "were ")
            return outcome, f"{'task' if len(names) == 1 else 'tasks'} {listed} {word}"
    return RunState.FAILED, "not every task succeeded"


_WORDS = {
    TaskState.INTERRUPTED: "was interrupted",
    TaskState.FAILED: "failed",
    TaskState.TIMED_OUT: "timed out",
    TaskState.CANCELLED: "was cancelled",
}


def _move_task(progress: RunProgress, position: int, state: TaskState, **facts: Any) -> None:
    """Change a task's state if its moves allow it; count it down when it ends."""
    cell = progress.tasks[position]
    assert state in TASK_MOVES[cell.record.state], f"{cell.record.task_id}: {cell.record.state} -> {state}"
    cell.record = replace(cell.record, state=state, **facts)
    if cell.has_ended:
        progress.unended -= 1


def attempt_interrupted(attempt: AttemptRecord, reason: str, now_ms: int) -> AttemptRecord:
    """Return an attempt whose end nobody saw."""
    return replace(attempt, state=AttemptState.INTERRUPTED, reason=reason, finished_at_ms=now_ms)
