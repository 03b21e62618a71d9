"""What becomes of a fire while others of its schedule are not over."""

from __future__ import annotations

from typing import Any

import pytest

from barbossad.model.names import RunId
from barbossad.model.schedules import Fire, FireState, Overlap, ScheduleDefinition, ScheduleKind, Timing
from barbossad.scheduler.overlap import Entry, admit
from tests.helpers.records import NOON_MS, run_id


def schedule(overlap: Overlap, **more: Any) -> ScheduleDefinition:
    """Return an hourly schedule."""
    return ScheduleDefinition(
        name="hourly", kind=ScheduleKind.EVERY, timing=Timing(every_ms=3_600_000), overlap=overlap, **more
    )


def fire(state: FireState, number: int = 0, run: RunId | None = None) -> Fire:
    """Return a fire of that schedule."""
    at_ms = NOON_MS + number
    return Fire(
        schedule="backup/hourly", key=str(at_ms), nominal_ms=at_ms, due_ms=at_ms, decided_at_ms=at_ms, state=state,
        run_id=run,
    )  # fmt: skip


RUNNING = fire(FireState.STARTED, 0, run_id())
QUEUED = fire(FireState.QUEUED, 1)
RETRYING = fire(FireState.RETRYING, 0, run_id())


@pytest.mark.parametrize("overlap", Overlap)
def test_nothing_goes_on(overlap: Overlap) -> None:
    """A fire that is alone begins."""
    assert admit(schedule(overlap), []).entry is Entry.START


@pytest.mark.parametrize(
    ("overlap", "active", "entry", "cancelled", "dropped"),
    [
        (Overlap.ALLOW, [RUNNING, QUEUED], Entry.START, (), ()),
        (Overlap.SKIP, [RUNNING], Entry.SKIP, (), ()),
        (Overlap.SKIP, [QUEUED], Entry.SKIP, (), ()),
        (Overlap.QUEUE, [RUNNING], Entry.QUEUE, (), ()),
        (Overlap.QUEUE, [RUNNING, QUEUED], Entry.SKIP, (), ()),
        (Overlap.REPLACE, [RUNNING], Entry.QUEUE, (RUNNING,), ()),
        (Overlap.REPLACE, [RUNNING, QUEUED], Entry.QUEUE, (RUNNING,), (QUEUED,)),
        (Overlap.SKIP, [RETRYING], Entry.START, (), (RETRYING,)),
        (Overlap.QUEUE, [RETRYING], Entry.START, (), (RETRYING,)),
        (Overlap.ALLOW, [RETRYING], Entry.START, (), ()),
    ],
)
def test_each_policy(
    overlap: Overlap, active: list[Fire], entry: Entry, cancelled: tuple[Fire, ...], dropped: tuple[Fire, ...]
) -> None:
    """The policy says whether a fire begins, waits or is let pass, and what happens to the others."""
    found = admit(schedule(overlap), active)
    assert (found.entry, found.cancelled, found.dropped) == (entry, cancelled, dropped)


def test_the_queue_has_a_depth() -> None:
    """As many may wait as queue_depth says."""
    deep = schedule(Overlap.QUEUE, queue_depth=2)
    assert admit(deep, [RUNNING, QUEUED]).entry is Entry.QUEUE
    full = admit(deep, [RUNNING, QUEUED, fire(FireState.QUEUED, 2)])
    assert (full.entry, full.reason) == (Entry.SKIP, "the queue is full: 2 of 2 wait")


def test_a_skip_names_the_run() -> None:
    """The reason names the run that has not ended, and its time."""
    reason = admit(schedule(Overlap.SKIP), [RUNNING]).reason
    assert reason == f"run {run_id()} of 2026-01-31T12:00:00.000Z has not ended (overlap: skip)"


@pytest.mark.parametrize("overlap", [Overlap.SKIP, Overlap.QUEUE, Overlap.REPLACE])
def test_a_backlog_waits_in_line(overlap: Overlap) -> None:
    """Missed fires that are all to be run wait for each other, however many they are."""
    active = [RUNNING, *(fire(FireState.QUEUED, number) for number in range(1, 50))]
    found = admit(schedule(overlap), active, is_backlog=True)
    assert (found.entry, found.cancelled) == (Entry.QUEUE, ())
