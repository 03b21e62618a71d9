"""Typed params: declared in the file, bound to values before a run exists, handed on as environment variables."""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from pydantic_core import SchemaError, SchemaValidator, ValidationError, core_schema

from barbossad.errors import Fault, InvalidParamsError
from barbossad.model.definition import ParamDefinition, WorkflowDefinition
from barbossad.units import format_duration, parse_duration
from barbossad.validation import RefusalError, kind_of, proposal, shown
from barbossad.variables import MAX_VARIABLE_BYTES, check_travels, text_of
from barbossad.workflows.expressions import is_expression
from barbossad.workflows.reserved import reason_reserved
from barbossad.workflows.source import ParamSource

MAX_INTEGER: Final = 2**63 - 1
MAX_PATH_BYTES: Final = 4095
MAX_DEPTH: Final = 32

_BOUNDS_OF: Final[Mapping[str, frozenset[str]]] = {
    "string": frozenset({"pattern", "min_length", "max_length"}),
    "integer": frozenset({"minimum", "maximum"}),
    "number": frozenset({"minimum", "maximum"}),
    "boolean": frozenset(),
    "choice": frozenset({"choices"}),
    "path": frozenset(),
    "duration": frozenset({"minimum", "maximum"}),
    "list": frozenset({"min_length", "max_length"}),
    "map": frozenset({"min_length", "max_length"}),
}
"""Which bounds each type may have."""

_BOOLEANS: Final = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_INTEGER: Final = re.compile(r"[+-]?\d{1,19}", flags=re.ASCII)
_NUMBER: Final = re.compile(r"[+-]?(?:\d{1,300}(?:\.\d{0,300})?|\.\d{1,300})(?:[eE][+-]?\d{1,3})?", flags=re.ASCII)

Report = Callable[[tuple[str, ...], str, str], None]
"""Is told of a fault: where beneath the param, what, and a hint."""


def declare(name: str, source: ParamSource, report: Report) -> ParamDefinition | None:
    """Return what a file says of a param, or None with every fault reported."""
    complete = True

    def refuse(key: str, message: str, hint: str = "") -> None:
        nonlocal complete
        complete = False
        report((key,) if key else (), message, hint)

    reason = reason_reserved(name)
    if reason:
        refuse("", f"{name!r} cannot be the name of a param: as an environment variable it {reason}",
               f"choose another name, such as {'my_' + name.lower().strip('_')!r}")  # fmt: skip
    if source.type == "secret":
        refuse("type", "params of type secret are not available in this version",
               "keep the secret in a file that only the task's user may read")  # fmt: skip
        return None
    _check_bounds(source, refuse)
    if not complete:
        return None
    definition = ParamDefinition(
        name=name,
        type=source.type,
        description=source.description,
        choices=tuple(source.choices) if source.choices is not None else None,
        pattern=source.pattern,
        minimum=_bound(source, "minimum"),
        maximum=_bound(source, "maximum"),
        min_length=source.min_length,
        max_length=source.max_length,
    )
    if "default" not in source.model_fields_set:
        return definition
    return _with_default(definition, source.default, refuse)


def _with_default(
    definition: ParamDefinition, default: object, refuse: Callable[[str, str, str], None]
) -> ParamDefinition | None:
    if default is None:
        refuse("default", "'default' has no value", 'write "" for empty text, or remove the key to demand a value')
    elif is_expression(default):
        refuse("default", "a default cannot be an expression", "write the value itself, or use the expression in env")
    else:
        try:
            return replace(definition, default=convert(definition, default), has_default=True)
        except RefusalError as error:
            refuse("default", f"'default' {error}", error.hint)
    return None


def _check_bounds(source: ParamSource, refuse: Callable[..., None]) -> None:
    allowed = _BOUNDS_OF[source.type]
    for key in ("choices", "pattern", "minimum", "maximum", "min_length", "max_length"):
        if key in source.model_fields_set and key not in allowed:
            hint = f"it can have: {', '.join(sorted(allowed))}" if allowed else "remove the key"
            refuse(key, f"a param of type {source.type} has no {key!r}", hint)
    for key in ("minimum", "maximum"):
        if key in source.model_fields_set and key in allowed:
            try:
                _bound(source, key)
            except RefusalError as error:
                refuse(key, f"{key!r} {error}", error.hint)
    if source.type == "choice":
        _check_choices(source.choices, refuse)
    if source.pattern is not None and source.type == "string":
        try:
            _pattern(source.pattern)
        except RefusalError as error:
            refuse("pattern", f"'pattern' {error}", error.hint)


