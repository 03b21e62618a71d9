"""One task type as its file defines it, and the way from what an author wrote to the process that does it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pydantic import BaseModel, ValidationError

from barbossad.document import Document, Path
from barbossad.model.flow import TaskKind
from barbossad.tasks._api import Command, TaskContext, TaskError
from barbossad.validation import faults_of
from barbossad.workflows import expressions
from barbossad.workflows.contract import Unrendered, literal_fields


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskType:
    """One type, as its file defines it."""

    name: str
    Params: type[BaseModel]
    make_command: Callable[[TaskContext, Any], Command] | None
    """None for a kind that no process carries out."""

    bare: Mapping[type, str] = field(default_factory=dict)
    summary: str
    example: str
    origin: str
    """The module that it comes from."""

    kind: TaskKind = TaskKind.PROCESS
    is_worker: bool = False
    """Whether it runs in the worker, which reports, or is a program of its own, whose exit code says all."""

    is_repeatable: bool = False
    """Whether doing it again, after it was interrupted anywhere, does no harm."""

    Outputs: type[BaseModel] | None = None
    """What it outputs, if it declares that."""

    def command(self, ctx: TaskContext, params: Any) -> Command:
        """Return the process that does a task's work; ``params`` are those of its definition.

        Raise BarbossaError if an expression has no value or gives one that the type refuses, TypeError if no process
        carries out tasks of this type.
        """
        if self.make_command is None:
            raise TypeError(f"a task of type {self.name} is no process")
        return self.make_command(ctx, self.resolve(ctx, params))

    def resolve(self, ctx: TaskContext, params: Any) -> Any:
        """Return the params of a definition as the type's ``Params``, rendered where they hold expressions.

        What an expression gives is validated like what is written. Raise BarbossaError.
        """
        if not isinstance(params, Unrendered):
            return params
        literals = literal_fields(self.Params)
        tree = {
            key: value if key in literals else expressions.render(value, ctx.scope)
            for key, value in params.tree.items()
        }
        try:
            return self.Params.model_validate(tree)
        except ValidationError as error:
            faults = faults_of(error, Document(""), self.Params, tree, place=partial(self._place, params.bare))
            raise TaskError("; ".join(str(fault) for fault in faults)) from error

    def _place(self, bare: str | None, path: Path) -> Path:
        """Return where a value stands in the file: one that stands bare is called by the type, as when it is loaded."""
        return (self.name, *path[1:]) if bare is not None and path[:1] == (bare,) else path
