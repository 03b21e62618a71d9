"""The names that expressions may use: one table for the checks at load, and the making of it at run time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from barbossad.model.definition import WorkflowDefinition
from barbossad.model.schedules import ScheduleKind

ROOTS: Final = frozenset({"params", "env", "tasks", "run", "workflow", "host"})
LOOP_ROOTS: Final = frozenset({"item", "loop"})
"""Names that there are in a task with ``for_each``, and in the members of a group with it."""

MAP_METHODS: Final = frozenset({"get", "items", "keys", "values"})
"""What an expression may call of a map, beside its keys."""

FUNCTIONS: Final = frozenset({"range"})

FIELDS: Final[Mapping[str, frozenset[str]]] = {
    "run": frozenset({"id", "trigger", "started_at", "failed_tasks", "parent", "scheduled_for"}),
    "workflow": frozenset({"name", "version", "labels"}),
    "host": frozenset({"name"}),
    "loop": frozenset({"index", "first", "last", "length"}),
}
"""What stands under the names whose keys are always the same."""

END_FIELDS: Final = frozenset({"state", "reason"})
"""What stands under ``run`` in the tasks that follow its end."""

TRIGGER_FIELDS: Final[Mapping[str, frozenset[str]]] = {
    ScheduleKind.FILE: frozenset({"path", "change"}),
    ScheduleKind.WORKFLOW: frozenset({"run", "workflow", "state", "outputs"}),
    ScheduleKind.UNIT: frozenset({"unit", "state", "before"}),
}
"""What stands under ``trigger`` in the params of an entry of ``triggers``, by its kind: there is nothing else there."""

TASK_FIELDS: Final = frozenset({"status", "exit_code", "stdout", "outputs", "attempts", "duration", "error"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What expressions may read of the run; ``state`` and ``reason`` are its outcome where that is known."""

    id: str
    trigger: str
    started_at: str | None
    parent: str | None = None
    scheduled_for: str | None = None
    """The nominal time of the schedule that asked for it, RFC 3339; None if none did."""

    state: str = "running"
    reason: str | None = None
    failed_tasks: Sequence[str] = ()


def task_facts(
    *,
    status: str,
    exit_code: int | None,
    stdout: str | None,
    outputs: Mapping[str, Any] | Sequence[Any] | None,
    attempts: int,
    duration_seconds: float | None,
    error: str | None,
) -> dict[str, Any]:
    """Return what expressions may read of a task that has ended."""
    return {
        "status": status,
        "exit_code": exit_code,
        "stdout": stdout or "",
        "outputs": {} if outputs is None else outputs,
        "attempts": attempts,
        "duration": duration_seconds,
        "error": error,
    }


def loop_facts(item: Any, index: int, length: int) -> dict[str, Any]:
    """Return what only the items of a loop see."""
    loop = {"index": index, "first": index == 0, "last": index == length - 1, "length": length}
    return {"item": item, "loop": loop}


class Scope(Mapping[str, Any]):
    """What expressions see, made when the first of them asks: most tasks have none.

    ``own`` is what one task sees beside, or instead of, what ``make`` gives.
    """

    def __init__(self, make: Callable[[], Mapping[str, Any]], own: Mapping[str, Any] | None = None) -> None:
        self._make = make
        self._own = own or {}
        self._made: Mapping[str, Any] | None = None

    def over(self, own: Mapping[str, Any]) -> Scope:
        """Return the same with ``own`` over it."""
        return Scope(self._names, own)

    def _names(self) -> Mapping[str, Any]:
        if self._made is None:
            self._made = {**self._make(), **self._own}
        return self._made

    def __getitem__(self, name: str) -> Any:
        return self._names()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names())

    def __len__(self) -> int:
        return len(self._names())


def make(
    definition: WorkflowDefinition,
    *,
    params: Mapping[str, Any],
    tasks: Mapping[str, Mapping[str, Any]],
    run: RunFacts,
    host_name: str,
) -> dict[str, Any]:
    """Return the scope of a run; ``tasks`` holds the ``task_facts`` of its tasks, by name.

    ``env`` is empty: it is each task's own (see ``barbossad.tasks.environment``).
    """
    return {
        "params": params,
        "env": {},
        "tasks": tasks,
        "run": {
            "id": run.id,
            "trigger": run.trigger,
            "started_at": run.started_at,
            "parent": run.parent,
            "scheduled_for": run.scheduled_for,
            "state": run.state,
            "reason": run.reason,
            "failed_tasks": list(run.failed_tasks),
        },
        "workflow": {
            "name": definition.name,
            "version": definition.version,
            "labels": dict(definition.labels),
        },
        "host": {"name": host_name},
    }
