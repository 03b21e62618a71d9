"""The shapes that clients rely on (INTERFACES): instants are RFC 3339 UTC in ``_at``, durations in ``_seconds``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from barbossad.clock import rfc3339
from barbossad.engine.progress import RunProgress
from barbossad.errors import Fault
from barbossad.model.definition import WorkflowDefinition
from barbossad.model.records import AttemptRecord, RunRecord, TaskRecord
from barbossad.model.states import TaskState
from barbossad.store.runs import RunDetails


class AttemptView(TypedDict):
    """One try of a task."""

    number: int
    state: str
    exit_code: int | None
    signal: int | None
    reason: str | None
    started_at: str | None
    finished_at: str | None
    launcher: str
    unit: str | None
    pid: int | None
    cpu_seconds: float | None
    peak_memory_bytes: int | None
    io_read_bytes: int | None
    io_write_bytes: int | None
    in_force: dict[str, Any] | None
    log_bytes: int


class TaskView(TypedDict):
    """One task of a run."""

    id: str
    type: str
    state: str
    reason: str | None
    outputs: dict[str, Any]
    started_at: str | None
    finished_at: str | None
    attempts: list[AttemptView]


class RunSummary(TypedDict):
    """A run as listings show it."""

    id: str
    workflow: str
    version: str
    state: str
    trigger: str
    reason: str | None
    created_at: str | None
    started_at: str | None
    finished_at: str | None


class RunView(RunSummary):
    """A run with its tasks."""

    params: dict[str, Any]
    requested_by: str
    tasks: list[TaskView]


class FaultView(TypedDict):
    """One thing wrong with a file."""

    line: int | None
    column: int | None
    path: str
    message: str
    hint: str


class Applied(TypedDict):
    """The version that is in force, and whether it was not before."""

    name: str
    version: str
    changed: bool


def fault_view(fault: Fault) -> FaultView:
    """Return a fault as answers have it."""
    return {
        "line": fault.line,
        "column": fault.column,
        "path": fault.path,
        "message": fault.message,
        "hint": fault.hint,
    }


def run_summary(run: RunRecord) -> RunSummary:
    """Return a run as listings show it."""
    return {
        "id": run.id,
        "workflow": run.workflow,
        "version": run.version,
        "state": run.state.value,
        "trigger": run.trigger.value,
        "reason": run.reason or run.stop_reason,
        "created_at": rfc3339(run.created_at_ms),
        "started_at": rfc3339(run.started_at_ms),
        "finished_at": rfc3339(run.finished_at_ms),
    }


def run_view(
    details: RunDetails, definition: WorkflowDefinition | None, progress: RunProgress | None, why: Mapping[str, str]
) -> RunView:
    """Return a run with all its tasks in the order of the file.

    ``progress`` is where an active run stands, ``why`` what keeps its tasks. Without a ``definition`` (one that this
    version no longer understands) there are only the tasks that have a row.
    """
    nodes = (
        [(task.id, task.type) for task in definition.tasks] if definition else [(t, "unknown") for t in details.tasks]
    )
    return {
        **run_summary(details.run),
        "params": dict(details.run.params),
        "requested_by": details.run.requested_by,
        "tasks": [
            _task_view(
                task_id,
                task_type,
                details.tasks.get(task_id),
                details.attempts.get(task_id, ()),
                _waiting(progress, task_id, why),
            )
            for task_id, task_type in nodes
        ],
    }


def _waiting(progress: RunProgress | None, task_id: str, why: Mapping[str, str]) -> tuple[str, str | None]:
    """Return the state of a task that has no row: pending on others, or waiting for a slot; and why."""
    index = progress.index.get(task_id) if progress else None
    if progress is None or index is None or progress.cells[index].record.state is not TaskState.PENDING:
        return "pending", None
    return "waiting" if progress.cells[index].waits_for == 0 else "pending", why.get(task_id)


def _task_view(
    task_id: str,
    task_type: str,
    task: TaskRecord | None,
    attempts: tuple[AttemptRecord, ...],
    otherwise: tuple[str, str | None],
) -> TaskView:
    state, reason = (task.state.value, task.reason) if task else otherwise
    return {
        "id": task_id,
        "type": task_type,
        "state": state,
        "reason": reason,
        "outputs": dict(task.outputs or {}) if task else {},
        "started_at": rfc3339(task.started_at_ms) if task else None,
        "finished_at": rfc3339(task.finished_at_ms) if task else None,
        "attempts": [_attempt_view(attempt) for attempt in attempts],
    }


def _attempt_view(attempt: AttemptRecord) -> AttemptView:
    return {
        "number": attempt.number,
        "state": attempt.state.value,
        "exit_code": attempt.exit_code,
        "signal": attempt.signal,
        "reason": attempt.reason,
        "started_at": rfc3339(attempt.started_at_ms),
        "finished_at": rfc3339(attempt.finished_at_ms),
        "launcher": attempt.launcher,
        "unit": attempt.unit,
        "pid": attempt.pid,
        "cpu_seconds": attempt.cpu_seconds,
        "peak_memory_bytes": attempt.peak_memory_bytes,
        "io_read_bytes": attempt.io_read_bytes,
        "io_write_bytes": attempt.io_write_bytes,
        "in_force": dict(attempt.in_force) if attempt.in_force else None,
        "log_bytes": attempt.log.size_bytes if attempt.log else 0,
    }
