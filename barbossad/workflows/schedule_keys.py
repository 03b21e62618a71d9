"""The keys of ``schedules`` and ``triggers``: what starts runs of a workflow by itself, as its author writes it."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from barbossad.model.schedules import Holidays
from barbossad.recurrence import holidays
from barbossad.units import Duration, PositiveDuration
from barbossad.validation import RefusalError
from barbossad.workflows.flow_keys import MAX_ATTEMPTS
from barbossad.workflows.part import Bare, Source
from barbossad.workflows.schedule_values import (
    MOST_INSTANTS,
    AbsolutePath,
    Changes,
    Cron,
    EndStates,
    EntryName,
    FilePattern,
    Interval,
    Jitter,
    Moments,
    OrTrue,
    OtherWorkflow,
    Prose,
    UnitName,
    UnitStates,
    WatchedPath,
    Windows,
    Zone,
    not_false,
)

TIME_KEYS: Final = ("cron", "every", "at", "boot")
"""Each entry of ``schedules`` has exactly one of them."""

EVENT_KEYS: Final = ("file", "workflow", "unit")
"""Each entry of ``triggers`` has exactly one of them."""

MOST_WAITING: Final = 1000
MOST_FAILURES: Final = 1000


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
    file: AbsolutePath | None = Field(
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
        if country is not None:  # a file may come later, and is read when it is wanted
            holidays.check(Holidays(country=country, subdivision=subdivision))
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

    path: WatchedPath = Field(description="A folder or a file, an absolute path")
    pattern: FilePattern = Field("*", description="In a folder: what the names of files look like, such as *.csv")
    changes: Changes | None = Field(None, description="What has to happen to a file; by default created or changed")
    recursive: bool = Field(False, description="Also in the folders below it")
    debounce: Duration | None = Field(
        None, description="How long nothing more may have happened to the file; by default a second"
    )


class EndSource(Source):
    """The end of a run of another workflow."""

    name: OtherWorkflow = Field(description="Which workflow")
    states: EndStates | None = Field(None, description="How its run ended; by default succeeded")


class UnitSource(Source):
    """A change of a unit of systemd."""

    name: UnitName = Field(description="Which unit, such as nginx.service")
    states: UnitStates | None = Field(
        None, description="The states (ActiveState) of which one has to begin; by default failed"
    )


class _Named(Source):
    name: EntryName | None = Field(
        None, description="Its name, unique in the workflow; by default kind and number, as cron-1"
    )
    description: Prose = Field("", description="What it is for")


class _ByTime(Source):
    cron: Cron | None = Field(
        None,
        description="Five fields: minute, hour, day of the month, month, day of the week; with six, seconds come first;"
        " or @hourly, @daily, @weekly, @monthly, @yearly; @reboot is boot: true",
    )
    every: Interval | None = Field(None, description="An interval, such as 15m; it follows real time")
    at: Moments | None = Field(None, description="One instant or a list of them, such as 2026-12-24 18:00")
    boot: Annotated[BootSource, OrTrue()] | None = Field(
        None, description="Once after each boot of the host: true, or {delay: 2m}"
    )
    timezone: Zone | None = Field(
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
        Annotated[HolidaysSource, Bare("country", "a country, such as GB or GB-SCT,"), BeforeValidator(not_false)]
        | None
    ) = Field(None, description="Whose holidays count")
    on_holiday: Literal["skip", "before", "after"] | None = Field(
        None,
        description="What becomes of a fire on a holiday: none (the default), or the last or next day that is none",
    )
    jitter: Jitter | None = Field(
        None, description="Up to how much later it fires, the same each time, so that not all begin at once"
    )
    catch_up: Literal["none", "last", "all"] | None = Field(
        None, description="Which fires that nobody was there for are run later; by default the last"
    )
    catch_up_window: PositiveDuration | None = Field(None, description="How far back; by default a day")
    catch_up_limit: Annotated[int, Field(ge=1, le=MOST_INSTANTS)] | None = Field(
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
        description="What becomes of a fire while its last run goes on: none (skip, the default of schedules), it waits"
        " (queue, the default of triggers), it ends that (replace), or both go on (allow)",
    )
    queue_depth: Annotated[int, Field(ge=1, le=MOST_WAITING)] | None = Field(
        None, description="With overlap: queue, how many fires may wait; by default 1, of a trigger 1000"
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
