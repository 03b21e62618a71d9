"""Tell in what two runs differ: what they were given, how their tasks did, what came out. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from barbossad.clock import seconds_between
from barbossad.model.definition import WorkflowDefinition
from barbossad.model.records import RunRecord, TaskRecord
from barbossad.store.run_details import RunDetails

HIDDEN: Final = "(hidden)"
"""What is shown of a secret."""

SECRET_TYPE: Final = "secret"  # noqa: S105 (the name of a type)
"""The type of params whose values are never shown."""


class Aspect(StrEnum):
    """What of two runs differs."""

    WORKFLOW = "workflow"
    VERSION = "version"
    TRIGGER = "trigger"
    PARAM = "param"
    ENV = "env"
    """A variable that the definition gives to all tasks, or to one (``task.NAME``), as it is written."""

    STATE = "state"
    """Of a task, or of the run itself, whose name is empty."""

    REASON = "reason"
    ATTEMPTS = "attempts"
    OUTPUTS = "outputs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that differs; None is what one of the two does not have."""

    aspect: Aspect
    name: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Took:
    """How long a task, or a run (``task`` is empty), took in each; None: it did not end, or there is no such task."""

    task: str
    before: float | None
    after: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two: the run, and what it ran as far as that is still understood."""

    details: RunDetails
    definition: WorkflowDefinition | None


def shown_params(definition: WorkflowDefinition | None, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the params of a run as people may see them."""
    secret = {param.name for param in definition.params if param.type == SECRET_TYPE} if definition else set()
    return {name: HIDDEN if name in secret else value for name, value in params.items()}


def compare(before: Side, after: Side) -> list[Difference]:
    """Return what differs, from what the runs were given to what came out."""
    return [*_given(before, after), *_done(before, after)]


def durations(before: Side, after: Side) -> list[Took]:
    """Return how long each took, the runs first, then their tasks without the single items of loops."""
    found = [Took(task="", before=_seconds(before.details.run), after=_seconds(after.details.run))]
    for task in _tasks(before, after):
        if not task.endswith("]"):
            times = [_seconds(side.details.tasks.get(task)) for side in (before, after)]
            found.append(Took(task=task, before=times[0], after=times[1]))
    return found


def _given(before: Side, after: Side) -> Iterator[Difference]:
    first, second = before.details.run, after.details.run
    yield from _one(Aspect.WORKFLOW, "", first.workflow, second.workflow)
    yield from _one(Aspect.VERSION, "", first.version, second.version)
    yield from _one(Aspect.TRIGGER, "", first.trigger.value, second.trigger.value)
    yield from _params(before, after)
    yield from _maps(Aspect.ENV, _environment(before.definition), _environment(after.definition))


def _params(before: Side, after: Side) -> Iterator[Difference]:
    """Compare what the params are, and show of them what may be seen."""
    real = [side.details.run.params for side in (before, after)]
    shown = [shown_params(side.definition, side.details.run.params) for side in (before, after)]
    for name in dict.fromkeys([*real[0], *real[1]]):
        if real[0].get(name) != real[1].get(name) or (name in real[0]) != (name in real[1]):
            yield Difference(aspect=Aspect.PARAM, name=name, before=shown[0].get(name), after=shown[1].get(name))


def _done(before: Side, after: Side) -> Iterator[Difference]:
    first, second = before.details, after.details
    yield from _one(Aspect.STATE, "", first.run.state.value, second.run.state.value)
    yield from _one(Aspect.REASON, "", first.run.reason, second.run.reason)
    for task in _tasks(before, after):
        records = [side.tasks.get(task) for side in (first, second)]
        yield from _one(Aspect.STATE, task, *(_state(record) for record in records))
        yield from _one(Aspect.REASON, task, *(record.reason if record else None for record in records))
        yield from _one(Aspect.ATTEMPTS, task, *(len(side.attempts.get(task, ())) for side in (first, second)))
        if not task.endswith("]"):  # the outputs of a loop are those of its items
            yield from _one(Aspect.OUTPUTS, task, *(_outputs(record) for record in records))


def _one(aspect: Aspect, name: str, before: Any, after: Any) -> Iterator[Difference]:
    if before != after:
        yield Difference(aspect=aspect, name=name, before=before, after=after)


def _maps(aspect: Aspect, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Difference]:
    for name in dict.fromkeys([*before, *after]):
        yield from _one(aspect, name, before.get(name), after.get(name))


def _environment(definition: WorkflowDefinition | None) -> dict[str, str]:
    if definition is None:
        return {}
    own = {f"{task.id}.{name}": text for task in definition.tasks for name, text in task.env.items()}
    return {**definition.env, **own}


def _tasks(before: Side, after: Side) -> list[str]:
    """Return the ids of all tasks of both, in the order of the newer file, then what only rows tell of."""
    defined = [task.id for side in (after, before) for task in (side.definition.tasks if side.definition else ())]
    return list(dict.fromkeys([*defined, *after.details.tasks, *before.details.tasks]))


def _state(record: TaskRecord | None) -> str | None:
    return record.state.value if record else None


def _outputs(record: TaskRecord | None) -> Any:
    if record is None or not record.outputs:
        return None
    return dict(record.outputs) if isinstance(record.outputs, Mapping) else list(record.outputs)


def _seconds(record: RunRecord | TaskRecord | None) -> float | None:
    return None if record is None else seconds_between(record.started_at_ms, record.finished_at_ms)
