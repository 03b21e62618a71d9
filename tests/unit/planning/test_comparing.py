"""In what two runs differ."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from barbossad.model.definition import ParamDefinition, WorkflowDefinition
from barbossad.model.records import TaskRecord
from barbossad.model.states import TaskState
from barbossad.planning.comparing import HIDDEN, Aspect, Side, Took, compare, durations, shown_params
from barbossad.store.run_details import RunDetails
from tests.helpers import records


def definition(*params: ParamDefinition) -> WorkflowDefinition:
    return replace(records.workflow({"one": []}), params=params)


def side(*tasks: TaskRecord, ran: WorkflowDefinition | None = None, **run: Any) -> Side:
    details = RunDetails(run=records.run(**run), tasks={task.task_id: task for task in tasks}, attempts={})
    return Side(details=details, definition=ran)


def test_secrets_differ_without_being_shown() -> None:
    """That a secret was another one is told, and neither value is."""
    ran = definition(ParamDefinition(name="key", type="secret"), ParamDefinition(name="days", type="integer"))
    before = side(ran=ran, params={"key": "hunter2", "days": 1})
    after = side(ran=ran, params={"key": "hunter3", "days": 1})
    (found,) = compare(before, after)
    assert (found.aspect, found.name, found.before, found.after) == (Aspect.PARAM, "key", HIDDEN, HIDDEN)
    assert shown_params(ran, {"key": "x", "days": 2}) == {"key": HIDDEN, "days": 2}


def test_a_param_that_is_null_is_another_than_none() -> None:
    """A param that only one of them has is a difference also where its value is null."""
    (found,) = compare(side(params={}), side(params={"x": None}))
    assert (found.name, found.before, found.after) == ("x", None, None)


def test_the_outputs_of_items_are_those_of_their_loop() -> None:
    """An item of a loop is told of by its state alone: its outputs are in the loop's list."""
    ended = {"started_at_ms": 0, "finished_at_ms": 1500}
    before = side(
        records.task(TaskState.SUCCEEDED, "each", outputs={"items": [1]}, **ended),
        records.task(TaskState.SUCCEEDED, "each[0]", outputs={"n": 1}, **ended),
    )
    after = side(
        records.task(TaskState.FAILED, "each", outputs={"items": [2]}, **ended),
        records.task(TaskState.FAILED, "each[0]", outputs={"n": 2}, **ended),
    )
    assert [(found.aspect, found.name) for found in compare(before, after)] == [
        (Aspect.STATE, "each"),
        (Aspect.OUTPUTS, "each"),
        (Aspect.STATE, "each[0]"),
    ]
    assert durations(before, after) == [
        Took(task="", before=None, after=None),
        Took(task="each", before=1.5, after=1.5),
    ]
