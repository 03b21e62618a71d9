"""The values that keys of ``schedules`` and ``triggers`` take, each checked by itself."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StringConstraints,
    WithJsonSchema,
)
from pydantic_core import core_schema

from barbossad.model.names import WORKFLOW_NAME
from barbossad.recurrence import cron, windows, zones
from barbossad.units import Duration, PositiveDuration, format_duration
from barbossad.validation import LITERAL_HINT, RefusalError, kind_of, nearest, shown
from barbossad.workflows.expressions import MARK
from barbossad.workflows.flow_keys import MOST_NAMES, TEXTS, distinct, one_or_many

REBOOT: Final = "@reboot"
"""The one expression of cron that is no time but an event: ``boot``."""

LEAST_INTERVAL_SECONDS: Final = 1.0
LONGEST_JITTER_SECONDS: Final = 86_400.0
MOST_INSTANTS: Final = 10_000
MAX_TEXT_CHARACTERS: Final = 65_536
MAX_UNIT_CHARACTERS: Final = 255
"""Of the name of a unit: UNIT_NAME_MAX of systemd."""

_UNIT: Final = re.compile(r"(?P<name>[A-Za-z0-9:_.\\@-]+)\.(?P<type>[a-z]+)")
_UNIT_TYPES: Final = frozenset(
    {
        *("service", "socket", "device", "mount", "automount", "swap"),
        *("target", "path", "timer", "slice", "scope"),
    }
)
_GLOB: Final = re.compile(r"[*?\[]")


def _name(name: str) -> str:
    if not WORKFLOW_NAME.fullmatch(name):
        usable = re.sub(r"[^a-z0-9_]+", "-", name.lower()).strip("-_")[:63] or "nightly"
        raise RefusalError(
            f"is not usable: {shown(name)}", f"use up to 63 small letters, digits, - and _, such as {usable}"
        )
    return name


def _literal(text: str) -> str:
    if MARK in text:
        raise RefusalError(f"cannot hold an expression: {shown(text)}", LITERAL_HINT)
    return text


def _cron(text: str) -> str:
    if _literal(text).strip().lower() != REBOOT:
        cron.parse(text)
    return text


def _every(seconds: float) -> float:
    if seconds < LEAST_INTERVAL_SECONDS:
        raise RefusalError(f"must be at least 1s, not {format_duration(seconds)}", "a task with repeat goes on and on")
    if round(seconds * 1000) != seconds * 1000:
        raise RefusalError(f"must be whole milliseconds, not {seconds}s")
    return seconds


def _jitter(seconds: float) -> float:
    if seconds > LONGEST_JITTER_SECONDS:
        raise RefusalError(f"must be at most 1d, not {format_duration(seconds)}")
    return seconds


def _zone(name: str) -> str:
    zones.zone(_literal(name))
    return name


def _window(text: str) -> str:
    windows.parse_window(_literal(text))
    return text


def _moments(value: Any) -> Any:
    value = one_or_many(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise RefusalError(f"must be an instant, not {kind_of(value)}", "write it as 2026-12-24 18:00")
    return value


class OrTrue:
    """Marks a model that may be written as ``true``, which stands for an empty map."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_before_validator_function(self._filled, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"anyOf": [{"type": "boolean", "const": True}, handler(schema)]}

    def _filled(self, value: Any) -> Any:
        if value is True:
            return {}
        if value is False:
            raise RefusalError("cannot be false", "write true, and enabled: false beside it to switch it off")
        if not isinstance(value, dict | BaseModel):
            raise RefusalError(f"must be true or a map, not {kind_of(value)}", "write true, or {delay: 2m}")
        return value


def not_false(value: Any) -> Any:
    """Refuse what YAML makes of the country Norway. Raise RefusalError."""
    if value is False:
        raise RefusalError("is false, as YAML takes NO, ON and OFF for words", 'put the country in quotes: "NO"')
    return value


def _path(path: str) -> str:
    if not _literal(path).startswith("/"):
        raise RefusalError(f"is not an absolute path: {shown(path)}", "write it from / on; ~ is not expanded")
    if "\0" in path:
        raise RefusalError("holds a NUL character, which no path can")
    return path


