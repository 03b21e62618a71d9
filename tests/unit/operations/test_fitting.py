"""What is told of a run that is larger than one answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from barbossad.model.flow import Loop, TaskKind
from barbossad.model.states import RunState, TaskState, WaitsFor
from barbossad.operations import fitting
from barbossad.operations.views import RunView, Shown
from barbossad.store.run_details import RunDetails
from barbossad.store.shown_runs import SHOWN_BYTES
from tests.helpers import records
from tests.helpers.flows import group, task, workflow

ITEMS = 100
FLOW = workflow(
    task("first"), group(task("each", kind=TaskKind.GROUP, for_each=Loop(items=tuple(range(ITEMS))))), task("last")
)


def shown(**left_out: int) -> Shown:
    """Return a run with a loop of which one item failed and one waits for a person."""
    rows = {"first": records.task(TaskState.SUCCEEDED, "first")}
    rows["each"] = records.task(TaskState.RUNNING, "each", items=tuple(range(ITEMS)))
    for number in range(ITEMS):
        rows[f"each[{number}]"] = records.task(TaskState.SUCCEEDED, f"each[{number}]", outputs={"v": "\u00e9" * number})
    rows["each[80]"] = records.task(TaskState.FAILED, "each[80]")
    rows["each[90]"] = records.task(TaskState.WAITING, "each[90]", waits_for=WaitsFor.PERSON)
    details = RunDetails(run=records.run(state=RunState.RUNNING), tasks=rows, attempts={}, left_out=left_out)
    return Shown(details, FLOW, None, {}, {})


def told(made: Shown, most_bytes: int) -> Any:
    text = fitting.text(made, most_bytes).text
    assert len(text) <= most_bytes - fitting.SPARE_BYTES + 200
    return json.loads(text)


def test_what_fits_is_told_as_ever() -> None:
    """Made task by task it is the same, word by word."""
    made = shown(first=5)
    assert told(made, fitting.SPARE_BYTES + 1_000_000) == made.view()
    assert made.view()["left_out"] == {"tasks": 0, "outputs": {"first": 5}}
    assert shown().view()["left_out"] is None


def test_what_matters_is_told_first() -> None:
    """Of items those that failed or wait for a person stay, in their places; the others are counted."""
    whole = shown().view()
    run = told(shown(), fitting.SPARE_BYTES + 6_000)
    names = [one["id"] for one in run["tasks"]]
    assert {"first", "each", "each[80]", "each[90]", "last"} < set(names)
    assert names == [one["id"] for one in whole["tasks"] if one["id"] in set(names)]
    assert run["left_out"] == {"tasks": ITEMS + 3 - len(names), "outputs": {}}
    assert all(one in whole["tasks"] for one in run["tasks"])


def test_nothing_but_the_run_may_fit() -> None:
    """It is told without any of its tasks."""
    run = told(shown(**{"": 7, "first": 5}), fitting.SPARE_BYTES + 600)
    assert (run["id"], run["tasks"]) == (records.run_id(), [])
    assert run["left_out"] == {"tasks": ITEMS + 3, "outputs": {"": 7}}


def test_a_view_without_its_tasks() -> None:
    """They are counted, with those that were left out before."""
    view: RunView = shown(first=5).view()
    less = fitting.without_tasks(fitting.without_tasks(view))
    assert (less["id"], less["tasks"], less["outputs"]) == (view["id"], [], {})
    assert less["left_out"] == {"tasks": ITEMS + 3, "outputs": {"first": 5}}


@pytest.mark.parametrize(
    ("outputs", "is_light"),
    [
        ({"v": "x" * 1000}, True),
        ({"v": "x" * SHOWN_BYTES}, False),
        ({"v": [1] * SHOWN_BYTES}, False),
        ([{"v": "x" * 1000}] * (SHOWN_BYTES // 1000), False),
        ({"x" * SHOWN_BYTES: 1}, False),
        (None, True),
    ],
)
def test_how_much_outputs_are(outputs: Any, is_light: bool) -> None:
    """That is known without writing them."""
    row = records.task(TaskState.SUCCEEDED, "one", outputs=outputs)
    assert fitting.is_light(RunDetails(run=records.run(), tasks={"one": row}, attempts={})) is is_light