def _check_choices(choices: list[Any] | None, refuse: Callable[..., None]) -> None:
    if not choices:
        refuse("choices" if choices is not None else "", "a param of type choice needs 'choices'",
               "write choices: [one, two]")  # fmt: skip
    elif any(choice is None or isinstance(choice, list | dict) for choice in choices):
        refuse("choices", "'choices' must hold texts, numbers or booleans")


def _bound(source: ParamSource, key: str) -> float | None:
    value = getattr(source, key)
    if value is None:
        return None
    if source.type == "duration":
        return parse_duration(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise RefusalError(f"must be a number, not {shown(value)}")
    return value


@functools.lru_cache(maxsize=1024)
def _pattern(pattern: str) -> SchemaValidator:
    """Compile a pattern with an engine that is linear in its input: no value can make it run for ever."""
    try:
        return SchemaValidator(core_schema.str_schema(pattern=rf"\A(?:{pattern})\z", regex_engine="rust-regex"))
    except SchemaError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise RefusalError(
            f"is no regular expression that Barbossa can use: {reason}",
            "look-around and back-references are not available",
        ) from None


# -- binding -------------------------------------------------------------------------------------------------


def bind(definition: WorkflowDefinition, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a value of the declared type for each param of a workflow.

    Text is converted where that is unambiguous, since a command line has nothing else: ``"3"``, ``"true"``,
    ``"1h30m"``, JSON for lists and maps. Raise InvalidParamsError with every fault: unknown and missing params,
    wrong types, values out of bounds, and values that no environment variable can carry.
    """
    declared = {param.name: param for param in definition.params}
    faults = [
        _fault(name, f"unknown param {shown(name)}", proposal(name, declared, noun="params"))
        for name in given
        if name not in declared
    ]
    bound: dict[str, Any] = {}
    for name, param in declared.items():
        if name not in given:
            if param.has_default:
                bound[name] = param.default
            else:
                about = f"{param.type}: {param.description}" if param.description else f"a {param.type}"
                faults.append(_fault(name, f"the param {name!r} is missing", about))
            continue
        try:
            bound[name] = convert(param, given[name])
        except RefusalError as error:
            faults.append(_fault(name, f"{name!r} {error}", error.hint))
    if not faults and len(as_json(bound).encode()) + 32 > MAX_VARIABLE_BYTES:
        reason = f"all params together are longer than {MAX_VARIABLE_BYTES} bytes"
        faults.append(_fault("", reason, "put large values into a file and give the file's path"))
    if faults:
        raise InvalidParamsError(f"params of workflow {definition.name!r}", faults)
    return bound


def environment(bound: Mapping[str, Any]) -> dict[str, str]:
    """Return bound params as environment variables: each under its own name, as text."""
    return {name: text_of(value) for name, value in bound.items()}


def as_json(bound: Mapping[str, Any]) -> str:
    """Return bound params as one JSON text."""
    return json.dumps(bound, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _fault(name: str, message: str, hint: str) -> Fault:
    return Fault(line=None, column=None, path=f"params.{name}" if name else "params", message=message, hint=hint)


def convert(param: ParamDefinition, value: object) -> Any:
    """Return ``value`` as the param's type and within its bounds. Raise RefusalError with the reason."""
    converted = _CONVERTERS[param.type](param, value)
    check_travels(text_of(converted), name=param.name)
    return converted


def _string(param: ParamDefinition, value: object) -> str:
    if not isinstance(value, str):
        raise RefusalError(f"must be text, not {kind_of(value)}", "put it in quotes")
    _check_length(param, value, "characters")
    if param.pattern is not None:
        try:
            _pattern(param.pattern).validate_python(value)
        except ValidationError:
            raise RefusalError(f"does not match the pattern {param.pattern}: {shown(value)}") from None
    return value


def _integer(param: ParamDefinition, value: object) -> int:
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise RefusalError(f"must be a whole number, not {shown(value)}")
    if abs(value) > MAX_INTEGER:
        raise RefusalError(f"must be a number of at most 64 bits, not {shown(value)}")
    _check_bounds_of_value(param, value, str)
    return value


def _number(param: ParamDefinition, value: object) -> float:
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = int(value) if _INTEGER.fullmatch(value.strip()) else float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e300:
        raise RefusalError(f"must be a number, not {shown(value)}")
    _check_bounds_of_value(param, value, str)
    return value


def _boolean(_param: ParamDefinition, value: object) -> bool:
    if isinstance(value, str):
        value = _BOOLEANS.get(value.strip().lower(), value)
    if not isinstance(value, bool):
        raise RefusalError(f"must be true or false, not {shown(value)}")
    return value


def _choice(param: ParamDefinition, value: object) -> Any:
    choices = param.choices or ()
    for choice in choices:
        if value == choice and isinstance(value, bool) == isinstance(choice, bool):
            return choice
    for choice in choices:
        if isinstance(value, str) and value == text_of(choice):
            return choice
    listed = ", ".join(text_of(choice) for choice in choices)
    raise RefusalError(
        f"must be one of {listed}, not {shown(value)}",
        proposal(value, [text_of(choice) for choice in choices], noun="choices"),
    )


def _path(_param: ParamDefinition, value: object) -> str:
    if not isinstance(value, str):
        raise RefusalError(f"must be a path, not {kind_of(value)}")
    if not value.startswith("/"):
        raise RefusalError(f"must be an absolute path, not {shown(value)}", "write it from / on; ~ is not expanded")
    if len(value.encode(errors="replace")) > MAX_PATH_BYTES:
        raise RefusalError(f"is longer than a path can be ({MAX_PATH_BYTES} bytes)")
    return value


def _duration(param: ParamDefinition, value: object) -> float:
    seconds = parse_duration(value)
    _check_bounds_of_value(param, seconds, format_duration)
    return seconds


def _list(param: ParamDefinition, value: object) -> list[Any]:
    value = _from_json(value)
    if not isinstance(value, list):
        raise RefusalError(f"must be a list, not {kind_of(value)}", 'as text, write JSON: ["one", "two"]')
    _check_length(param, value, "items")
    _check_plain(value)
    return value


def _map(param: ParamDefinition, value: object) -> dict[str, Any]:
    value = _from_json(value)
    if not isinstance(value, dict):
        raise RefusalError(f"must be a map, not {kind_of(value)}", 'as text, write JSON: {"key": "value"}')
    _check_length(param, value, "items")
    _check_plain(value)
    return value


_CONVERTERS: Final[Mapping[str, Callable[[ParamDefinition, object], Any]]] = {
    "string": _string,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "choice": _choice,
    "path": _path,
    "duration": _duration,
    "list": _list,
    "map": _map,
}


def _from_json(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _check_plain(value: object) -> None:
    """Refuse what JSON cannot carry, at any depth."""
    level: list[object] = [value]
    for _ in range(MAX_DEPTH):
        level = [item for holder in level for item in _items(holder)]
        if not level:
            return
    raise RefusalError(f"is nested deeper than {MAX_DEPTH} levels")


def _items(value: object) -> Iterator[object]:
    if isinstance(value, list):
        yield from value
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise RefusalError(f"has the key {shown(key)}, which is no text")
            yield key
            yield item
    elif isinstance(value, str):
        check_travels(value)
    elif isinstance(value, float) and not math.isfinite(value):
        raise RefusalError(f"holds {value}, which is no number")
    elif value is not None and not isinstance(value, bool | int | float):
        raise RefusalError(f"holds {shown(value)}, which is no plain value")


def _check_bounds_of_value(param: ParamDefinition, value: float, write: Callable[[Any], str]) -> None:
    if param.minimum is not None and value < param.minimum:
        raise RefusalError(f"must be at least {write(param.minimum)}, not {write(value)}")
    if param.maximum is not None and value > param.maximum:
        raise RefusalError(f"must be at most {write(param.maximum)}, not {write(value)}")


def _check_length(param: ParamDefinition, value: str | list[Any] | dict[str, Any], unit: str) -> None:
    if param.min_length is not None and len(value) < param.min_length:
        raise RefusalError(f"must have at least {param.min_length} {unit}, not {len(value)}")
    if param.max_length is not None and len(value) > param.max_length:
        raise RefusalError(f"must have at most {param.max_length} {unit}, not {len(value)}")
