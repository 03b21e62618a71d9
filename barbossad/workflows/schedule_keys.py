"""The keys of ``schedules`` and ``triggers``: what starts runs of a workflow by itself, as its author writes it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import core_schema

from barbossad.model.names import WORKFLOW_NAME
from barbossad.recurrence import cron, holidays, windows, zones
from barbossad.units import Duration, PositiveDuration, format_duration
from barbossad.validation import LITERAL_HINT, RefusalError, kind_of, nearest, shown
from barbossad.workflows.expressions import MARK
from barbossad.workflows.flow_keys import MAX_ATTEMPTS, MOST_NAMES, TEXTS, distinct, one_or_many
from barbossad.workflows.part import Bare, Source

REBOOT: Final = "@reboot"
"""The one expression of cron that is no time but an event: ``boot``."""

LEAST_INTERVAL_SECONDS: Final = 1.0
LONGEST_JITTER_SECONDS: Final = 86_400.0
MOST_WAITING: Final = 1000
MOST_CAUGHT_UP: Final = 10_000
MOST_FAILURES: Final = 1000
MAX_TEXT_CHARACTERS: Final = 65_536
MAX_UNIT_CHARACTERS: Final = 255
"""Of the name of a unit: UNIT_NAME_MAX of systemd."""

TIME_KEYS: Final = ("cron", "every", "at", "boot")
"""Each entry of ``schedules`` has exactly one of them."""

EVENT_KEYS: Final = ("file", "workflow", "unit")
"""Each entry of ``triggers`` has exactly one of them."""

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


class _OrTrue:
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


def _holidays(value: Any) -> Any:
    if value is False:
        raise RefusalError("is false, as YAML takes NO, ON and OFF for words", 'put the country in quotes: "NO"')
    return value


def _absolute(what: str) -> Callable[[str], str]:
    def check(path: str) -> str:
        if not _literal(path).startswith("/"):
            raise RefusalError(f"is not an absolute path: {shown(path)}", "write it from / on; ~ is not expanded")
        if "\0" in path:
            raise RefusalError("holds a NUL character, which no path can")
        found = _GLOB.search(path) if what == "watched" else None
        if found:
            folder, _, pattern = path.rpartition("/")
            hint = f"write {{path: {folder or '/'}, pattern: {pattern!r}}}" if not _GLOB.search(folder) else ""
            raise RefusalError(f"is a path and no pattern: {shown(path)}", hint or "name the folder; recursive: true")
        return path

    return check


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

Windows = Annotated[
    list[Annotated[str, AfterValidator(_window)]],
    Field(min_length=1, max_length=MOST_NAMES),
    BeforeValidator(one_or_many),
    WithJsonSchema(TEXTS),
]
Moments = Annotated[
    list[str],
    Field(min_length=1, max_length=MOST_CAUGHT_UP),
    BeforeValidator(_moments),
    WithJsonSchema(TEXTS),
]
"""Instants as text; what they mean hangs on the time zone, so they are read when that is known."""

Change = Literal["created", "changed", "deleted"]
EndState = Literal["succeeded", "failed", "timed_out", "cancelled", "interrupted"]
UnitState = Literal["active", "inactive", "failed", "activating", "deactivating", "reloading"]


class BootSource(Source):
    """After a boot."""

    delay: Duration | None = Field(None, description="How long after it; by default as soon as the daemon runs")


class BetweenSource(Source):
    """From when and until when there are fires."""

    start: str | None = Field(None, description="The first instant that counts, such as 2026-01-01")
    end: str | None = Field(
        None, description="The first instant that counts no longer; a date without a time counts to its end"
    )

    @model_validator(mode="after")
    def _is_something(self) -> BetweenSource:
        if not self.model_fields_set:
            raise RefusalError("has neither 'start' nor 'end'", "write one of them, such as {start: 2026-01-01}")
        return self


class HolidaysSource(Source):
    """Which days are holidays."""

    country: str | None = Field(
        None, description="Two letters of ISO 3166, and a part of the country after a dash, such as GB or GB-SCT"
    )
    subdivision: str | None = Field(None, description="A part of the country, such as SCT; it has holidays of its own")
    file: Annotated[str, AfterValidator(_absolute("holidays"))] | None = Field(
        None, description="An iCalendar file (.ics), an absolute path; each day that an event in it touches is one"
    )

    @model_validator(mode="after")
    def _is_known(self) -> HolidaysSource:
        if self.country is None and self.file is None:
            has = "has neither 'country' nor 'file'"
            raise RefusalError(has, "write one of them, such as {country: GB}")
        country, subdivision = self.parts()
        if country is None and subdivision is not None:
            raise RefusalError(
                "has a 'subdivision' without its 'country'", f"add country: GB, if {subdivision} is in it"
            )
        if self.subdivision is not None and subdivision != self.subdivision:
            raise RefusalError("names two parts of the country", "write one of them")
        if country is not None:
            holidays.check(country, subdivision)
        return self

    def parts(self) -> tuple[str | None, str | None]:
        """Return the country and its part, which may be written in one word."""
        country, _, part = (self.country or "").partition("-")
        return country or None, part or self.subdivision


class ExpectSource(Source):
    """What is told of if it does not hold."""

    start_within: PositiveDuration | None = Field(
        None, description="How long after its time a run has to have begun; else it is told as late or never started"
    )
    max_duration: PositiveDuration | None = Field(
        None, description="How long a run may take; it goes on, and is told of"
    )
    min_duration: PositiveDuration | None = Field(
        None, description="How long a run that succeeds has to take; one that is done sooner is suspicious"
    )


class ScheduleRetrySource(Source):
    """Whether a run that failed is followed by another one."""

    attempts: Annotated[int, Field(ge=1, le=MAX_ATTEMPTS)] = Field(
        description="How many runs there are at most, the first included"
    )
    delay: Duration | None = Field(
        None, description="How long after the end of a run the next one begins; by default a minute"
    )
    backoff: Literal["constant", "linear", "exponential"] | None = Field(
        None, description="How the delay grows: not at all (the default), by itself each time, or twofold each time"
    )
    max_delay: PositiveDuration | None = Field(None, description="The longest delay")


class FileSource(Source):
    """A file, or files in a folder."""

    path: Annotated[str, AfterValidator(_absolute("watched"))] = Field(
        description="A folder or a file, an absolute path"
    )
    pattern: Annotated[str, AfterValidator(_pattern)] = Field(
        "*", description="In a folder: what the names of files look like, such as *.csv"
    )
    changes: (
        Annotated[
            list[Change], Field(min_length=1), AfterValidator(distinct), BeforeValidator(one_or_many), _words(Change)
        ]
        | None
    ) = Field(None, description="What has to happen to a file; by default created or changed")
    recursive: bool = Field(False, description="Also in the folders below it")
    debounce: Duration | None = Field(
        None, description="How long nothing more may have happened to the file; by default a second"
    )


class EndSource(Source):
    """The end of a run of another workflow."""

    name: Annotated[str, AfterValidator(_other_workflow)] = Field(description="Which workflow")
    states: (
        Annotated[
            list[EndState],
            Field(min_length=1),
            AfterValidator(distinct),
            BeforeValidator(one_or_many),
            _words(EndState),
        ]
        | None
    ) = Field(None, description="How its run ended; by default succeeded")


class UnitSource(Source):
    """A change of a unit of systemd."""

    name: Annotated[str, AfterValidator(_unit)] = Field(description="Which unit, such as nginx.service")
    states: (
        Annotated[
            list[UnitState],
            Field(min_length=1),
            AfterValidator(distinct),
            BeforeValidator(one_or_many),
            _words(UnitState),
        ]
        | None
    ) = Field(None, description="The states (ActiveState) of which one has to begin; by default failed")


class _Named(Source):
    name: (
        Annotated[
            str, AfterValidator(_name), WithJsonSchema({"type": "string", "pattern": f"^{WORKFLOW_NAME.pattern}$"})
        ]
        | None
    ) = Field(None, description="Its name, unique in the workflow; by default kind and number, as cron-1")
    description: Prose = Field("", description="What it is for")


class _ByTime(Source):
    cron: Annotated[str, AfterValidator(_cron)] | None = Field(
        None,
        description="Five fields: minute, hour, day of the month, month, day of the week; with six, seconds come first;"
        " or @hourly, @daily, @weekly, @monthly, @yearly; @reboot is boot: true",
    )
    every: Annotated[float, AfterValidator(_every), *PositiveDuration.__metadata__] | None = Field(
        None, description="An interval, such as 15m; it follows real time"
    )
    at: Moments | None = Field(None, description="One instant or a list of them, such as 2026-12-24 18:00")
    boot: Annotated[BootSource, _OrTrue()] | None = Field(
        None, description="Once after each boot of the host: true, or {delay: 2m}"
    )
    timezone: Annotated[str, AfterValidator(_zone)] | None = Field(
        None,
        description="Whose time of day it is, such as Europe/London; cron needs it, and all that holds local times",
    )
    anchor: str | None = Field(
        None,
        description="For every: one instant of the row; by default midnight of 1970-01-01, in timezone or else UTC",
    )
    dst: Literal["once", "skip", "last", "both"] | None = Field(
        None,
        description="For cron: what becomes of a time of day that a change of the clocks skips or repeats; by default"
        " once: right after the gap, and the first time of two",
    )
    between: BetweenSource | None = Field(None, description="From when, and until when")
    within: Windows | None = Field(None, description="Only in these windows, such as Mon-Fri 08:00-18:00")
    blackout: Windows | None = Field(
        None, description="Not in these windows, such as Sat-Sun or 2026-12-24/2027-01-02; what they stop is recorded"
    )
    holidays: (
        Annotated[HolidaysSource, Bare("country", "a country, such as GB or GB-SCT,"), BeforeValidator(_holidays)]
        | None
    ) = Field(None, description="Whose holidays count")
    on_holiday: Literal["skip", "before", "after"] | None = Field(
        None,
        description="What becomes of a fire on a holiday: none (the default), or the last or next day that is none",
    )
    jitter: Annotated[float, AfterValidator(_jitter), *Duration.__metadata__] | None = Field(
        None, description="Up to how much later it fires, the same each time, so that not all begin at once"
    )
    catch_up: Literal["none", "last", "all"] | None = Field(
        None, description="Which fires that nobody was there for are run later; by default the last"
    )
    catch_up_window: PositiveDuration | None = Field(None, description="How far back; by default a day")
    catch_up_limit: Annotated[int, Field(ge=1, le=MOST_CAUGHT_UP)] | None = Field(
        None, description="With catch_up: all, how many at most, the newest; by default 100"
    )


class _ByEvent(Source):
    file: Annotated[FileSource, Bare("path", "a path")] | None = Field(
        None, description="A file was created, changed or deleted; trigger.path and trigger.change tell of it"
    )
    workflow: Annotated[EndSource, Bare("name", "the name of a workflow")] | None = Field(
        None,
        description="A run of another workflow ended; trigger.run, trigger.workflow, trigger.state and trigger.outputs",
    )
    unit: Annotated[UnitSource, Bare("name", "the name of a unit")] | None = Field(
        None, description="A unit of systemd changed its state; trigger.unit, trigger.state and trigger.before"
    )


class _Both(Source):
    params: dict[str, Any] = Field({}, description="Values of the workflow's params; in a trigger {{ trigger.… }} too")
    enabled: bool = Field(True, description="Whether it fires at all")
    overlap: Literal["skip", "queue", "replace", "allow"] | None = Field(
        None,
        description="What becomes of a fire while its last run goes on: none (skip, the default), it waits (queue), it"
        " ends that (replace), or both go on (allow)",
    )
    queue_depth: Annotated[int, Field(ge=1, le=MOST_WAITING)] | None = Field(
        None, description="With overlap: queue, how many fires may wait; 1 by default"
    )
    expect: ExpectSource | None = Field(None, description="What is told of if it does not hold: a dead-man's switch")
    disable_after: Annotated[int, Field(ge=1, le=MOST_FAILURES)] | None = Field(
        None, description="After how many failures in a row it is disabled"
    )
    retry: Annotated[ScheduleRetrySource, Bare("attempts", "the number of attempts", int)] | None = Field(
        None, description="Whether a run that failed is followed by another one, as a number or with delays between"
    )


class ScheduleEntry(_Both, _ByTime, _Named):
    """Runs by time. Exactly one of cron, every, at, boot."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": [key]} for key in TIME_KEYS]})


class TriggerEntry(_Both, _ByEvent, _Named):
    """Runs by events. Exactly one of file, workflow, unit."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": [key]} for key in EVENT_KEYS]})
