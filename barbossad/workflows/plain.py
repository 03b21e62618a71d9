"""Plain data: what the value of an expression is brought to, and how large any value on the way to it may be."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from jinja2 import Undefined
from jinja2.exceptions import SecurityError

from barbossad.variables import text_of
from barbossad.workflows.budget import Budget, current, glance, metered

MAX_CHARACTERS: Final = 1024 * 1024
MAX_ITEMS: Final = 100_000
MAX_BITS: Final = 4096

_NUMBERS: Final = (bool, int, float)
_LISTS: Final = (list, tuple, dict)


def plain(value: Any) -> Any:
    """Return a value as plain data: None, bool, int, float, str, list or dict. Raise SecurityError for others."""
    return _plain(value, current())


def _plain(value: Any, budget: Budget) -> Any:
    if isinstance(value, Undefined):
        value._fail_with_undefined_error()  # noqa: SLF001 (what Jinja2 itself calls)
    if isinstance(value, str):
        check_size(value)
        budget.spend(glance(value))
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise SecurityError("the result is too large, or no number")  # JSON holds no such thing
    if value is None or isinstance(value, _NUMBERS):
        check_size(value)
        return value
    if isinstance(value, Mapping):
        return {text_of(_plain(key, budget)): _plain(item, budget) for key, item in bounded(value.items())}
    if isinstance(value, Iterable):
        return [_plain(item, budget) for item in bounded(value)]
    raise SecurityError("the result is no plain value")


def check_size(value: Any) -> None:
    """Raise SecurityError if a value is too large by itself, whatever is in it."""
    if isinstance(value, str):
        if len(value) > MAX_CHARACTERS:
            raise SecurityError(f"a result has more than {MAX_CHARACTERS} characters")
    elif isinstance(value, int):
        if value.bit_length() > MAX_BITS:
            raise SecurityError(f"a whole number of more than {MAX_BITS} bits")
    elif isinstance(value, _LISTS) and len(value) > MAX_ITEMS:
        raise SecurityError(f"a result has more than {MAX_ITEMS} items")


def as_text(value: Any) -> str:
    """Return a value as it stands between other text."""
    return text_of(plain(value))


def bounded(items: Iterable[Any]) -> Iterable[Any]:
    """Go through items, of which there may be so many. Raise SecurityError where there are more."""
    for count, item in enumerate(metered(items)):
        if count >= MAX_ITEMS:
            raise SecurityError(f"the result has more than {MAX_ITEMS} items")
        yield item
