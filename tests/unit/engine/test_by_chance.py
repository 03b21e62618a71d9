"""Rules of the language that hold in every workflow, for every order of events and every moment of a crash.

What is expected here is written from the page of the language, with nothing of the engine's own in it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from barbossad.engine import growth, transitions
from barbossad.engine.progress import Cell, RunProgress
from barbossad.model.flow import Branch, Section, Trigger
from barbossad.model.states import (
    ATTEMPT_ENDED,
    RUN_ENDED,
    AttemptState,
    OnInterrupt,
    RunState,
    StopCause,
    TaskState,
)
from tests.helpers.chance_flow import EVEN_ITEMS, any_flow, evaluate
from tests.helpers.chance_play import Play, facts, in_section
from tests.helpers.memory_store import MemoryStore

RUNS = 500
FAILED = {TaskState.FAILED, TaskState.TIMED_OUT, TaskState.INTERRUPTED}
BROKEN = FAILED | {TaskState.CANCELLED, TaskState.UPSTREAM_FAILED}


@pytest.fixture(scope="module")
def store() -> Iterator[MemoryStore]:
    """Tables in memory."""
    made = MemoryStore()
    yield made
    made.close()


@pytest.mark.by_chance
@pytest.mark.parametrize("number", range(RUNS))
def test_any_run(store: MemoryStore, number: int) -> None:
    """Any run comes to its end by the rules, and at every moment its rows say all that decides what follows."""
    chance = random.Random(random.getrandbits(64))
    play = Play(chance, any_flow(chance), store, number=number + 1, before_start=check_start)
    for _ in range(3000):
        check_moment(play)
        if play.progress.has_ended:
            break
        play.step()
    check_end(play)


# -- at every moment -------------------------------------------------------------------------------------------


def check_moment(play: Play) -> None:
    assert not play.is_stuck, "nothing will ever happen to it"
    check_places(play)
    check_ending(play)
    if play.progress.has_ended:
        return
    restored = growth.restore(play.definition, play.store.details(play.progress.run.id))
    assert facts(restored) == facts(play.progress)
    if not any(cell.members and cell.members.queue for cell in play.progress.cells):
        again = transitions.begin(restored, evaluate, play.now_ms)
        assert again.changes == [], "something was left undecided"
        assert ids(restored, again.ready) == ids(play.progress, play.ready)


def ids(progress: RunProgress, indices: list[int]) -> list[str]:
    return sorted(progress.cells[index].id for index in indices)


def check_places(play: Play) -> None:
    """No more members of a group, or items of a loop, have begun than may run side by side."""
    begun = {TaskState.WAITING, TaskState.STARTING, TaskState.RUNNING}
    for cell in play.progress.cells:
        if cell.members is not None and cell.max_parallel is not None:
            members = [play.cell(index) for index in cell.members.cells]
            assert sum(1 for one in members if one.record.state in begun) <= cell.max_parallel, cell.id


def check_ending(play: Play) -> None:
    """What lives in a group that failed fast is being ended, also after a restart; so is a run that was cancelled."""
    for index in play.live:
        cell = play.cell(index)
        for around in play.progress.ancestors(index):
            if around.fails_fast and fast_failures(play, around):
                assert index in play.asked, f"{cell.id} lives on in {around.id}"
        is_always = any(one.task.trigger is Trigger.ALWAYS for one in (cell, *play.progress.ancestors(index)))
        if play.progress.is_stopping and not is_always:
            assert index in play.asked, f"{cell.id} lives on in a run that is being ended"


def fast_failures(play: Play, group: Cell) -> list[Cell]:
    assert group.members is not None
    members = [play.cell(index) for index in group.members.cells]
    return [one for one in members if one.record.state in FAILED and (one.is_item or not one.task.continue_on_error)]


# -- at every start --------------------------------------------------------------------------------------------


def check_start(play: Play, index: int) -> None:
    """A task begins after all that it depends on has ended as its trigger wants, and within its group."""
    cell = play.cell(index)
    before = [play.cell(other) for other in cell.depends_on]
    assert all(one.has_ended for one in before), f"{cell.id} begins too early"
    assert cell.id not in play.begun, f"{cell.id} begins twice"
    if cell.parent is not None:
        assert play.cell(cell.parent).id in play.begun, f"{cell.id} begins before its group"
        assert cell.has_ended or play.cell(cell.parent).record.state is TaskState.RUNNING
    assert met(cell, before), f"{cell.id} begins against its trigger"
    assert holds(play, index), f"{cell.id} begins though its when does not hold"
    if cell.task.section is not Section.MAIN:
        assert play.progress.run.outcome is not None
        assert all(one.has_ended for one in in_section(play, Section.MAIN)), f"{cell.id} begins before the end"


def good(cell: Cell) -> bool:
    """Whether the page takes it for success: done, done already (creates, unless), or allowed to fail."""
    state = cell.record.state
    is_done = state is TaskState.SUCCEEDED or (state is TaskState.SKIPPED and bool(cell.attempts))
    return is_done or (state in FAILED and cell.task.continue_on_error and not cell.is_item)


def met(cell: Cell, before: list[Cell]) -> bool:
    if cell.is_item:
        return True
    is_back = cell.task.section is Section.ROLLBACK and cell.parent is None
    if is_back and (cell.task.trigger is Trigger.ALL_SUCCESS or not cell.task.depends_on):
        return True  # what cannot be taken back keeps nothing else from it
    broken = [one for one in before if one.record.state in BROKEN]
    return {
        Trigger.ALL_SUCCESS: all(map(good, before)),
        Trigger.NONE_FAILED: all(map(good, broken)),
        Trigger.ONE_SUCCESS: any(map(good, before)),
        Trigger.ONE_FAILED: bool(broken),
        Trigger.ALL_DONE: True,
        Trigger.ALWAYS: True,
    }[cell.task.trigger]


def holds(play: Play, index: int) -> bool:
    cell = play.cell(index)
    when = cell.task.when
    if when is None:
        return True
    if when == EVEN_ITEMS:
        return cell.loop is None or cell.is_loop or bool(evaluate(play.progress, index, when))
    if cell.is_item:
        return True
    return when != "bad" and bool(evaluate(play.progress, index, when))


# -- at the end ------------------------------------------------------------------------------------------------


def check_end(play: Play) -> None:
    progress = play.progress
    assert progress.run.state in RUN_ENDED
    assert progress.unended == 0
    assert not play.ready
    assert progress.run.finished_at_ms is not None
    assert (progress.run.reason is None) == (progress.run.state is RunState.SUCCEEDED)
    assert progress.run.state is expected_outcome(play)
    assert progress.run.state is progress.run.outcome
    for index, cell in enumerate(progress.cells):
        assert cell.has_ended, cell.id
        assert all(one.state in ATTEMPT_ENDED for one in cell.attempts)
        assert [one.number for one in cell.attempts] == play.starts.get(cell.id, [])
        assert cell.record.state is TaskState.SUCCEEDED or cell.record.reason
        assert cell.record.waits_for is None
        check_attempts(cell)
        check_unbegun(play, index)
        check_group(play, cell)
    check_what_follows(play)
    check_over(play)


def check_over(play: Play) -> None:
    """Nothing changes a run that has ended."""
    before = facts(play.progress)
    late = transitions.stop(play.progress, StopCause.CANCEL, "too late", evaluate, play.now_ms)
    assert (late.changes, late.ready, late.stop) == ([], [], [])
    for index in range(len(play.progress.cells)):
        passed = transitions.time_passed(play.progress, index, evaluate, play.now_ms + 10**6)
        assert (passed.changes, passed.ready, passed.stop) == ([], [], [])
    assert facts(play.progress) == before


def is_allowed(play: Play, index: int) -> bool:
    return play.cell(index).task.continue_on_error or any(
        one.task.continue_on_error for one in play.progress.ancestors(index)
    )


def expected_outcome(play: Play) -> RunState:
    """Return how a run has to end, from the states of its tasks."""
    progress, run = play.progress, play.progress.run
    main = [(at, cell) for at, cell in enumerate(progress.cells) if cell.task.section is Section.MAIN]
    failed = [cell for at, cell in main if cell.record.state in FAILED and not is_allowed(play, at)]
    if run.stop_cause is not None and not play.is_stopped_late:
        cut = [
            cell
            for _, cell in main
            if cell.record.reason == run.stop_reason and cell.record.state in (TaskState.CANCELLED, TaskState.TIMED_OUT)
        ]
        if failed or cut:
            return RunState.CANCELLED if run.stop_cause is StopCause.CANCEL else RunState.TIMED_OUT
    if any(cell.record.state is TaskState.INTERRUPTED for cell in failed):
        return RunState.INTERRUPTED
    if failed or "bad" in play.definition.outputs.values():
        return RunState.FAILED
    return RunState.SUCCEEDED


def check_attempts(cell: Cell) -> None:
    """There is another attempt after a failure only as retry, or what follows an interruption, allows it."""
    failures = 0
    for one, following in zip(cell.attempts, cell.attempts[1:], strict=False):
        assert following.number == one.number + 1
        assert one.state is not AttemptState.CANCELLED, f"{cell.id} was cancelled and tried again"
        if one.state in (AttemptState.SUCCEEDED, AttemptState.SKIPPED):
            assert cell.task.repeat is not None, f"{cell.id} was done twice"
            failures = 0
            continue
        failures += 1
        if one.state is AttemptState.INTERRUPTED and cell.task.on_interrupt is not OnInterrupt.FAIL:
            failures -= cell.task.on_interrupt is not OnInterrupt.RETRY
            continue
        assert failures < cell.task.retry.attempts, f"{cell.id} was tried too often"
        assert one.state.value in {cause.value for cause in cell.task.retry.on}
    if cell.task.repeat is not None:
        done = sum(1 for one in cell.attempts if one.state is AttemptState.SUCCEEDED)
        assert done <= cell.task.repeat.max_times


def check_unbegun(play: Play, index: int) -> None:
    """What never began has a cause in what it depends on, in its own keys, in its group, or in how its run ended."""
    cell = play.cell(index)
    if cell.id in play.begun:
        return
    state = cell.record.state
    before = [play.cell(other) for other in cell.depends_on]
    group = play.cell(cell.parent) if cell.parent is not None else None
    is_with_group = group is not None and group.id not in play.begun and group.record.state is state
    task = cell.task
    bad = "bad" in (task.when, task.condition) or (
        task.for_each is not None and task.for_each.items in ("bad", "number")
    )
    if state is TaskState.UPSTREAM_FAILED:
        is_below = group is not None and group.id not in play.begun and group.record.state in BROKEN
        assert is_below or (not met(cell, before) and any(one.record.state in BROKEN for one in before)), cell.id
    elif state is TaskState.SKIPPED:
        is_other = group is not None and task.branch is not None and not is_taken(group, task.branch)
        is_refused = not met(cell, before) and (
            task.trigger is Trigger.ONE_FAILED
            or not any(one.record.state in BROKEN and not good(one) for one in before)
        )
        assert is_with_group or is_other or is_refused or not holds(play, index), cell.id
    elif state is TaskState.CANCELLED:
        groups = list(play.progress.ancestors(index))
        is_ended = any(one.fails_fast and fast_failures(play, one) for one in groups)
        is_late = any(one.record.state is TaskState.TIMED_OUT for one in groups)
        assert play.progress.run.stop_cause is not None or is_ended or is_late, cell.id
    elif state is TaskState.FAILED:
        assert bad or cell.id in play.refused or (group is not None and is_with_group), f"{cell.id}: {cell.record}"
    else:
        assert state is TaskState.SUCCEEDED
        assert cell.members is not None


def is_taken(group: Cell, branch: Branch) -> bool:
    outputs = group.record.outputs
    return isinstance(outputs, dict) and outputs["branch"] == branch.value


def check_group(play: Play, cell: Cell) -> None:
    """A group ends as its members did: failed if one failed that may not, cancelled if one was, succeeded otherwise."""
    if cell.members is None or cell.id not in play.begun:
        return
    members = [play.cell(index) for index in cell.members.cells]
    assert all(one.record.finished_at_ms <= cell.record.finished_at_ms for one in members)  # type: ignore[operator]
    state = cell.record.state
    if state is TaskState.TIMED_OUT:
        assert cell.task.timeout_seconds is not None
        assert cell.record.finished_at_ms - cell.record.started_at_ms >= 20_000  # type: ignore[operator]
    elif fast_failures(play, cell):
        assert state in (TaskState.FAILED, TaskState.INTERRUPTED), cell.id
    elif any(one.record.state is TaskState.CANCELLED for one in members):
        assert state is TaskState.CANCELLED, cell.id
    else:
        assert state is TaskState.SUCCEEDED, cell.id
    if cell.is_loop:
        assert cell.record.outputs == [one.record.outputs or {} for one in members]


def check_what_follows(play: Play) -> None:
    """After a run that did not succeed what had succeeded is taken back, the last first; then come the hooks."""
    progress = play.progress
    outcome = progress.run.outcome
    assert outcome is not None
    hooks = {
        RunState.SUCCEEDED: [Section.ON_SUCCESS],
        RunState.CANCELLED: [Section.ROLLBACK, Section.ON_CANCEL],
    }.get(outcome, [Section.ROLLBACK, Section.ON_FAILURE])
    order = [*hooks, Section.ON_EXIT]
    found = {cell.task.section for cell in progress.cells} - {Section.MAIN}
    assert found <= set(order), f"{found} after {outcome}"
    begun = [cell for name in play.begun if (cell := play.cell(progress.index[name])).task.section is not Section.MAIN]
    places = [order.index(cell.task.section) for cell in begun]
    assert places == sorted(places)
    back = [cell for cell in begun if cell.task.section is Section.ROLLBACK and cell.parent is None]
    taken = [play.cell(cell.takes_back) for cell in back if cell.takes_back is not None]
    assert len(taken) == len(back)
    assert all(one.record.state is TaskState.SUCCEEDED for one in taken)
    ends = [one.record.finished_at_ms or 0 for one in taken]
    assert ends == sorted(ends, reverse=True), "not the last first"
    if outcome is not RunState.SUCCEEDED and not play.is_stopped_again and progress.run.started_at_ms is not None:
        wanted = {task.rolls_back for task in play.definition.tasks if task.section is Section.ROLLBACK}
        targets = {play.definition.tasks[at].id for at in wanted if at is not None}
        missing = {
            cell.id
            for cell in in_section(play, Section.MAIN)
            if cell.task.id in targets and cell.record.state is TaskState.SUCCEEDED and not cell.is_loop
        } - {play.cell(cell.takes_back).id for cell in progress.cells if cell.takes_back is not None}
        assert not missing, f"not taken back: {missing}"
