"""What follows from the end of a scheduled run."""

from __future__ import annotations

from typing import Any

import pytest

from barbossad.model.flow import Backoff
from barbossad.model.schedules import Fire, FireState, ScheduleDefinition, ScheduleKind, ScheduleRetry, Timing
from barbossad.model.states import RunState
from barbossad.scheduler import outcome
from tests.helpers.records import NOON_MS, run, run_id

ENDED_MS = NOON_MS + 5000


def schedule(**more: Any) -> ScheduleDefinition:
    """Return an hourly schedule."""
    return ScheduleDefinition(name="hourly", kind=ScheduleKind.EVERY, timing=Timing(every_ms=3_600_000), **more)


def fire(tries: int = 1) -> Fire:
    """Return a fire whose run goes on."""
    return Fire(
        schedule="backup/hourly", key=str(NOON_MS), nominal_ms=NOON_MS, due_ms=NOON_MS, decided_at_ms=NOON_MS,
        state=FireState.STARTED, run_id=run_id(), tries=tries,
    )  # fmt: skip


def ended(state: RunState, failures: int = 0, tries: int = 1, **more: Any) -> outcome.Outcome:
    """Return what follows from a run that ended so."""
    record = run(state=state, finished_at_ms=ENDED_MS, reason=None if state is RunState.SUCCEEDED else "it went wrong")
    return outcome.of(schedule(**more), fire(tries), record, failures, ENDED_MS)


def test_success_forgets_failures() -> None:
    """A success ends the row of failures."""
    found = ended(RunState.SUCCEEDED, failures=4, disable_after=5)
    assert (found.state, found.failures, found.disable_reason) == (FireState.SUCCEEDED, 0, None)


@pytest.mark.parametrize("state", [RunState.FAILED, RunState.TIMED_OUT, RunState.INTERRUPTED])
def test_each_other_end_is_a_failure(state: RunState) -> None:
    """Whatever it ended of, it counts."""
    found = ended(state, failures=2)
    assert (found.state, found.failures, found.reason) == (FireState.FAILED, 3, "it went wrong")


def test_a_cancelled_run_is_no_failure() -> None:
    """Who cancels a run says nothing of the schedule, and does not want it again."""
    found = ended(RunState.CANCELLED, failures=2, retry=ScheduleRetry(attempts=3), disable_after=1)
    assert (found.state, found.failures, found.retry_at_ms, found.disable_reason) == (FireState.FAILED, 2, None, None)


def test_a_row_of_failures_disables() -> None:
    """The n-th failure in a row disables the schedule, and says what the last one was."""
    assert ended(RunState.FAILED, failures=1, disable_after=3).disable_reason is None
    reason = ended(RunState.FAILED, failures=2, disable_after=3).disable_reason
    assert reason == "it failed 3 times in a row (disable_after), the last time: it went wrong"


def test_it_is_tried_again() -> None:
    """A failed run is tried again after the delay, and counts as no failure until the last try."""
    retry = ScheduleRetry(attempts=3, delay_seconds=600)
    first = ended(RunState.FAILED, retry=retry)
    assert (first.state, first.retry_at_ms, first.failures) == (FireState.RETRYING, ENDED_MS + 600_000, 0)
    last = ended(RunState.FAILED, retry=retry, tries=3)
    assert (last.state, last.retry_at_ms, last.failures) == (FireState.FAILED, None, 1)


@pytest.mark.parametrize(
    ("backoff", "delays"),
    [
        (Backoff.CONSTANT, [10, 10, 10, 10]),
        (Backoff.LINEAR, [10, 20, 30, 35]),
        (Backoff.EXPONENTIAL, [10, 20, 35, 35]),
    ],
)
def test_delays_grow(backoff: Backoff, delays: list[float]) -> None:
    """The delay grows as backoff says, up to max_delay."""
    retry = ScheduleRetry(attempts=9, delay_seconds=10, backoff=backoff, max_delay_seconds=35)
    assert [outcome.delay_seconds(retry, tries) for tries in (1, 2, 3, 4)] == delays
