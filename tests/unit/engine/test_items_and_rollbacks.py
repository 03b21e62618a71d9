"""Whether the items of loops begin."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from barbossad.engine import growth, transitions
from barbossad.engine.progress import RunProgress
from barbossad.engine.transitions import End
from barbossad.model.definition import WorkflowDefinition
from barbossad.model.flow import Loop, Trigger
from barbossad.model.states import AttemptState, TaskState
from tests.helpers import flows
from tests.helpers.records import NOON_MS, attempt, run

SUCCEEDED, FAILED = AttemptState.SUCCEEDED, AttemptState.FAILED


def as_it_stands(progress: RunProgress, index: int | None, value: Any) -> Any:
    """Take a value for what it says: it holds no expression."""
    return value


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

    def end(self, task_id: str, state: AttemptState) -> None:
        index = self.progress.index[task_id]
        last = self.progress.cells[index].attempts[-1]
        over = replace(last, state=state, reason=f"it {state}", finished_at_ms=self.now_ms)
        transitions.attempt_ended(self.progress, index, End(attempt=over), as_it_stands)

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
