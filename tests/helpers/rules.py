"""What the page on the workflow language says must become of a task or a run, worked out apart from the engine.

Everything here looks at a run from the outside: at the definition, at the records of tasks and attempts, at who is in
which group. None of it calls the engine's rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from barbossad.engine.progress import Cell, RunProgress
from barbossad.errors import BarbossaError
from barbossad.model.flow import Section, TaskKind
from barbossad.model.records import AttemptRecord
from barbossad.model.states import OnInterrupt, RunState, StopCause, TaskState

FAILED = {"failed", "timed_out", "interrupted"}
ENDED = FAILED | {"succeeded", "skipped", "cancelled", "upstream_failed"}
DONE_ATTEMPTS = ("succeeded", "skipped")


def state(cell: Cell) -> str:
    return cell.record.state.value


def parent(progress: RunProgress, cell: Cell) -> Cell | None:
    return None if cell.parent is None else progress.cells[cell.parent]


def ancestors(progress: RunProgress, cell: Cell) -> list[Cell]:
    """Return the groups and loops around a task, the innermost first."""
    found: list[Cell] = []
    above = parent(progress, cell)
    while above is not None:
        found.append(above)
        above = parent(progress, above)
    return found


def before(progress: RunProgress, cell: Cell) -> list[Cell]:
    """Return the tasks that one depends on: in a loop's item those of that item."""
    if cell.id.endswith("]"):
        return []  # an item waits for what its loop waits for
    own, written = cell.id.split("."), cell.task.id.split(".")
    found = []
    for name in cell.task.depends_on:
        parts = name.split(".")
        shared = 0
        while shared < min(len(parts), len(written)) and parts[shared] == written[shared]:
            shared += 1
        found.append(progress.cells[progress.index[".".join([*own[:shared], *parts[shared:]])]])
    return found


def may_fail(cell: Cell) -> bool:
    """Say whether its failure counts as a success for others; that of an item belongs to its loop."""
    return cell.task.continue_on_error and not cell.id.endswith("]")


def kind_of_end(cell: Cell) -> str:
    """Return what the end of a task is to those that depend on it."""
    if state(cell) == "succeeded" or (state(cell) == "skipped" and cell.attempts):
        return "good"  # what was done already is done
    if state(cell) == "skipped":
        return "skipped"
    return "allowed" if state(cell) in FAILED and may_fail(cell) else "bad"


def verdict(trigger: str, ends: Iterable[str]) -> str:
    """Return what becomes of a task by its trigger: ``runs``, ``skipped`` or ``upstream_failed``."""
    found = list(ends)
    good, bad = {"good", "allowed"} & set(found), "bad" in found
    otherwise = "upstream_failed" if bad else "skipped"
    if trigger == "all_success":
        return "runs" if not bad and "skipped" not in found else otherwise
    if trigger == "one_success":
        return "runs" if good else otherwise
    if trigger == "one_failed":
        return "runs" if bad or "allowed" in found else "skipped"
    if trigger == "none_failed":
        return otherwise if bad else "runs"
    return "runs"


def asked(cell: Cell) -> str:
    """Return what is asked of those before a task: its trigger, but of an item, or of what only takes a task back."""
    is_back = cell.task.section is Section.ROLLBACK and cell.parent is None
    if cell.is_item or (is_back and (cell.task.trigger == "all_success" or not cell.task.depends_on)):
        return "all_done"
    return cell.task.trigger


def check_start(progress: RunProgress, cell: Cell, values: Any) -> None:
    """Check that a task which is about to begin may."""
    above = parent(progress, cell)
    assert above is None or state(above) == "running", f"{cell.id} begins outside of its group"
    others = before(progress, cell)
    assert all(state(other) in ENDED for other in others), f"{cell.id} begins early"
    assert verdict(asked(cell), map(kind_of_end, others)) == "runs", f"{cell.id} begins against its trigger"
    if cell.task.when is not None and not cell.id.endswith("]"):
        assert values(progress, progress.index[cell.id], cell.task.when), f"{cell.id} begins against its 'when'"


def check_again(cell: Cell) -> None:
    """Check that a task which begins another attempt may: by its retry, its repetition or an interruption."""
    last, retry = cell.attempts[-1], cell.task.retry
    if last.state in DONE_ATTEMPTS:
        repeat = cell.task.repeat
        assert repeat is not None
        assert sum(1 for one in cell.attempts if one.state in DONE_ATTEMPTS) < repeat.max_times
        return
    if last.state == "interrupted" and cell.task.on_interrupt is not OnInterrupt.FAIL:
        return
    assert last.state in retry.on
    assert failures(cell) < retry.attempts, f"{cell.id} is tried too often"
    if last.state == "failed" and retry.exit_codes is not None:
        assert last.exit_code in retry.exit_codes


def failures(cell: Cell) -> int:
    """Count attempts since the last that was good; what is resumed goes on as if it had not been interrupted."""
    return len([one for one in since_good(cell) if one.state != "interrupted" or not is_resumed(cell)])


def is_resumed(cell: Cell) -> bool:
    return cell.task.on_interrupt is OnInterrupt.RESUME


def since_good(cell: Cell) -> list[AttemptRecord]:
    found: list[AttemptRecord] = []
    for one in cell.attempts:
        found = [] if one.state in DONE_ATTEMPTS else [*found, one]
    return found


