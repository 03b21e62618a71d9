"""The filters and tests of expressions: Jinja2's, each taking what it costs from the budget, and some of our own."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from jinja2 import Environment, Undefined
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS, do_round, make_attrgetter
from jinja2.tests import TESTS
from jinja2.utils import pass_environment

from barbossad.validation import kind_of
from barbossad.workflows.budget import current, glance, metered, weigh, weighed
from barbossad.workflows.plain import MAX_CHARACTERS, as_text, bounded, check_size, plain

MAX_PRECISION: Final = 400
"""Decimal places beyond those of any number."""

CALL: Final = 4
"""Steps that a call of a filter is worth, whatever it does."""

TAKEN: Final = (
    *("abs", "capitalize", "default", "d", "dictsort", "first", "float", "int", "items", "last", "length", "count"),
    *("list", "lower", "map", "max", "min", "reject", "rejectattr", "reverse", "select", "selectattr"),
    *("sort", "string", "title", "trim", "truncate", "unique", "upper", "urlencode"),
)
"""Filters that are Jinja2's."""

DEFAULTS: Final = frozenset({"default", "d"})
"""Filters that may be given what there is not."""

FACTORS: Final = {
    **dict.fromkeys((*DEFAULTS, "first", "last", "length", "count", "items"), 0),
    **dict.fromkeys(("title", "urlencode"), 16),
}
"""How much more than others some take of what they are given: nothing, or a step for each character."""


def _bounded_filter(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter of Jinja2 that takes from the budget, and whose result is refused where it is too large.

    So is what there is not, where it would be taken: some filters take it for nothing, some stumble over it.
    """
    place = 1 if hasattr(function, "jinja_pass_arg") else 0  # of what it is given, after the context or the environment
    pay = PAID_BY_ITEM.get(name) or functools.partial(_pay, FACTORS.get(name, 1), name == "trim")
    takes_missing = name in DEFAULTS

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        for argument in () if takes_missing else arguments:
            if isinstance(argument, Undefined):
                plain(argument)
        before, value, more = arguments[:place], arguments[place], arguments[place + 1 :]
        texts = [one for one in (*more, *options.values()) if isinstance(one, str)] if more or options else []
        result = function(*before, pay(value, texts), *more, **options)
        if name == "map":
            return weighed(result)  # it may give the same large thing for each
        check_size(result)
        return result

    return call


def _pay(factor: int, is_trim: bool, value: Any, texts: Sequence[str]) -> Any:
    """Take from the budget what a filter costs that makes a text or a number; return what it is given."""
    steps = CALL + (weigh(value) * factor if factor else 0)
    for text in texts:
        steps += glance(text)
        if is_trim and isinstance(value, str):  # it may look at all of the one for each character of the other
            steps += len(value) * len(text) >> 8
    current().spend(steps)
    return value


def _pay_by_item(value: Iterable[Any], texts: Sequence[str]) -> Iterable[Any]:
    """Have what a filter costs that goes through a list taken from the budget meanwhile; return what it is given."""
    current().spend(CALL)
    return metered(value, 1 + _keys(texts)) if value else value  # some take nothing at all for an empty list


def _pay_by_comparing(value: Iterable[Any], texts: Sequence[str]) -> Iterator[Any]:
    """Do the same for a filter that compares the items of a list, or what they become in lower case."""
    current().spend(CALL)
    return weighed(value, CALL + _keys(texts))


def _keys(texts: Sequence[str]) -> int:
    """Return what it costs to look for attributes that are named in texts; each may be a path of a thousand keys."""
    return CALL * sum(text.count(".") + text.count(",") for text in texts)


PAID_BY_ITEM: Final[Mapping[str, Callable[[Any, Sequence[str]], Any]]] = {
    **dict.fromkeys(("list", "map", "reject", "rejectattr", "select", "selectattr"), _pay_by_item),
    **dict.fromkeys(("max", "min", "sort", "unique"), _pay_by_comparing),
}
"""Filters that go through a list: nothing else says how long that is, for most give the next one no list."""


def _bounded_test(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a test of Jinja2 that takes from the budget: it may be asked for each item of a list."""
    cost = weigh if name in {"lower", "upper"} else glance  # which make text of anything

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        current().spend(CALL + sum(map(cost, (*arguments, *options.values()))))
        return function(*arguments, **options)

    return call


def _to_json(value: Any) -> str:
    """Return a value as JSON text."""
    written = json.dumps(plain(value), ensure_ascii=False)
    check_size(written)
    return written


def _from_json(written: str) -> Any:
    """Return what JSON text says."""
    value = json.loads(plain(written))
    current().spend(weigh(value))
    return value


def replace(value: Any, old: str, new: str, count: int = -1) -> str:
    """Replace text by text, all of it or the first ``count``."""
    whole, old, new = as_text(value), as_text(old), as_text(new)
    if len(whole) + whole.count(old) * len(new) > MAX_CHARACTERS:
        raise SecurityError("the result of replace is too large")
    return whole.replace(old, new, count)


def _join(items: Iterable[Any], separator: str = "") -> str:
    """Join items to text."""
    texts = [as_text(item) for item in bounded(items)]
    separator = as_text(separator)
    if sum(map(len, texts)) + len(separator) * len(texts) > MAX_CHARACTERS:
        raise SecurityError("the result of join is too large")
    return separator.join(texts)


def _round(value: Any, precision: int = 0, method: Any = "common") -> Any:
    """Round a number, to places that it can have: for a million of them a whole number would be made of so many."""
    value, precision = plain(value), plain(precision)
    if abs(precision) > MAX_PRECISION:
        raise SecurityError(f"no number has more than {MAX_PRECISION} places")
    result = do_round(value, precision, method)
    check_size(result)
    return result


@pass_environment
def _sum(environment: Environment, items: Iterable[Any], attribute: str | int | None = None, start: Any = 0) -> Any:
    """Add up numbers, or put lists together (``start=[]``)."""
    values: Iterator[Any] = metered(items, 1 + _keys([attribute] if isinstance(attribute, str) else []))
    if attribute is not None:
        values = map(make_attrgetter(environment, attribute), values)
    if isinstance(start, list | tuple):
        together = [*start, *metered(item for one in values for item in _part(one))]
        check_size(together)
        return together
    total = start
    for value in values:
        if not isinstance(value, int | float):
            plain(value)
            raise SecurityError(f"it adds up numbers, or lists with start=[], not {kind_of(value)}")
        total += value
    check_size(total)
    return total


def _part(value: Any) -> Iterable[Any]:
    if not isinstance(value, list | tuple):
        plain(value)
        raise SecurityError(f"it puts lists together, not {kind_of(value)}")
    return value


OWN: Final[Mapping[str, Callable[..., Any]]] = {
    "from_json": _from_json,
    "join": _join,
    "replace": replace,
    "round": _round,
    "sum": _sum,
    "tojson": _to_json,
}
"""Filters that Jinja2 does not have, or not as they must be here."""


def filters() -> dict[str, Callable[..., Any]]:
    """Return all filters that there are, by name."""
    return {**{name: _bounded_filter(name, FILTERS[name]) for name in TAKEN}, **OWN}


def tests() -> dict[str, Any]:
    """Return all tests that there are, by name."""
    given: Mapping[str, Any] = TESTS
    return {name: _bounded_test(name, test) for name, test in given.items()}
