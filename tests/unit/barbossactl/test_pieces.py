"""Pieces of output joined to lines, and the last of them kept."""

from __future__ import annotations

from barbossactl.pieces import LINE_CHARACTERS, TAIL_LINES, LineJoiner, Source, Tails
from barbossactl.records import OutputPiece

BUILD, TEST = Source("build", 1), Source("test", 1)


def piece(text: str, *, stream: str = "stdout", partial: bool = False) -> OutputPiece:
    return OutputPiece(at="2026-03-01T12:00:00Z", stream=stream, text=text, is_partial=partial)


def test_partial_pieces_make_one_line() -> None:
    """A line that came in pieces is one line, whatever came between on other streams and tasks."""
    joiner = LineJoiner()
    assert not list(joiner.lines(BUILD, [piece("a", partial=True)]))
    assert [line.text for line in joiner.lines(TEST, [piece("x")])] == ["x"]
    shown = list(joiner.lines(BUILD, [piece("err", stream="stderr"), piece("b", partial=True), piece("c")]))
    assert [line.text for line in shown] == ["err", "abc"]


def test_a_line_without_end_is_held_in_no_memory() -> None:
    """A line longer than the limit is shown in parts."""
    joiner = LineJoiner()
    long = "x" * (LINE_CHARACTERS // 2)
    shown = list(joiner.lines(BUILD, [piece(long, partial=True)] * 5))
    assert [len(line.text) for line in shown] == [LINE_CHARACTERS, LINE_CHARACTERS]
    assert [(source, len(line.text)) for source, line in joiner.rest()] == [(BUILD, len(long))]
    assert not list(joiner.rest())


def test_dots_make_a_line() -> None:
    """A line of very many pieces costs each of them once: looked at anew with each they took minutes."""
    joiner = LineJoiner()
    dots = [piece(".", partial=True)] * (LINE_CHARACTERS + 1)
    [line] = joiner.lines(BUILD, dots)
    assert line.text == "." * LINE_CHARACTERS
    assert [line.text for _, line in joiner.rest()] == ["."]


def test_what_is_missing_ends_lines() -> None:
    """Where output is missing, a line that was open is shown before that is told, and goes on with nothing behind."""
    joiner = LineJoiner()
    gap = piece("[barbossad: 99 bytes of log records dropped here, the cap is reached]", stream="stderr")
    pieces = [piece("head", partial=True), piece("err", stream="stderr", partial=True), gap, piece("tail")]
    assert not list(joiner.lines(TEST, [piece("other", partial=True)]))
    assert [line.text for line in joiner.lines(BUILD, pieces)] == ["head", "err", gap.text, "tail"]
    assert [source for source, _ in joiner.rest()] == [TEST]


def test_a_tail_is_the_last_lines() -> None:
    """Of each source the last lines are kept, joined, and cut where they are very long."""
    tails = Tails()
    tails.add(BUILD, [piece(f"line {number}") for number in range(1000)])
    tails.add(BUILD, [piece("half ", partial=True)])
    tails.add(BUILD, [piece("whole"), piece("y" * 10_000)])
    kept = tails.of(BUILD)
    assert len(kept) == TAIL_LINES
    assert kept[-2] == "half whole"
    assert kept[0] == f"line {1000 - TAIL_LINES + 2}"
    assert len(kept[-1]) < 1000
    assert tails.of(TEST) == []
