"""What a task type is made of, and what it is told when it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from barbossad.document import Document
from barbossad.errors import BarbossaError
from barbossad.validation import RefusalError, faults_of, kind_of
from barbossad.variables import check_travels, text_of
from barbossad.workflows import expressions
from barbossad.workflows.contract import Unrendered, code_fields


class TaskError(BarbossaError):
    """A task cannot be started as it stands; the sentence says why."""


class TaskParams(BaseModel):
    """What the params of all types have in common: no unknown keys, no silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def _argument(value: Any) -> str:
    if value is None:
        raise RefusalError(f"must be text, not {kind_of(value)}", 'write "" for an empty argument')
    return check_travels(text_of(value))


Argument = Annotated[str, BeforeValidator(_argument)]
"""One argument of a program: whatever an expression gives becomes one text, never two arguments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskContext:
    """What a task is told: which attempt this is, the workflow's bound params, and what expressions see."""

    run_id: str
    task_id: str
    attempt: int
    params: Mapping[str, Any]
    scope: Mapping[str, Any]

    def render(self, value: Any) -> Any:
        """Return ``value`` with its expressions replaced by what they stand for. Raise ExpressionError."""
        return expressions.render(value, self.scope)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What process does a task's work.

    ``argv[0]`` is a path or a name to be found on the task's PATH; ``process.launcher.SCRIPT`` in ``argv`` stands
    for the file that holds ``script``. ``env`` is added to the task's environment.
    """

    argv: tuple[str, ...]
    script: bytes | None = None
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskType:
    """One type, as its file defines it."""

    name: str
    Params: type[BaseModel]
    make_command: Callable[[TaskContext, Any], Command]
    bare: Mapping[type, str] = field(default_factory=dict)
    summary: str
    example: str
    origin: str
    """The module that it comes from."""

    is_repeatable: bool = False
    """Whether a task that was interrupted somewhere in its work can be begun again without harm."""

    def command(self, ctx: TaskContext, params: Any) -> Command:
        """Return the process that does a task's work; ``params`` are those of its definition.

        Raise BarbossaError if an expression has no value or gives one that the type refuses.
        """
        return self.make_command(ctx, self.resolve(ctx, params) if isinstance(params, Unrendered) else params)

    def resolve(self, ctx: TaskContext, params: Unrendered) -> BaseModel:
        """Return params whose expressions are rendered, validated like written ones. Raise BarbossaError."""
        code = code_fields(self.Params)
        tree = {key: value if key in code else ctx.render(value) for key, value in params.tree.items()}
        try:
            return self.Params.model_validate(tree)
        except ValidationError as error:
            faults = faults_of(error, Document(""), self.Params, tree)
            raise TaskError("; ".join(str(fault) for fault in faults)) from error
