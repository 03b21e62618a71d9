"""The work of an expression is bounded, and what people do with lists and texts is well within that."""

from __future__ import annotations

import json
from typing import Any

import pytest

from barbossad.workflows.expressions import ExpressionError, render

SCOPE: dict[str, Any] = {
    "numbers": list(range(50_000)),
    "hosts": [{"name": f"host-{number}", "size": number, "tags": ["a", "b"]} for number in range(10_000)],
    "json": json.dumps([{"name": f"host-{number}"} for number in range(40_000)]),
    "text": "one line of many\n" * 60_000,
    "none": None,
}

TOO_MUCH = [
    "(['x' * 1000] * 20000) | map('upper') | list | length",
    "['x' * 100000] * 200",
    "([[1] * 1000] * 2000) | sum(start=[]) | length",
    "[[[[1] * 120] * 120] * 120] == 1",
    "([none] * 10000) | map('default', 'x' * 10000, true) | list | length",
    "(['x'] * 10000) | map('replace', 'x', 'y' * 10000) | list | length",
    "range(2000) | select('in', range(10000) | list) | list | length",
    "([0.5] * 90000) | map('string') | map('upper') | map('lower') | list | length",
    "range(3000) | map(attribute='0" + ".0" * 200 + "', default=1) | list | length",
    "range(10000) | map('string') | sort(attribute='0" + ",0" * 200 + "') | list | length",
    "('a' * 40000).rfind('ab' ~ 'a' * 20000)",
    "('a' * 40000).rsplit('ab' ~ 'a' * 20000)",
    "('a' * 40000).strip('b' * 40000 ~ 'a')",
    "('a' * 40000) | trim('b' * 40000 ~ 'a')",
    "([text] * 20) | map('length') | sum",
    "[text, text, text, text, text, text, text, text, text, text, text, text, text, text, text, text, text] is lower",
    "([hosts] * 40) | map('tojson') | map('length') | sum",
    "[hosts] * 40",
]


@pytest.mark.parametrize("text", TOO_MUCH)
def test_too_much_work_is_refused(text: str) -> None:
    """Whatever multiplies, by items or by characters, ends at the same bound, however the parts of it are joined."""
    with pytest.raises(ExpressionError, match="too much work"):
        render(f"{{{{ {text} }}}}", SCOPE)


@pytest.mark.parametrize("text", ["5 | round(-100000)", "1 | round(100000, 'ceil')", "1 | round(precision=100000)"])
def test_no_number_has_so_many_places(text: str) -> None:
    """Rounding to a million places would make a number of a million digits."""
    with pytest.raises(ExpressionError, match="no number has more than 400 places"):
        render(f"{{{{ {text} }}}}", SCOPE)


def test_all_expressions_of_a_text_have_one_bound() -> None:
    """A text of many expressions is no way around it; two texts have a bound each."""
    text = "{{ numbers | map('string') | list | length }}"
    assert render([text, text], SCOPE) == [50_000, 50_000]
    with pytest.raises(ExpressionError, match="too much work"):
        render(text * 4, SCOPE)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("numbers | sum", 1_249_975_000),
        ("numbers | select('odd') | map('string') | list | length", 25_000),
        ("numbers | sort(reverse=true) | first", 49_999),
        ("hosts | selectattr('size', 'ge', 5000) | map(attribute='name') | join(',') | length", 49_999),
        ("hosts | map(attribute='tags') | sum(start=[]) | unique | list", ["a", "b"]),
        ("hosts | sum(attribute='size')", 49_995_000),
        ("hosts | sort(attribute='size', reverse=true) | map(attribute='name') | first", "host-9999"),
        ("hosts | tojson | from_json | length", 10_000),
        ("(json | from_json)[7].name", "host-7"),
        ("text.splitlines() | length", 60_000),
        ("text.splitlines() | select('in', ['one line of many']) | list | length", 60_000),
        ("text | upper | lower | trim | length", 1_019_999),
        ("text.strip().rsplit('\\n', 1) | last", "one line of many"),
        ("[[1, 2], [3]] | sum(start=[])", [1, 2, 3]),
        ("[1.5, 2, true] | sum(start=1)", 5.5),
        ("none | map('upper') | list", []),
        ("2.567 | round(1)", 2.6),
        ("2.1 | round(method='ceil')", 3.0),
        ("1234 | round(-2)", 1200),
        ("9 is divisibleby(num=3)", True),
        ("numbers | select('divisibleby', num=3) | list | length", 16_667),
    ],
)
def test_what_people_do_is_not_too_much(text: str, value: object) -> None:
    """Lists of tens of thousands and texts of a million characters go through a chain of filters."""
    assert render(f"{{{{ {text} }}}}", SCOPE) == value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("['a', 'b'] | sum", "it adds up numbers, or lists with start=.., not text"),
        ("[1, 2] | sum(start=[])", "it puts lists together, not a number"),
        ("hosts | sum(attribute='nope')", "there is no 'nope' here"),
        ("'1' | from_json(object_hook=range)", "unexpected keyword argument"),
    ],
)
def test_what_cannot_be_added_or_read(text: str, words: str) -> None:
    """Filters of our own say what they take."""
    with pytest.raises(ExpressionError, match=words):
        render(f"{{{{ {text} }}}}", SCOPE)
