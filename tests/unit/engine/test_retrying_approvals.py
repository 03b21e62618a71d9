"""Which approvals hold in a retry, and which are asked again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from barbossad.engine import retrying
from barbossad.model.definition import WorkflowDefinition
from barbossad.model.flow import Loop, TaskKind
from barbossad.model.states import TaskState
from tests.helpers import records
from tests.helpers.flows import group, task, workflow

STATES = {"s": TaskState.SUCCEEDED, "k": TaskState.SKIPPED, "f": TaskState.FAILED, "u": TaskState.UPSTREAM_FAILED}
ASK = TaskKind.APPROVAL

CHAIN = workflow(
    task("build"), task("ok", "build", kind=ASK), task("ship", "ok"), task("check", "ship"), task("beside", "build")
)
TWO = workflow(task("ok", kind=ASK), task("a", "ok"), task("sure", "a", kind=ASK), task("b", "sure"), task("c", "ok"))


def kept(
    definition: WorkflowDefinition,
    states: str,
    since: str = "failed",
    *,
    edited: tuple[str, ...] = (),
    is_first: bool = True,
) -> str:
    """Return what a retry keeps where tasks ended as ``states`` says, in its order: ``a:s b:f``."""
    rows = dict(pair.rsplit(":", 1) for pair in states.split())
    tasks = {name: records.task(STATES[state], name) for name, state in rows.items()}
    if "each" in tasks:
        tasks["each"] = replace(tasks["each"], items=("x", "y"))
    found = retrying.kept(definition, records.run_id(), tasks, since, set(edited), is_first=is_first)
    return " ".join(name for name in rows if name in found)


@pytest.mark.parametrize(
    ("states", "found"),
    [
        ("build:s ok:s ship:f check:u beside:s", "build ok beside"),
        ("build:s ok:s ship:s check:f beside:s", "build ok ship beside"),
        ("build:s ok:s ship:s check:s beside:f", "build ok ship check"),
    ],
)
def test_a_plain_retry_keeps_what_was_approved(states: str, found: str) -> None:
    """What failed is tried again on the yes that it had: it is the same undertaking."""
    assert kept(CHAIN, states) == found


@pytest.mark.parametrize(
    ("states", "found"),
    [
        ("build:s ok:s ship:f check:u beside:s", "build beside"),
        ("build:s ok:s ship:s check:f beside:s", "build beside"),
        ("build:s ok:s ship:s check:s beside:f", "build ok ship check"),
        ("build:s ok:k ship:s check:f beside:s", "build ok ship beside"),
    ],
)
@pytest.mark.parametrize("is_edited", [True, False])
def test_other_params_and_another_retry_need_another_yes(states: str, found: str, is_edited: bool) -> None:
    """What was approved is what comes after it, once and with the params of that run.

    What runs beside that needs no other yes, nor what was never asked.
    """
    edited = ("v",) if is_edited else ()
    assert kept(CHAIN, states, edited=edited, is_first=is_edited) == found


@pytest.mark.parametrize(
    ("since", "states", "found"),
    [
        ("check", "build:s ok:s ship:s check:s beside:s", "build beside"),
        ("ship", "build:s ok:s ship:s check:f beside:s", "build beside"),
        ("ship", "build:s ok:s ship:f check:u beside:s", "build ok beside"),
        ("check", "build:s ok:s ship:s check:f beside:s", "build ok ship beside"),
        ("ok", "build:s ok:s ship:s check:s beside:s", "build beside"),
        ("beside", "build:s ok:s ship:s check:s beside:s", "build ok ship check"),
    ],
)
def test_what_was_done_needs_another_yes_to_be_done_again(since: str, states: str, found: str) -> None:
    """From a task that had done its work on, the approval before it is asked again; of one that failed it holds."""
    assert kept(CHAIN, states, since) == found


def test_every_approval_before_what_runs_again() -> None:
    """An approval that is asked again has others before it asked again, for what comes after it comes after them."""
    assert kept(TWO, "ok:s a:s sure:s b:s c:s", "b") == ""
    assert kept(TWO, "ok:s a:s sure:s b:s c:f", edited=("v",)) == ""
    assert kept(TWO, "ok:s a:f sure:u b:u c:s") == "ok c"


def test_in_groups() -> None:
    """An approval in a group stands before what comes after the group, and not before the members beside it."""
    flow = workflow(
        group(task("g", kind=TaskKind.GROUP), task("g.ok", kind=ASK), task("g.x", "g.ok"), task("g.y")),
        task("after", "g"),
    )
    assert kept(flow, "g:s g.ok:s g.x:s g.y:s after:s", "after") == "g.y"
    assert kept(flow, "g:f g.ok:s g.x:s g.y:f after:u", "g.y") == "g.ok g.x"
    assert kept(flow, "g:f g.ok:s g.x:f g.y:s after:u", edited=("v",)) == "g.y"


@pytest.mark.parametrize("edited", [(), ("v",)])
def test_in_loops(edited: tuple[str, ...]) -> None:
    """A loop some of whose items were approved goes on for the others, or runs again whole with other params."""
    loop = group(
        task("each", kind=TaskKind.GROUP, for_each=Loop(items=("x", "y"))),
        task("each.ok", kind=ASK),
        task("each.do", "each.ok"),
    )
    states = "each:f each[0]:s each[0].ok:s each[0].do:s each[1]:f each[1].ok:s each[1].do:f end:u"
    found = kept(workflow(loop, task("end", "each")), states, edited=edited)
    assert found == ("" if edited else "each each[0] each[0].ok each[0].do")


def test_an_approval_for_each_item() -> None:
    """An approval that is itself a loop is asked again for all of its items."""
    flow = workflow(task("each", kind=ASK, for_each=Loop(items=("x", "y"))), task("end", "each"))
    states = "each:s each[0]:s each[1]:s end:f"
    assert kept(flow, states) == "each each[0] each[1]"
    assert kept(flow, states, edited=("v",)) == ""
