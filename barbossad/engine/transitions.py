"""What a run does next: functions from where it stands and a fact to what follows. No I/O, no clock.

Each takes a ``RunProgress``, changes it to what it becomes, and returns a ``Decision``: the changes to record (in
one transaction, with their events), the tasks that are ready for a slot, and the attempts to stop. The same facts
in the same order always give the same states, so that a run can be rebuilt from its rows. Expressions are evaluated by
what is handed in (``Evaluate``), which does no I/O either.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from barbossad.engine import growth, retries, timing, triggers
from barbossad.engine import progress as progresses
from barbossad.engine.decision import Decision
from barbossad.engine.progress import Cell, Evaluate, RunProgress
from barbossad.engine.settling import Settling, move, start_run
from barbossad.errors import BarbossaError
from barbossad.model.flow import RetryCause
from barbossad.model.records import AttemptRecord, TaskRecord, changed
from barbossad.model.states import (
    AttemptState,
    OnInterrupt,
    RunState,
    StopCause,
    TaskState,
    WaitsFor,
)
from barbossad.store import changes
from barbossad.store.run_details import RunDetails

MOST_INTERRUPTIONS: Final = 5
"""How often a task under ``on_interrupt: retry`` is interrupted before it is given up: it may be what kills us."""


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How an attempt ended, and what it left."""

    attempt: AttemptRecord
    outputs: Mapping[str, Any] | None = None
    stdout: str | None = None
    then: OnInterrupt = OnInterrupt.FAIL
    """What follows if it was interrupted and is not being ended."""

    is_stopped: bool = False
    """Whether it was being ended for the run's or a group's sake: then there is no other attempt."""


def begin(progress: RunProgress, evaluate: Evaluate, now_ms: int) -> Decision:
    """Decide what a new or restored run starts with: every task that waits for nothing but a slot."""
    settling = Settling(progress, Decision(), evaluate, now_ms)
    decision = settling.decision
    for index, cell in enumerate(progress.cells):
        if cell.record.waits_for is WaitsFor.SLOT:
            decision.ready.append(index)
        if not cell.has_ended and cell.record.state is not TaskState.PENDING:
            decision.timed.append(index)
        if not cell.has_ended and cell.members is not None and cell.members.verdict is not None:
            settling.end_below(index, StopCause.FAIL_FAST, f"{cell.id!r} fails fast")
    settling.begin(range(len(progress.cells)))
    settling.settle()
    return decision


def keep(progress: RunProgress, kept: Mapping[str, TaskRecord], now_ms: int) -> Decision:
    """Take over tasks that an earlier run has done, by id; before the run begins."""
    own = {task_id: changed(record, run_id=progress.run.id) for task_id, record in kept.items()}
    growth.take_over(progress, 0, RunDetails(run=progress.run, tasks=own, attempts={}))
    decision = Decision()
    for cell in progress.cells:
        if cell.record.state is TaskState.RUNNING:  # a loop of which some items are left to do
            cell.record = changed(cell.record, started_at_ms=now_ms)
    records = [cell.record for cell in progress.cells if cell.record.state is not TaskState.PENDING]
    if records:
        decision.changes.append(changes.TasksEntered(records, now_ms, "task_kept"))
    return decision


def attempt_starting(progress: RunProgress, index: int, attempt: AttemptRecord, now_ms: int) -> Decision:
    """Record that a ready task got its slot; the run starts with its first task."""
    decision = Decision()
    start_run(progress, decision, now_ms)
    cell = progress.cells[index]
    if cell.task.warn_after_seconds is not None:
        decision.timed.append(index)
    started_at_ms = cell.record.started_at_ms or now_ms
    facts = {"waits_for": None, "waits_until_ms": None, "reason": None, "started_at_ms": started_at_ms}
    move(progress, index, TaskState.STARTING, **facts)
    cell.attempts.append(attempt)
    decision.changes.append(changes.AttemptStarting(cell.record, attempt))
    return decision


def attempt_running(progress: RunProgress, index: int, attempt: AttemptRecord) -> Decision:
    """Record that the process of a task's attempt exists."""
    cell = progress.cells[index]
    is_first = len(cell.attempts) == 1
    started_at_ms = attempt.started_at_ms if is_first else cell.record.started_at_ms
    move(progress, index, TaskState.RUNNING, started_at_ms=started_at_ms)
    cell.attempts[-1] = attempt
    # It started later than it was to, so what is due some time after its start is due later too.
    timed = [index] if cell.task.warn_after_seconds is not None else []
    return Decision(changes=[changes.AttemptRunning(cell.record, attempt)], timed=timed)


