"""Whether a task begins, and for what: what its trigger makes of the tasks before it, what its values say. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from barbossad.engine.progress import FAILURES, Cell
from barbossad.errors import BarbossaError
from barbossad.model.definition import TaskDefinition
from barbossad.model.flow import Section, Trigger
from barbossad.model.states import TaskState
from barbossad.validation import kind_of, shown
from barbossad.workflows import expressions, scope

MAX_ITEMS: Final = 10_000
"""How many items a loop may have."""

Verdict = tuple[TaskState, str]
"""How a task ends that does not begin, and why."""

_BROKEN: Final = FAILURES | {TaskState.CANCELLED, TaskState.UPSTREAM_FAILED}
_TRUE: Final = frozenset({"true", "yes", "on", "1"})
_FALSE: Final = frozenset({"false", "no", "off", "0", "", "none", "null"})

WORDS: Final = {
    TaskState.SUCCEEDED: "succeeded",
    TaskState.SKIPPED: "was skipped",
    TaskState.INTERRUPTED: "was interrupted",
    TaskState.FAILED: "failed",
    TaskState.TIMED_OUT: "timed out",
    TaskState.CANCELLED: "was cancelled",
    TaskState.UPSTREAM_FAILED: "did not start",
}


DEPENDS_ON_NONE: Final = {
    Trigger.ONE_FAILED: "it depends on no task that could have failed",
    Trigger.ONE_SUCCESS: "it depends on no task that could have succeeded",
}
"""Why a task does not begin that depends on nothing and wants one task to have ended so."""


class NotTrueOrFalseError(BarbossaError):
    """What should decide is neither true nor false."""


def refusal(cell: Cell, before: Sequence[Cell]) -> Verdict | None:
    """Return how a task ends unstarted whose dependencies have all ended; None if it may begin."""
    trigger = cell.task.trigger
    is_unconditional = cell.is_item or not asks_of_others(cell.task)  # of an item it was asked of the loop
    if is_unconditional or _is_met(trigger, before):
        return None
    if not before:  # only these two are not met by no tasks at all
        return TaskState.SKIPPED, DEPENDS_ON_NONE[trigger]
    if trigger is Trigger.ONE_FAILED:
        return TaskState.SKIPPED, f"none of {_ids(before)} failed"
    broken = next((other for other in before if _is_broken(other)), None)
    if broken is not None:
        return TaskState.UPSTREAM_FAILED, upstream_reason(broken)
    if trigger is Trigger.ONE_SUCCESS:
        return TaskState.SKIPPED, f"none of {_ids(before)} succeeded"
    skipped = next(other for other in before if other.record.state is TaskState.SKIPPED)
    return TaskState.SKIPPED, f"task {skipped.id!r} was skipped"


def asks_of_others(task: TaskDefinition) -> bool:
    """Say whether what became of others may keep a task from beginning.

    A failed rollback keeps no other, unless that has a trigger of its own.
    """
    if task.section is not Section.ROLLBACK or task.parent is not None:
        return True
    return task.trigger is not Trigger.ALL_SUCCESS and bool(task.depends_on)


def _is_met(trigger: Trigger, before: Sequence[Cell]) -> bool:
    """Say whether the tasks before one are as its trigger wants them."""
    if trigger is Trigger.ALL_SUCCESS:
        return all(_is_good(other) for other in before)
    if trigger is Trigger.NONE_FAILED:
        return not any(_is_broken(other) for other in before)
    if trigger is Trigger.ONE_SUCCESS:
        return any(_is_good(other) for other in before)
    if trigger is Trigger.ONE_FAILED:
        return any(other.record.state in _BROKEN for other in before)
    return True


def upstream_reason(cell: Cell) -> str:
    """Say which task before it keeps another from starting: the first of a chain."""
    record = cell.record
    if record.state is TaskState.UPSTREAM_FAILED and record.reason:
        return record.reason
    return f"task {record.task_id!r} {WORDS[record.state]}"


def truth(value: Any) -> bool:
    """Return what decides as true or false. Raise NotTrueOrFalseError if it is neither.

    An expression keeps the type of what it gives; of texts only the words for true and false are taken as such.
    """
    if isinstance(value, str):
        word = value.strip().lower()
        if word in _TRUE or word in _FALSE:
            return word in _TRUE
        raise NotTrueOrFalseError(f"it gives the text {shown(value)}, which is neither true nor false")
    return bool(value)


def items_of(value: Any) -> tuple[Any, ...]:
    """Return what a loop goes through: a list, or of a map each key with its value. Raise BarbossaError for others."""
    found = [{"key": key, "value": item} for key, item in value.items()] if isinstance(value, dict) else value
    if not isinstance(found, list | tuple | range):
        raise BarbossaError(f"it gives {kind_of(found)}, not a list or a map")
    if len(found) > MAX_ITEMS:
        raise BarbossaError(f"it gives {len(found)} items, more than {MAX_ITEMS}")
    return tuple(found)


def sees_item(condition: str) -> bool:
    """Say whether a condition looks at the item of a loop."""
    return any(reference[0] in scope.LOOP_ROOTS for reference in expressions.references(condition))


def _is_broken(cell: Cell) -> bool:
    return cell.record.state in _BROKEN and not _is_good(cell)


def _is_good(cell: Cell) -> bool:
    """Say whether its work is done, or it failed and was allowed to."""
    return cell.is_done or (cell.record.state in FAILURES and cell.may_fail)


def _ids(cells: Sequence[Cell]) -> str:
    names = [cell.id for cell in cells[:5]]
    return ", ".join(names) + (f" and {len(cells) - 5} more" if len(cells) > 5 else "")
