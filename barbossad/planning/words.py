"""Say in words for people how tasks follow one another: triggers, retries, repetitions, concurrency. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from barbossad.engine import triggers
from barbossad.model.definition import TaskDefinition
from barbossad.model.flow import Backoff, Concurrency, Policy, Repeat, Retry, RetryCause, Section, Trigger
from barbossad.units import format_duration

NAMED: Final = 4
"""How many names a sentence holds; the others are counted."""

_AFTER: Final = {
    Trigger.ALL_SUCCESS: "after {all} succeeded",
    Trigger.ALL_DONE: "after {all} ended, in whatever way",
    Trigger.ONE_SUCCESS: "if {one} succeeded",
    Trigger.ONE_FAILED: "if {one} failed",
    Trigger.NONE_FAILED: "after {all} ended, if none failed",
    Trigger.ALWAYS: "after {all} ended, in whatever way, also when the run is cancelled",
}

HOOKS: Final = {
    Section.ROLLBACK: "if the run fails or is cancelled after {of} succeeded",
    Section.ON_SUCCESS: "if the run succeeds",
    Section.ON_FAILURE: "if the run fails",
    Section.ON_CANCEL: "if the run is cancelled",
    Section.ON_EXIT: "at the end, however the run goes",
}
"""When the tasks of a section come at all."""

_GROWING: Final = {
    Backoff.CONSTANT: "apart",
    Backoff.LINEAR: "apart, growing by as much each time",
    Backoff.EXPONENTIAL: "apart, doubling each time",
}

_POLICIES: Final = {
    Policy.QUEUE: "others wait",
    Policy.SKIP: "others are skipped",
    Policy.REPLACE: "the oldest are cancelled for others",
}


def names(found: Sequence[str], joint: str = "and") -> str:
    """Return names as a sentence has them: ``a, b and c``."""
    shown = list(found[:NAMED])
    if len(found) > NAMED:
        return f"{', '.join(shown)} {joint} {len(found) - NAMED} more"
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} {joint} {shown[-1]}"


def after(task: TaskDefinition) -> str:
    """Return what a task waits for before it starts."""
    if not task.depends_on:
        return "at once"
    have = "have" if len(task.depends_on) > 1 else "has"
    trigger = task.trigger if triggers.asks_of_others(task) else Trigger.ALL_DONE
    return _AFTER[trigger].format(all=f"{names(task.depends_on)} {have}", one=names(task.depends_on, "or"))


def retry(policy: Retry) -> str | None:
    """Return how often a task is tried, None if once."""
    if policy.attempts == 1:
        return None
    words = f"{policy.attempts} attempts"
    if policy.delay_seconds:
        words += f", {format_duration(policy.delay_seconds)} {_GROWING[policy.backoff]}"
        if policy.max_delay_seconds is not None and policy.backoff is not Backoff.CONSTANT:
            words += f" up to {format_duration(policy.max_delay_seconds)}"
        if policy.jitter:
            words += f", {policy.jitter:.0%} of it by chance"
    words += f", when it {names(_causes(policy), 'or')}"
    if policy.max_elapsed_seconds is not None:
        words += f", none later than {format_duration(policy.max_elapsed_seconds)} after the first"
    return words


def _causes(policy: Retry) -> list[str]:
    """Return after which ends a task is tried again; exit codes, which are those of failures, go last."""
    found = [cause.replace("_", " ") for cause in sorted(policy.on)]
    if policy.exit_codes is not None and RetryCause.FAILED in policy.on:
        found.remove(RetryCause.FAILED)
        found.append(f"failed with exit code {names([str(code) for code in sorted(policy.exit_codes)], 'or')}")
    return found


def repeat(policy: Repeat | None) -> str | None:
    """Return how often a task is done again after a success, None if it is not."""
    if policy is None:
        return None
    until = f"until {policy.until}" if policy.until is not None else f"while {policy.while_}"
    pause = f", every {format_duration(policy.interval_seconds)}" if policy.interval_seconds else ""
    return f"{until}{pause}, at most {policy.max_times} times"


def concurrency(policy: Concurrency | None) -> str | None:
    """Return how many runs may go on at once, None if any number."""
    if policy is None:
        return None
    return f"at most {policy.limit} at once in the group {policy.group}; {_POLICIES[policy.policy]}"


def done_already(task: TaskDefinition, creates: Sequence[str]) -> list[str]:
    """Return when a task is skipped because its work is done, which only the host can tell."""
    found = []
    if creates:
        are = "is" if len(creates) == 1 else "are"
        found.append(f"skipped where {names(creates)} {are} there already")
    if task.unless is not None:
        found.append(f"skipped where this succeeds: {' '.join(task.unless.split())}")
    return found
