"""What is decided anew when a run is retried with other params."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from barbossad.engine import retrying
from barbossad.model.definition import WorkflowDefinition
from barbossad.model.flow import Branch, Loop, TaskKind
from barbossad.model.states import TaskState
from tests.helpers import records
from tests.helpers.flows import group, task, workflow

STATES = {"s": TaskState.SUCCEEDED, "k": TaskState.SKIPPED, "f": TaskState.FAILED, "u": TaskState.UPSTREAM_FAILED}


def kept(definition: WorkflowDefinition, states: str, *edited: str) -> set[str]:
    """Return what a retry from the failed keeps where tasks ended as ``states`` says: ``a:s b:f``."""
    rows = dict(pair.rsplit(":", 1) for pair in states.split())
    tasks = {name: records.task(STATES[state], name) for name, state in rows.items()}
    for name, row in tasks.items():
        if row.state is TaskState.SKIPPED:
            tasks[name] = replace(row, started_at_ms=None)
    if "each" in tasks:
        tasks["each"] = replace(tasks["each"], items=("x", "y", "z"))
    return set(retrying.kept(definition, records.run_id(), tasks, "failed", set(edited)))


def condition(text: str) -> WorkflowDefinition:
    return workflow(
        task("first"),
        group(
            task("c", "first", kind=TaskKind.GROUP, condition=text),
            task("c.x", branch=Branch.THEN),
            task("c.z", branch=Branch.THEN),
            task("c.y", branch=Branch.ELSE),
        ),
        task("after", "c"),
    )


@pytest.mark.parametrize(
    ("text", "edited", "is_open"),
    [
        ("{{ params.mode == 'a' }}", (), False),
        ("{{ params.mode == 'a' }}", ("other",), False),
        ("{{ params.mode == 'a' }}", ("mode",), True),
        ("{{ params['mode'] == 'a' }}", ("mode",), True),
        ('{{ params["other"] == params . mode }}', ("mode",), True),
        ("{{ params[tasks.first.stdout] }}", ("mode",), True),
        ("{{ params | length > 2 }}", ("mode",), True),
        ("{{ params.get('mode') == 'a' }}", ("mode",), True),
        ("{{ 'a' in params.values() }}", ("mode",), True),
        ("{{ params.other == 'a' }}", ("mode",), False),
        ("{{ env.MODE == 'a' }}", ("mode",), True),
        ("{{ tasks.first.outputs.params_mode }}", ("mode",), False),
    ],
)
def test_a_branch_is_chosen_anew(text: str, edited: tuple[str, ...], is_open: bool) -> None:
    """A condition that runs again, and looks at a param that is edited, keeps nothing of the branch that was taken."""
    found = kept(condition(text), "first:s c:f c.x:f c.z:s c.y:k after:u", *edited)
    assert found == ({"first"} if is_open else {"first", "c.z", "c.y"})


def test_a_branch_that_is_done_stays_done() -> None:
    """What was done with the old value is done, as that of every other task."""
    states = "first:s c:s c.x:s c.z:s c.y:k after:f"
    assert kept(condition("{{ params.mode }}"), states, "mode") == {"first", "c", "c.x", "c.z", "c.y"}


def test_what_was_skipped_is_looked_at_anew() -> None:
    """A task that was skipped because of a param, all in it and all after it."""
    definition = workflow(
        group(task("g", kind=TaskKind.GROUP, when="{{ params.deploy }}"), task("g.a"), task("g.b", "g.a")),
        task("after", "g"),
        task("beside", when="{{ params.other }}"),
        task("bad"),
    )
    states = "g:k g.a:k g.b:k after:s beside:k bad:f"
    assert kept(definition, states) == {"g", "g.a", "g.b", "after", "beside"}
    assert kept(definition, states, "deploy") == {"beside"}


@pytest.mark.parametrize(
    ("items", "edited", "found"),
    [
        ("{{ params.hosts }}", (), {"each", "each[0]", "each[2]"}),
        ("{{ params.hosts }}", ("force",), {"each", "each[0]"}),
        ("{{ params.hosts }}", ("hosts",), set()),
        (("x", "y", "z"), ("hosts",), {"each", "each[0]", "each[2]"}),
        (("the params of hosts", "y", "z"), ("hosts",), {"each", "each[0]", "each[2]"}),
        (("{{ params.hosts }}", "{{ params.b }}", "z"), ("a",), {"each", "each[0]", "each[2]"}),
        (("{{ params.a }}", "{{ params.b }}", "z"), ("b",), set()),
        (({"key": "x", "value": [{"host": "{{ params.b }}"}]}, "y", "z"), ("b",), set()),
        (({"key": "x", "value": [{"host": "{{ env.B }}"}]}, "y", "z"), ("b",), set()),
    ],
)
def test_a_loop(items: str | tuple[Any, ...], edited: tuple[str, ...], found: set[str]) -> None:
    """Its list is made anew if it comes of a param that is edited; an item that was skipped for one is asked again."""
    each = task("each", for_each=Loop(items=items), when="{{ item != 'z' or params.force }}")
    assert kept(workflow(each, task("end", "each")), "each:f each[0]:s each[1]:f each[2]:k end:u", *edited) == found
