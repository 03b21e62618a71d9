"""Words for people."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from barbossactl import text

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\rb", "a\\rb"),
        ("a\nb", "a\\nb"),
        ("bell\x07", "bell\\x07"),
        ("\x9b2J", "\\x9b2J"),
        ("\x7f", "\\x7f"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\u2066x", "\\u2066x"),
        ("half \udc80", "half \\udc80"),
        ("grüße, 日本, 🙂", "grüße, 日本, 🙂"),
    ],
)
def test_control_characters_are_made_visible(hostile: str, shown: str) -> None:
    """What would act on a terminal or reorder text is shown as an escape; other text is left as it is."""
    assert text.escape_line(hostile) == shown
    assert text.escape_cell(hostile) == shown


def test_a_tab_stays_in_a_line_and_not_in_a_cell() -> None:
    """A line of output keeps its tabs, a cell of a table cannot."""
    assert text.escape_line("a\tb") == "a\tb"
    assert text.escape_cell("a\tb") == "a\\tb"
    assert text.escape_document("a:\n\tb\x1b") == "a:\n\tb\\x1b"


def test_every_control_character_is_escaped() -> None:
    """No character of Unicode's control category but tab gets through to a terminal."""
    controls = [chr(code) for code in (*range(32), *range(127, 160)) if chr(code) != "\t"]
    assert all(text.escape_line(control).startswith("\\") for control in controls)


def test_escaped_json_means_the_same() -> None:
    """JSON is made harmless without changing what it says."""
    value = {"name": "\x9b\u202e\x7f\x1b ü", "list": ["\n", "\t"]}
    document = text.escape_json(json.dumps(value, ensure_ascii=False, indent=2))
    assert json.loads(document) == value
    assert not set("\x9b\u202e\x7f") & set(document)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-1, "0 ms"),
        (0.04, "40 ms"),
        (0.0996, "0.1 s"),
        (2.34, "2.3 s"),
        (9.97, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (192, "3 min 12 s"),
        (3599.7, "1 h 00 min"),
        (7500, "2 h 05 min"),
        (273600, "3 d 4 h"),
    ],
)
def test_durations_are_said_in_two_units(seconds: float, shown: str) -> None:
    """A duration is as exact as its length deserves."""
    assert text.duration(seconds) == shown


def test_a_moment_is_local_and_tells_its_age() -> None:
    """An instant is shown in local time with how long ago, or how far ahead, it is."""
    local = datetime(2026, 3, 1, 11, 56, 48, tzinfo=UTC).astimezone()
    assert text.moment("2026-03-01T11:56:48Z", NOW).endswith(f"{local:%H:%M:%S} (3 min 12 s ago)")
    old = datetime(2026, 2, 1, 12, 0, 0, tzinfo=UTC).astimezone()
    assert text.moment("2026-02-01T12:00:00Z", NOW) == f"{old:%Y-%m-%d %H:%M:%S} (28 d 0 h ago)"
    assert text.moment("2026-03-01T12:00:05.000Z", NOW).endswith("(in 5.0 s)")
    assert text.moment("2026-03-01T12:00:00Z", NOW).endswith("(just now)")
    assert text.moment("not \x1b a time", NOW) == "not \\x1b a time"


def test_instants_with_nanoseconds_are_read() -> None:
    """The log format has nine digits of a second."""
    instant = text.parse_instant("2026-03-01T12:00:00.123456789Z")
    assert instant is not None
    assert instant.microsecond == 123456


def test_what_has_no_end_lasts_until_now() -> None:
    """The time something has taken counts from its start to its end, or to now; without a start there is none."""
    assert text.seconds_between("2026-03-01T11:59:00Z", None, NOW) == 60
    assert text.seconds_between("2026-03-01T11:59:00Z", "2026-03-01T11:59:30Z", NOW) == 30
    assert text.seconds_between(None, None, NOW) is None
    assert text.seconds_between("2026-03-01T11:59:30Z", "2026-03-01T10:59:30Z", NOW) == 0


def test_sizes_and_counts() -> None:
    """Sizes are in powers of 1024, and one is not many."""
    assert [text.size(value) for value in (0, 1023, 1536, 5 * 1024**3, 2**50)] == [
        "0 B",
        "1023 B",
        "1.5 KiB",
        "5.0 GiB",
        "1024.0 TiB",
    ]
    assert (text.count(1, "task"), text.count(2, "task")) == ("1 task", "2 tasks")
