"""YAML from strangers: plain values with their places, and nothing that grows, crashes or becomes an object."""

from __future__ import annotations

import math
import time

import pytest

from barbossad import document
from barbossad.document import dotted, parse


def value(text: str) -> object:
    """Return the value of a text that has no fault."""
    read = parse(text)
    assert read.faults == []
    assert read.is_complete
    return read.value


def messages(text: str) -> list[str]:
    return [fault.message for fault in parse(text).faults]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("# only a comment", None),
        ("~", None),
        ("x", "x"),
        ("{a: 1, b: [x, {c: }]}", {"a": 1, "b": ["x", {"c": None}]}),
        ("a: |\n  one\n  two\n", {"a": "one\ntwo\n"}),
        ("a: >-\n  one\n  two\n", {"a": "one two"}),
        ("- - 1\n  - 2\n- []", [[1, 2], []]),
        ("1: one\ntrue: two\n~: three", {"1": "one", "true": "two", "~": "three"}),
        ("a: ☠", {"a": "☠"}),
        ("'it''s': \"a\\tb\\u2028\"", {"it's": "a\tb\u2028"}),
        ("a: nul \\0 is text", {"a": "nul \\0 is text"}),
    ],
)
def test_values(text: str, expected: object) -> None:
    """Maps, lists and scalars are read as they stand; keys are text."""
    assert value(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("-12", -12),
        ("+7", 7),
        ("1_000_000", 1_000_000),
        ("0x1F", 31),
        ("0o17", 15),
        ("010", "010"),
        ("08", "08"),
        ("0b11", "0b11"),
        ("12:30", "12:30"),
        ("190:20:30", "190:20:30"),
        ("1:30.5", "1:30.5"),
        ("1.5", 1.5),
        (".5", 0.5),
        ("-1.0e+3", -1000.0),
        (".inf", math.inf),
        ("-.Inf", -math.inf),
        ("yes", True),
        ("Off", False),
        ("NO", False),
        ("true", True),
        ("null", None),
        ("2026-01-31", "2026-01-31"),
        ("2026-01-31T02:00:00Z", "2026-01-31T02:00:00Z"),
        ("=", "="),
        ('"1"', "1"),
        ("'yes'", "yes"),
        ("1 2", "1 2"),
        ("1e3", "1e3"),
        ("9" * 500, "9" * 500),
    ],
)
def test_scalars(text: str, expected: object) -> None:
    """A scalar is what people mean by it: no octals by a leading zero, no minutes from a clock, no dates."""
    found = value(f"a: {text}")
    assert found == {"a": expected}
    assert isinstance(found, dict)
    assert type(found["a"]) is type(expected)


def test_not_a_number() -> None:
    """``.nan`` is a float, for whoever reads it to refuse."""
    found = value("a: .NaN")
    assert isinstance(found, dict)
    assert math.isnan(found["a"])


def test_places() -> None:
    """Every key and item has its line and column; what has none stands where its nearest ancestor does."""
    read = parse("name: x\ntasks:\n  - id: a\n    env: {A: 1}\n  - 2\n")
    assert read.place(("name",)) == (1, 1)
    assert read.place(("tasks", 0, "id")) == (3, 5)
    assert read.place(("tasks", 0, "env", "A")) == (4, 11)
    assert read.place(("tasks", 1)) == (5, 5)
    assert read.place(("tasks", 0, "missing", "deeper")) == (3, 5)
    assert read.place(("nowhere",)) == (1, 1)
    assert parse("").place(("x",)) == (None, None)


def test_fault_has_its_place() -> None:
    """A fault at a path says line, column, path, what and how to mend it."""
    fault = parse("a:\n  - b: 1\n").fault(("a", 0, "b"), "is too small", "use 2")
    assert fault.as_dict() == {"line": 2, "column": 5, "path": "a[0].b", "message": "is too small", "hint": "use 2"}
    assert str(fault) == "line 2, column 5: is too small (use 2)"


