"""Types of what is given on a command line: what click would let pass, and no call can carry, is refused."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    TextType = click.ParamType[str]
else:
    TextType = click.ParamType


class _Given(TextType):
    """Text that is not empty: a script's variable that is not set would ask for something else than was meant."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """See click."""
        if not value:
            self.fail("it is empty", param, ctx)
        return str(value)


class NumberRange(click.FloatRange):
    """A number within bounds, which NaN passes otherwise: it compares as neither below nor above them."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """See click."""
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"{value} is no number", param, ctx)
        return number


GIVEN: Final = _Given()
"""The type of text that names or sets something."""

MOST: Final = 1_000_000_000
"""More than this of anything is never listed, and could not be counted by what counts it."""

COUNT: Final = click.IntRange(1, MOST)
"""The type of a number of things to list."""
