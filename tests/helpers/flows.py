"""Make workflows of any shape from their tasks alone: groups, branches, sections, loops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from barbossad.model.definition import TaskDefinition, WorkflowDefinition
from barbossad.model.names import TaskId, WorkflowName
from tests.helpers.records import VERSION


def task(task_id: str, *depends_on: str, **more: Any) -> TaskDefinition:
    """Return a task that waits for others; one whose params do not matter has none."""
    facts: dict[str, Any] = {"type": "shell", "params": None, "env": {}}
    return TaskDefinition(id=TaskId(task_id), depends_on=tuple(map(TaskId, depends_on)), **{**facts, **more})


def group(outer: TaskDefinition, *members: Sequence[TaskDefinition] | TaskDefinition) -> list[TaskDefinition]:
    """Return a group and its members, whose ids are given in full; a member may be a group itself."""
    below: list[TaskDefinition] = []
    for member in members:
        below += [member] if isinstance(member, TaskDefinition) else member
    return [replace(outer, size=len(below) + 1), *below]


def workflow(*parts: Sequence[TaskDefinition] | TaskDefinition, **more: Any) -> WorkflowDefinition:
    """Return a workflow of these tasks and groups, in their order."""
    tasks: list[TaskDefinition] = []
    for part in parts:
        tasks += [part] if isinstance(part, TaskDefinition) else part
    positions = {one.id: position for position, one in enumerate(tasks)}
    stack: list[tuple[int, int]] = []
    for position, one in enumerate(tasks):
        while stack and stack[-1][1] <= position:
            stack.pop()
        tasks[position] = replace(one, parent=stack[-1][0] if stack else None)
        if one.size > 1:
            stack.append((position, position + one.size))
    dependants: list[list[int]] = [[] for _ in tasks]
    for position, one in enumerate(tasks):
        for name in one.depends_on:
            dependants[positions[name]].append(position)
    facts: dict[str, Any] = {"name": WorkflowName("flow"), "version": VERSION, "text": "", "labels": {}, "env": {}}
    return WorkflowDefinition(
        **{**facts, **more},
        tasks=tuple(tasks),
        dependency_counts=tuple(len(one.depends_on) for one in tasks),
        dependants=tuple(map(tuple, dependants)),
    )
