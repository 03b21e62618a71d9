"""Whether items of loops, and what takes tasks back, begin; and how a group ends that took too long."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from barbossad.engine import growth, outcomes, transitions
from barbossad.engine import progress as progresses
from barbossad.engine.decision import Decision
from barbossad.engine.progress import RunProgress
from barbossad.engine.transitions import End
from barbossad.model.definition import TaskDefinition, WorkflowDefinition
from barbossad.model.flow import Loop, Section, TaskKind, Trigger
from barbossad.model.records import changed
from barbossad.model.states import AttemptState, RunState, StopCause, TaskState
from barbossad.store import changes
from tests.helpers import flows
from tests.helpers.records import NOON_MS, attempt, run

SUCCEEDED, FAILED = AttemptState.SUCCEEDED, AttemptState.FAILED


def as_it_stands(progress: RunProgress, index: int | None, value: Any) -> Any:
    """Take a value for what it says: it holds no expression."""
    return value


def group_of(members: str, **keys: Any) -> WorkflowDefinition:
    """Return a workflow of one group, ``g``, with members of one letter each."""
    tasks = (flows.task(f"g.{name}") for name in members)
    return flows.workflow(flows.group(flows.task("g", kind=TaskKind.GROUP, **keys), *tasks))


class Player:
    """A run whose tasks a test starts and ends by their ids."""

    def __init__(self, definition: WorkflowDefinition) -> None:
        self.progress = growth.create(definition, run())
        self.now_ms = NOON_MS
        self.order: list[str] = []
        transitions.begin(self.progress, as_it_stands, NOON_MS)

    def play(self, **ends: AttemptState) -> list[str]:
        """Start and end all that is ready, as told by name, well if not; return the ids in the order of their start."""
        begun: list[str] = []
        while ready := transitions.begin(self.progress, as_it_stands, self.now_ms).ready:
            cell = self.progress.cells[ready[0]]
            begun.append(cell.id)
            self.now_ms += 1
            self.start(cell.id)
            self.end(cell.id, ends.get(cell.task.name, SUCCEEDED))
        return begun

    def start(self, task_id: str) -> None:
        number = attempt(task_id=task_id)
        transitions.attempt_starting(self.progress, self.progress.index[task_id], number, self.now_ms)

    def end(self, task_id: str, state: AttemptState) -> Decision:
        index = self.progress.index[task_id]
        last = self.progress.cells[index].attempts[-1]
        over = replace(last, state=state, reason=f"it {state}", finished_at_ms=self.now_ms)
        return transitions.attempt_ended(self.progress, index, End(attempt=over), as_it_stands)

    def state(self, task_id: str) -> TaskState:
        return self.progress.cells[self.progress.index[task_id]].record.state


@pytest.mark.parametrize(
    ("trigger", "before"), [(Trigger.ONE_FAILED, FAILED), (Trigger.ONE_SUCCESS, SUCCEEDED), (Trigger.ALWAYS, FAILED)]
)
def test_the_trigger_of_a_loop_is_not_asked_of_its_items(trigger: Trigger, before: AttemptState) -> None:
    """When a loop may begin by what came before it, so may all its items, which depend on nothing of their own."""
    loop = flows.task("each", "a", trigger=trigger, for_each=Loop(items=("x", "y")))
    player = Player(flows.workflow(flows.task("a"), loop))
    assert player.play(a=before) == ["a", "each[0]", "each[1]"]
    assert player.state("each") is TaskState.SUCCEEDED


def rollback(task_id: str, *depends_on: str, position: int = 0, **more: Any) -> TaskDefinition:
    return flows.task(task_id, *depends_on, section=Section.ROLLBACK, rolls_back=position, **more)


def test_what_takes_back_is_done_whatever_became_of_the_rest() -> None:
    """One thing that cannot be taken back keeps nothing else from it, of its own task or of another."""
    player = Player(
        flows.workflow(
            flows.task("a"),
            flows.task("b", "a"),
            flows.task("c", "b"),
            rollback("rollback.a"),
            rollback("rollback.b.first", position=1),
            rollback("rollback.b.second", "rollback.b.first", position=1),
        )
    )
    begun = player.play(c=FAILED, first=FAILED, second=FAILED)
    assert begun[3:] == ["rollback.b.first", "rollback.b.second", "rollback.a"]
    assert player.progress.run.state is RunState.FAILED


@pytest.mark.parametrize(("first", "is_done"), [(FAILED, True), (SUCCEEDED, False)])
def test_a_trigger_within_a_rollback(first: AttemptState, is_done: bool) -> None:
    """A trigger that is written in a rollback holds there: in a list of tasks, and in a group."""
    listed = [
        rollback("rollback.a.first"),
        rollback("rollback.a.second", "rollback.a.first", trigger=Trigger.ONE_FAILED),
    ]
    group = flows.group(
        rollback("rollback.b", position=1, kind=TaskKind.GROUP),
        rollback("rollback.b.first", position=1),
        rollback("rollback.b.second", "rollback.b.first", position=1, trigger=Trigger.ONE_FAILED),
    )
    player = Player(flows.workflow(flows.task("a"), flows.task("b", "a"), flows.task("c", "b"), listed, group))
    player.play(c=FAILED, first=first)
    expected = TaskState.SUCCEEDED if is_done else TaskState.SKIPPED
    assert (player.state("rollback.a.second"), player.state("rollback.b.second")) == (expected, expected)


def test_what_fails_in_a_group_of_a_rollback_keeps_the_rest_of_it() -> None:
    """Within a group the usual rules hold, also in a rollback; what comes after the group is done all the same."""
    group = flows.group(
        rollback("rollback.b", position=1, kind=TaskKind.GROUP),
        rollback("rollback.b.one", position=1),
        rollback("rollback.b.two", "rollback.b.one", position=1),
    )
    definition = flows.workflow(
        flows.task("a"), flows.task("b", "a"), flows.task("c", "b"), rollback("rollback.a"), group
    )
    player = Player(definition)
    assert player.play(c=FAILED, one=FAILED)[3:] == ["rollback.b.one", "rollback.a"]
    assert player.state("rollback.b.two") is TaskState.UPSTREAM_FAILED


def test_order_within_a_rollback() -> None:
    """Tasks of one rollback come after those that they depend on, whatever their order in the file."""
    parts = [
        rollback("rollback.a.z", "rollback.a.y"),
        rollback("rollback.a.y", "rollback.a.x"),
        rollback("rollback.a.x"),
    ]
    player = Player(flows.workflow(flows.task("a"), flows.task("b", "a"), *parts))
    assert player.play(b=FAILED)[2:] == ["rollback.a.x", "rollback.a.y", "rollback.a.z"]


def test_a_group_that_took_too_long_has_done_so_after_a_restart_too() -> None:
    """What fails in it because its time is over does not make it look like a group that failed fast."""
    definition = flows.workflow(
        flows.group(
            flows.task("g", kind=TaskKind.GROUP, fail_fast=True, timeout_seconds=20),
            flows.task("g.a"),
            flows.group(flows.task("g.inner", kind=TaskKind.GROUP), flows.task("g.inner.b"), flows.task("g.inner.c")),
        )
    )
    player = Player(definition)
    for one in ("g.a", "g.inner.b", "g.inner.c"):
        player.start(one)
    player.end("g.inner.b", FAILED)
    player.now_ms += 20_000
    transitions.time_passed(player.progress, 0, as_it_stands, player.now_ms)
    player.end("g.inner.c", AttemptState.CANCELLED)
    assert player.state("g.inner") is TaskState.FAILED
    player.progress = growth.restore(definition, progresses.details(player.progress))
    stops = transitions.time_passed(player.progress, 0, as_it_stands, player.now_ms).stop
    assert [stop.index for stop in stops] == [player.progress.index["g.a"]]
    player.end("g.a", AttemptState.CANCELLED)
    assert player.state("g") is TaskState.TIMED_OUT


@pytest.mark.parametrize("is_restarted", [False, True])
def test_what_fails_once_the_time_of_a_group_is_over(is_restarted: bool) -> None:
    """A failure that comes when the time is over, and nobody has looked at the clock yet, is not one that fails fast.

    Else a daemon that is started anew, and knows the instants alone, would give the group another end.
    """
    definition = group_of("ab", fail_fast=True, timeout_seconds=20)
    player = Player(definition)
    for one in ("g.a", "g.b"):
        player.start(one)
    player.now_ms += 20_000
    player.end("g.a", FAILED)
    if is_restarted:
        player.progress = growth.restore(definition, progresses.details(player.progress))
    stops = transitions.time_passed(player.progress, 0, as_it_stands, player.now_ms).stop
    assert [stop.index for stop in stops] == [player.progress.index["g.b"]]
    player.end("g.b", AttemptState.CANCELLED)
    assert player.state("g") is TaskState.TIMED_OUT


def test_who_waits_for_a_place_after_a_restart_begins_once() -> None:
    """It is found waiting when the daemon ends what it left, and again when it looks what may begin: it stands once."""
    definition = flows.workflow(
        flows.group(
            flows.task("g", kind=TaskKind.GROUP, max_parallel=1, fail_fast=False),
            flows.task("g.x", continue_on_error=True),
            flows.task("g.a", "g.x"),
            flows.task("g.c", "g.x"),
            flows.task("g.bad", "g.a", for_each=Loop(items="no list")),
        )
    )
    player = Player(definition)
    player.start("g.x")
    player.progress = growth.restore(definition, progresses.details(player.progress))
    player.end("g.x", AttemptState.INTERRUPTED)
    index = player.progress.index
    ready = transitions.begin(player.progress, as_it_stands, player.now_ms).ready
    assert ready == [index["g.a"]]
    player.start("g.a")
    ready = player.end("g.a", SUCCEEDED).ready
    assert player.state("g.bad") is TaskState.FAILED
    assert ready == [index["g.c"]]


@pytest.mark.parametrize("is_restarted", [False, True])
@pytest.mark.parametrize("heard", [("g.a", "g.b"), ("g.b", "g.a")])
@pytest.mark.parametrize(("later_ms", "expected"), [(0, TaskState.INTERRUPTED), (1, TaskState.FAILED)])
def test_two_failures_of_a_group_that_fails_fast(
    heard: tuple[str, str], later_ms: int, expected: TaskState, is_restarted: bool
) -> None:
    """The first failure by the clock decides, whichever was heard of first; those of one millisecond do together."""
    definition = group_of("abc", fail_fast=True)
    player = Player(definition)
    for one in ("g.a", "g.b", "g.c"):
        player.start(one)
    for one in heard:
        player.now_ms = NOON_MS + (later_ms if one == "g.b" else 0)
        player.end(one, FAILED if one == "g.a" else AttemptState.INTERRUPTED)
    if is_restarted:
        player.progress = growth.restore(definition, progresses.details(player.progress))
    player.end("g.c", AttemptState.CANCELLED)
    assert player.state("g") is expected


@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_failure_in_time_that_is_heard_of_too_late(is_restarted: bool) -> None:
    """A group has failed of what failed before its time was over, though its end for that was asked for already."""
    definition = group_of("ab", fail_fast=True, timeout_seconds=20)
    player = Player(definition)
    for one in ("g.a", "g.b"):
        player.start(one)
    transitions.time_passed(player.progress, 0, as_it_stands, player.now_ms + 20_000)
    player.now_ms += 19_999
    player.end("g.a", FAILED)
    if is_restarted:
        player.progress = growth.restore(definition, progresses.details(player.progress))
    player.end("g.b", AttemptState.CANCELLED)
    assert player.state("g") is TaskState.FAILED


def test_ends_that_are_heard_of_late() -> None:
    """A group and its run end with the last of their tasks, whichever was heard of last: after a restart, for one."""
    definition = group_of("ab", timeout_seconds=20)
    player = Player(definition)
    for one in ("g.a", "g.b"):
        player.start(one)
    transitions.time_passed(player.progress, 0, as_it_stands, NOON_MS + 60_000)
    for one, ended_ms in (("g.b", NOON_MS + 500), ("g.a", NOON_MS + 10)):
        player.now_ms = ended_ms
        player.end(one, SUCCEEDED)
    assert player.state("g") is TaskState.SUCCEEDED, "all of it ended in time"
    assert player.progress.cells[0].record.finished_at_ms == NOON_MS + 500
    assert player.progress.run.finished_at_ms == NOON_MS + 500


@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_member_that_may_fail_does_not_hide_a_timeout(is_restarted: bool) -> None:
    """What was cut by the timeout of a group makes it time out, though its own failure would be allowed."""
    definition = flows.workflow(
        flows.group(
            flows.task("g", kind=TaskKind.GROUP, timeout_seconds=20),
            flows.group(
                flows.task("g.h", kind=TaskKind.GROUP, continue_on_error=True),
                flows.task("g.h.a"),
                flows.task("g.h.b", "g.h.a"),
            ),
        )
    )
    player = Player(definition)
    player.start("g.h.a")
    player.now_ms += 20_000
    transitions.time_passed(player.progress, 0, as_it_stands, player.now_ms)
    if is_restarted:
        player.progress = growth.restore(definition, progresses.details(player.progress))
    player.end("g.h.a", AttemptState.INTERRUPTED)
    assert player.state("g.h.b") is TaskState.CANCELLED
    assert player.state("g") is TaskState.TIMED_OUT


def test_a_group_names_the_end_of_its_run_where_that_cancelled_it() -> None:
    """In what follows a run that was cancelled something else may cancel: the timeout of a group around it, say."""
    progress = growth.create(group_of("ab"), replace(run(), stop_cause=StopCause.CANCEL, stop_reason="enough"))
    for cell in progress.cells[1:]:
        cell.record = changed(cell.record, state=TaskState.CANCELLED, reason="its group took too long")
    assert outcomes.of_group(progress, 0, NOON_MS) == (TaskState.CANCELLED, "tasks g.a, g.b were cancelled")
    progress.cells[2].record = changed(progress.cells[2].record, reason="enough")
    assert outcomes.of_group(progress, 0, NOON_MS) == (TaskState.CANCELLED, "enough")


def test_what_begins_together_is_told_in_one_change() -> None:
    """Ten thousand groups that begin at once are one list, which none of them copies."""
    progress = growth.create(group_of("a", for_each=Loop(items=(1, 2, 3))), run())
    decision = transitions.begin(progress, as_it_stands, NOON_MS)
    entered = [change for change in decision.changes if isinstance(change, changes.TasksEntered)]
    assert [[task.task_id for task in change.tasks] for change in entered] == [["g", "g[0]", "g[1]", "g[2]"]]
    told = entered[0].tasks
    decision.entered(told[0], NOON_MS, "task_began")
    assert len(told) == 5
