"""What a run does next, case by case."""

from __future__ import annotations

from dataclasses import replace

import pytest

from barbossad.engine import growth, transitions
from barbossad.engine.decision import Decision, Stop
from barbossad.engine.progress import RunProgress
from barbossad.engine.transitions import End
from barbossad.model.states import AttemptState, RunState, StopCause
from barbossad.store import changes
from tests.helpers.playing import no_expressions
from tests.helpers.records import NOON_MS, attempt, run, workflow

DIAMOND = {"a": [], "b": ["a"], "c": ["a"], "d": ["b", "c"]}


def made(dependencies: dict[str, list[str]]) -> RunProgress:
    """Return a run none of whose tasks has started."""
    return growth.create(workflow(dependencies), run())


def begin(progress: RunProgress) -> Decision:
    return transitions.begin(progress, no_expressions, NOON_MS)


def start(progress: RunProgress, task_id: str) -> None:
    index = progress.index[task_id]
    transitions.attempt_starting(progress, index, attempt(task_id=task_id), NOON_MS)


def end(progress: RunProgress, task_id: str, state: AttemptState) -> Decision:
    index = progress.index[task_id]
    over = replace(progress.cells[index].attempts[-1], state=state, reason="why", finished_at_ms=NOON_MS + 1)
    return transitions.attempt_ended(progress, index, End(attempt=over), no_expressions)


def play(progress: RunProgress, **ends: AttemptState) -> Decision:
    """Start and end tasks one after the other; return what the last end decides."""
    decision = begin(progress)
    for task_id, state in ends.items():
        assert progress.index[task_id] in begin(progress).ready
        start(progress, task_id)
        decision = end(progress, task_id, state)
    return decision


def states(progress: RunProgress) -> dict[str, str]:
    return {cell.record.task_id: cell.record.state.value for cell in progress.cells}


SUCCEEDED, FAILED, TIMED_OUT = AttemptState.SUCCEEDED, AttemptState.FAILED, AttemptState.TIMED_OUT
INTERRUPTED, CANCELLED = AttemptState.INTERRUPTED, AttemptState.CANCELLED


def test_begin() -> None:
    """What waits for nothing is ready at once, in the order of the file."""
    assert begin(made({"x": ["y"], "y": [], "z": []})).ready == [1, 2]


def test_the_last_dependency_makes_ready() -> None:
    """A task is ready when all that it waits for have succeeded, not before."""
    progress = made(DIAMOND)
    assert play(progress, a=SUCCEEDED).ready == [1, 2]
    assert play(progress, b=SUCCEEDED).ready == []
    assert play(progress, c=SUCCEEDED).ready == [3]
    assert not progress.has_ended
    decision = play(progress, d=SUCCEEDED)
    assert progress.run.state is RunState.SUCCEEDED
    assert isinstance(decision.changes[-1], changes.RunMoved)


def test_the_first_start_starts_the_run() -> None:
    """A run waits in the queue until its first task leaves it; that is recorded before the attempt."""
    progress = made(DIAMOND)
    decision = transitions.attempt_starting(progress, 0, attempt(task_id="a"), NOON_MS + 7)
    assert [type(step) for step in decision.changes] == [changes.RunMoved, changes.AttemptStarting]
    assert (progress.run.state, progress.run.started_at_ms) == (RunState.RUNNING, NOON_MS + 7)


@pytest.mark.parametrize("state", [FAILED, TIMED_OUT, INTERRUPTED])
def test_what_waits_for_a_failure(state: AttemptState) -> None:
    """All that waits for a task that did not succeed, directly or not, never starts; each says which task it was.

    That is known when all has ended that it waits for.
    """
    progress = made({**DIAMOND, "e": ["d"]})
    play(progress, a=SUCCEEDED, b=state)
    assert states(progress)["d"] == "pending"
    assert progress.run.state is RunState.RUNNING, "c may still run"
    play(progress, c=SUCCEEDED)
    assert states(progress) | {"d": "upstream_failed", "e": "upstream_failed"} == states(progress)
    assert (progress.cells[3].record.reason or "").startswith("task 'b' ")
    assert progress.cells[4].record.reason == progress.cells[3].record.reason
    assert progress.run.state is (RunState.INTERRUPTED if state is INTERRUPTED else RunState.FAILED)


def test_a_chain_names_the_root() -> None:
    """At the end of a long chain the reason names the task that failed, not the neighbour that never ran."""
    ids = [f"t{number}" for number in range(3000)]
    progress = made({task_id: ids[max(position - 1, 0) : position] for position, task_id in enumerate(ids)})
    decision = play(progress, t0=FAILED)
    assert progress.cells[-1].record.reason == "task 't0' failed"
    assert progress.run.state is RunState.FAILED
    assert progress.run.reason == "task t0 failed"
    (unreachable,) = [step for step in decision.changes if isinstance(step, changes.TasksEndedUnstarted)]
    assert len(unreachable.tasks) == 2999


