"""Whether tasks begin, and what is said of those that do not."""

from __future__ import annotations

import pytest

from barbossad.engine import triggers
from barbossad.engine.progress import Cell
from barbossad.model.flow import Trigger
from barbossad.model.states import TaskState
from tests.helpers import flows, records


@pytest.mark.parametrize(
    ("trigger", "why"),
    [
        (Trigger.ONE_FAILED, "it depends on no task that could have failed"),
        (Trigger.ONE_SUCCESS, "it depends on no task that could have succeeded"),
    ],
)
def test_what_wants_one_task_to_have_done_so_and_depends_on_none(trigger: Trigger, why: str) -> None:
    """A task that waits for nothing has nothing that could bring about its trigger, and that is what is said."""
    cell = Cell(records.task(TaskState.PENDING), flows.task("one", trigger=trigger))
    assert triggers.refusal(cell, []) == (TaskState.SKIPPED, why)


@pytest.mark.parametrize(("trigger", "did"), [(Trigger.ONE_FAILED, "failed"), (Trigger.ONE_SUCCESS, "succeeded")])
def test_what_none_did_names_those(trigger: Trigger, did: str) -> None:
    """Where there are tasks that could have brought about the trigger and did not, they are named."""
    before = [Cell(records.task(TaskState.SKIPPED, one), flows.task(one)) for one in ("a", "b")]
    cell = Cell(records.task(TaskState.PENDING), flows.task("one", "a", "b", trigger=trigger))
    assert triggers.refusal(cell, before) == (TaskState.SKIPPED, f"none of a, b {did}")
