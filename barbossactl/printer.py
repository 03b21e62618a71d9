"""Print the output of tasks as plain lines: with or without the task's name, with times, raw, or as JSON."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from barbossactl import output, text
from barbossactl.pieces import LineJoiner, Source
from barbossactl.records import OutputPiece


@dataclass(frozen=True, slots=True, kw_only=True)
class LogStyle:
    """How lines of output look."""

    names: bool = True
    """Each line begins with its task: ``task | text``."""

    times: bool = False
    """Each line begins with its local time of day."""

    raw: bool = False
    """Control characters go out as they are; without names and times, so does all that is kept, as it was."""

    json: bool = False
    """A JSON object a line, as the daemon tells it, with task and attempt."""


class LogPrinter:
    """Prints output on stdout; call ``finish`` when no more will come."""

    def __init__(self, style: LogStyle) -> None:
        self._style = style
        self._joiner = LineJoiner()
        self._endless: set[tuple[Source, str]] = set()
        """Whose next line that is whole is the last and has no end: a piece without text said so."""

        self._is_verbatim = style.raw and not style.names and not style.times

    def print(self, source: Source, pieces: Sequence[OutputPiece]) -> None:
        """Print what ``source`` has put out."""
        if self._style.json:
            shown = "".join(self._as_json(source, piece) for piece in pieces)
        elif self._is_verbatim:
            shown = "".join(self._as_kept(source, piece) for piece in pieces)
        else:
            shown = "".join(self._as_line(source, line) for line in self._joiner.lines(source, pieces))
        sys.stdout.write(shown)

    def finish(self) -> None:
        """Print lines that were never completed, and let the reader see all of it."""
        for source, line in self._joiner.rest():
            sys.stdout.write(self._as_line(source, line))
        sys.stdout.flush()

    def _as_kept(self, source: Source, piece: OutputPiece) -> str:
        key = (source, piece.stream)
        if piece.is_partial and not piece.text:
            self._endless.add(key)
            return ""
        is_open = piece.is_partial or key in self._endless
        self._endless.discard(key)
        return piece.text if is_open else f"{piece.text}\n"

    def _as_line(self, source: Source, line: OutputPiece) -> str:
        words = line.text if self._style.raw else text.escape_line(line.text)
        if self._style.names:
            words = f"{text.escape_cell(source.task)} | {words}"
        if self._style.times:
            words = f"{text.clock_time(line.at)} {words}"
        return f"{words}\n"

    def _as_json(self, source: Source, piece: OutputPiece) -> str:
        told = {
            "task": source.task,
            "attempt": source.attempt,
            "at": piece.at,
            "stream": piece.stream,
            "text": piece.text,
            "partial": piece.is_partial,
        }
        return f"{output.json_line(told)}\n"
