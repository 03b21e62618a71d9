"""The log format, whatever pieces the output comes in."""

from __future__ import annotations

import random

import pytest

from barbossad.process.output import cri

STAMP = b"2026-01-31T02:00:00.000000001Z"


def texts(records: bytes) -> list[tuple[str, str]]:
    """Return flag and text of each record; fail on anything else."""
    found = []
    for line in records.decode().split("\n")[:-1]:
        at, stream, flag, text = line.split(" ", 3)
        assert (at, stream) == (STAMP.decode(), "stdout")
        assert len(text.encode()) <= cri.PIECE_BYTES
        found.append((flag, text))
    return found


def whole(found: list[tuple[str, str]]) -> str:
    """Return what was printed."""
    if found[-2:-1] == [("P", "")]:
        return whole(found[:-2]) + found[-1][1]
    assert ("P", "") not in found
    return "".join(text + ("\n" if flag == "F" else "") for flag, text in found)


def in_pieces(data: bytes, *cuts: int) -> list[tuple[str, str]]:
    formatter = cri.Formatter("stdout")
    parts = [data[start:end] for start, end in zip((0, *cuts), (*cuts, len(data)), strict=True)]
    return texts(
        b"".join(formatter.records(part, STAMP) for part in parts) + formatter.records(b"", STAMP, is_last=True)
    )


def test_stamp() -> None:
    """A stamp has nanoseconds and is UTC."""
    stamps = cri.Stamps()
    assert stamps.stamp(1_769_824_800_000_000_001) == b"2026-01-31T02:00:00.000000001Z"
    assert stamps.stamp(1_769_824_800_999_999_999) == b"2026-01-31T02:00:00.999999999Z"
    assert stamps.stamp(1_769_824_801_000_000_000) == b"2026-01-31T02:00:01.000000000Z"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", []),
        (b"\n", [("F", "")]),
        (b"a\n\nb\n", [("F", "a"), ("F", ""), ("F", "b")]),
        (b"a", [("P", "a"), ("P", ""), ("F", "")]),
        (b"a\r\nb\r", [("F", "a\r"), ("P", "b\r"), ("P", ""), ("F", "")]),
        (b"\xff\0\n", [("F", "\\xff\\x00")]),
        ("é \u2028\x85\x0b\n".encode(), [("F", "é \u2028\x85\x0b")]),
        (b"caf\xc3", [("P", "caf"), ("P", ""), ("F", "\\xc3")]),
    ],
)
def test_records(data: bytes, expected: list[tuple[str, str]]) -> None:
    """A line is a record; what is no text is escaped; only a newline ends a line."""
    assert in_pieces(data) == expected


def test_last_piece_ends_its_line() -> None:
    """A line that the stream's end cuts off is known to be whole when the end is known, and to have had no end."""
    assert texts(cri.Formatter("stdout").records(b"a\nb", STAMP, is_last=True)) == [("F", "a"), ("P", ""), ("F", "b")]
    assert texts(cri.Formatter("stdout").records(b"a\nb\n", STAMP, is_last=True)) == [("F", "a"), ("F", "b")]


@pytest.mark.parametrize("length", [cri.PIECE_BYTES - 1, cri.PIECE_BYTES, cri.PIECE_BYTES + 1, 5 * cri.PIECE_BYTES + 3])
@pytest.mark.parametrize("character", ["x", "é", "€", "🏴"])
def test_long_lines(length: int, character: str) -> None:
    """A long line is cut into pieces at characters, and loses none."""
    line = character * length
    found = in_pieces(f"a\n{line}\nb\n".encode())
    assert whole(found) == f"a\n{line}\nb\n"
    assert found[0] == ("F", "a")
    assert found[-1] == ("F", "b")


def test_any_cut_is_the_same_text() -> None:
    """However the pipe cuts the output, the text put together again is the same."""
    chance = random.Random(5)
    alphabet = [b"a", b"\n", "é".encode(), "€".encode(), "🏴".encode(), b"\xff", b"\xe2\x82", b"\0", b"x" * 3000]
    for _ in range(200):
        data = b"".join(chance.choice(alphabet) for _ in range(chance.randint(0, 40)))
        expected = data.decode("utf-8", "backslashreplace").replace("\0", "\\x00")
        cuts = sorted(chance.randint(0, len(data)) for _ in range(chance.randint(0, 6)))
        assert whole(in_pieces(data, *cuts)) == expected
