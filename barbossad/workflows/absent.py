"""Types of tasks that are not there any more: what stands in for them, so that a run that has begun goes on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from barbossad.model.flow import TaskKind
from barbossad.workflows.contract import TaskType
from barbossad.workflows.source import TASK_KEYS

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")


class _Anything(BaseModel):
    """What was written when the type was there."""

    model_config = ConfigDict(extra="allow")


@dataclass(frozen=True, slots=True)
class AbsentType:
    """Stands in for a type: whatever was said to it was accepted when it was there, and nothing starts."""

    name: str
    Params: type[BaseModel] = _Anything
    bare: Mapping[type, str] = field(default_factory=dict)
    is_repeatable: bool = True
    Outputs: type[BaseModel] | None = None
    is_worker: bool = False
    kind: TaskKind = TaskKind.PROCESS


def words(name: str) -> str:
    """Say what a task of a type lacks that is not there, and what to do."""
    return (
        f"there is no task type {name!r} here: the package that brings it is not installed, or cannot be used (the "
        "daemon's log says why); install it for this version of Barbossa, restart the daemon and retry the run"
    )


def with_absent(value: object, known: Mapping[str, TaskType]) -> dict[str, TaskType]:
    """Return the types that are known, and a stand-in for each that a file of an accepted version must have had.

    That is the one key of a task which is none that all tasks have. What else looks like that is no task, and a name
    more does no harm.
    """
    found = dict(known)
    for item in _maps(value):
        others = item.keys() - TASK_KEYS
        if len(others) == 1 and not others & known.keys():
            (name,) = others
            if isinstance(name, str) and _NAME.fullmatch(name):
                found[name] = AbsentType(name)
    return found


def _maps(value: object) -> Iterator[dict[Any, Any]]:
    """Yield every map in a document."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            yield item
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item
