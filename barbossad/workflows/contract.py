"""What the language asks of a task type, and the marks that a type puts on its params."""

from __future__ import annotations

import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Protocol

from pydantic import BaseModel, Field

from barbossad.model.flow import Branch, TaskKind
from barbossad.validation import RefusalError

_OPENING: Final = re.compile(r"\{\{(?!\s*\.)")
"""Braces that open an expression. Those that go on with a dot are Go's (``docker ps --format '{{.Names}}'``)."""


class TaskType(Protocol):
    """A type as the loader sees it."""

    @property
    def name(self) -> str:
        """The key in a workflow file."""

    @property
    def Params(self) -> type[BaseModel]:  # noqa: N802 (a class)
        """The model of what stands under that key."""

    @property
    def bare(self) -> Mapping[type, str]:
        """Which field a value that is no map stands for, by the type of the value (``{str: "script"}``)."""

    @property
    def is_repeatable(self) -> bool:
        """Whether a task that was interrupted somewhere in its work can be begun again without harm."""

    @property
    def Outputs(self) -> type[BaseModel] | None:  # noqa: N802 (a class)
        """The model of what it outputs, if it declares that."""

    @property
    def is_worker(self) -> bool:
        """Whether it reports what it did, and is no program of the author's own."""

    @property
    def kind(self) -> TaskKind:
        """What carries it out."""


@dataclass(frozen=True, slots=True)
class _Code:
    """Marks a field whose text is a program: nothing is ever pasted into it."""


CODE: Final = _Code()


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """How a program's text gets at values; ``NAME`` stands for the name."""

    param: str
    env: str
    braces: str
    """How to write two braces that are meant as such."""


IN_SHELL: Final = Remedy(param='"$NAME"', env='"$NAME"', braces="'{''{'")


def refuse_expressions(text: str, remedy: Remedy) -> str:
    """Return the text of a program, if no value is to be pasted into it. Raise RefusalError with the remedy."""
    opening = _OPENING.search(text)
    end = text.find("}}", opening.end()) if opening else -1
    if opening is None or end < 0:
        return text
    line = text.count("\n", 0, opening.start()) + 1
    expression = text[opening.start() : end + 2]
    raise RefusalError(
        f"holds {_short(expression)} in its line {line}; no value is ever pasted into a program's text",
        _way(expression, remedy),
    )


def _way(expression: str, remedy: Remedy) -> str:
    name = re.fullmatch(r"\{\{\s*(params|env)\.([A-Za-z_]\w*)\s*\}\}", expression)
    if name:
        return f"write {(remedy.param if name[1] == 'params' else remedy.env).replace('NAME', name[2])}"
    secret = re.fullmatch(r"\{\{\s*secrets\.([A-Za-z_]\w*)\s*\}\}", expression)
    if secret:
        return f"write {{VALUE: {secret[1]}}} under the task's secrets, and {remedy.env.replace('NAME', 'VALUE')} here"
    if re.search(r"\b(?:params|env|tasks|run|workflow|host|item|loop|secrets)\b", expression):
        return f"name it under the task's env, as VALUE, and write {remedy.env.replace('NAME', 'VALUE')}"
    return f"if these braces are meant as such, write {remedy.braces}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:59] + "…"


Code = Annotated[str, CODE]
"""The text of a program, which is never rendered: a field at the top level of a type's ``Params``.

Its type adds a validator that calls ``refuse_expressions``.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Members:
    """Marks a field of a group's ``Params`` that lists tasks."""

    in_order: bool
    """Whether each waits for the one before it, unless it says what it waits for."""

    branch: Branch | None = None


MOST_MEMBERS: Final = 10_000
MemberList = Annotated[list[Any], Field(max_length=MOST_MEMBERS)]
"""The tasks of a group, to be marked with ``Members``: the loader reads each as it reads those of the file."""


@dataclass(frozen=True, slots=True)
class _Form:
    """Marks a field whose map declares typed fields, as ``params`` of a workflow does."""


FORM: Final = _Form()


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupShape:
    """What a group says of its members: ``condition`` decides between the branches, the others bound them."""

    condition: str | None = None
    max_parallel: int | None = None
    fail_fast: bool = False


class GroupParams(Protocol):
    """The ``Params`` of a type whose kind is a group."""

    def shape(self) -> GroupShape:
        """Return what the engine needs to know of it."""


def member_fields(model: type[BaseModel]) -> dict[str, Members]:
    """Return the keys of a group's params that list its members, in their order."""
    return {
        field.alias or name: mark
        for name, field in model.model_fields.items()
        for mark in field.metadata
        if isinstance(mark, Members)
    }


def form_fields(model: type[BaseModel]) -> frozenset[str]:
    """Return the keys of a model whose maps declare typed fields."""
    return frozenset(field.alias or name for name, field in model.model_fields.items() if FORM in field.metadata)


def literal_fields(model: type[BaseModel]) -> frozenset[str]:
    """Return the keys of a model that are never rendered: programs, forms, and tasks, which see to themselves."""
    code = (
        field.alias or name
        for name, field in model.model_fields.items()
        if CODE in field.metadata or _holds_code(field.annotation)
    )
    return frozenset(code) | form_fields(model) | member_fields(model).keys()


def _holds_code(annotation: Any) -> bool:
    arguments = typing.get_args(annotation)
    return any(argument == CODE or _holds_code(argument) for argument in arguments)


@dataclass(frozen=True, slots=True)
class Unrendered:
    """Params of a task that hold expressions: the map as written, rendered and validated when the task starts."""

    tree: Mapping[str, Any]
    bare: str | None = field(default=None, compare=False)
    """The one key of the map that was not written: its value stands under that of the type."""