def attempt_ended(progress: RunProgress, index: int, end: End, evaluate: Evaluate) -> Decision:
    """Record an attempt's end and, if there is no further one, its task's; then see who waited for it."""
    cell = progress.cells[index]
    attempt = cell.attempts[-1] = end.attempt
    assert attempt.finished_at_ms is not None
    settling = Settling(progress, Decision(), evaluate, attempt.finished_at_ms)
    looks_back = cell.task.expect is not None or cell.task.repeat is not None
    if looks_back and attempt.state is AttemptState.SUCCEEDED:
        cell.record = changed(cell.record, outputs=end.outputs, stdout=end.stdout)
        attempt = cell.attempts[-1] = _as_expected(progress, index, attempt, evaluate)
    is_over = end.is_stopped or progress.is_being_ended(index)
    waiting = None if is_over else _what_follows(progress, index, end, evaluate)
    if isinstance(waiting, AttemptRecord):
        attempt, waiting = waiting, None
        cell.attempts[-1] = attempt
    if waiting is not None:
        _wait(settling, index, attempt, waiting)
        return settling.decision
    is_good = attempt.state is AttemptState.SUCCEEDED
    is_first = len(cell.attempts) == 1
    move(
        progress,
        index,
        progresses.TASK_STATE_AFTER[attempt.state],
        reason=attempt.reason,
        outputs=end.outputs if is_good else None,
        stdout=end.stdout,
        started_at_ms=(attempt.started_at_ms if is_first else None) or cell.record.started_at_ms,
        finished_at_ms=attempt.finished_at_ms,
    )
    settling.decision.changes.append(changes.AttemptEnded(cell.record, attempt))
    settling.ended.append(index)
    settling.settle()
    return settling.decision


@dataclass(frozen=True, slots=True)
class _Waiting:
    """What a task waits for between two attempts, why, and how long."""

    waits_for: WaitsFor
    reason: str
    delay_ms: int = 0


def _as_expected(progress: RunProgress, index: int, attempt: AttemptRecord, evaluate: Evaluate) -> AttemptRecord:
    """Return the attempt as it stands after a look at what its task is expected to have brought about."""
    expect = progress.cells[index].task.expect
    if expect is None:
        return attempt
    try:
        if triggers.truth(evaluate(progress, index, expect)):
            return attempt
        reason = f"it exited well, but what is expected does not hold: {expect}"
    except BarbossaError as error:
        reason = f"its 'expect' cannot be decided: {error}"
    return changed(attempt, state=AttemptState.FAILED, reason=reason)


def _what_follows(progress: RunProgress, index: int, end: End, evaluate: Evaluate) -> _Waiting | AttemptRecord | None:
    """Return what a task waits for after an attempt; None if it ends, or the attempt as it must be told then."""
    cell = progress.cells[index]
    attempt = cell.attempts[-1]
    if attempt.state is AttemptState.SUCCEEDED:
        return _repetition(progress, index, attempt, evaluate)
    if attempt.state is AttemptState.INTERRUPTED:
        waiting = _after_interruption(cell, attempt, end.then)
        if waiting is not None or RetryCause.INTERRUPTED not in cell.task.retry.on:
            return waiting
    assert attempt.finished_at_ms is not None
    again = retries.after_failure(cell, attempt, attempt.finished_at_ms)
    return _again(again) if again is not None else None


def _repetition(
    progress: RunProgress, index: int, attempt: AttemptRecord, evaluate: Evaluate
) -> _Waiting | AttemptRecord | None:
    """Return whether a task that was done is done again; the attempt as failed if it never came to its end."""
    cell = progress.cells[index]
    repeat = cell.task.repeat
    if repeat is None:
        return None
    try:
        holds = triggers.truth(evaluate(progress, index, repeat.until if repeat.until is not None else repeat.while_))
    except BarbossaError as error:
        reason = f"its 'repeat' cannot be decided: {error}"
        return changed(attempt, state=AttemptState.FAILED, reason=reason)
    again = retries.after_success(repeat, retries.times_done(cell), holds=holds)
    if isinstance(again, str):
        return changed(attempt, state=AttemptState.FAILED, reason=again)
    return _again(again) if again is not None else None


def _again(again: retries.Again) -> _Waiting:
    return _Waiting(WaitsFor.DELAY if again.delay_ms else WaitsFor.SLOT, again.reason, again.delay_ms)


