"""Rules that hold for every workflow, every order of events and every moment at which the daemon may die."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from barbossad.engine import timing, transitions
from barbossad.model.definition import WorkflowDefinition
from barbossad.model.flow import Section
from barbossad.model.states import ATTEMPT_ENDED, RUN_ENDED, RunState, StopCause
from barbossad.store.changes import Change, RunMoved
from tests.helpers import rules
from tests.helpers.memory_store import MemoryStore
from tests.helpers.playing import Play, check_restored
from tests.helpers.random_flows import random_workflow

FLOWS = 130
RUNS_OF_EACH = 4
LONGEST = 4000


def any_flow() -> WorkflowDefinition:
    return random_workflow(random.Random(random.getrandbits(64)))


@pytest.fixture(scope="module")
def store() -> Iterator[MemoryStore]:
    """Tables in memory, for all runs."""
    made = MemoryStore()
    yield made
    made.close()


@pytest.mark.by_chance
@pytest.mark.parametrize("number", range(FLOWS))
def test_any_run(store: MemoryStore, number: int) -> None:
    """A run ends by the rules; no task starts early or twice; at every moment its rows say all that is known."""
    definition = any_flow()
    for again in range(RUNS_OF_EACH):
        chance = random.Random(random.getrandbits(64))
        play = Play(chance, definition, store, number=number * RUNS_OF_EACH + again)
        outcome = None
        for _ in range(LONGEST):
            if play.progress.has_ended:
                break
            if play.chance.random() < 0.1:
                check_restored(play)
            play.step()
            assert outcome in (None, play.progress.run.outcome), "what follows the main part changes nothing"
            outcome = play.progress.run.outcome
        check_restored(play)
        check_end(play)


def check_end(play: Play) -> None:
    """Check how a run and all its tasks ended."""
    progress, run = play.progress, play.progress.run
    assert run.state in RUN_ENDED, "it goes on for ever"
    assert (progress.unended, play.ready, play.live()) == (0, [], [])
    assert run.state is run.outcome
    assert run.state is rules.outcome(progress, play.main_cause, was_stopped=play.was_stopped)
    assert (run.reason is None) == (run.state is RunState.SUCCEEDED)
    for cell in progress.cells:
        assert rules.state(cell) in rules.ENDED
        assert cell.record.finished_at_ms is not None
        assert [one.number for one in cell.attempts] == list(range(1, len(cell.attempts) + 1))
        assert all(one.state in ATTEMPT_ENDED for one in cell.attempts)
        assert list(timing.due(cell)) == []
        if cell.attempts:
            assert cell.record.started_at_ms is not None
        elif cell.members is not None and cell.record.started_at_ms is not None:
            rules.check_group(progress, cell)
        elif cell.record.started_at_ms is None:
            rules.check_unstarted(progress, cell, play.values, play.unstartable)
    check_what_follows(play)
    check_nothing_after(play)


def check_what_follows(play: Play) -> None:
    """Check which sections ran, and that tasks were taken back in reverse order of their completion."""
    state = play.progress.run.state
    if play.progress.run.started_at_ms is None and play.progress.run.stop_cause is not None:
        assert {cell.task.section for cell in play.progress.cells} == {Section.MAIN}, "nothing of it ever began"
        return
    wanted = {
        Section.ROLLBACK: state is not RunState.SUCCEEDED,
        Section.ON_SUCCESS: state is RunState.SUCCEEDED,
        Section.ON_FAILURE: state in (RunState.FAILED, RunState.TIMED_OUT, RunState.INTERRUPTED),
        Section.ON_CANCEL: state is RunState.CANCELLED,
        Section.ON_EXIT: True,
    }
    there = {cell.task.section for cell in play.progress.cells}
    for section, is_wanted in wanted.items():
        if section in there:
            assert is_wanted, f"{section} after {state}"
        elif is_wanted and section is not Section.ROLLBACK:
            assert section not in play.definition.sections, f"no {section} after {state}"
    if not wanted[Section.ROLLBACK]:
        return
    expected = rules.rolled_back(play.progress, play.completed)
    taken_back = [cell for cell in play.progress.cells if cell.task.section is Section.ROLLBACK]
    assert {play.progress.cells[cell.takes_back or 0].id for cell in taken_back} == set(expected)
    begun = [play.cell(name) for name in play.begun if play.cell(name).task.section is Section.ROLLBACK]
    order = list(dict.fromkeys(play.progress.cells[cell.takes_back or 0].id for cell in begun))
    assert order == [name for name in expected if name in order]


def check_nothing_after(play: Play) -> None:
    """Check that whatever is asked of a run that has ended changes nothing."""
    decision = transitions.stop(play.progress, StopCause.CANCEL, "too late", play.values, play.now_ms)
    assert (decision.changes, decision.ready, decision.stop) == ([], [], [])
    for index in range(len(play.progress.cells)):
        decision = transitions.time_passed(play.progress, index, play.values, play.now_ms + 10**9)
        assert (decision.changes, decision.ready, decision.stop) == ([], [], [])
    ends = [
        step for steps in play.steps for step in steps if isinstance(step, RunMoved) and step.kind == "run_finished"
    ]
    assert len(ends) == 1


@pytest.mark.by_chance
@pytest.mark.parametrize("number", range(25))
def test_groups_of_many_runs(number: int) -> None:
    """However the steps of many runs come to be written together, the rows are those of writing each on its own."""
    store, other = MemoryStore(), MemoryStore()
    plays = []
    for run_number in range(5):
        plays.append(Play(random.Random(random.getrandbits(64)), any_flow(), store, run_number))
        while not plays[-1].progress.has_ended:
            plays[-1].step()
    waiting = [list(play.steps) for play in plays]
    while any(waiting):
        group: list[Change] = []
        for _ in range(random.randint(1, 25)):
            left = [steps for steps in waiting if steps]
            if left:
                group += random.choice(left).pop(0)
        other.record(group)
    for play in plays:
        assert other.details(play.progress.run.id) == store.details(play.progress.run.id)
        assert other.story(play.progress.run.id) == store.story(play.progress.run.id)
    store.close()
    other.close()