@pytest.mark.parametrize(
    ("path", "text"), [((), ""), (("a",), "a"), (("a", 0, "b"), "a[0].b"), ((0, 1), "[0][1]"), (("a", "b"), "a.b")]
)
def test_dotted(path: document.Path, text: str) -> None:
    """A path reads as people write it."""
    assert dotted(path) == text


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        (
            "a: !!python/object/apply:os.system [id]",
            "the tag 'tag:yaml.org,2002:python/object/apply:os.system' is refused",
            1,
        ),
        ("a: !!str 1", "is refused", 1),
        ("!x a: 1", "is refused", 1),
        ("a: &x 1", "anchors are refused", 1),
        ("&x a: 1", "anchors are refused", 1),
        ("b: 1\na: *x", "aliases are refused", 2),
        ("a: 1\n<<: {b: 2}", "merge keys are refused", 2),
        ("a: 1\nb: 2\na: 3", "the key 'a' stands here a second time", 3),
        ("1: x\n'1': y", "the key '1' stands here a second time", 2),
        ("a: 1\n---\nb: 2", "a second document starts here", 2),
        ("{{ x }}: 1", "a key is a plain word", 1),
        ("[a]: 1", "a key is a plain word", 1),
        ("? {a: 1}\n: 2", "a key is a plain word", 1),
        ("a: [1", "not YAML", None),
        ("a: b: c", "not YAML: mapping values are not allowed", 1),
        ("a:\n\t- b", "not YAML", 2),
        ("a: \x07", "not YAML", None),
        ("a: 1\nb: caf\udce9", "half a surrogate pair is no text", 2),
        ("%YAML 9.9\n---\na: 1", "not YAML", None),
    ],
)
def test_refused(text: str, message: str, line: int | None) -> None:
    """Machinery of YAML and broken form are faults with their place."""
    read = parse(text)
    found = [fault for fault in read.faults if message in fault.message]
    assert found, read.faults
    if line is not None:
        assert found[0].line == line


def test_quoted_merge_key_is_a_key() -> None:
    """What is quoted is text."""
    assert value("'<<': 1") == {"<<": 1}


def test_several_faults_at_once() -> None:
    """What does not end the reading is told together."""
    assert len(messages("a: !x 1\nb: &y 2\na: 3\n")) == 3


def test_depth() -> None:
    """Nesting ends at the limit, in both styles, with the place."""
    limit = document.MAX_DEPTH
    assert messages("[" * limit + "]" * limit) == []
    for text in ("[" * (limit + 1), "{a: " * (limit + 1), "- " * (limit + 1) + "x"):
        (message,) = messages(text)
        assert message == f"nested deeper than {limit} levels"


@pytest.mark.parametrize(
    "text",
    [
        "[" * 1_000_000,
        "{a: " * 300_000,
        "- " * 500_000,
        "? " * 500_000,
        "&a [" * 200_000,
        "a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\nd: [*c,*c]",
        "a: " + "x" * 1_000_000,
        "a: |\n" + "  x\n" * 300_000,
        "[" + "0," * 400_000 + "]",
        "a: '" + "''" * 400_000 + "'",
        "a: " + "9" * 1_000_000,
        "# " * 500_000,
        "a: " + "\\" * 1_000_000,
        "".join(f"k{number}: 1\n" for number in range(60_000)) + "k1: 1\n",
    ],
    ids=lambda text: text[:12],
)
def test_hostile_texts_are_quick(text: str) -> None:
    """A megabyte of anything is read or refused in a moment, without a crash."""
    begun = time.process_time()
    parse(text)
    assert time.process_time() - begun < 6


def test_too_many_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of values is bounded."""
    monkeypatch.setattr(document, "MAX_NODES", 10)
    assert messages("[1, 2, 3, 4, 5, 6, 7, 8, 9]") == []
    read = parse("[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]")
    assert [fault.message for fault in read.faults] == ["more than 10 values"]
    assert not read.is_complete


def test_incomplete_is_told() -> None:
    """Of a text that could not be read to its end the value may lack something, and that is known."""
    assert not parse("a: 1\nb: [").is_complete
    assert not parse("a: *x\nb: 1").is_complete
    assert parse("a: 1\na: 2").is_complete
