"""Make schedules and fires: what tests of the store's part of the scheduler run on."""

from __future__ import annotations

from typing import Any

from barbossad.model.names import WorkflowName
from barbossad.model.records import RunRecord
from barbossad.model.schedules import (
    Fire,
    FireOutcome,
    FireState,
    ScheduleDefinition,
    ScheduleKind,
    ScheduleRecord,
    ScheduleSource,
    Timing,
    schedule_id,
)
from barbossad.model.states import TriggerType
from barbossad.store.database import Database
from barbossad.store.events import EventStore
from barbossad.store.fire_changes import FireStarted
from barbossad.store.fires import FireStore
from barbossad.store.holds import HoldStore
from barbossad.store.schedules import ScheduleStore
from tests.helpers.records import NOON_MS, run

HOURLY = "backup/hourly"


def hourly(name: str = "hourly", **more: Any) -> ScheduleDefinition:
    """Return an hourly schedule."""
    facts: dict[str, Any] = {"kind": ScheduleKind.EVERY, "timing": Timing(every_ms=3_600_000)}
    return ScheduleDefinition(name=name, **{**facts, **more})


def schedule(workflow: str = "backup", definition: ScheduleDefinition | None = None, **more: Any) -> ScheduleRecord:
    """Return an hourly schedule that was added at noon."""
    definition = definition or hourly()
    facts: dict[str, Any] = {
        "id": schedule_id(workflow, definition.name),
        "workflow": WorkflowName(workflow),
        "definition": definition,
        "source": ScheduleSource.ADDED,
        "watermark": NOON_MS,
        "added_at_ms": NOON_MS,
        "added_by": "anne",
    }
    return ScheduleRecord(**{**facts, **more})


def fire(number: int = 0, state: FireState = FireState.SKIPPED, schedule: str = HOURLY, **more: Any) -> Fire:
    """Return the fire of so many milliseconds after noon."""
    at_ms = NOON_MS + number
    facts: dict[str, Any] = {"key": str(at_ms), "nominal_ms": at_ms, "due_ms": at_ms, "decided_at_ms": at_ms}
    return Fire(schedule=schedule, state=state, **{**facts, **more})


def scheduled(number: int = 0, schedule: str = HOURLY, nominal: int | None = None, **more: Any) -> RunRecord:
    """Return a queued run that a schedule asked for."""
    nominal_ms = NOON_MS + (number if nominal is None else nominal)
    trigger = TriggerType.SCHEDULE
    return run(
        number, schedule.partition("/")[0], schedule=schedule, scheduled_for_ms=nominal_ms, trigger=trigger, **more
    )


def started(record: RunRecord, before: Fire | None = None, *, watermark: int | None = None) -> FireStarted:
    """Return the change that makes a run that of its fire: a new one, or one that waited ``before``."""
    assert record.schedule is not None
    assert record.scheduled_for_ms is not None
    found = fire(
        record.scheduled_for_ms - NOON_MS,
        FireState.STARTED,
        record.schedule,
        run_id=record.id,
        tries=1 if before is None else before.tries + 1,
    )
    return FireStarted(run=record, fire=found, watermark=watermark, is_new=before is None)


def failed(failures: int, disable_reason: str | None = None) -> FireOutcome:
    """Return what a failure without a run means for its schedule."""
    return FireOutcome(state=FireState.REFUSED, failures=failures, disable_reason=disable_reason)


class Stores:
    """The stores that schedules are kept in, of one state file."""

    def __init__(self, database: Database) -> None:
        self.schedules = ScheduleStore(database)
        self.fires = FireStore(database)
        self.holds = HoldStore(database)
        self.events = EventStore(database)
