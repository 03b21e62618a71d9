"""What is no cron expression is refused with the field that is wrong, and why."""

from __future__ import annotations

from pathlib import Path

import pytest

from barbossad.recurrence import cron, moments, windows, zones
from barbossad.validation import RefusalError

REFUSED = [
    line.split("\t") for line in (Path(__file__).parent / "refused.tsv").read_text(encoding="utf-8").splitlines()
]


@pytest.mark.parametrize(("text", "message", "hint"), REFUSED)
def test_refused_expression(text: str, message: str, hint: str) -> None:
    """Each is refused with its message and a hint."""
    with pytest.raises(RefusalError) as refusal:
        cron.parse(text)
    assert (str(refusal.value), refusal.value.hint) == (message, hint)


@pytest.mark.parametrize("text", ["0 0 10 * 5#2", "0 0 13 * L5", "0 0 * * 1,5#2", "0 0 * * L5,1", "0 0 * * 1-5,6#2"])
def test_mixtures_are_refused(text: str) -> None:
    """Special days beside plain ones, or beside days of the month, are two schedules."""
    with pytest.raises(RefusalError) as refusal:
        cron.parse(text)
    assert refusal.value.hint == "write two schedules"


def test_there_are_enough() -> None:
    """The messages of more than sixty expressions are written down, no two expressions the same."""
    assert len({text for text, _, _ in REFUSED}) == len(REFUSED) >= 60


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Europe/Londn", "did you mean 'Europe/London'?"),
        ("", "write an IANA name such as Europe/London or UTC"),
        ("../etc/passwd", "write an IANA name such as Europe/London or UTC"),
        ("right/Europe/London", "write an IANA name such as Europe/London or UTC"),
        ("Mars/Olympus", "write an IANA name such as Europe/London or UTC"),
    ],
)
def test_refused_zone(name: str, hint: str) -> None:
    """What is no time zone is refused, with the nearest if there is one."""
    with pytest.raises(RefusalError, match="is not a time zone") as refusal:
        zones.zone(name)
    assert refusal.value.hint == hint


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is an empty window"),
        ("Mon-Fry", "'Fry' is no day of the week"),
        ("25:00-26:00", "25:00 is no time of day"),
        ("08:00-08:00", "is an empty span"),
        ("2026-02-30", "there is no 2026-02-30"),
        ("2026-03-01/2026-02-01", "it ends before it begins"),
        ("2026-03-01/04-01", "one date has a year and the other has none"),
        ("Mon Tue", "two parts that say the day of the week"),
    ],
)
def test_refused_window(text: str, words: str) -> None:
    """What is no window is refused with the part that is wrong."""
    with pytest.raises(RefusalError) as refusal:
        windows.parse_window(text)
    assert words in str(refusal.value)


@pytest.mark.parametrize("value", ["tomorrow", "2026-13-01", "2026-01-01 25:00", 7, "", "2026-01-01 10:00"])
def test_refused_moment(value: object) -> None:
    """What is no instant, or one of no zone, is refused."""
    with pytest.raises(RefusalError):
        moments.parse_moment(value, None)


@pytest.mark.parametrize("value", ["9999-12-31", "0001-01-01 00:00", "9000-01-01T00:00:00Z"])
def test_moments_too_far_away(value: str) -> None:
    """What no calendar reckons with is refused, at its end too."""
    with pytest.raises(RefusalError, match="between the years 1900 and 9000"):
        moments.parse_moment(value, "UTC", is_end=True)