def _watched(path: str) -> str:
    if _GLOB.search(path):
        folder, _, pattern = path.rpartition("/")
        hint = f"write {{path: {folder or '/'}, pattern: {pattern!r}}}"
        if _GLOB.search(folder):
            hint = "name the folder above, and write recursive: true"
        raise RefusalError(f"is a path and no pattern: {shown(path)}", hint)
    return path


def _pattern(pattern: str) -> str:
    if not pattern:
        raise RefusalError("must not be empty", 'write "*" for all files')
    if "/" in _literal(pattern):
        name = pattern.rpartition("/")[2] or "*"
        hint = f"write the folder in path, recursive: true for those below it, and pattern: {name!r}"
        raise RefusalError(f"is of the name alone, which holds no /: {shown(pattern)}", hint)
    return pattern


def _other_workflow(name: str) -> str:
    if not WORKFLOW_NAME.fullmatch(name):
        hint = LITERAL_HINT if MARK in name else "a name has up to 63 small letters, digits, - and _"
        raise RefusalError(f"is no name of a workflow: {shown(name)}", hint)
    return name


def _unit(name: str) -> str:
    found = _UNIT.fullmatch(_literal(name))
    if found is None or found["type"] not in _UNIT_TYPES or len(name) > MAX_UNIT_CHARACTERS:
        hint = "write it with its type, such as nginx.service"
        near = nearest(found["type"], _UNIT_TYPES) if found else None
        if found and near:
            hint = f"did you mean {found['name'] + '.' + near!r}?"
        elif re.fullmatch(r"[A-Za-z0-9:_.@-]{1,247}", name):
            hint = f"write {name}.service"
        raise RefusalError(f"is no name of a unit: {shown(name)}", hint)
    return name


def _words(kind: Any) -> WithJsonSchema:
    word = {"enum": list(get_args(kind))}
    return WithJsonSchema({"anyOf": [word, {"type": "array", "items": word}]})


Prose = Annotated[str, StringConstraints(max_length=MAX_TEXT_CHARACTERS)]
EntryName = Annotated[
    str, AfterValidator(_name), WithJsonSchema({"type": "string", "pattern": f"^{WORKFLOW_NAME.pattern}$"})
]
Cron = Annotated[str, AfterValidator(_cron)]
Interval = Annotated[PositiveDuration, AfterValidator(_every)]
Jitter = Annotated[Duration, AfterValidator(_jitter)]
Zone = Annotated[str, AfterValidator(_zone)]
Windows = Annotated[
    list[Annotated[str, AfterValidator(_window)]],
    Field(min_length=1, max_length=MOST_NAMES),
    BeforeValidator(one_or_many),
    WithJsonSchema(TEXTS),
]
Moments = Annotated[
    list[str],
    Field(min_length=1, max_length=MOST_INSTANTS),
    BeforeValidator(_moments),
    WithJsonSchema(TEXTS),
]
"""Instants as text; what they mean hangs on the time zone, so they are read when that is known."""

AbsolutePath = Annotated[str, AfterValidator(_path)]
WatchedPath = Annotated[AbsolutePath, AfterValidator(_watched)]
FilePattern = Annotated[str, AfterValidator(_pattern)]
OtherWorkflow = Annotated[str, AfterValidator(_other_workflow)]
UnitName = Annotated[str, AfterValidator(_unit)]

Change = Literal["created", "changed", "deleted"]
EndState = Literal["succeeded", "failed", "timed_out", "cancelled", "interrupted"]
UnitState = Literal["active", "inactive", "failed", "activating", "deactivating", "reloading"]

Changes = Annotated[
    list[Change], Field(min_length=1), AfterValidator(distinct), BeforeValidator(one_or_many), _words(Change)
]
EndStates = Annotated[
    list[EndState], Field(min_length=1), AfterValidator(distinct), BeforeValidator(one_or_many), _words(EndState)
]
UnitStates = Annotated[
    list[UnitState], Field(min_length=1), AfterValidator(distinct), BeforeValidator(one_or_many), _words(UnitState)
]
