"""How schedules, their fires and their holds are shown."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from typing_extensions import TypedDict

from barbossad.clock import rfc3339
from barbossad.model.holds import Hold
from barbossad.model.schedules import Fire, ScheduleDefinition, ScheduleKind, ScheduleRecord
from barbossad.operations.services import Services
from barbossad.recurrence import holidays
from barbossad.units import format_duration


class HeldBy(TypedDict):
    """What holds a schedule."""

    label: str
    reason: str
    until_at: str | None


class HoldView(HeldBy):
    """A hold: by whom and since when."""

    by: str
    held_at: str | None


class FireView(TypedDict):
    """One fire, or a stretch of ``count`` fires up to ``until_at`` that were let pass for one reason."""

    schedule: str
    nominal_at: str | None
    due_at: str | None
    decided_at: str | None
    state: str
    reason: str | None
    run: str | None
    tries: int
    retry_at: str | None
    count: int
    until_at: str | None
    late_seconds: float


class ScheduleView(TypedDict):
    """A schedule or trigger, where it stands and what came of it last.

    ``when`` says in short what makes it fire, ``trouble`` why it cannot though it is enabled.
    """

    id: str
    workflow: str
    name: str
    kind: str
    when: str
    timezone: str | None
    description: str
    enabled: bool
    disabled_reason: str | None
    source: str
    labels: dict[str, str]
    held: HeldBy | None
    trouble: str
    next_at: str | None
    next_for_at: str | None
    next_skip: str | None
    last: FireView | None
    active: int
    failures: int
    overlap: str
    catch_up: str
    jitter_seconds: float
    params: dict[str, Any]
    added_at: str | None
    added_by: str


def schedule_view(services: Services, record: ScheduleRecord, last: Fire | None) -> ScheduleView:
    """Return a schedule as it stands."""
    board, definition = services.scheduler.board, record.definition
    coming = board.coming(record)
    hold = board.held_by(record)
    return {
        "id": record.id,
        "workflow": record.workflow,
        "name": definition.name,
        "kind": definition.kind.value,
        "when": when(definition),
        "timezone": definition.timing.timezone if definition.timing else None,
        "description": definition.description,
        "enabled": record.is_enabled,
        "disabled_reason": record.disabled_reason,
        "source": record.source.value,
        "labels": dict(record.labels),
        "held": held_by(hold) if hold else None,
        "trouble": _trouble(services, record),
        "next_at": rfc3339(coming.due_ms) if coming else None,
        "next_for_at": rfc3339(coming.nominal_ms) if coming else None,
        "next_skip": coming.skip if coming else None,
        "last": fire_view(last) if last else None,
        "active": len(board.active(record)),
        "failures": record.failures,
        "overlap": definition.overlap.value,
        "catch_up": definition.catch_up.value,
        "jitter_seconds": definition.jitter_seconds,
        "params": dict(definition.params),
        "added_at": rfc3339(record.added_at_ms),
        "added_by": record.added_by,
    }


def _trouble(services: Services, record: ScheduleRecord) -> str:
    timing = record.definition.timing
    return (
        workflow_trouble(services, record)
        or services.scheduler.board.state_of(record)
        or (holidays.trouble(timing.holidays, _this_year(services)) if timing and timing.holidays else "")
    )


def _this_year(services: Services) -> int:
    return datetime.fromtimestamp(services.clock.now_ms() / 1000, UTC).year


def workflow_trouble(services: Services, record: ScheduleRecord) -> str:
    """Return why no run of a schedule's workflow is started; empty if they are."""
    if services.workflows.record(record.workflow).is_enabled:
        return ""
    return f"workflow {record.workflow} is disabled; barbossactl workflow enable {record.workflow}"


def when(schedule: ScheduleDefinition) -> str:
    """Return in short what makes a schedule fire."""
    timing = schedule.timing
    if timing is not None and timing.cron is not None:
        return timing.cron
    if timing is not None and timing.every_ms is not None:
        return f"every {format_duration(timing.every_ms / 1000)}"
    if timing is not None and timing.at_ms:
        more = f" and {len(timing.at_ms) - 1} more" if len(timing.at_ms) > 1 else ""
        return f"at {rfc3339(timing.at_ms[0])}{more}"
    if schedule.kind is ScheduleKind.BOOT:
        return f"{format_duration(schedule.delay_seconds)} after boot" if schedule.delay_seconds else "at boot"
    return _event(schedule)


def _event(schedule: ScheduleDefinition) -> str:
    if schedule.file is not None:
        return f"file {schedule.file.path} {'|'.join(change.value for change in schedule.file.changes)}"
    if schedule.workflow is not None:
        return f"workflow {schedule.workflow.name} {'|'.join(state.value for state in schedule.workflow.states)}"
    assert schedule.unit is not None
    return f"unit {schedule.unit.name} {'|'.join(schedule.unit.states)}"


def fire_view(fire: Fire) -> FireView:
    """Return a fire."""
    return {
        "schedule": fire.schedule,
        "nominal_at": rfc3339(fire.nominal_ms),
        "due_at": rfc3339(fire.due_ms),
        "decided_at": rfc3339(fire.decided_at_ms),
        "state": fire.state.value,
        "reason": fire.reason,
        "run": fire.run_id,
        "tries": fire.tries,
        "retry_at": rfc3339(fire.retry_at_ms),
        "count": fire.count,
        "until_at": rfc3339(fire.until_ms),
        "late_seconds": max(fire.lateness_ms, 0) / 1000,
    }


def held_by(hold: Hold) -> HeldBy:
    """Return what holds a schedule."""
    return {"label": hold.label, "reason": hold.reason, "until_at": rfc3339(hold.until_ms)}


def hold_view(hold: Hold) -> HoldView:
    """Return a hold."""
    return {**held_by(hold), "by": hold.by, "held_at": rfc3339(hold.at_ms)}
