"""How much work one evaluation of an expression may be, counted in steps while it is done (docs/decisions/0108).

A step is an item that is looked at, or sixteen characters of text: what takes about a microsecond, and keeps about a
hundred bytes.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

MAX_STEPS: Final = 1_000_000

_CHARACTER_BITS: Final = 4
_NESTING: Final = (list, tuple, dict)
_SIZED: Final = (str, *_NESTING)


class Budget:
    """What is left of the steps of one evaluation."""

    __slots__ = ("left",)

    def __init__(self, left: int = MAX_STEPS) -> None:
        self.left = left

    def spend(self, steps: int) -> None:
        """Take steps that are about to be made. Raise SecurityError if there are not so many left."""
        self.left -= steps
        if self.left < 0:
            from jinja2.exceptions import SecurityError  # noqa: PLC0415 (see ``expressions``)

            raise SecurityError("it is too much work: there are too many items, or too much text, to go through")


_budget: contextvars.ContextVar[Budget] = contextvars.ContextVar("budget")
_together: contextvars.ContextVar[Budget | None] = contextvars.ContextVar("together", default=None)

current: Final = _budget.get
"""Returns the budget of the evaluation that goes on."""


def budgeted(evaluate: Callable[[Mapping[str, Any]], Any]) -> Callable[[Mapping[str, Any]], Any]:
    """Return a function that evaluates an expression, or a text with some, with a budget of its own."""

    def within(scope: Mapping[str, Any]) -> Any:
        whole = _together.get()
        steps = MAX_STEPS if whole is None else min(whole.left, MAX_STEPS)
        budget = Budget(steps)
        token = _budget.set(budget)
        try:
            return evaluate(scope)
        finally:
            _budget.reset(token)
            if whole is not None:
                whole.left -= min(steps, steps - budget.left)

    return within


@contextlib.contextmanager
def together(steps: int) -> Iterator[None]:
    """Have all evaluations within make no more than so many steps, beside what each of them is given."""
    token = _together.set(Budget(steps))
    try:
        yield
    finally:
        _together.reset(token)


def glance(value: Any) -> int:
    """Return the steps of looking once over a text or a list, as a search in it does."""
    return 1 + (len(value) >> _CHARACTER_BITS) if isinstance(value, _SIZED) else 1


def weigh(value: Any) -> int:
    """Return the steps of going through all that is in a value, however often it is in there.

    More than there are left stands for all that is more.
    """
    if not isinstance(value, _NESTING):
        return glance(value)
    limit, steps, waiting = current().left, 0, [value]
    while waiting and steps <= limit:
        item = waiting.pop()
        steps += 1
        if isinstance(item, str):
            steps += len(item) >> _CHARACTER_BITS
        elif isinstance(item, dict):
            waiting.extend(item)
            waiting.extend(item.values())
        elif isinstance(item, _NESTING):
            waiting.extend(item)
    return steps + len(waiting)


def metered(items: Iterable[Any], each: int = 1) -> Iterator[Any]:
    """Go through items that take so many steps each. Raise SecurityError where the budget ends."""
    budget = current()
    for item in items:
        budget.spend(each)
        yield item


def weighed(items: Iterable[Any], each: int = 1) -> Iterator[Any]:
    """Go through items that take so many steps each, and those of all that is in them. Raise SecurityError likewise."""
    budget = current()
    for item in items:
        budget.spend(each + weigh(item))
        yield item
