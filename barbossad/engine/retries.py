"""Whether a task is tried again, or done again, and when. Pure."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from barbossad.engine.progress import Cell
from barbossad.model import boots
from barbossad.model.flow import Backoff, Repeat, Retry, RetryCause
from barbossad.model.records import AttemptRecord
from barbossad.model.states import AttemptState, OnInterrupt
from barbossad.units import format_duration

_CAUSES: Final = {
    AttemptState.FAILED: RetryCause.FAILED,
    AttemptState.TIMED_OUT: RetryCause.TIMED_OUT,
    AttemptState.INTERRUPTED: RetryCause.INTERRUPTED,
}
_GOOD: Final = (AttemptState.SUCCEEDED, AttemptState.SKIPPED)


@dataclass(frozen=True, slots=True)
class Again:
    """Another attempt follows after a delay; the reason says why, and which it will be."""

    delay_ms: int
    reason: str


def after_failure(cell: Cell, attempt: AttemptRecord, now_ms: int) -> Again | None:
    """Return when a task is tried again whose last attempt is ``attempt``, which has ended; None: it has failed."""
    retry = cell.task.retry
    cause = _CAUSES.get(attempt.state)
    tried = failures_in_a_row(cell)
    if cause not in retry.on or tried >= retry.attempts:
        return None
    wanted = retry.exit_codes if cause is RetryCause.FAILED else None  # what was ended may have exited with any
    if wanted is not None and attempt.exit_code not in wanted:
        return None
    delay_ms = round(delay_seconds(retry, tried, f"{attempt.run_id}/{attempt.task_id}/{attempt.number}") * 1000)
    if _is_too_late(cell, now_ms + delay_ms):
        return None
    when = f" in {format_duration(max(delay_ms, 1) / 1000)}" if delay_ms else ""
    return Again(delay_ms, f"{attempt.reason or attempt.state}; attempt {tried + 1} of {retry.attempts}{when}")


def given_up(cell: Cell, now_ms: int) -> tuple[AttemptState, str] | None:
    """Return how a task ends, and why, that was to be tried again and has waited too long for that; None if it starts.

    What follows an interruption because of ``on_interrupt`` or ``on_reboot`` may start at any time.
    """
    if not cell.attempts or not _is_too_late(cell, now_ms):
        return None
    last = cell.attempts[-1]
    is_by_retry = cell.task.on_interrupt is cell.task.on_reboot is OnInterrupt.FAIL
    if last.state is AttemptState.INTERRUPTED and not is_by_retry:
        return None
    limit = format_duration(cell.task.retry.max_elapsed_seconds or 0)
    return last.state, f"{last.reason or last.state}; it is not tried again, for its max_elapsed of {limit} has passed"


def _is_too_late(cell: Cell, at_ms: int) -> bool:
    """Say whether an attempt would start later than it may after the first since the last good one."""
    seconds, tried = cell.task.retry.max_elapsed_seconds, _since_good(cell)
    if seconds is None or not tried:
        return False
    began_ms = tried[0].started_at_ms or cell.record.started_at_ms
    return began_ms is not None and at_ms > began_ms + seconds * 1000


def failures_in_a_row(cell: Cell) -> int:
    """Count the attempts since the last good one: a repetition has all its attempts again.

    One that was resumed does not count: that goes on as if it had not been interrupted.
    """
    tried = _since_good(cell)
    resumed = sum(1 for past, following in itertools.pairwise(tried) if _was_resumed(cell, past, following))
    return len(tried) - resumed


def _since_good(cell: Cell) -> Sequence[AttemptRecord]:
    """Return the attempts since the last good one."""
    good = next((index for index in reversed(range(len(cell.attempts))) if cell.attempts[index].state in _GOOD), -1)
    return cell.attempts[good + 1 :]


def _was_resumed(cell: Cell, past: AttemptRecord, following: AttemptRecord) -> bool:
    if past.state is not AttemptState.INTERRUPTED:
        return False
    then = cell.task.on_interrupt if boots.is_same(past.boot_id, following.boot_id) else cell.task.on_reboot
    return then is OnInterrupt.RESUME


def delay_seconds(retry: Retry, failures: int, name: str) -> float:
    """Return how long to wait after so many failures.

    What chance adds comes from the name of the attempt: the same attempt always waits as long, also when a daemon that
    comes after asks again, and two tasks that failed at once do not come back at once.
    """
    delay = retry.delay_seconds
    if retry.backoff is Backoff.LINEAR:
        delay *= failures
    elif retry.backoff is Backoff.EXPONENTIAL:
        delay *= 2.0 ** min(failures - 1, 60)
    if retry.max_delay_seconds is not None:
        delay = min(delay, retry.max_delay_seconds)
    if retry.jitter:
        chance = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) / 2**64
        delay *= 1 + retry.jitter * (2 * chance - 1)
    return delay if retry.max_delay_seconds is None else min(delay, retry.max_delay_seconds)


def times_done(cell: Cell) -> int:
    """Count how often a task that repeats has been done."""
    return sum(1 for attempt in cell.attempts if attempt.state in _GOOD)


def after_success(repeat: Repeat, times: int, *, holds: bool) -> Again | str | None:
    """Return when a task is done again, a sentence if it never came to what it waited for, None if it is done.

    ``holds`` is what became of ``until`` or ``while``, after it was done ``times`` times.
    """
    if holds is (repeat.until is not None):
        return None
    condition = f"until {repeat.until}" if repeat.until is not None else f"while {repeat.while_}"
    if times >= repeat.max_times:
        return f"it was done {times} times, the most that repeat.max allows, and goes on: {condition}"
    interval = repeat.interval_seconds
    when = f" in {format_duration(interval)}" if interval else ""
    return Again(round(interval * 1000), f"repeated {condition}; time {times + 1} of at most {repeat.max_times}{when}")
