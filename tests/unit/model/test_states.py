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
BACK = {TaskState.WAITING, RunState.PAUSED}


@pytest.mark.parametrize(("states_of", "moves", "ended", "first"), MACHINES)
def test_machine(
    states_of: type[StrEnum],
    moves: Mapping[StrEnum, frozenset[StrEnum]],
    ended: frozenset[StrEnum],
    first: StrEnum,
) -> None:
    """Each state is known, every one is reached from the first, ends lead nowhere (I9), and back leads only waiting.

    A task waits, a run is paused; without those, no state comes twice.
    """
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
            new = set().union(*(moves[later] for later in new - BACK)) - following
            following |= new
        assert state not in following or state in BACK


def test_success_needs_an_attempt() -> None:
    """A process succeeds only after it was recorded as starting (I8): no attempt begins anywhere else."""
    assert not any(AttemptState.STARTING in following for following in ATTEMPT_MOVES.values())
    assert all(TaskState.STARTING not in TASK_MOVES[state] for state in (TaskState.RUNNING, *TASK_ENDED))


def test_sources() -> None:
    """What a compare-and-set compares with."""
    assert states.sources(RUN_MOVES, RunState.CANCELLED) == ("queued", "running", "paused")  # type: ignore[arg-type]
    assert states.sources(RUN_MOVES, RunState.QUEUED) == ("paused",)  # type: ignore[arg-type]
    assert states.sources(ATTEMPT_MOVES, AttemptState.RUNNING) == ("starting",)  # type: ignore[arg-type]


def test_attempt_states_are_task_states() -> None:
    """A task is called what its attempt is called."""
    assert {state.value for state in AttemptState} <= {state.value for state in TaskState}
