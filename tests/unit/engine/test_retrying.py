"""What need not run again when a run is retried."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace

import pytest

from barbossad.engine import retrying
from barbossad.errors import ConflictError, NotFoundError
from barbossad.model.definition import WorkflowDefinition
from barbossad.model.flow import Loop, Section, TaskKind
from barbossad.model.states import TaskState
from tests.helpers import records
from tests.helpers.flows import group, task, workflow

STATES = {
    "s": TaskState.SUCCEEDED,
    "k": TaskState.SKIPPED,
    "f": TaskState.FAILED,
    "u": TaskState.UPSTREAM_FAILED,
    "c": TaskState.CANCELLED,
    "t": TaskState.TIMED_OUT,
    "i": TaskState.INTERRUPTED,
}


def kept(definition: WorkflowDefinition, states: str, since: str = "failed", *, rolled_back: str = "") -> set[str]:
    """Return what is kept where tasks ended as ``states`` says: ``a:s b:f``."""
    rows = dict(pair.rsplit(":", 1) for pair in states.split())
    rows |= {f"rollback.{name}": "s" for name in rolled_back.split()}
    tasks = {name: records.task(STATES[state], name) for name, state in rows.items()}
    found = retrying.kept(definition, records.run_id(), tasks, since)
    assert all(record is tasks[name] for name, record in found.items())
    return set(found)


CHAIN = workflow(task("a"), task("b", "a"), task("c", "b"), task("d", "c"), task("side"))


def test_what_had_succeeded_is_kept() -> None:
    """From the failed: what succeeded or was skipped stays done, what failed and all after it runs again."""
    assert kept(CHAIN, "a:s b:k c:f d:u side:s") == {"a", "b", "side"}


@pytest.mark.parametrize("state", ["f", "t", "i", "c", "u"])
def test_every_other_end_is_no_success(state: str) -> None:
    """Whatever ended otherwise runs again, and so does what had run after it all the same (trigger, may fail)."""
    assert kept(CHAIN, f"a:{state} b:s c:s d:s side:s") == {"side"}


def test_a_task_without_a_row_runs() -> None:
    """What the run never came to is not done."""
    assert kept(CHAIN, "a:s b:s") == {"a", "b"}


def test_from_a_task_on() -> None:
    """The task and all that depends on it run again, and so does what had failed elsewhere."""
    assert kept(CHAIN, "a:s b:s c:s d:s side:s", "b") == {"a", "side"}
    assert kept(CHAIN, "a:s b:s c:s d:s side:f", "c") == {"a", "b"}


def test_from_the_start() -> None:
    """Nothing is kept."""
    assert kept(CHAIN, "a:s b:s c:s d:s side:s", "start") == set()


def test_with_nothing_to_do_it_is_refused() -> None:
    """Where all of it has succeeded, it is said how to run it again all the same."""
    with pytest.raises(ConflictError, match="from the start"):
        kept(CHAIN, "a:s b:s c:k d:k side:s")


def test_a_task_that_is_not_there() -> None:
    """The nearest name is proposed."""
    with pytest.raises(NotFoundError, match="side"):
        kept(CHAIN, "a:s", "sid")


# -- rollback --------------------------------------------------------------------------------------------------


def test_what_was_rolled_back_is_not_done() -> None:
    """What was taken back runs again with all after it, though it had succeeded."""
    definition = workflow(
        task("a"),
        task("b", "a"),
        task("c"),
        task("rollback.a", section=Section.ROLLBACK, rolls_back=0),
        task("rollback.c", section=Section.ROLLBACK, rolls_back=2),
        task("on_exit.x", section=Section.ON_EXIT),
    )
    assert kept(definition, "a:s b:s c:s on_exit.x:f", rolled_back="a") == {"c"}
    assert kept(definition, "a:s b:f c:s on_exit.x:s") == {"a", "c"}
    with pytest.raises(ConflictError, match="comes at its end"):
        kept(definition, "a:s b:f c:s", "on_exit.x")
    with pytest.raises(ConflictError, match="comes at its end"):
        kept(definition, "a:s b:f c:s", "rollback.a")


def test_names_that_begin_alike_are_not_mixed_up() -> None:
    """The rollback of ``a-2`` says nothing of ``a``."""
    definition = workflow(
        task("a"),
        task("a-2"),
        task("end", "a", "a-2"),
        task("rollback.a", section=Section.ROLLBACK, rolls_back=0),
        task("rollback.a-2", section=Section.ROLLBACK, rolls_back=1),
    )
    assert kept(definition, "a:s a-2:s end:f", rolled_back="a-2") == {"a"}


# -- groups ----------------------------------------------------------------------------------------------------

GROUPS = workflow(
    task("first"),
    group(
        task("g", "first", kind=TaskKind.GROUP),
        task("g.a"),
        task("g.b"),
        group(task("g.h", kind=TaskKind.GROUP), task("g.h.x"), task("g.h.y", "g.h.x")),
    ),
    task("after", "g"),
    task("beside", "first"),
)
GOOD = "first:s g:s g.a:s g.b:s g.h:s g.h.x:s g.h.y:s after:s beside:s"


def with_(states: str) -> str:
    return f"{GOOD} {states}"


def test_members_that_succeeded_are_kept_in_a_group_that_is_not() -> None:
    """Where one member failed, its group and what waits for that run again; the other members are done."""
    assert kept(GROUPS, with_("g.b:f g:f after:u")) == {"first", "g.a", "g.h", "g.h.x", "g.h.y", "beside"}


def test_a_member_deep_down_undoes_all_groups_around_it() -> None:
    """The groups that a member is in run again, each with what waits for it."""
    assert kept(GROUPS, GOOD, "g.h.x") == {"first", "g.a", "g.b", "beside"}


def test_a_group_that_hangs_on_what_runs_again_runs_again_whole() -> None:
    """What a group waits for, its members wait for."""
    assert kept(GROUPS, GOOD, "first") == set()


def test_from_a_group_on() -> None:
    """A group that is named runs again with all of its members."""
    assert kept(GROUPS, GOOD, "g") == {"first", "beside"}


# -- loops -----------------------------------------------------------------------------------------------------

LOOPS = workflow(
    task("list"),
    group(
        task("each", "list", kind=TaskKind.GROUP, for_each=Loop(items="{{ tasks.list.outputs.x }}")),
        task("each.a"),
        task("each.b", "each.a"),
    ),
    task("end", "each"),
    task("rollback.each.a", section=Section.ROLLBACK, rolls_back=2),
)
ITEMS = "list:s each:s each[0]:s each[0].a:s each[0].b:s each[1]:s each[1].a:s each[1].b:s"


def test_a_loop_is_kept_with_the_rows_of_all_items() -> None:
    """A loop that is done brings its items and their members, without which it could not be rebuilt."""
    assert kept(LOOPS, f"{ITEMS} end:f") == set(ITEMS.replace(":s", "").split())


def test_a_loop_with_a_failed_item_runs_again_whole() -> None:
    """One failed item, even one that was allowed to fail, has the whole loop run again."""
    assert kept(LOOPS, f"{ITEMS} each[1].b:f each[1]:f each:f end:u") == {"list"}
    assert kept(LOOPS, f"{ITEMS} each[1].b:f end:s") == {"list"}


def test_a_loop_goes_on_with_its_list() -> None:
    """Where its list is known and stands, the items that were done are kept, and the loop goes on with the others."""
    ends = "list:s each:f each[0]:s each[0].a:s each[1]:f each[1].a:f each[2]:k each[3]:s each[3].a:f"  # which it may
    rows = {name: records.task(STATES[state], name) for name, state in (pair.split(":") for pair in ends.split())}
    rows["each"] = replace(rows["each"], items=tuple("wxyz"), reason="task each[1] failed", finished_at_ms=9)
    found = retrying.kept(LOOPS, records.run_id(), rows, "failed")
    assert set(found) == {"list", "each", "each[0]", "each[0].a", "each[2]"}
    assert (found["each"].state, found["each"].items) == (TaskState.RUNNING, tuple("wxyz"))
    assert (found["each"].reason, found["each"].finished_at_ms) == (None, None)
    assert set(retrying.kept(LOOPS, records.run_id(), rows, "each")) == {"list"}, "who names the loop has it whole"
    rows["list"] = replace(rows["list"], state=TaskState.FAILED)
    assert set(retrying.kept(LOOPS, records.run_id(), rows, "failed")) == set(), "another list may come of it"


def test_a_loop_of_which_nothing_is_left_to_do_runs_again_whole() -> None:
    """It must not be kept as if it went on, for nothing would ever end it: a member hangs on what runs again, or
    the outputs of its items could not be kept together.
    """
    definition = workflow(
        task("a"),
        group(task("each", kind=TaskKind.GROUP, for_each=Loop(items=(1,))), task("each.m"), task("each.n", "a")),
        task("one", for_each=Loop(items=(1,))),
    )
    ends = "a:f each:s each[0]:s each[0].m:s each[0].n:s one:f one[0]:s"
    rows = {name: records.task(STATES[state], name) for name, state in (pair.split(":") for pair in ends.split())}
    rows |= {name: replace(rows[name], items=(1,)) for name in ("each", "one")}
    assert retrying.kept(definition, records.run_id(), rows, "failed") == {}
    rows["each[0].m"] = replace(rows["each[0].m"], state=TaskState.FAILED)
    rows["one"] = replace(rows["one"], items=(1, 2))
    found = retrying.kept(definition, records.run_id(), rows, "failed")
    assert set(found) == {"one", "one[0]"}, "an item that has no row was never begun, and is left to do"


def test_the_rollback_of_an_item_undoes_its_loop() -> None:
    """What was taken back for one item undoes the loop, and what waits for it."""
    assert kept(LOOPS, f"{ITEMS} end:f", rolled_back="each[1].a") == {"list"}


def test_one_item_cannot_be_retried() -> None:
    """Who names an item is told to name its loop."""
    with pytest.raises(ConflictError, match="retry from 'each'"):
        kept(LOOPS, f"{ITEMS} end:f", "each[1]")
    assert kept(LOOPS, f"{ITEMS} end:f", "each.a") == {"list"}


# -- for any workflow ------------------------------------------------------------------------------------------


def depends(definition: WorkflowDefinition, name: str) -> Iterable[str]:
    """Yield what a task depends on, also through the groups that it is in."""
    position: int | None = definition.positions[name]
    while position is not None:
        yield from definition.tasks[position].depends_on
        position = definition.tasks[position].parent


@pytest.mark.parametrize("seed", range(60))
def test_all_that_a_kept_task_depends_on_is_kept(seed: int) -> None:
    """In any graph of tasks and groups: what is kept had been done, and so are its dependencies and its members."""
    chance = random.Random(seed)
    parts: list[object] = []
    names: list[str] = []
    for number in range(chance.randint(3, 8)):
        before = chance.sample(names, chance.randint(0, min(2, len(names))))
        name = f"t{number}"
        if chance.random() < 0.4:
            members = [
                task(f"{name}.m{inner}", *([f"{name}.m{inner - 1}"] if inner and chance.random() < 0.5 else []))
                for inner in range(chance.randint(1, 3))
            ]
            parts.append(group(task(name, *before, kind=TaskKind.GROUP), *members))
        else:
            parts.append(task(name, *before))
        names.append(name)
    definition = workflow(*parts)  # type: ignore[arg-type]
    states = {one.id: chance.choice("ssssskfuc") for one in definition.tasks}
    rows = {name: records.task(STATES[state], name) for name, state in states.items()}
    since = chance.choice(["failed", *definition.positions])
    try:
        found = retrying.kept(definition, records.run_id(), rows, since)
    except ConflictError:
        assert since == "failed"
        assert set(states.values()) <= {"s", "k"}
        return
    assert since not in found
    for name in found:
        position = definition.positions[name]
        members = definition.tasks[position + 1 : position + definition.tasks[position].size]
        assert states[name] in "sk"
        assert all(other in found for other in depends(definition, name))
        assert all(member.id in found for member in members)
    for name, state in states.items():  # and nothing runs again without a reason
        if name not in found and state in "sk" and name != since and not name.startswith(f"{since}."):
            position = definition.positions[name]
            members = definition.tasks[position + 1 : position + definition.tasks[position].size]
            assert any(other not in found for other in (*depends(definition, name), *(one.id for one in members)))
