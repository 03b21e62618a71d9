"""In which order the tasks of a run are shown, and what is left out of long loops."""

from __future__ import annotations

from typing import Any

import pytest

from barbossad.model.flow import Loop, Section, TaskKind
from barbossad.model.records import TaskRecord
from barbossad.model.states import TaskState
from barbossad.operations.nodes import FEW_ITEMS, Loops, nodes
from tests.helpers import records
from tests.helpers.flows import group, task, workflow

FLOW = workflow(
    task("first"),
    group(task("g", "first", kind=TaskKind.GROUP, continue_on_error=True), task("g.a"), task("g.b")),
    group(
        task("each", "g", kind=TaskKind.GROUP, for_each=Loop(items=(1, 2))),
        task("each.x"),
        task("each.y", "each.x", continue_on_error=True),
    ),
    task("last", "each"),
    task("rollback.first", section=Section.ROLLBACK, rolls_back=0),
    task("rollback.each.x", section=Section.ROLLBACK, rolls_back=5),
    task("on_failure.tell", section=Section.ON_FAILURE),
    task("on_exit.bye", section=Section.ON_EXIT),
)


def rows(*names: str, **more: Any) -> dict[str, TaskRecord]:
    return {name: records.task(TaskState.SUCCEEDED, name, **more) for name in names}


def test_before_anything_has_a_row_the_tasks_of_the_file_are_shown() -> None:
    """Groups bring their members; what is in a loop, rollback and hooks are not there yet."""
    assert [(node.id, node.parent) for node in nodes(FLOW, {})] == [
        ("first", None),
        ("g", None),
        ("g.a", "g"),
        ("g.b", "g"),
        ("each", None),
        ("last", None),
    ]


def test_items_follow_their_loop_and_the_end_comes_last() -> None:
    """Items stand in the order of their numbers with their members, then rollback in the order of its start, hooks."""
    found = rows(
        "on_exit.bye", "on_failure.tell", "each[10].x", "each[2].y", "each[2].x", "each[10]", "each[2]", "each"
    )
    found |= rows("rollback.first", started_at_ms=20)
    found |= rows("rollback.each[2].x", started_at_ms=10)
    found |= rows("rollback.each[10].x", started_at_ms=9)
    assert [(node.id, node.parent) for node in nodes(FLOW, found)][4:] == [
        ("each", None),
        ("each[2]", "each"),
        ("each[2].x", "each[2]"),
        ("each[2].y", "each[2]"),
        ("each[10]", "each"),
        ("each[10].x", "each[10]"),
        ("last", None),
        ("rollback.each[10].x", None),
        ("rollback.each[2].x", None),
        ("rollback.first", None),
        ("on_failure.tell", None),
        ("on_exit.bye", None),
    ]


def test_each_has_its_definition_and_whether_it_may_fail() -> None:
    """An item has the definition of its loop's task; a member of a group that may fail may fail too."""
    found = {node.id: node for node in nodes(FLOW, rows("each", "each[0]", "each[0].y", "each[0].x"))}
    assert [name for name, node in found.items() if node.may_fail] == ["g", "g.a", "g.b", "each[0].y"]
    assert found["each[0].y"].task is FLOW.tasks[FLOW.positions["each.y"]]
    assert found["each[0]"].task is FLOW.tasks[FLOW.positions["each"]]


def test_without_a_definition_there_are_the_rows() -> None:
    """A run whose file is no longer understood shows what it has rows of."""
    assert [(node.id, node.task) for node in nodes(None, rows("b", "a"))] == [("b", None), ("a", None)]


def test_a_row_that_the_file_does_not_explain_is_shown_at_the_end() -> None:
    """Nothing that a run did is hidden."""
    assert nodes(FLOW, rows("stranger", "each"))[-1].id == "stranger"


def long_loop(states: str) -> dict[str, TaskRecord]:
    """Return the rows of a loop of 20 items, the first of which are in these states, ended in the order of time."""
    kinds = {"s": TaskState.SUCCEEDED, "f": TaskState.FAILED, "r": TaskState.RUNNING, "k": TaskState.SKIPPED}
    found = {"each": records.task(TaskState.RUNNING, "each", items=tuple(range(20)))}
    for number, state in enumerate(states):
        ended_at_ms = None if state == "r" else 100 + number
        found[f"each[{number}]"] = records.task(kinds[state], f"each[{number}]", finished_at_ms=ended_at_ms)
        found[f"each[{number}].x"] = records.task(kinds[state], f"each[{number}].x", finished_at_ms=ended_at_ms)
    return found


def test_the_items_of_a_loop_are_counted() -> None:
    """A loop that has begun says how many of its items are in which state, those without a row included."""
    loops = Loops(long_loop("sssfrk"))
    assert loops.states("each") == {"succeeded": 3, "failed": 1, "running": 1, "skipped": 1, "pending": 14}
    assert loops.states("first") is None


@pytest.mark.parametrize(
    ("before_ms", "left"), [(103, ["each[3]", "each[4]", "each[5]"]), (1000, ["each[3]", "each[4]"])]
)
def test_of_a_long_loop_what_went_well_some_time_ago_is_left_out(before_ms: int, left: list[str]) -> None:
    """What failed and what runs is always told, with its members; what went well only while that is news."""
    found = long_loop("sssfrk")
    kept = Loops(found).without_good(nodes(FLOW, found), found, before_ms)
    ids = [node.id for node in kept if node.id.startswith("each[")]
    assert ids == [name for item in left for name in (item, f"{item}.x")]
    assert next(node.id for node in kept if not node.id.startswith("each[")) == "first"


def test_a_short_loop_is_told_whole() -> None:
    """Of a few items each is told."""
    found = rows("each", "each[0]", finished_at_ms=1)
    found["each"] = records.task(TaskState.SUCCEEDED, "each", items=tuple(range(FEW_ITEMS)), finished_at_ms=1)
    assert "each[0]" in [node.id for node in Loops(found).without_good(nodes(FLOW, found), found, 1000)]
