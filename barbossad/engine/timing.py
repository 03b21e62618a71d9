"""At which instants something happens to a task by itself: a delay ends, a deadline passes, it takes too long. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from barbossad.engine.progress import Cell, RunProgress
from barbossad.model.flow import TaskKind
from barbossad.model.states import TaskState
from barbossad.units import format_duration


def due(cell: Cell) -> Iterator[int]:
    """Yield the instants, in milliseconds, at which ``transitions.time_passed`` is to be asked about a task."""
    record = cell.record
    if cell.has_ended:
        return
    if record.state is TaskState.WAITING and record.waits_until_ms is not None:
        yield record.waits_until_ms
    deadline = group_deadline_ms(cell)
    if deadline is not None:
        yield deadline
    late = late_ms(cell)
    if late is not None:
        yield late


def group_deadline_ms(cell: Cell) -> int | None:
    """Return when a group that has begun must have ended."""
    if not _is_timed_group(cell) or cell.task.timeout_seconds is None or cell.record.started_at_ms is None:
        return None
    return cell.record.started_at_ms + round(cell.task.timeout_seconds * 1000)


def is_over(group: Cell, at_ms: int) -> bool:
    """Say whether the time of a group was over at an instant; what fails in it from then on failed for that."""
    deadline_ms = group_deadline_ms(group)
    return deadline_ms is not None and deadline_ms <= at_ms


def too_long(cell: Cell) -> tuple[TaskState, str]:
    """Return how a group ends whose time is over, and why."""
    limit = format_duration(cell.task.timeout_seconds or 0)
    return TaskState.TIMED_OUT, f"it did not end within its timeout of {limit}"


def late_ms(cell: Cell) -> int | None:
    """Return when it is to be told that a task takes longer than its ``warn_after``; None if it was, or never is."""
    record = cell.record
    if cell.task.warn_after_seconds is None or record.late_at_ms is not None or record.started_at_ms is None:
        return None
    if cell.is_loop:
        return None  # each of its items is told
    return record.started_at_ms + round(cell.task.warn_after_seconds * 1000)


def run_late_ms(progress: RunProgress) -> int | None:
    """Return when it is to be told that its main part takes longer than its ``warn_after``; None if it was."""
    return None if progress.run.late_at_ms is not None else _after(progress, progress.definition.warn_after_seconds)


def run_deadline_ms(progress: RunProgress) -> int | None:
    """Return when the main part of the run must have ended; None if it is being ended already."""
    return None if progress.run.stop_cause is not None else _after(progress, progress.definition.timeout_seconds)


def _after(progress: RunProgress, seconds: float | None) -> int | None:
    """Return when the main part has gone on for so long; None while it is paused, and when it has ended."""
    run = progress.run
    if seconds is None or run.started_at_ms is None or run.outcome is not None or run.paused_at_ms is not None:
        return None
    return run.started_at_ms + run.paused_ms + round(seconds * 1000)


def _is_timed_group(cell: Cell) -> bool:
    return cell.task.kind is TaskKind.GROUP and not cell.is_loop and cell.record.state is TaskState.RUNNING
