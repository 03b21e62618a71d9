"""States and their legal moves, as data."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import pytest

from barbossad.model import states
from barbossad.model.states import (
    ATTEMPT_ENDED,
    ATTEMPT_MOVES,
    RUN_ENDED,
    RUN_MOVES,
    TASK_ENDED,
    TASK_MOVES,
    AttemptState,
    RunState,
    TaskState,
)

MACHINES: list[tuple[type[StrEnum], Mapping[StrEnum, frozenset[StrEnum]], frozenset[StrEnum], StrEnum]] = [
    (RunState, RUN_MOVES, RUN_ENDED, RunState.QUEUED),  # type: ignore[list-item]
    (TaskState, TASK_MOVES, TASK_ENDED, TaskState.PENDING),  # type: ignore[list-item]
    (AttemptState, ATTEMPT_MOVES, ATTEMPT_ENDED, AttemptState.STARTING),  # type: ignore[list-item]
]


@pytest.mark.parametrize(("states_of", "moves", "ended", "first"), MACHINES)
def test_machine(
    states_of: type[StrEnum],
    moves: Mapping[StrEnum, frozenset[StrEnum]],
    ended: frozenset[StrEnum],
    first: StrEnum,
) -> None:
    """Each state is known, every one is reached from the first, ends lead nowhere (I9), and back leads only waiting."""
    assert set(moves) == set(states_of)
    assert {state for state in states_of if not moves[state]} == ended
    reached, new = {first}, {first}
    while new:
        new = set().union(*(moves[state] for state in new)) - reached
        reached |= new
    assert reached == set(states_of)
    for state in states_of:
        following, new = set(moves[state]), set(moves[state])
        while new:
            new = set().union(*(moves[later] for later in new - {TaskState.WAITING})) - following
            following |= new
        assert state not in following or state is TaskState.WAITING


def test_success_needs_an_attempt() -> None:
    """A task succeeds only from an attempt: never while it is pending (I8)."""
    assert TaskState.SUCCEEDED not in TASK_MOVES[TaskState.PENDING]
    assert RunState.SUCCEEDED not in RUN_MOVES[RunState.QUEUED]


def test_sources() -> None:
    """What a compare-and-set compares with."""
    assert states.sources(RUN_MOVES, RunState.CANCELLED) == ("queued", "running")  # type: ignore[arg-type]
    assert states.sources(RUN_MOVES, RunState.QUEUED) == ()  # type: ignore[arg-type]
    assert states.sources(ATTEMPT_MOVES, AttemptState.RUNNING) == ("starting",)  # type: ignore[arg-type]


def test_attempt_states_are_task_states() -> None:
    """A task is called what its attempt is called."""
    assert {state.value for state in AttemptState} <= {state.value for state in TaskState}