def _after_interruption(cell: Cell, attempt: AttemptRecord, then: OnInterrupt) -> _Waiting | None:
    """Return what an interrupted task waits for, and why; None if it ends."""
    if then is OnInterrupt.ASK:
        reason = f"{attempt.reason}; it waits for a person to approve another attempt, or to reject it"
        return _Waiting(WaitsFor.PERSON, reason)
    if then is OnInterrupt.RESUME:
        return _Waiting(WaitsFor.SLOT, f"{attempt.reason}; it is resumed")
    interruptions = sum(1 for past in cell.attempts if past.state is AttemptState.INTERRUPTED)
    if then is OnInterrupt.RETRY and interruptions < MOST_INTERRUPTIONS:
        return _Waiting(WaitsFor.SLOT, f"{attempt.reason}; it is tried again")
    return None


def _wait(settling: Settling, index: int, attempt: AttemptRecord, waiting: _Waiting) -> None:
    cell = settling.progress.cells[index]
    until_ms = settling.now_ms + waiting.delay_ms if waiting.waits_for is WaitsFor.DELAY else None
    facts = {"reason": waiting.reason, "waits_for": waiting.waits_for, "waits_until_ms": until_ms}
    move(settling.progress, index, TaskState.WAITING, **facts)
    settling.decision.changes.append(changes.AttemptEnded(cell.record, attempt))
    if waiting.waits_for is WaitsFor.SLOT:
        settling.decision.ready.append(index)
    settling.decision.timed.append(index)


# -- people and time -------------------------------------------------------------------------------------------


