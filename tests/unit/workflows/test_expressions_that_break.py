"""No expression brings down who evaluates it, whatever Jinja2 and its filters raise."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from barbossad.workflows import expressions
from barbossad.workflows.expressions import ExpressionError

BREAKING = [
    ("{{ 'abc' | truncate(-5) }}", {}),
    ("{{ params.text | truncate(params.width) }}", {"params": {"text": "abc", "width": -5}}),
    ("{{ 9e999 | int }}", {}),
    ("{{ params.number | int }}", {"params": {"number": float("inf")}}),
    ("{{ 1 / params.none }}", {"params": {"none": 0}}),
    ("{{ 'x' * 10**9 }}", {}),
    ("{{ [3, 'a'] | sort }}", {}),
    ("{{ 'a' | center(10**9) }}", {}),
    ("{{ [1] | slice(0) | list }}", {}),
    ("{{ 'abc' | wordwrap(0) }}", {}),
]


@pytest.mark.parametrize(("text", "scope"), BREAKING, ids=[text for text, _ in BREAKING])
@pytest.mark.parametrize("form", ["{}", "before {} after"], ids=["alone", "in a text"])
def test_what_breaks_has_no_value(text: str, scope: dict[str, Any], form: str) -> None:
    """It is an error of the expression, or has a value after all; nothing else comes out."""
    value = None
    with contextlib.suppress(ExpressionError):
        value = expressions.render(form.format(text), scope)
    assert isinstance(value, str | int | list | None)


@pytest.mark.parametrize(
    "text", ["{{ params.n * 1e308 }}", "{{ [params.n * -1e308] }}", "{{ params.inf - params.inf }}"]
)
def test_what_is_no_number(text: str) -> None:
    """No value is infinite, or no number at all: JSON, in which it is kept and told, has no word for it."""
    with pytest.raises(ExpressionError, match="no number"):
        expressions.render(text, {"params": {"n": 100, "inf": float("inf")}})
