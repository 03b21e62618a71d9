from __future__ import annotations

import random

import pytest

from barbossad.units import MAX_DURATION_SECONDS, format_duration, format_size, parse_duration, parse_size
from barbossad.validation import RefusalError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (90, 90.0),
        (0.5, 0.5),
        ("90", 90.0),
        ("90s", 90.0),
        (" 5m ", 300.0),
        ("1h30m", 5400.0),
        ("2d", 172_800.0),
        ("250ms", 0.25),
        ("1.5h", 5400.0),
        ("1d1h1m1s1ms", 90_061.001),
        ("0", 0.0),
    ],
)
def test_duration_is_read(text: object, seconds: float) -> None:
    """Durations are numbers of seconds, or numbers with units in falling order."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "soon", "5m1h", "1h1h", "m", "5 m", "-5m", -1, True, None, [], "1e3", "٣s", float("nan"), "5M", "9" * 40],
)
def test_duration_is_refused(text: object) -> None:
    """What is no duration is refused with the way to write one."""
    with pytest.raises(RefusalError, match="is not") as refused:
        parse_duration(text)
    assert "90s, 5m" in refused.value.hint


def test_duration_is_bounded() -> None:
    """A duration of more than a hundred years is a mistake."""
    for value in (MAX_DURATION_SECONDS + 1, "36601d", 10**400, -(10**400)):
        with pytest.raises(RefusalError, match="100 years"):
            parse_duration(value)


def test_duration_survives_a_round_trip() -> None:
    """What is formatted is read back as the same number of milliseconds."""
    for _ in range(2000):
        milliseconds = random.randrange(10 ** random.randint(1, 12))
        assert round(parse_duration(format_duration(milliseconds / 1000)) * 1000) == milliseconds
    assert format_duration(0) == "0s"
    assert format_duration(5400.25) == "1h30m250ms"


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        (512, 512),
        ("64", 64),
        ("64K", 65_536),
        ("512M", 512 * 1024**2),
        ("2g", 2 * 1024**3),
        ("1.5K", 1536),
        ("10MiB", 10 * 1024**2),
        ("3T", 3 * 1024**4),
    ],
)
def test_size_is_read(text: object, size_bytes: int) -> None:
    """Sizes are bytes, or numbers with a unit that is a power of 1024."""
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize("text", ["", "big", "M", "-1", -1, 1.5, "0.3", "5P", True, None, 2**61, "9999999T"])
def test_size_is_refused(text: object) -> None:
    """What is no size, or no whole number of bytes, is refused."""
    with pytest.raises(RefusalError, match="is not"):
        parse_size(text)


def test_size_survives_a_round_trip() -> None:
    """What is formatted is read back as the same number of bytes."""
    for _ in range(2000):
        size_bytes = random.randrange(2 ** random.randint(1, 45)) << random.choice((0, 10, 15))
        assert parse_size(format_size(size_bytes)) == size_bytes
    assert format_size(10 * 1024**2) == "10M"
    assert format_size(1500) == "1500"
