"""Say in words how a run and its tasks ended."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from typing import Final

from barbossactl import text
from barbossactl.pieces import Source, Tails
from barbossactl.records import TASK_ACTIVE, TASK_ENDED, Attempt, Run, Task

EXPLAINED_TASKS: Final = 5
"""How many failed tasks a report explains; the others are counted."""

_ENDED: Final = {
    "timed_out": "timed out",
    "cancelled": "was cancelled",
    "interrupted": "was interrupted",
    "skipped": "was skipped",
    "upstream_failed": "did not run",
}


def ended(state: str) -> str:
    """Return the state in which something ended as a verb: ``timed out``, ``was cancelled``."""
    return _ENDED.get(state, state.replace("_", " "))


def summary(run: Run) -> str:
    """Return one line on how a run ended: ``run 3f… succeeded in 2.3 s``."""
    took = text.seconds_between(run.started_at or run.created_at, run.finished_at)
    sentence = f"run {run.id} {ended(run.state)}" + ("" if took is None else f" in {text.duration(took)}")
    if run.state == "succeeded":
        return sentence + _though(run)
    if run.state != "succeeded" and run.reason:
        return f"{sentence}: {text.escape_cell(run.reason)}"
    return sentence


def _though(run: Run) -> str:
    """Return what went wrong in a run that succeeded: tasks that may fail, and those that come at the end."""
    at_end = sum(task.section != "main" for task in run.failed_tasks)
    allowed = run.warnings or len(run.failed_tasks) - at_end
    words = f", with {text.count(allowed, 'failed task')} that it allows" if allowed else ""
    return words + (f", and {text.count(at_end, 'failed task')} after its end" if at_end else "")


def left_out(run: Run) -> Iterator[str]:
    """Yield the lines that say what is not told of a large run, and how to get it."""
    if run.tasks_left_out:
        yield f"{text.count(run.tasks_left_out, 'task')} more of run {run.id} than one answer holds"
    if "" in run.outputs_left_out:
        yield f"outputs of {run.outputs_left_out['']} bytes: barbossactl run outputs {run.id}"


def waiting(run: Run) -> str:
    """Return why a run that has not ended does not go on, or what it is doing at its end."""
    if run.outcome and not run.is_ended:
        why = f": {run.reason}" if run.reason else ""
        what = "hooks run" if run.outcome == "succeeded" else "rollback and hooks run"
        return text.escape_cell(f"it {ended(run.outcome)}{why}; its {what}")
    return text.escape_cell(run.waiting)


def cause(task: Task) -> str:
    """Return why a task stands as it does: ``exit code 7 (3 attempts)``; empty if nothing is known.

    Which attempt is going on is told, too; of one that waits for the next, its reason tells that.
    """
    attempt = task.last_attempt
    reason = task.reason or (attempt.reason if attempt else "")
    fact, mark = _fact(attempt) if attempt else ("", "")
    words = reason or fact
    if fact and reason and not re.search(rf"\b{mark}\b", reason):
        words = f"{fact}; {reason}"
    tries = len(task.attempts)
    if tries > 1 and task.state in TASK_ACTIVE:
        words = f"attempt {tries}{'; ' if words else ''}{words}"
    elif tries > 1 and task.state in TASK_ENDED:
        words = f"{words} ({tries} attempts)" if words else f"{tries} attempts"
    if task.is_kept:
        words = f"in the run before{'; ' if words else ''}{words}"
    return text.escape_cell(words)


def explain(run: Run, tails: Tails) -> Iterator[str]:
    """Yield the lines that say which tasks failed, why, and what they printed last."""
    for task in run.failed_tasks[:EXPLAINED_TASKS]:
        why = cause(task)
        yield f"task {text.escape_cell(task.id)} {ended(task.state)}" + (f": {why}" if why else "")
        attempt = task.last_attempt
        last_lines = tails.of(Source(task.id, attempt.number)) if attempt else []
        for printed in last_lines:
            yield f"  | {text.escape_line(printed)}"
    more = len(run.failed_tasks) - EXPLAINED_TASKS
    if more > 0:
        yield f"and {text.count(more, 'more failed task')}"
    stopped = sum(task.state == "upstream_failed" for task in run.tasks)
    if stopped:
        yield f"{text.count(stopped, 'task')} did not run because of that"
    if run.failed_tasks:
        yield f"all of it: barbossactl run get {run.id}; barbossactl logs {run.id}"


def _fact(attempt: Attempt) -> tuple[str, str]:
    """Return how the process ended, and the words by which a reason shows that it tells so already."""
    if attempt.exit_code is not None:
        return f"exit code {attempt.exit_code}", f"code {attempt.exit_code}"
    if attempt.signal:
        name = _signal_name(attempt.signal)
        return f"killed by {name}", name
    return "", ""


def _signal_name(value: int | str) -> str:
    try:
        return signal.Signals(int(value)).name
    except ValueError:
        return f"signal {value}"
