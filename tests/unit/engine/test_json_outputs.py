"""What a program prints as JSON becomes outputs, as long as it can be kept, read again and told."""

from __future__ import annotations

import json

import pytest

from barbossad.engine.attempt import json_outputs
from barbossad.tasks._report import MAX_DEPTH


def test_an_object_gives_outputs() -> None:
    """Its members are outputs of their own, over what the task wrote; anything else is the output ``value``."""
    assert json_outputs('{"a": 1, "b": [2.5, null]}', {"a": 0, "c": "x"}) == {"a": 1, "b": [2.5, None], "c": "x"}
    assert json_outputs(" [1, 2]\n", None) == {"value": [1, 2]}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "words",
        "{} {}",
        "NaN",
        "[1e400]",
        "-Infinity",
        "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1),
        "[" * 960 + "]" * 960,
        "[" * 100_000,
        "1" * 5000,
    ],
    ids=lambda text: text[:12] or "nothing",
)
def test_what_is_refused(text: str) -> None:
    """What is not JSON, no number, or so deep that nobody could read it again later is a fault of the task."""
    with pytest.raises(ValueError, match=r"."):
        json_outputs(text, None)


def test_as_deep_as_may_be() -> None:
    """Up to the limit it is kept as it is."""
    text = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert json_outputs(text, None) == {"value": json.loads(text)}


def test_half_a_surrogate_pair() -> None:
    """It goes no further: no file, no answer and no other program could hold it."""
    assert json_outputs('{"a": "x\\ud800y", "b": "\\ud83d\\ude00"}', None) == {"a": "x?y", "b": "\U0001f600"}
