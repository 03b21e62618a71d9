"""Put together what an entry of ``schedules`` or ``triggers`` says in which nothing is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from barbossad.model.flow import Backoff
from barbossad.model.names import WorkflowName
from barbossad.model.schedules import (
    CATCH_UP_LIMIT,
    CATCH_UP_WINDOW_SECONDS,
    CatchUp,
    Dst,
    Expectation,
    FileChange,
    FileTrigger,
    Holidays,
    OnHoliday,
    Overlap,
    ScheduleDefinition,
    ScheduleKind,
    ScheduleRetry,
    Timing,
    UnitTrigger,
    WorkflowTrigger,
)
from barbossad.model.states import RunState
from barbossad.workflows.schedule_keys import (
    MOST_WAITING,
    EndSource,
    ExpectSource,
    FileSource,
    HolidaysSource,
    ScheduleEntry,
    ScheduleRetrySource,
    TriggerEntry,
    UnitSource,
)

UTC: Final = "UTC"
RETRY_DELAY_SECONDS: Final = 60.0
DEBOUNCE_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Instants:
    """What the texts of an entry that are instants mean, in milliseconds since the epoch."""

    at_ms: tuple[int, ...] = ()
    anchor_ms: int = 0
    start_ms: int | None = None
    end_ms: int | None = None


def schedule_of(source: ScheduleEntry, kind: ScheduleKind, name: str, instants: Instants) -> ScheduleDefinition:
    """Return the definition of an entry of ``schedules``."""
    is_boot = kind is ScheduleKind.BOOT
    return ScheduleDefinition(
        name=name,
        kind=kind,
        timing=None if is_boot else timing_of(source, instants),
        delay_seconds=(source.boot.delay if source.boot else None) or 0.0,
        description=source.description,
        params=source.params,
        is_enabled=source.enabled,
        jitter_seconds=source.jitter or 0.0,
        overlap=Overlap(source.overlap or Overlap.SKIP),
        queue_depth=source.queue_depth or 1,
        catch_up=CatchUp(source.catch_up or CatchUp.LAST),
        catch_up_window_seconds=source.catch_up_window or CATCH_UP_WINDOW_SECONDS,
        catch_up_limit=source.catch_up_limit or CATCH_UP_LIMIT,
        expect=_expectation(source.expect),
        disable_after=source.disable_after,
        retry=_retry(source.retry),
    )


def timing_of(source: ScheduleEntry, instants: Instants) -> Timing:
    """Return what decides the nominal instants of an entry."""
    return Timing(
        cron=source.cron,
        every_ms=round(source.every * 1000) if source.every else None,
        anchor_ms=instants.anchor_ms,
        at_ms=instants.at_ms,
        timezone=source.timezone or UTC,
        dst=Dst(source.dst or Dst.ONCE),
        start_ms=instants.start_ms,
        end_ms=instants.end_ms,
        within=tuple(source.within or ()),
        blackout=tuple(source.blackout or ()),
        holidays=_holidays(source.holidays),
        on_holiday=OnHoliday(source.on_holiday or OnHoliday.SKIP),
    )


def trigger_of(source: TriggerEntry, kind: ScheduleKind, name: str) -> ScheduleDefinition:
    """Return the definition of an entry of ``triggers``."""
    return ScheduleDefinition(
        name=name,
        kind=kind,
        file=_file(source.file),
        workflow=_end(source.workflow),
        unit=_unit(source.unit),
        description=source.description,
        params=source.params,
        is_enabled=source.enabled,
        overlap=Overlap(source.overlap or Overlap.QUEUE),  # each thing that happens is to be dealt with
        queue_depth=source.queue_depth or MOST_WAITING,
        expect=_expectation(source.expect),
        disable_after=source.disable_after,
        retry=_retry(source.retry),
    )


def _holidays(source: HolidaysSource | None) -> Holidays | None:
    if source is None:
        return None
    country, subdivision = source.parts()
    return Holidays(country=country, subdivision=subdivision, file=source.file)


def _expectation(source: ExpectSource | None) -> Expectation:
    if source is None:
        return Expectation()
    return Expectation(
        start_within_seconds=source.start_within,
        max_duration_seconds=source.max_duration,
        min_duration_seconds=source.min_duration,
    )


def _retry(source: ScheduleRetrySource | None) -> ScheduleRetry | None:
    if source is None:
        return None
    return ScheduleRetry(
        attempts=source.attempts,
        delay_seconds=RETRY_DELAY_SECONDS if source.delay is None else source.delay,
        backoff=Backoff(source.backoff or Backoff.CONSTANT),
        max_delay_seconds=source.max_delay,
    )


def _file(source: FileSource | None) -> FileTrigger | None:
    if source is None:
        return None
    return FileTrigger(
        path=source.path,
        pattern=source.pattern,
        changes=tuple(map(FileChange, source.changes or (FileChange.CREATED, FileChange.CHANGED))),
        is_recursive=source.recursive,
        debounce_seconds=DEBOUNCE_SECONDS if source.debounce is None else source.debounce,
    )


def _end(source: EndSource | None) -> WorkflowTrigger | None:
    if source is None:
        return None
    return WorkflowTrigger(
        name=WorkflowName(source.name), states=tuple(map(RunState, source.states or (RunState.SUCCEEDED,)))
    )


def _unit(source: UnitSource | None) -> UnitTrigger | None:
    return None if source is None else UnitTrigger(name=source.name, states=tuple(source.states or ("failed",)))
