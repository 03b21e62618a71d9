"""Define an operation once: its name, role, parameters and result, from which every way in is made."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import types
import typing
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from barbossad import operations, wire
from barbossad.document import Document
from barbossad.errors import Fault, InvalidParamsError, PermissionDeniedError
from barbossad.operations.services import Call
from barbossad.security.access import Caller, Role
from barbossad.validation import faults_of


class Params(BaseModel):
    """The base of every operation's parameters: by name, strictly typed, nothing unknown."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class NoParams(Params):
    """No parameters."""


Asked = TypeVar("Asked", bound=Params)


def checked(params: type[Asked], given: Mapping[str, Any], subject: str) -> Asked:
    """Return checked parameters. Raise InvalidParamsError, of ``subject``, with every fault."""
    try:
        return params.model_validate(given)
    except ValidationError as error:
        raise InvalidParamsError(subject, faults_of(error, Document(""), params, given, whole="the call")) from None


Handler = Callable[[Call, Any], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One thing that may be asked for."""

    name: str
    role: Role
    params: type[Params]
    result: Any
    """The type of its result, a TypedDict."""

    summary: str
    description: str
    max_request_bytes: int
    less: Callable[[Any], Any] | None = None
    """Makes of a result that is too large for an answer what is answered instead."""

    handler: Handler

    @property
    def names(self) -> list[str]:
        """The names of its parameters, in the order in which they may be given without them."""
        return [field.alias or name for name, field in self.params.model_fields.items()]

    def parse(self, given: dict[str, Any] | list[Any]) -> Params:
        """Return checked parameters; by position they follow the order of the fields. Raise InvalidParamsError."""
        names = self.names
        if isinstance(given, list):
            if len(given) > len(names):
                message = f"at most {len(names)} parameters are taken by position, not {len(given)}"
                hint = f"in this order: {', '.join(names)}" if names else ""
                fault = Fault(line=None, column=None, path="", message=message, hint=hint)
                raise InvalidParamsError(self.name, [fault])
            given = dict(zip(names, given, strict=False))
        return checked(self.params, given, self.name)

    def invoke(self, call: Call, given: dict[str, Any] | list[Any]) -> Awaitable[Any] | Any:
        """Check the caller's role, then the parameters, then run it; the result may have to be awaited."""
        require(call.caller, self.role, self.name)
        return self.handler(call, self.parse(given))

    def result_schema(self) -> dict[str, Any]:
        """Return the JSON Schema of the result."""
        return TypeAdapter(self.result).json_schema(mode="serialization")


_DEFINED: Final[dict[str, Operation]] = {}


def define(
    name: str,
    role: Role,
    *,
    max_request_bytes: int = wire.MAX_REQUEST_BYTES,
    less: Callable[[Any], Any] | None = None,
) -> Callable[[Handler], Handler]:
    """Make an operation of a function ``(call, params) -> result``; its docstring is its documentation.

    ``less`` makes of a result that is too large for an answer one that is not.
    """

    def register(handler: Handler) -> Handler:
        hints = typing.get_type_hints(handler)
        documentation = inspect.getdoc(handler)
        if name in _DEFINED or not documentation or not issubclass(hints["params"], Params):
            raise TypeError(f"operation {name} is defined twice, or without documentation or parameters")
        summary, _, description = documentation.partition("\n\n")
        _DEFINED[name] = Operation(
            name=name,
            role=role,
            params=hints["params"],
            result=_result_type(hints["return"]),
            summary=" ".join(summary.split()),
            description=description,
            max_request_bytes=max_request_bytes,
            less=less,
            handler=handler,
        )
        return handler

    return register


def _result_type(hint: Any) -> Any:
    """Return what an operation answers with, whether at once or later, as it is or written already."""
    if typing.get_origin(hint) is types.UnionType:
        members = (member for member in typing.get_args(hint) if typing.get_origin(member) is not Awaitable)
        (hint,) = (member for member in members if member is not wire.Encoded)
    return hint


@lru_cache(maxsize=1)
def load() -> dict[str, Operation]:
    """Return every operation by name; each module of this package is asked for what it defines."""
    for module in pkgutil.iter_modules(operations.__path__):
        importlib.import_module(f"{operations.__name__}.{module.name}")
    return dict(sorted(_DEFINED.items()))


def no_role(caller: Caller) -> str:
    """Return what a stranger is told."""
    return f"user {caller.name} has no role here; an administrator can give one (access in the config)"


def require(caller: Caller, role: Role, what: str) -> None:
    """Raise PermissionDeniedError unless the caller has at least ``role``."""
    if caller.role is None:
        raise PermissionDeniedError(no_role(caller))
    if caller.role < role:
        raise PermissionDeniedError(f"{what} needs the role {role.word}; user {caller.name} is {caller.role.word}")
