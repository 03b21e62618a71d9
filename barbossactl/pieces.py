"""Output as it arrives: whose it is, pieces joined to lines, and the last lines kept for a report."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Final, NamedTuple

from barbossactl.records import OutputPiece

TAIL_LINES: Final = 10
LINE_CHARACTERS: Final = 256 * 1024
"""A line longer than this is shown in parts, so that none has to fit in memory."""

_TAIL_CHARACTERS: Final = 400

_OF_THE_DAEMON: Final = "[barbossad: "
"""How a line begins that the daemon put among the output, where something of that is missing."""


class Source(NamedTuple):
    """One attempt of one task: what has a log of its own."""

    task: str
    attempt: int


@dataclass(slots=True)
class _OpenLine:
    """A line that goes on; a program that prints dots makes a piece of each."""

    parts: list[OutputPiece] = field(default_factory=list)
    characters: int = 0

    def add(self, piece: OutputPiece) -> None:
        self.parts.append(piece)
        self.characters += len(piece.text)


class LineJoiner:
    """Turns pieces into lines; what is not complete yet waits, each stream of each source on its own."""

    def __init__(self) -> None:
        self._open: dict[tuple[Source, str], _OpenLine] = {}

    def lines(self, source: Source, pieces: Sequence[OutputPiece]) -> Iterator[OutputPiece]:
        """Yield the lines that ``pieces`` complete, and where something is missing, what came before that."""
        for piece in pieces:
            if piece.text.startswith(_OF_THE_DAEMON):
                yield from (self._close(key) for key in list(self._open) if key[0] == source)
            key = (source, piece.stream)
            if piece.is_partial:
                line = self._open.setdefault(key, _OpenLine())
                line.add(piece)
                if line.characters >= LINE_CHARACTERS:
                    yield self._close(key)
            elif key in self._open:
                self._open[key].add(piece)
                yield self._close(key)
            else:
                yield piece

    def rest(self) -> Iterator[tuple[Source, OutputPiece]]:
        """Yield what was never completed, once no more will come."""
        for key in list(self._open):
            yield key[0], self._close(key)

    def _close(self, key: tuple[Source, str]) -> OutputPiece:
        parts = self._open.pop(key).parts
        return replace(parts[0], text="".join(part.text for part in parts), is_partial=False)


def last_lines(pieces: Iterable[tuple[Source, OutputPiece]], count: int) -> Iterator[tuple[Source, OutputPiece]]:
    """Yield all pieces of the last lines, in the order in which these ended; lines that are open are the last."""
    lines: deque[list[tuple[Source, OutputPiece]]] = deque(maxlen=count)
    still_open: dict[tuple[Source, str], list[tuple[Source, OutputPiece]]] = {}
    for source, piece in pieces:
        key = (source, piece.stream)
        still_open.setdefault(key, []).append((source, piece))
        if not piece.is_partial:
            lines.append(still_open.pop(key))
    lines.extend(still_open.values())
    return chain.from_iterable(lines)


class Tails:
    """The last lines of each source."""

    def __init__(self) -> None:
        self._lines: dict[Source, deque[str]] = {}
        self._open_stream: dict[Source, str | None] = {}

    def add(self, source: Source, pieces: Sequence[OutputPiece]) -> None:
        """Take in what came; only the newest is looked at."""
        lines = self._lines.setdefault(source, deque(maxlen=TAIL_LINES))
        for piece in pieces[-4 * TAIL_LINES :]:
            if lines and self._open_stream.get(source) == piece.stream:
                lines[-1] = (lines[-1] + piece.text)[:_TAIL_CHARACTERS]
            else:
                lines.append(piece.text[:_TAIL_CHARACTERS])
            self._open_stream[source] = piece.stream if piece.is_partial else None

    def of(self, source: Source) -> list[str]:
        """Return the last lines of ``source``, oldest first."""
        return list(self._lines.get(source, ()))
