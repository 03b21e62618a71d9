"""Say why a run, or a task of it, has not started or does not go on."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from barbossad.clock import rfc3339
from barbossad.engine.active import ActiveRun
from barbossad.engine.admission import Admission, Claim
from barbossad.engine.progress import Cell, RunProgress
from barbossad.engine.runqueue import RunQueue
from barbossad.model.flow import TaskKind
from barbossad.model.states import RunState, TaskState, WaitsFor


def reasons(active: ActiveRun, queue: RunQueue, admission: Admission, taken: int) -> Mapping[str, str]:
    """Return the reasons by the ids of the tasks that wait; the empty id is the run itself."""
    progress = active.progress
    found: dict[str, str] = {}
    of_run = _of_run(active, queue)
    if of_run is not None:
        found[""] = of_run
    queues = (cell.members.queue for cell in progress.cells if cell.members is not None)
    queued = frozenset(itertools.chain.from_iterable(queues))
    for index, cell in enumerate(progress.cells):
        reason = _of_task(active, index, admission, taken, is_queued=index in queued)
        if reason is not None:
            found[cell.id] = reason
    return found


def _of_run(active: ActiveRun, queue: RunQueue) -> str | None:
    progress = active.progress
    if progress.run.state is RunState.PAUSED:
        since = rfc3339(progress.run.paused_at_ms)
        return f"paused since {since}; `barbossactl run resume {progress.run.id}` goes on"
    return queue.reason(active)


def _of_task(active: ActiveRun, index: int, admission: Admission, taken: int, *, is_queued: bool) -> str | None:
    progress = active.progress
    cell = progress.cells[index]
    record = cell.record
    if record.state is TaskState.WAITING and record.waits_for is not WaitsFor.SLOT:
        return record.reason
    if record.state not in (TaskState.PENDING, TaskState.WAITING) or not active.is_admitted:
        return None
    if cell.waits_for:
        return _dependencies(progress, cell)
    of_group = _of_group(progress, cell, is_queued=is_queued)
    if of_group is not None or cell.is_group or cell.task.kind is TaskKind.APPROVAL:
        return of_group
    return admission.reason(Claim(active, index), taken)


def _of_group(progress: RunProgress, cell: Cell, *, is_queued: bool) -> str | None:
    """Say what the group that a task is in has to do with its waiting."""
    group = progress.cells[cell.parent] if cell.parent is not None else None
    if group is None or group.members is None:
        return None
    if group.record.state is not TaskState.RUNNING:
        return f"waiting for {group.id}"
    if is_queued:
        return f"waiting for its turn: {group.members.entered} of {group.max_parallel} in {group.id}"
    return None


def _dependencies(progress: RunProgress, cell: Cell) -> str:
    unended = [progress.cells[other].id for other in cell.depends_on if not progress.cells[other].has_ended]
    if not unended:
        return "waiting for its turn in the rollback"
    return f"waiting for {', '.join(unended[:3])}{'…' if len(unended) > 3 else ''}"