def approval_asked(progress: RunProgress, index: int, reason: str, deadline_ms: int | None, now_ms: int) -> Decision:
    """Have a task wait for a person."""
    decision = Decision(timed=[index])
    start_run(progress, decision, now_ms)
    facts = {"reason": reason, "waits_for": WaitsFor.PERSON, "waits_until_ms": deadline_ms, "started_at_ms": now_ms}
    decision.entered(move(progress, index, TaskState.WAITING, **facts), now_ms, "task_waiting")
    return decision


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a person said; ``outputs`` are those of an approval."""

    is_approved: bool
    words: str
    outputs: Mapping[str, Any]


def answered(progress: RunProgress, index: int, answer: Answer, evaluate: Evaluate, now_ms: int) -> Decision:
    """Record what a person said to a task that waits for one: that is its end, or another attempt follows."""
    cell = progress.cells[index]
    assert cell.record.waits_for is WaitsFor.PERSON
    settling = Settling(progress, Decision(), evaluate, now_ms)
    if not cell.attempts:
        state = TaskState.SUCCEEDED if answer.is_approved else TaskState.FAILED
        settling.end_waiting(index, state, answer.words, outputs=answer.outputs)
    elif answer.is_approved:
        cell.record = changed(cell.record, reason=answer.words, waits_for=WaitsFor.SLOT, waits_until_ms=None)
        settling.decision.moved(cell.record, now_ms, "task_released")
        settling.decision.ready.append(index)
    else:
        settling.end_waiting(index, TaskState.INTERRUPTED, answer.words)
    settling.settle()
    return settling.decision


def time_passed(progress: RunProgress, index: int, evaluate: Evaluate, now_ms: int) -> Decision:
    """Do what is due for a task: go on after a delay, end what took too long, tell that it is late."""
    cell = progress.cells[index]
    settling = Settling(progress, Decision(), evaluate, now_ms)
    if cell.has_ended:
        return settling.decision
    late = timing.late_ms(cell)
    if late is not None and late <= now_ms:
        cell.record = changed(cell.record, late_at_ms=now_ms)
        settling.decision.moved(cell.record, now_ms, "task_late")
    if cell.members is not None and cell.members.verdict is None and timing.is_over(cell, now_ms):
        cell.members.verdict = timing.too_long(cell)
        settling.end_below(index, StopCause.GROUP_TIMEOUT, f"its group {cell.id!r} took too long")
    until_ms = cell.record.waits_until_ms
    if cell.record.state is TaskState.WAITING and until_ms is not None and until_ms <= now_ms:
        _waited(settling, index)
    settling.settle()
    return settling.decision


def _waited(settling: Settling, index: int) -> None:
    cell = settling.progress.cells[index]
    if cell.record.waits_for is WaitsFor.PERSON:
        settling.end_waiting(index, TaskState.TIMED_OUT, "nobody answered before its deadline")
        return
    cell.record = changed(cell.record, waits_for=WaitsFor.SLOT, waits_until_ms=None)
    settling.decision.moved(cell.record, settling.now_ms, "task_released")
    settling.decision.ready.append(index)


# -- what cannot start, and what is ended ----------------------------------------------------------------------


def task_unstartable(
    progress: RunProgress, index: int, reason: str, evaluate: Evaluate, now_ms: int,
    *, state: TaskState = TaskState.FAILED,
) -> Decision:  # fmt: skip
    """Record how a ready task ended before an attempt, or another one, could be made of it."""
    settling = Settling(progress, Decision(), evaluate, now_ms)
    start_run(progress, settling.decision, now_ms)
    if progress.cells[index].record.state is TaskState.WAITING:
        settling.end_waiting(index, state, reason)
    else:
        settling.end_unstarted(index, state, reason)
    settling.settle()
    return settling.decision


def stop(progress: RunProgress, cause: StopCause, reason: str, evaluate: Evaluate, now_ms: int) -> Decision:
    """End the run: what is pending is cancelled, what is live is stopped.

    Tasks with ``trigger: always`` still run, and so do rollback and hooks; asked for again, those are ended too, and so
    they are where nothing has begun. An ``always`` task that runs already is left alone, like one that begins a moment
    later.
    """
    settling = Settling(progress, Decision(), evaluate, now_ms)
    if progress.has_ended:
        return settling.decision
    run = progress.run
    is_again = run.stop_cause is not None or run.outcome is not None or run.started_at_ms is None
    if progress.run.stop_cause is None:
        progress.run = changed(progress.run, stop_cause=cause, stop_reason=reason)
        settling.decision.changes.append(changes.RunStopping(progress.run, now_ms))
    if progress.run.state is RunState.PAUSED:
        _unpause(progress, settling.decision, now_ms)
    if progress.run.outcome is not None:  # what is still to come is recorded: no crash brings it back
        while progress.sections:
            growth.grow_section(progress, progress.sections.popleft())
    _end_all(settling, cause, is_again=is_again)
    if is_again:  # what is live is ended by the next daemon too, should this one be gone before that
        for index in [stop.index for stop in settling.decision.stop if not progress.is_being_ended(stop.index)]:
            cell = progress.cells[index]
            cell.record = changed(cell.record, reason=progress.run.stop_reason or cause)
            settling.decision.moved(cell.record, now_ms, "task_stopping")
    return settling.decision


def stop_restored(progress: RunProgress, evaluate: Evaluate, now_ms: int) -> Decision:
    """Go on with ending a run that an earlier daemon was ending; that is not asking for it again."""
    settling = Settling(progress, Decision(), evaluate, now_ms)
    assert progress.run.stop_cause is not None
    _end_all(settling, progress.run.stop_cause, is_again=False)
    return settling.decision


def _end_all(settling: Settling, cause: StopCause, *, is_again: bool) -> None:
    """End what has not ended; unless asked for again, what is to run all the same goes on."""
    progress = settling.progress
    for index, cell in enumerate(progress.cells):
        is_meant = is_again or cell.is_asked_to_end or (progress.is_stopping and not progress.goes_on(index))
        if is_meant and not cell.has_ended:
            settling.cancel(index, cause, progress.run.stop_reason or cause, is_again=is_again)
    settling.settle()


# -- the run as a whole ----------------------------------------------------------------------------------------


def pause(progress: RunProgress, words: str, now_ms: int) -> Decision:
    """Let nothing more start; what runs goes on."""
    assert progress.run.state in (RunState.QUEUED, RunState.RUNNING)
    progress.run = changed(progress.run, state=RunState.PAUSED, paused_at_ms=now_ms)
    return Decision(changes=[changes.RunMoved(progress.run, "run_paused", now_ms, words)])


def unpause(progress: RunProgress, words: str, now_ms: int) -> Decision:
    """Go on with a paused run."""
    decision = Decision()
    _unpause(progress, decision, now_ms, words)
    return decision


def _unpause(progress: RunProgress, decision: Decision, now_ms: int, words: str | None = None) -> None:
    run = progress.run
    state = RunState.RUNNING if run.started_at_ms is not None else RunState.QUEUED
    passed = max(now_ms - (run.paused_at_ms or now_ms), 0)
    counted = run.paused_ms + passed if run.started_at_ms is not None else run.paused_ms
    progress.run = changed(run, state=state, paused_at_ms=None, paused_ms=counted)
    decision.changes.append(changes.RunMoved(progress.run, "run_resumed", now_ms, words))


def run_late(progress: RunProgress, now_ms: int) -> Decision:
    """Record that the run takes longer than its ``warn_after``."""
    progress.run = changed(progress.run, late_at_ms=now_ms)
    return Decision(changes=[changes.RunMoved(progress.run, "run_late", now_ms)])


def attempt_interrupted(attempt: AttemptRecord, reason: str, now_ms: int) -> AttemptRecord:
    """Return an attempt whose end nobody saw."""
    return changed(attempt, state=AttemptState.INTERRUPTED, reason=reason, finished_at_ms=now_ms)
