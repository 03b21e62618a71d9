"""Make records, and workflows of tasks that only have an order: what tests of the store and the engine run on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from barbossad.model.definition import TaskDefinition, WorkflowDefinition
from barbossad.model.names import RunId, TaskId, VersionId, WorkflowName, run_id_from_number
from barbossad.model.records import AttemptRecord, RunRecord, TaskRecord, VersionRecord
from barbossad.model.states import RUN_ENDED, AttemptState, RunState, TaskState, TriggerType
from barbossad.store.run_changes import RunMoved, RunNews

NOON_MS = 1_769_860_800_000
"""2026-01-31T12:00:00Z, as good a time as any."""

VERSION = VersionId("0123456789abcdef")


def run_id(number: int = 0) -> RunId:
    """Return the id of the run that was made so many milliseconds after noon."""
    return run_id_from_number(NOON_MS + number)


def run(number: int = 0, workflow: str = "backup", **more: Any) -> RunRecord:
    """Return a queued run."""
    facts: dict[str, Any] = {
        "id": run_id(number),
        "workflow": WorkflowName(workflow),
        "version": VERSION,
        "state": RunState.QUEUED,
        "trigger": TriggerType.MANUAL,
        "params": {},
        "requested_by": "anne",
        "created_at_ms": NOON_MS + number,
    }
    return RunRecord(**{**facts, **more})


def moved(record: RunRecord) -> RunMoved:
    """Return the change that makes a run what the record says, told as what it is."""
    if record.state in RUN_ENDED:
        return RunMoved(record, "run_finished", record.finished_at_ms)
    kind: RunNews = "run_paused" if record.state is RunState.PAUSED else "run_started"
    return RunMoved(record, kind, record.started_at_ms)


def task(state: TaskState = TaskState.STARTING, task_id: str = "one", number: int = 0, **more: Any) -> TaskRecord:
    """Return a task of that run."""
    return TaskRecord(run_id=run_id(number), task_id=TaskId(task_id), state=state, **more)


def attempt(
    state: AttemptState = AttemptState.STARTING, task_id: str = "one", number: int = 0, **more: Any
) -> AttemptRecord:
    """Return the first attempt of that task."""
    facts: dict[str, Any] = {
        "run_id": run_id(number),
        "task_id": TaskId(task_id),
        "number": 1,
        "state": state,
        "launcher": "scripted",
        "boot_id": "this-boot",
    }
    return AttemptRecord(**{**facts, **more})


def version(workflow: str = "backup", number: int = 0, text: str = "name: backup\n") -> VersionRecord:
    """Return a version of a workflow, applied so many milliseconds after noon."""
    return VersionRecord(
        workflow=WorkflowName(workflow),
        version=VersionId(f"{number:016x}"),
        text=text,
        applied_at_ms=NOON_MS + number,
        applied_by="anne",
    )


def workflow(
    dependencies: Mapping[str, Sequence[str]],
    *,
    name: str = "backup",
    timeout_seconds: float | None = None,
    task_timeout_seconds: float | None = None,
    grace_seconds: float = 10.0,
) -> WorkflowDefinition:
    """Return a workflow of tasks, each with the ids of those that it waits for; they may stand in any order."""
    positions = {task_id: position for position, task_id in enumerate(dependencies)}
    dependants: list[list[int]] = [[] for _ in positions]
    for task_id, waits_for in dependencies.items():
        for other in waits_for:
            dependants[positions[other]].append(positions[task_id])
    return WorkflowDefinition(
        name=WorkflowName(name),
        version=VERSION,
        text="",
        labels={},
        env={},
        timeout_seconds=timeout_seconds,
        tasks=tuple(
            TaskDefinition(
                id=TaskId(task_id),
                type="shell",
                params=None,
                depends_on=tuple(map(TaskId, waits_for)),
                env={},
                timeout_seconds=task_timeout_seconds,
                grace_seconds=grace_seconds,
            )
            for task_id, waits_for in dependencies.items()
        ),
        dependency_counts=tuple(len(waits_for) for waits_for in dependencies.values()),
        dependants=tuple(map(tuple, dependants)),
    )
