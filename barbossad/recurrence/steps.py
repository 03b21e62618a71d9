"""Let a library that has no bound of its own do so much and no more."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

Result = TypeVar("Result")


class TooManyStepsError(BaseException):
    """It was more than it may be. No ``Exception``: what is to be stopped may not take it for one of its own."""


def in_steps(most: int, function: Callable[..., Result], *arguments: Any) -> Result:
    """Return what a function returns. Raise TooManyStepsError if that takes more than ``most`` steps.

    A step is a call of a function or a return from one. They are counted by the interpreter's own hook for profilers
    (``sys.setprofile``), which is of this thread alone: unlike a time, so many steps are the same on every host.
    Bounds do not go into each other: what catches the error could not tell whose it is.
    """
    left = most

    def count(_frame: FrameType, _event: str, _argument: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise TooManyStepsError

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        return function(*arguments)
    finally:
        sys.setprofile(before)
