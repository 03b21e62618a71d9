"""What is done in a bounded number of steps."""

from __future__ import annotations

import contextlib
import sys

import pytest

from barbossad.recurrence.steps import TooManyStepsError, in_steps


def forever() -> None:
    while True:
        with contextlib.suppress(Exception):
            len("")


def test_what_is_short_enough_is_done() -> None:
    """The result is that of the function, and its errors are its own."""
    assert in_steps(1000, sum, [1, 2, 3]) == 6
    with pytest.raises(ValueError, match="invalid literal"):
        in_steps(1000, int, "x")


def test_what_never_ends_is_stopped() -> None:
    """Also where it takes every error for its own; and what comes after is not counted any more."""
    before = sys.getprofile()
    with pytest.raises(TooManyStepsError):
        in_steps(10_000, forever)
    assert sys.getprofile() is before
