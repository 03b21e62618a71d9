"""Bring the value of a param to its declared type and hold it against its bounds."""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from pydantic_core import SchemaError, SchemaValidator, ValidationError, core_schema

from barbossad.model.definition import ParamDefinition
from barbossad.units import format_duration, parse_duration
from barbossad.validation import RefusalError, kind_of, proposal, shown
from barbossad.variables import check_travels, text_of

MAX_INTEGER: Final = 2**63 - 1
MAX_PATH_BYTES: Final = 4095
MAX_DEPTH: Final = 32

_BOOLEANS: Final = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_INTEGER: Final = re.compile(r"[+-]?\d{1,19}", flags=re.ASCII)
_NUMBER: Final = re.compile(r"[+-]?(?:\d{1,300}(?:\.\d{0,300})?|\.\d{1,300})(?:[eE][+-]?\d{1,3})?", flags=re.ASCII)


@functools.lru_cache(maxsize=1024)
def compile_pattern(pattern: str) -> SchemaValidator:
    """Compile a pattern with an engine that is linear in its input: no value can make it run for ever."""
    try:
        return SchemaValidator(core_schema.str_schema(pattern=rf"\A(?:{pattern})\z", regex_engine="rust-regex"))
    except SchemaError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise RefusalError(
            f"is no regular expression that Barbossa can use: {reason}",
            "look-around and back-references are not available",
        ) from None


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
            compile_pattern(param.pattern).validate_python(value)
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
