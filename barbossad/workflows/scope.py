"""The names that expressions may use: one table for the checks at load, and the making of it at run time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from barbossad.model.definition import WorkflowDefinition

ROOTS: Final = frozenset({"params", "env", "tasks", "run", "workflow", "host"})
LOOP_ROOTS: Final = frozenset({"item", "loop"})
"""Names that there are in a task with ``for_each``, and in the members of a group with it."""

MAP_METHODS: Final = frozenset({"get", "items", "keys", "values"})
"""What an expression may call of a map, beside its keys."""

FUNCTIONS: Final = frozenset({"range"})

FIELDS: Final[Mapping[str, frozenset[str]]] = {
    "run": frozenset({"id", "trigger", "started_at", "failed_tasks", "parent"}),
    "workflow": frozenset({"name", "version", "labels"}),
    "host": frozenset({"name"}),
    "loop": frozenset({"index", "first", "last", "length"}),
}
"""What stands under the names whose keys are always the same."""

END_FIELDS: Final = frozenset({"state", "reason"})
"""What stands under ``run`` in the tasks that follow its end."""

TASK_FIELDS: Final = frozenset({"status", "exit_code", "stdout", "outputs", "attempts", "duration", "error"})


def task_facts(
    *,
    status: str,
    exit_code: int | None,
    outputs: Mapping[str, Any] | None,
    attempts: int,
    duration_seconds: float | None,
    error: str | None,
) -> dict[str, Any]:
    """Return what expressions may read of a task that has ended."""
    return {
        "status": status,
        "exit_code": exit_code,
        "outputs": outputs or {},
        "attempts": attempts,
        "duration": duration_seconds,
        "error": error,
    }


def make(
    definition: WorkflowDefinition,
    *,
    params: Mapping[str, Any],
    tasks: Mapping[str, Mapping[str, Any]],
    run_id: str,
    trigger: str,
    started_at: str | None,
    host_name: str,
) -> dict[str, Any]:
    """Return the scope of a run; ``tasks`` holds the ``task_facts`` of those that have ended, by id.

    ``env`` is empty: it is each task's own (see ``barbossad.tasks.environment``).
    """
    return {
        "params": params,
        "env": {},
        "tasks": tasks,
        "run": {"id": run_id, "trigger": trigger, "started_at": started_at},
        "workflow": {
            "name": definition.name,
            "version": definition.version,
            "labels": dict(definition.labels),
        },
        "host": {"name": host_name},
    }
