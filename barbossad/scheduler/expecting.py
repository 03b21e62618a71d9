"""The dead-man's switch: when to look whether a fire began and ended as expected, and what is told if it did not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from barbossad.model.records import RunRecord
from barbossad.model.schedules import Fire, FireState, ScheduleDefinition
from barbossad.model.states import RUN_ENDED, RunState
from barbossad.scheduler.book import Book, Entry, Why
from barbossad.units import format_duration

LATE: Final = "schedule_late"
TOO_LONG: Final = "schedule_too_long"
TOO_SHORT: Final = "schedule_too_short"
NEVER_STARTED: Final = "schedule_never_started"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarming:
    """What is told."""

    kind: str
    words: str
    facts: dict[str, Any]


def watch(book: Book, entry: Entry, fire: Fire, *, earliest_ms: int = 0) -> None:
    """Look at a fire when it should have begun, and when its run should have ended, but not before ``earliest_ms``."""
    expect = entry.record.definition.expect
    if expect.start_within_seconds is not None and fire.state in {FireState.STARTED, FireState.QUEUED}:
        at_ms = _after(fire.due_ms, expect.start_within_seconds)
        book.wake_at(max(at_ms, earliest_ms), Why.EXPECT, entry.record.id, fire.key)
    if expect.max_duration_seconds is not None and fire.state is FireState.STARTED:
        at_ms = _after(max(fire.decided_at_ms, fire.due_ms), expect.max_duration_seconds)
        book.wake_at(max(at_ms, earliest_ms), Why.EXPECT, entry.record.id, fire.key)


def unstarted(schedule: ScheduleDefinition, fire: Fire) -> list[Alarming]:
    """Return what is told of a fire that should have had a run and never will."""
    if schedule.expect.start_within_seconds is None:
        return []
    words = f"it never started: {fire.reason}"
    return [Alarming(kind=NEVER_STARTED, words=words, facts={"state": fire.state, "count": fire.count})]


def overdue(
    schedule: ScheduleDefinition, fire: Fire, run: RunRecord | None, now_ms: int, moved_ms: int = 0
) -> list[Alarming]:
    """Return what is to be told now of a fire that is not over, ``run`` being its newest run.

    ``moved_ms`` is by how much the clock was set since that began: so much of what it shows did not pass.
    """
    found: list[Alarming] = []
    expect = schedule.expect
    limit = expect.start_within_seconds
    if limit is not None and fire.tries <= 1:
        began_ms = run.started_at_ms if run else None
        if (began_ms is None or began_ms > _after(fire.due_ms, limit)) and now_ms >= _after(fire.due_ms, limit):
            late = "has not started" if began_ms is None else f"started {_span(began_ms - fire.due_ms)} late"
            words = f"it {late}; start_within is {format_duration(limit)}"
            found.append(Alarming(kind=LATE, words=words, facts={"started": began_ms is not None}))
    limit = expect.max_duration_seconds
    if limit is not None and run is not None and run.started_at_ms is not None:
        ended_ms = run.finished_at_ms if run.state in RUN_ENDED else None
        took_ms = (ended_ms or now_ms) - run.started_at_ms - moved_ms
        if took_ms >= limit * 1000:
            verb = "took" if ended_ms else "has taken"
            words = f"run {run.id} {verb} {_span(took_ms)}; max_duration is {format_duration(limit)}"
            found.append(Alarming(kind=TOO_LONG, words=words, facts={"seconds": took_ms / 1000}))
    return found


def at_end(schedule: ScheduleDefinition, fire: Fire, run: RunRecord, now_ms: int, moved_ms: int = 0) -> list[Alarming]:
    """Return what is to be told of a fire whose run has ended; ``moved_ms`` as above."""
    found = overdue(schedule, fire, run, now_ms, moved_ms)
    limit = schedule.expect.min_duration_seconds
    if limit is not None and run.state is RunState.SUCCEEDED and run.started_at_ms and run.finished_at_ms:
        took_ms = run.finished_at_ms - run.started_at_ms - moved_ms
        if 0 <= took_ms < limit * 1000:  # below, the clock was set back, and nobody knows
            words = f"run {run.id} took only {_span(took_ms)}; min_duration is {format_duration(limit)}"
            found.append(Alarming(kind=TOO_SHORT, words=words, facts={"seconds": took_ms / 1000}))
    return found


def look_again(book: Book, entry: Entry, fire: Fire, run: RunRecord | None, now_ms: int) -> None:
    """Look at a run that began later than its fire when it will have gone on for too long."""
    limit = entry.record.definition.expect.max_duration_seconds
    if limit is None or run is None or run.state in RUN_ENDED:
        return
    at_ms = _after(run.started_at_ms or now_ms, limit) + entry.moved_ms.get(fire.key, 0)
    if at_ms > now_ms:
        book.wake_at(at_ms, Why.EXPECT, entry.record.id, fire.key)


def _after(at_ms: int, seconds: float) -> int:
    return at_ms + round(seconds * 1000)


def _span(milliseconds: int) -> str:
    return format_duration(round(milliseconds / 1000, 1))