def test_many_failures_are_counted() -> None:
    """The reason of a run names a few of its failed tasks and counts the others."""
    progress = made({f"t{number}": [] for number in range(8)})
    for number in range(8):
        play(progress, **{f"t{number}": FAILED})
    assert progress.run.reason == "tasks t0, t1, t2, t3, t4 and 3 more failed"


def test_interruption_outranks_failure() -> None:
    """Where something was interrupted nobody knows how the run would have ended."""
    progress = made({"a": [], "b": [], "c": []})
    play(progress, a=FAILED, b=INTERRUPTED, c=SUCCEEDED)
    assert (progress.run.state, progress.run.reason) == (RunState.INTERRUPTED, "task b was interrupted")


def test_timed_out_task_fails_the_run() -> None:
    """A task's timeout is a failure of the run, not the run's own timeout."""
    progress = made({"a": []})
    play(progress, a=TIMED_OUT)
    assert (progress.run.state, progress.run.reason) == (RunState.FAILED, "task a timed out")


def test_unstartable() -> None:
    """A task of which no attempt could be made fails without one, and its run is recorded as started."""
    progress = made({"a": [], "b": ["a"]})
    decision = transitions.task_unstartable(progress, 0, "no such output", no_expressions, NOON_MS)
    assert states(progress) == {"a": "failed", "b": "upstream_failed"}
    assert progress.cells[0].record.reason == "no such output"
    assert progress.cells[0].attempts == []
    assert progress.run.state is RunState.FAILED
    kinds = [type(step).__name__ for step in decision.changes]
    assert kinds == ["RunMoved", "TasksEndedUnstarted", "RunMoved"]


def test_cancel_before_the_start() -> None:
    """A run that nothing of has started is cancelled at once."""
    progress = made(DIAMOND)
    decision = transitions.stop(progress, StopCause.CANCEL, "enough", no_expressions, NOON_MS)
    assert set(states(progress).values()) == {"cancelled"}
    assert (progress.run.state, progress.run.reason) == (RunState.CANCELLED, "enough")
    assert decision.stop == []
    assert [type(step).__name__ for step in decision.changes] == ["RunStopping", "TasksEndedUnstarted", "RunMoved"]


@pytest.mark.parametrize(
    ("cause", "task_end", "run_end"),
    [
        (StopCause.CANCEL, CANCELLED, RunState.CANCELLED),
        (StopCause.CANCEL, FAILED, RunState.CANCELLED),
        (StopCause.RUN_TIMEOUT, TIMED_OUT, RunState.TIMED_OUT),
        (StopCause.RUN_TIMEOUT, INTERRUPTED, RunState.TIMED_OUT),
    ],
)
def test_stop_in_the_middle(cause: StopCause, task_end: AttemptState, run_end: RunState) -> None:
    """What is pending is cancelled at once, what is live is stopped, and the run ends with the last of it."""
    progress = made(DIAMOND)
    play(progress, a=SUCCEEDED)
    start(progress, "b")
    decision = transitions.stop(progress, cause, "enough", no_expressions, NOON_MS)
    assert decision.stop == [Stop(1, cause, "enough")]
    assert states(progress) == {"a": "succeeded", "b": "starting", "c": "cancelled", "d": "cancelled"}
    assert progress.run.state is RunState.RUNNING
    end(progress, "b", task_end)
    assert (progress.run.state, progress.run.reason) == (run_end, "enough")


def test_stop_twice() -> None:
    """The first reason stays; a second stop only stops again what still lives."""
    progress = made(DIAMOND)
    start(progress, "a")
    transitions.stop(progress, StopCause.RUN_TIMEOUT, "late", no_expressions, NOON_MS)
    again = transitions.stop(progress, StopCause.CANCEL, "enough", no_expressions, NOON_MS)
    assert (again.changes, again.stop) == ([], [Stop(0, StopCause.CANCEL, "late", is_again=True)])
    assert progress.run.stop_cause is StopCause.RUN_TIMEOUT


def test_success_of_all_is_success() -> None:
    """A stop that came too late for the only task, which had succeeded, does not make the run look ended by it."""
    progress = made({"a": []})
    start(progress, "a")
    transitions.stop(progress, StopCause.CANCEL, "enough", no_expressions, NOON_MS)
    end(progress, "a", SUCCEEDED)
    assert progress.run.state is RunState.SUCCEEDED


def test_illegal_facts_are_not_believed() -> None:
    """A fact that contradicts what is known is a fault of Barbossa and raised as such."""
    progress = made({"a": []})
    with pytest.raises(IndexError):
        end(progress, "a", SUCCEEDED)
    play(progress, a=SUCCEEDED)
    for again in (SUCCEEDED, FAILED):
        with pytest.raises(AssertionError, match="succeeded ->"):
            end(progress, "a", again)
