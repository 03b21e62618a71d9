"""After which ends a task is tried again."""

from __future__ import annotations

import pytest

from barbossad.engine import retries
from barbossad.engine.progress import Cell
from barbossad.model.flow import Backoff, Retry, RetryCause
from barbossad.model.states import AttemptState, TaskState
from tests.helpers import flows, records

ANY_END = frozenset(RetryCause)


def is_tried_again(retry: Retry, state: AttemptState, exit_code: int | None) -> bool:
    """Say whether a task is tried again whose first attempt ended so."""
    ended = records.attempt(state, exit_code=exit_code, finished_at_ms=records.NOON_MS)
    cell = Cell(records.task(TaskState.RUNNING), flows.task("one", retry=retry), attempts=[ended])
    return retries.after_failure(cell, ended, records.NOON_MS) is not None


@pytest.mark.parametrize(
    ("exit_code", "expected"),
    [
        pytest.param(75, True, id="listed"),
        pytest.param(1, False, id="another"),
        pytest.param(0, False, id="its expect did not hold"),
        pytest.param(None, False, id="killed by a signal, or never started"),
    ],
)
def test_a_failure_is_tried_again_after_the_listed_exit_codes_alone(exit_code: int | None, expected: bool) -> None:
    """Whatever failed otherwise, also without any exit code, is no bad luck where exit codes are listed."""
    listed = Retry(attempts=3, exit_codes=frozenset({75}))
    assert is_tried_again(listed, AttemptState.FAILED, exit_code) is expected
    assert is_tried_again(Retry(attempts=3), AttemptState.FAILED, exit_code), "where none are listed any will do"


@pytest.mark.parametrize("state", [AttemptState.TIMED_OUT, AttemptState.INTERRUPTED])
@pytest.mark.parametrize("exit_code", [None, 1])
def test_exit_codes_say_nothing_of_other_ends(state: AttemptState, exit_code: int | None) -> None:
    """Exit codes narrow what failed by itself; whether it is tried again after another end, ``on`` alone says."""
    assert is_tried_again(Retry(attempts=3, on=ANY_END, exit_codes=frozenset({75})), state, exit_code)
    only_failed = Retry(attempts=3, on=frozenset({RetryCause.FAILED}), exit_codes=frozenset({75}))
    assert not is_tried_again(only_failed, state, exit_code)


@pytest.mark.parametrize("backoff", Backoff)
def test_no_delay_is_longer_than_max_delay(backoff: Backoff) -> None:
    """Chance takes away from it, and adds nothing beyond."""
    retry = Retry(attempts=9, delay_seconds=0.3, backoff=backoff, max_delay_seconds=0.5, jitter=1.0)
    delays = [retries.delay_seconds(retry, failures, f"r/t/{name}") for failures in (1, 5, 99) for name in range(20)]
    assert max(delays) == 0.5
    assert len({delay for delay in delays if delay < 0.5}) > 10
