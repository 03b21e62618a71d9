"""Where a run stands, in memory: its definition, its record and a cell for each task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from barbossad.model.definition import WorkflowDefinition
from barbossad.model.records import AttemptRecord, RunRecord, TaskRecord
from barbossad.model.states import RUN_ENDED, TASK_ENDED, AttemptState, TaskState
from barbossad.store.runs import RunDetails


@dataclass(slots=True)
class TaskProgress:
    """One task: its record, its attempts so far, and how many dependencies have not ended yet."""

    record: TaskRecord
    waits_for: int
    attempts: list[AttemptRecord] = field(default_factory=list)

    @property
    def has_ended(self) -> bool:
        """Whether its state is final."""
        return self.record.state in TASK_ENDED

    @property
    def is_live(self) -> bool:
        """Whether an attempt of it is starting or running."""
        return self.record.state in (TaskState.STARTING, TaskState.RUNNING)


@dataclass(slots=True)
class RunProgress:
    """One run. Only ``transitions`` changes it."""

    definition: WorkflowDefinition
    run: RunRecord
    tasks: list[TaskProgress]
    unended: int
    """How many tasks have not ended."""

    @property
    def has_ended(self) -> bool:
        """Whether the run's state is final."""
        return self.run.state in RUN_ENDED


def create(definition: WorkflowDefinition, run: RunRecord) -> RunProgress:
    """Return the progress of a run none of whose tasks has started."""
    cells = [
        TaskProgress(TaskRecord(run_id=run.id, task_id=task.id, state=TaskState.PENDING), count)
        for task, count in zip(definition.tasks, definition.dependency_counts, strict=True)
    ]
    return RunProgress(definition, run, cells, len(cells))


def restore(definition: WorkflowDefinition, details: RunDetails) -> RunProgress:
    """Return the progress of a run as the store knows it."""
    progress = create(definition, details.run)
    for position, task in enumerate(definition.tasks):
        record = details.tasks.get(task.id)
        if record is None:
            continue
        cell = progress.tasks[position]
        cell.record = record
        cell.attempts = list(details.attempts.get(task.id, ()))
        if cell.has_ended:
            progress.unended -= 1
            for dependant in definition.dependants[position]:
                progress.tasks[dependant].waits_for -= 1
    return progress


def scope(progress: RunProgress, environment: Mapping[str, str], host: str) -> dict[str, Any]:
    """Return the names that expressions of the run's tasks may use."""
    run, definition = progress.run, progress.definition
    return {
        "params": dict(run.params),
        "env": environment,
        "tasks": _TasksByName(progress),
        "run": {"id": run.id, "trigger": run.trigger.value, "started_at": run.started_at_ms},
        "workflow": {"name": definition.name, "version": definition.version, "labels": dict(definition.labels)},
        "host": {"name": host},
    }


class _TasksByName(dict[str, Any]):
    """What expressions see of tasks, made when they ask: most runs have no expression at all."""

    def __init__(self, progress: RunProgress) -> None:
        super().__init__()
        self._progress = progress

    def __missing__(self, task_id: str) -> Any:
        cell = self._progress.tasks[self._progress.definition.positions[task_id]]
        record = cell.record
        last = cell.attempts[-1] if cell.attempts else None
        seconds = None
        if record.started_at_ms is not None and record.finished_at_ms is not None:
            seconds = (record.finished_at_ms - record.started_at_ms) / 1000
        seen = {
            "status": record.state.value,
            "exit_code": last.exit_code if last else None,
            "outputs": dict(record.outputs or {}),
            "attempts": len(cell.attempts),
            "duration": seconds,
            "error": record.reason,
        }
        self[task_id] = seen
        return seen


TASK_STATE_AFTER = {
    AttemptState.SUCCEEDED: TaskState.SUCCEEDED,
    AttemptState.FAILED: TaskState.FAILED,
    AttemptState.TIMED_OUT: TaskState.TIMED_OUT,
    AttemptState.CANCELLED: TaskState.CANCELLED,
    AttemptState.INTERRUPTED: TaskState.INTERRUPTED,
}
"""What a task becomes when its last attempt ends."""
