"""Which keys a task takes, by what carries it out, and which of them do not go together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from barbossad.model.flow import Section, TaskKind
from barbossad.workflows.contract import TaskType
from barbossad.workflows.source import TASK_KEYS, Defaults, TaskSource

_ALL: Final = frozenset({"id", "description", "depends_on", "trigger", "when", "continue_on_error", "warn_after"})
_LOOP: Final = frozenset({"for_each", "max_parallel", "fail_fast"})

KEYS: Final[Mapping[TaskKind, frozenset[str]]] = {
    TaskKind.GROUP: _ALL | _LOOP | {"timeout", "priority"},
    TaskKind.CALL: _ALL | _LOOP | {"timeout", "priority", "retry", "repeat", "expect", "rollback", "lock"},
    TaskKind.APPROVAL: _ALL | _LOOP | {"rollback"},
}
"""The keys that a task of a kind takes; a process takes all."""

_WHAT: Final[Mapping[TaskKind, str]] = {
    TaskKind.GROUP: "a group of tasks",
    TaskKind.CALL: "a task that runs another workflow",
    TaskKind.APPROVAL: "a task that waits for a person",
}

_ELSEWHERE: Final[Mapping[TaskKind, str]] = {
    TaskKind.GROUP: "write it at the tasks in the group",
    TaskKind.CALL: "write it in the workflow that it runs",
    TaskKind.APPROVAL: "remove the key",
}

_REMEDIES: Final[Mapping[tuple[TaskKind, str], str]] = {
    (TaskKind.CALL, "env"): "give it what it needs as params: {workflow: {name: other, params: {…}}}",
    (TaskKind.CALL, "secrets"): "name them in the workflow that it runs",
    (TaskKind.CALL, "output"): "its outputs are the 'outputs' of the workflow that it runs",
    (TaskKind.APPROVAL, "timeout"): "write how long to wait as {approval: {message: …, deadline: 1h}}",
    (TaskKind.APPROVAL, "retry"): "remove the key; who rejects means it",
    (TaskKind.APPROVAL, "output"): "its outputs are the fields of its form",
    (TaskKind.APPROVAL, "priority"): "remove the key; it takes no slot",
}

_FOR_EACH_HINT: Final = "add for_each; tasks side by side are written {parallel: {max_parallel: 2, tasks: […]}}"


def takes(kind: TaskKind, key: str) -> bool:
    """Say whether a task of a kind may have a key."""
    return kind not in KEYS or key in KEYS[kind]


def refused(task_type: TaskType, raw: Mapping[str, Any], section: Section) -> Iterator[tuple[str, str, str]]:
    """Yield the keys of a task that are of no use to it: the key, a sentence, a hint."""
    kind = task_type.kind
    for key in raw:
        if key in TASK_KEYS and not takes(kind, key):
            yield key, f"{_WHAT[kind]} takes no {key!r}", _REMEDIES.get((kind, key), _ELSEWHERE[kind])
    if "for_each" not in raw:
        for key in ("max_parallel", "fail_fast"):
            if key in raw:
                hint = f"write it inside {task_type.name}" if task_type.name == "parallel" else _FOR_EACH_HINT
                yield key, f"{key!r} is for tasks with for_each, and this one has none", hint
    if "output" in raw and kind is TaskKind.PROCESS and task_type.is_worker:
        yield "output", f"'output' is for shell and python; {task_type.name} has outputs of its own", "remove the key"
    if "rollback" in raw and section is not Section.MAIN and takes(kind, "rollback"):
        yield "rollback", "what runs after a run's end has no 'rollback' of its own", "remove the key"


def contradictions(
    raw: Mapping[str, Any], source: TaskSource, workflow: Mapping[str, Any], defaults: Defaults
) -> Iterator[tuple[str, str, str]]:
    """Yield what a task says that goes against itself, the workflow or the defaults: the key, a sentence, a hint."""
    held = workflow.get("lock")
    held = [held] if isinstance(held, str) else held if isinstance(held, list) else []
    for lock in source.lock or ():
        if lock in held:
            yield (
                "lock",
                f"the lock {lock!r} is held by the whole run already",
                "remove it here, or from the workflow",
            )
    attempts = (source.retry and source.retry.attempts) or (defaults.retry and defaults.retry.attempts)
    if source.retry is not None and not attempts:
        yield "retry", "'retry' does not say how many attempts there are", "add attempts: 3, or another number"
    own = raw.get("workflow")
    name = own.get("name") if isinstance(own, Mapping) else own
    if isinstance(name, str) and name == workflow.get("name"):
        yield "workflow", f"the workflow {name!r} would run itself, without end", "name another one"
