from __future__ import annotations

import pytest

from barbossad.validation import RefusalError
from barbossad.variables import MAX_VARIABLE_BYTES, check_travels, scalar_text, text_of


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a b", "a b"), (True, "true"), (False, "false"), (None, ""), (3, "3"), (3.0, "3"), (0.5, "0.5"),
        (1e300, "1e+300"), ([1, "é"], '[1,"é"]'), ({"a": None}, '{"a":null}'),
    ],
)  # fmt: skip
def test_every_value_has_one_text(value: object, text: str) -> None:
    """Programs get the same text of a value wherever it goes."""
    assert text_of(value) == text


@pytest.mark.parametrize("value", [object(), [object()], float("nan"), [float("inf")], {1, 2}])
def test_what_is_no_plain_value_has_no_text(value: object) -> None:
    """Nothing is ever handed on as its Python representation."""
    with pytest.raises(RefusalError, match="cannot be written as text"):
        text_of(value)


def test_the_kernels_limit_is_known() -> None:
    """A variable is its name, a sign, its value and a NUL; together at most what the kernel takes."""
    assert check_travels("x" * (MAX_VARIABLE_BYTES - 4), name="ab")
    with pytest.raises(RefusalError, match=f"at most {MAX_VARIABLE_BYTES}"):
        check_travels("x" * (MAX_VARIABLE_BYTES - 3), name="ab")
    with pytest.raises(RefusalError, match="NUL"):
        check_travels("a\0")
    with pytest.raises(RefusalError, match="surrogate"):
        check_travels("\ud800")


def test_only_scalars_are_text_in_a_file() -> None:
    """YAML's numbers and booleans are text where text is wanted; lists, maps and nothing are mistakes."""
    assert scalar_text(5) == "5"
    for value in (None, [], {}):
        with pytest.raises(RefusalError, match="must be text"):
            scalar_text(value)
