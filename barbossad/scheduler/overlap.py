"""Decide what becomes of a fire while others of the same schedule are not over. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from barbossad.clock import rfc3339
from barbossad.model.schedules import CatchUp, Fire, FireState, Overlap, ScheduleDefinition
from barbossad.scheduler.due import GRACE_MS


class Entry(Enum):
    """How a fire comes in."""

    START = auto()
    QUEUE = auto()
    SKIP = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """What becomes of a fire, and of those before it."""

    entry: Entry
    reason: str = ""
    cancelled: tuple[Fire, ...] = ()
    """Fires whose runs are to be cancelled for it."""

    dropped: tuple[Fire, ...] = ()
    """Fires that wait, for the run before them or to be tried again, and now wait for nothing."""


def admit(schedule: ScheduleDefinition, active: Sequence[Fire], *, is_backlog: bool = False) -> Admission:
    """Return what becomes of a new fire; ``active`` are those of its schedule that are not over, oldest first.

    ``is_backlog``: it was missed and is to be run all the same, with others maybe: they run one after another.
    """
    if schedule.overlap is Overlap.ALLOW:
        return Admission(entry=Entry.START)
    retrying = tuple(fire for fire in active if fire.state is FireState.RETRYING)
    running = tuple(fire for fire in active if fire.state is FireState.STARTED)
    queued = tuple(fire for fire in active if fire.state is FireState.QUEUED)
    if not running and not queued:
        return Admission(entry=Entry.START, dropped=retrying)
    return _behind(schedule, running, queued, is_backlog=is_backlog)


def unreplaced(schedule: ScheduleDefinition, active: Sequence[Fire]) -> Admission:
    """Return which fires are still to make room for one that an earlier daemon left waiting.

    They had begun, or waited, before that one was decided. What is made up for waits for them.
    """
    if schedule.overlap is not Overlap.REPLACE:
        return Admission(entry=Entry.QUEUE)
    is_made_up_for = schedule.catch_up is CatchUp.ALL
    queued = [fire for fire in active if fire.state is FireState.QUEUED]
    comers = [fire for fire in queued if not (is_made_up_for and fire.lateness_ms > GRACE_MS)]
    newest_ms = max((fire.decided_at_ms for fire in comers), default=0)
    running = [fire for fire in active if fire.state is FireState.STARTED]
    return Admission(
        entry=Entry.QUEUE,
        cancelled=tuple(fire for fire in running if fire.decided_at_ms <= newest_ms),
        dropped=tuple(fire for fire in queued if fire.decided_at_ms < newest_ms),
    )


def _behind(
    schedule: ScheduleDefinition, running: tuple[Fire, ...], queued: tuple[Fire, ...], *, is_backlog: bool
) -> Admission:
    if is_backlog:
        return Admission(entry=Entry.QUEUE)
    if schedule.overlap is Overlap.REPLACE:
        return Admission(entry=Entry.QUEUE, cancelled=running, dropped=queued)
    if schedule.overlap is Overlap.SKIP:
        return Admission(entry=Entry.SKIP, reason=_still_running((*running, *queued)[0]))
    if len(queued) >= schedule.queue_depth:
        return Admission(entry=Entry.SKIP, reason=f"the queue is full: {len(queued)} of {schedule.queue_depth} wait")
    return Admission(entry=Entry.QUEUE)


def _still_running(fire: Fire) -> str:
    run = f"run {fire.run_id}" if fire.run_id else "a fire"
    return f"{run} of {rfc3339(fire.nominal_ms)} has not ended (overlap: skip)"
