"""What the author of a task type needs: bases for its params, what it is told, how it names its process.

Imports little: a type that runs in the worker pays for this module at each start.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict

from barbossad.errors import BarbossaError
from barbossad.validation import RefusalError, kind_of
from barbossad.variables import check_travels, text_of


class TaskError(BarbossaError):
    """A task cannot be started as it stands, or has failed; the sentence says why."""


class TaskParams(BaseModel):
    """What the params of all types have in common: no unknown keys, no silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class TaskOutputs(BaseModel):
    """What the outputs of types that declare them have in common."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _argument(value: Any) -> str:
    if value is None:
        raise RefusalError(f"must be text, not {kind_of(value)}", 'write "" for an empty argument')
    return check_travels(text_of(value))


Argument = Annotated[str, BeforeValidator(_argument)]
"""One argument of a program: whatever an expression gives becomes one text, never two arguments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskContext:
    """What ``command`` is told: which attempt this is, the workflow's bound params, and what expressions see."""

    run_id: str
    task_id: str
    attempt: int
    params: Mapping[str, Any]
    scope: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerContext:
    """What ``run`` is told: which attempt this is. What else it needs it has in its params and its environment."""

    run_id: str
    task_id: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What process does a task's work.

    ``argv[0]`` is a path or a name to be found on the task's PATH; ``process.launcher.SCRIPT`` in ``argv`` stands
    for the file that holds ``script``. ``env`` is added to the task's environment.
    """

    argv: tuple[str, ...]
    script: bytes | None = None
    env: Mapping[str, str] = field(default_factory=dict)
