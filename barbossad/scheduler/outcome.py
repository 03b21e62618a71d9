"""Decide what follows from the end of a scheduled run: success, another try, a failure, a disabled schedule. Pure."""

from __future__ import annotations

from barbossad.model.flow import Backoff
from barbossad.model.records import RunRecord
from barbossad.model.schedules import Fire, FireOutcome, FireState, ScheduleDefinition, ScheduleRetry
from barbossad.model.states import RunState


def of(schedule: ScheduleDefinition, fire: Fire, run: RunRecord, failures: int, now_ms: int) -> FireOutcome:
    """Return what follows from the end of the newest run of a fire.

    A run that a person or a newer fire cancelled is no failure of the schedule, and is not tried again.
    """
    if run.state is RunState.SUCCEEDED:
        return FireOutcome(state=FireState.SUCCEEDED, failures=0)
    reason = run.reason or f"run {run.id} ended as {run.state}"
    if run.state is RunState.CANCELLED:
        return FireOutcome(state=FireState.FAILED, reason=reason, failures=failures)
    retry = schedule.retry
    if retry is not None and fire.tries < retry.attempts:
        ended_ms = min(run.finished_at_ms or now_ms, now_ms)  # the clock may have been set back since
        at_ms = ended_ms + round(delay_seconds(retry, fire.tries) * 1000)
        return FireOutcome(state=FireState.RETRYING, reason=reason, retry_at_ms=at_ms, failures=failures)
    return failed(schedule, reason, failures)


def failed(
    schedule: ScheduleDefinition, reason: str, failures: int, state: FireState = FireState.FAILED
) -> FireOutcome:
    """Return what follows from a failure that is not tried again."""
    failures += 1
    disable = None
    if schedule.disable_after is not None and failures >= schedule.disable_after:
        disable = f"it failed {failures} times in a row (disable_after), the last time: {reason}"
    return FireOutcome(state=state, reason=reason, failures=failures, disable_reason=disable)


def delay_seconds(retry: ScheduleRetry, tries: int) -> float:
    """Return how long after the end of its ``tries``-th run another one is due."""
    grown = {Backoff.CONSTANT: 1, Backoff.LINEAR: tries, Backoff.EXPONENTIAL: 2 ** min(tries - 1, 60)}
    factor: int = grown[retry.backoff]
    delay = retry.delay_seconds * factor
    return min(delay, retry.max_delay_seconds) if retry.max_delay_seconds is not None else delay
