"""How a plan says in words what follows what."""

from __future__ import annotations

import pytest

from barbossad.model.flow import Retry, RetryCause
from barbossad.planning import words

CAUSES = {one.value: one for one in RetryCause}


@pytest.mark.parametrize(
    ("on", "exit_codes", "expected"),
    [
        (["failed", "timed_out"], None, "failed or timed out"),
        (["failed", "timed_out"], [75, 1], "timed out or failed with exit code 1 or 75"),
        (["failed"], [75], "failed with exit code 75"),
        (["timed_out"], [75], "timed out"),
    ],
)
def test_exit_codes_are_those_of_failures(on: list[str], exit_codes: list[int] | None, expected: str) -> None:
    """A plan says of exit codes that what failed must have had one of them, and of other ends nothing."""
    codes = None if exit_codes is None else frozenset(exit_codes)
    policy = Retry(attempts=3, on=frozenset(CAUSES[one] for one in on), exit_codes=codes)
    assert words.retry(policy) == f"3 attempts, when it {expected}"
