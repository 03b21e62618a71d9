"""Where a run stands, in memory: its definition, its record and a cell for each task."""

from __future__ import annotations

from dataclasses import dataclass, field

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


def details(progress: RunProgress) -> RunDetails:
    """Return a run as the store would, were all of its progress recorded."""
    return RunDetails(
        run=progress.run,
        tasks={c.record.task_id: c.record for c in progress.tasks if c.record.state is not TaskState.PENDING},
        attempts={c.record.task_id: tuple(c.attempts) for c in progress.tasks if c.attempts},
    )


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


TASK_STATE_AFTER = {
    AttemptState.SUCCEEDED: TaskState.SUCCEEDED,
    AttemptState.FAILED: TaskState.FAILED,
    AttemptState.TIMED_OUT: TaskState.TIMED_OUT,
    AttemptState.CANCELLED: TaskState.CANCELLED,
    AttemptState.INTERRUPTED: TaskState.INTERRUPTED,
}
"""What a task becomes when its last attempt ends."""
