"""Names, and the numbers that run ids spell."""

from __future__ import annotations

import random

import pytest

from barbossad.model import names
from barbossad.model.names import run_id_from_number, run_number


def test_ids_and_numbers() -> None:
    """Every number of 50 bits has one id, and ids sort as their numbers do."""
    numbers = sorted({0, 1, 31, 32, 2**50 - 1, *(random.getrandbits(50) for _ in range(500))})
    ids = [run_id_from_number(number) for number in numbers]
    assert [run_number(run_id) for run_id in ids] == numbers
    assert ids == sorted(ids)
    assert all(names.RUN_ID.fullmatch(run_id) for run_id in ids)
    assert ids[0] == "0000000000"
    assert ids[-1] == "zzzzzzzzzz"


@pytest.mark.parametrize(
    "text",
    [
        *("", "0", "00000000000", "000000000I", "000000000i", "000000000l", "000000000o", "000000000u"),
        *("../../../..", "00000000 0", "000000000\n", "0000000000\n", "٠٠٠٠٠٠٠٠٠٠"),
    ],
)
def test_what_is_no_id(text: str) -> None:
    """Nothing else is taken for an id."""
    with pytest.raises(ValueError, match="is not a run id"):
        run_number(text)


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        (
            names.WORKFLOW_NAME,
            ["a", "0", "nightly-backup_2", "a" * 63],
            ["", "A", "-a", "_a", "a b", "a/b", "a.b", "ä"],
        ),
        (names.TASK_ID, ["a", "Z9", "dump-it_2", "a" * 63], ["", "-a", "_a", "a b", "a/b", "..", "a.b", "ä"]),
        (names.PARAM_NAME, ["a", "_A", "keep_days"], ["", "1a", "a-b", "a b", "ä"]),
        (names.VERSION_ID, ["0123456789abcdef"], ["", "0123456789abcde", "0123456789ABCDEF", "0123456789abcdefa"]),
    ],
)
def test_patterns(pattern: object, good: list[str], bad: list[str]) -> None:
    """A name is what its pattern says, wholly: nothing that could be part of a path, an option or another line."""
    match = pattern.fullmatch  # type: ignore[attr-defined]
    assert all(match(text) for text in good)
    assert not any(match(text) for text in [*bad, *(f"{text}\n" for text in good), "a" * 64, "a\0"])