def check_delay(cell: Cell) -> None:
    """Check the delay of a task that waits for another attempt."""
    last, retry, until_ms = cell.attempts[-1], cell.task.retry, cell.record.waits_until_ms
    assert until_ms is not None
    assert last.finished_at_ms is not None
    delay = until_ms - last.finished_at_ms
    if last.state in DONE_ATTEMPTS:
        assert cell.task.repeat is not None
        assert delay == cell.task.repeat.interval_seconds * 1000
        return
    growth = {"constant": 1, "linear": failures(cell), "exponential": 2 ** (failures(cell) - 1)}[retry.backoff]
    full = retry.delay_seconds * 1000 * growth
    if retry.max_delay_seconds is not None:
        full = min(full, retry.max_delay_seconds * 1000)
    assert full * (1 - retry.jitter) - 1 <= delay <= full * (1 + retry.jitter) + 1
    first_ms = since_good(cell)[0].started_at_ms
    if retry.max_elapsed_seconds is not None and first_ms is not None:
        assert until_ms <= first_ms + retry.max_elapsed_seconds * 1000


def check_places(progress: RunProgress) -> None:
    """Check that in no group more members have begun than may at once."""
    for cell in progress.cells:
        limit = cell.task.for_each.max_parallel if cell.is_loop and cell.task.for_each else cell.task.max_parallel
        if cell.members is not None and limit is not None:
            begun = [m for m in cell.members.cells if state(progress.cells[m]) not in ENDED | {"pending"}]
            assert len(begun) <= limit, f"{cell.id} has {len(begun)} members at once"


def check_unstarted(progress: RunProgress, cell: Cell, values: Any, unstartable: Mapping[str, str]) -> None:
    """Check how a task ended that never began."""
    above, how = parent(progress, cell), state(cell)
    if above is not None and above.record.started_at_ms is None:
        assert how == ("upstream_failed" if state(above) == "failed" else state(above)), cell.id
        return
    if cell.task.branch is not None and above is not None and not cell.id.endswith("]"):
        taken = above.record.outputs["branch"]  # type: ignore[call-overload,index]
        if taken != cell.task.branch:
            assert how == "skipped", f"{cell.id} is in the branch that was not taken"
            return
    if how == "cancelled":
        assert progress.run.stop_cause is not None or any(
            group.task.timeout_seconds is not None or (group.fails_fast and state(group) in FAILED)
            for group in ancestors(progress, cell)
        ), f"{cell.id} was cancelled for nothing"
        return
    expected = verdict(asked(cell), map(kind_of_end, before(progress, cell)))
    if expected != "runs":
        assert how == expected, f"{cell.id} is {how}, not {expected}"
        return
    assert how == _by_expressions(progress, cell, values, unstartable), cell.id


def _by_expressions(progress: RunProgress, cell: Cell, values: Any, unstartable: Mapping[str, str]) -> str:
    """Return how a task ends for its expressions' sake that might have begun."""
    index = progress.index[cell.id]
    task = cell.task
    try:
        if task.when is not None and not cell.id.endswith("]") and not values(progress, index, task.when):
            return "skipped"
        if cell.is_loop and task.for_each is not None:
            values(progress, index, task.for_each.items)
        elif task.condition is not None:
            values(progress, index, task.condition)
    except BarbossaError:
        return "failed"
    return unstartable.get(cell.id, "run")


def outcome(progress: RunProgress, cause: StopCause | None, *, was_stopped: bool) -> RunState:
    """Return how a run must end; ``cause`` is why its main part was ended, ``was_stopped`` if that was in time."""
    main = [cell for cell in progress.cells if cell.task.section is Section.MAIN]
    faults = {state(cell) for cell in main if _is_fault(progress, cell)}
    if cause is not None and (was_stopped or faults):
        return RunState.TIMED_OUT if cause is StopCause.RUN_TIMEOUT else RunState.CANCELLED
    if "interrupted" in faults:
        return RunState.INTERRUPTED
    return RunState.FAILED if faults else RunState.SUCCEEDED


def _is_fault(progress: RunProgress, cell: Cell) -> bool:
    """Say whether a task failed that was not allowed to, by itself and not for its members' sake."""
    if state(cell) not in FAILED or any(one.task.continue_on_error for one in [cell, *ancestors(progress, cell)]):
        return False
    is_group = cell.is_loop or cell.task.kind is TaskKind.GROUP
    return not is_group or state(cell) == "timed_out" or cell.record.started_at_ms is None


def check_group(progress: RunProgress, cell: Cell) -> None:
    """Check how a group or loop ended that had begun."""
    assert cell.members is not None
    ends = [progress.cells[member] for member in cell.members.cells]
    assert all(state(one) in ENDED for one in ends)
    if state(cell) == "timed_out":
        assert cell.task.timeout_seconds is not None
        assert not cell.is_loop
        return
    faults = {state(one) for one in ends if kind_of_end(one) == "bad" and state(one) in FAILED}
    if faults:
        expected = {TaskState.INTERRUPTED, TaskState.FAILED} if "interrupted" in faults else {TaskState.FAILED}
        assert cell.record.state in expected
    elif any(state(one) == "cancelled" for one in ends):
        assert state(cell) == "cancelled"
    else:
        assert state(cell) == "succeeded"


def rolled_back(progress: RunProgress, completed: Iterable[str]) -> list[str]:
    """Return the tasks, and items of loops, that are to be taken back, in that order."""
    wanted = {
        progress.definition.tasks[task.rolls_back].id
        for task in progress.definition.tasks
        if task.rolls_back is not None
    }
    done = [progress.cells[progress.index[name]] for name in completed]
    return [cell.id for cell in reversed(done) if cell.task.id in wanted and not cell.is_loop]
