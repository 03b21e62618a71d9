"""What a plan says is what a run does, where all that decides is known beforehand."""

from __future__ import annotations

import random

import pytest

from barbossad.engine import sizes
from barbossad.model.flow import Section, TaskKind
from barbossad.model.states import RunState, TaskState
from barbossad.planning.plan import Plan, PlannedTask
from barbossad.planning.verdicts import Verdict
from tests.helpers import foretold
from tests.helpers.foretold import Run

FLOWS = 150


def any_plan(*, is_sound: bool) -> tuple[Plan, random.Random]:
    chance = random.Random(random.getrandbits(64))
    return foretold.plan(foretold.workflow(chance, is_sound=is_sound)), chance


def carry_out(plan: Plan, chance: random.Random, **shares: float) -> Run:
    order = {planned.id: number for number, planned in enumerate(plan.tasks)}
    return Run(plan.definition, order, chance, **shares)


def cells(run: Run, planned: PlannedTask) -> list[foretold.Cell]:
    """Return what became of one task of a plan, or of one item of it."""
    index = int(planned.id.rpartition("[")[2].rstrip("]")) if planned.has_item else None
    return list(run.cells(planned.task.id, index))


@pytest.mark.by_chance
@pytest.mark.parametrize("number", range(FLOWS))
def test_where_nothing_fails_a_run_does_what_its_plan_says(number: int) -> None:
    """What the plan says runs does begin, in the order of the plan; what it says is skipped does not."""
    plan, chance = any_plan(is_sound=True)
    assert [planned.content.problems for planned in plan.tasks if planned.content.problems] == []
    run = carry_out(plan, chance, share_done_already=0.3)
    assert run.progress.run.state is RunState.SUCCEEDED
    assert not any(map(foretold.is_broken, run.progress.cells))
    check_skipped(plan, run)
    for planned in plan.tasks:
        if planned.verdict is Verdict.RUN:
            found = cells(run, planned)
            assert found, f"{planned.id} is not there"
            assert all(map(foretold.has_begun, found)), f"{planned.id} has not begun"
    check_order(plan, run)


@pytest.mark.by_chance
@pytest.mark.parametrize("number", range(FLOWS))
def test_what_a_plan_says_is_skipped_never_begins(number: int) -> None:
    """Whatever fails, what is skipped does not begin; rollback and hooks come in the order of the plan."""
    plan, chance = any_plan(is_sound=True)
    run = carry_out(plan, chance, share_that_fails=0.25, share_done_already=0.3)
    check_skipped(plan, run)
    check_order(plan, run)


@pytest.mark.by_chance
@pytest.mark.parametrize("number", range(FLOWS))
def test_a_problem_of_a_plan_is_a_failure_of_the_run(number: int) -> None:
    """A task that has a problem in the plan fails if it is reached, and where there is none nothing fails."""
    plan, chance = any_plan(is_sound=False)
    run = carry_out(plan, chance)
    check_skipped(plan, run)
    main = [planned for planned in plan.tasks if planned.task.section is Section.MAIN]
    faulty = [planned for planned in main if planned.content.problems]
    sure = [planned for planned in faulty if planned.verdict is Verdict.RUN]
    for planned in sure:
        assert all(cell.record.state is not TaskState.SUCCEEDED for cell in cells(run, planned)), planned.id
    broken = [cell for cell in run.progress.cells if cell.task.section is Section.MAIN and foretold.is_broken(cell)]
    assert broken or not sure
    if not faulty:
        assert broken == []


@pytest.mark.by_chance
@pytest.mark.parametrize("number", range(FLOWS))
def test_a_plan_knows_when_loops_are_too_much_for_a_run(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all loops are sure to begin, a run has room for them if and only if its plan says no otherwise."""
    monkeypatch.setattr(sizes, "MAX_ITEMS_IN_ALL", random.randrange(1, 12))
    plan, chance = any_plan(is_sound=True)
    run = carry_out(plan, chance)
    main = [planned for planned in plan.tasks if planned.task.section is Section.MAIN]
    too_much = [planned for planned in main if planned.content.problems and planned.verdict is Verdict.RUN]
    is_sure = all(planned.loop is None or planned.verdict is not Verdict.MAYBE for planned in main)
    is_broken = any(cell.task.section is Section.MAIN and foretold.is_broken(cell) for cell in run.progress.cells)
    assert is_broken or not too_much
    assert too_much or not is_broken or not is_sure


def check_skipped(plan: Plan, run: Run) -> None:
    for planned in plan.tasks:
        if planned.verdict is Verdict.SKIP:
            assert not any(map(foretold.has_begun, cells(run, planned))), f"{planned.id} has begun"


def check_order(plan: Plan, run: Run) -> None:
    """Check that what stands first in the plan begins first, where nothing waits for a place.

    The members of a group that is repeated begin once for each item, and so does what takes back a loop.
    """
    tasks = plan.definition.tasks
    loops = {position for position, task in enumerate(tasks) if task.for_each is not None}
    has_places = any(task.max_parallel is not None for task in tasks)
    if has_places or any(tasks[position].kind is TaskKind.GROUP for position in loops):
        return
    begun = [run.order[cell.task.id] for cell in run.begun if cell.task.rolls_back not in loops]
    assert begun == sorted(begun)
