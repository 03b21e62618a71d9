"""Where a run stands, made anew, from rows, and back to what rows would say."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from barbossad.engine import growth, transitions
from barbossad.engine import progress as progresses
from barbossad.model.states import TaskState
from barbossad.store import changes
from tests.helpers.memory_store import MemoryStore
from tests.helpers.playing import no_expressions
from tests.helpers.records import NOON_MS, attempt, run, workflow


@pytest.fixture
def store() -> Iterator[MemoryStore]:
    """Tables in memory."""
    made = MemoryStore()
    yield made
    made.close()


def test_create() -> None:
    """A new run has a pending task for each of its definition, with how many it waits for."""
    progress = growth.create(workflow({"a": [], "b": ["a"], "c": ["a", "b"]}), run())
    assert [cell.record.state for cell in progress.cells] == [TaskState.PENDING] * 3
    assert [cell.waits_for for cell in progress.cells] == [0, 1, 2]
    assert progress.unended == 3
    assert not progress.has_ended


def test_details_are_those_of_the_store(store: MemoryStore) -> None:
    """What is answered from memory is what a reader of the rows sees."""
    definition = workflow({"a": [], "b": ["a"]})
    progress = growth.create(definition, run())
    store.record([changes.RunCreated(progress.run)])
    assert progresses.details(progress) == store.details(progress.run.id)
    store.record(transitions.task_unstartable(progress, 0, "why", no_expressions, NOON_MS).changes)
    assert progresses.details(progress) == store.details(progress.run.id)


def test_restore_knows_attempts(store: MemoryStore) -> None:
    """A task that is starting comes back as such, with its attempt, and nobody counts it as ended."""
    definition = workflow({"a": [], "b": ["a"]})
    progress = growth.create(definition, run())
    store.record([changes.RunCreated(progress.run)])
    store.record(transitions.attempt_starting(progress, 0, attempt(task_id="a"), NOON_MS).changes)
    restored = growth.restore(definition, store.details(progress.run.id))
    assert [cell.record.state for cell in restored.cells] == [TaskState.STARTING, TaskState.PENDING]
    assert [len(cell.attempts) for cell in restored.cells] == [1, 0]
    assert (restored.unended, restored.cells[1].waits_for) == (2, 1)
    assert transitions.begin(restored, no_expressions, NOON_MS).ready == []
