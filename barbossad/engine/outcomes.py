"""How a group and a whole run end, once everything in them has. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from barbossad.engine import timing
from barbossad.engine.progress import FAILURES, Cell, RunProgress
from barbossad.engine.triggers import WORDS
from barbossad.model.flow import Section
from barbossad.model.states import RunState, StopCause, TaskState

_STOPPED: Final = {StopCause.CANCEL: RunState.CANCELLED, StopCause.RUN_TIMEOUT: RunState.TIMED_OUT}

_WORST: Final = (
    (TaskState.INTERRUPTED, RunState.INTERRUPTED),
    (TaskState.FAILED, RunState.FAILED),
    (TaskState.TIMED_OUT, RunState.FAILED),
)
"""What a run becomes by what became of its tasks, the gravest first."""


def of_group(progress: RunProgress, group: int, ended_ms: int) -> tuple[TaskState, str | None]:
    """Return how a group or loop ends whose members have all ended, the last at ``ended_ms``, and why if not well."""
    cell = progress.cells[group]
    assert cell.members is not None
    members = [progress.cells[index] for index in cell.members.cells]
    found = _of_some(progress, members)
    verdict, is_over = cell.members.verdict, timing.is_over(cell, ended_ms)
    if verdict is None:  # the daemon that would have said that it took too long may be no more
        is_good = found[0] is TaskState.SUCCEEDED and not any(one.record.state in FAILURES for one in members)
        return timing.too_long(cell) if is_over and not is_good else found
    ended_in_time = verdict[0] is TaskState.TIMED_OUT and not is_over and found[0] is not TaskState.CANCELLED
    return found if ended_in_time else verdict


def of_first_failures(progress: RunProgress, group: int) -> tuple[TaskState, str | None] | None:
    """Return how a group or loop ends that fails fast, and why; None if nothing failed before its time was over.

    The members that failed first decide, by the instants that their rows have and not by who was heard of first: a
    daemon that is started anew knows no more than that. Those of one millisecond decide together.
    """
    cell = progress.cells[group]
    assert cell.members is not None
    members = [progress.cells[index] for index in cell.members.cells]
    failed = [(member.record.finished_at_ms or 0, member) for member in members if member.has_failed]
    first_ms = min((at_ms for at_ms, _ in failed), default=None)
    if first_ms is None or timing.is_over(cell, first_ms):
        return None
    return _of_some(progress, [member for at_ms, member in failed if at_ms == first_ms])


def _of_some(progress: RunProgress, members: Sequence[Cell]) -> tuple[TaskState, str | None]:
    by_state: dict[TaskState, list[str]] = {}
    for cell in members:
        if not (cell.record.state in FAILURES and cell.may_fail):
            by_state.setdefault(cell.record.state, []).append(cell.id)
    for state in (TaskState.INTERRUPTED, TaskState.FAILED, TaskState.TIMED_OUT):
        if state in by_state:
            outcome = TaskState.INTERRUPTED if state is TaskState.INTERRUPTED else TaskState.FAILED
            return outcome, _named(by_state[state], state)
    if TaskState.CANCELLED in by_state:
        reasons = {cell.record.reason for cell in members if cell.record.state is TaskState.CANCELLED}
        reason = progress.run.stop_reason if progress.run.stop_reason in reasons else None
        return TaskState.CANCELLED, reason or _named(by_state[TaskState.CANCELLED], TaskState.CANCELLED)
    return TaskState.SUCCEEDED, None


def of_run(progress: RunProgress) -> tuple[RunState, str | None]:
    """Return how a run ends whose main part has ended, and why if not well."""
    failed = progress.failed()
    is_cancelled = any(
        cell.record.state is TaskState.CANCELLED and cell.task.section is Section.MAIN and cell.parent is None
        for cell in progress.cells
    )
    cause = progress.run.stop_cause
    if cause is not None and (failed or is_cancelled or _was_cut(progress)):
        return _STOPPED[cause], progress.run.stop_reason
    by_state: dict[TaskState, list[str]] = {}
    for index in failed:
        cell = progress.cells[index]
        by_state.setdefault(cell.record.state, []).append(cell.id)
    for state, outcome in _WORST:
        if state in by_state:
            return outcome, _named(by_state[state], state)
    return RunState.SUCCEEDED, None


def _was_cut(progress: RunProgress) -> bool:
    """Say whether the end of the run before its time came in time for a task, one that may fail included."""
    return any(
        cell.record.state in (TaskState.CANCELLED, TaskState.TIMED_OUT)
        and cell.record.reason == progress.run.stop_reason
        and cell.task.section is Section.MAIN
        for cell in progress.cells
    )


def _named(names: Sequence[str], state: TaskState) -> str:
    listed = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    word = WORDS[state] if len(names) == 1 else WORDS[state].replace("was ", "were ")
    return f"{'task' if len(names) == 1 else 'tasks'} {listed} {word}"
