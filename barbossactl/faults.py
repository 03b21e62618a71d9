"""Faults of a file as compilers print them, ``FILE:LINE:COLUMN: message``, which editors can jump to."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any, Final

from barbossactl import text

LINE_WIDTH: Final = 120
"""How much is shown of a line that has a fault."""


def sentence(fault: Mapping[str, Any], file: str | None = None) -> str:
    """Return one fault as one line, its hint in brackets at the end."""
    hint = f" ({fault['hint']})" if fault.get("hint") else ""
    return text.escape_cell(f"{_head(fault, file)}{fault.get('message', 'no reason given')}{hint}")


def lines(fault: Mapping[str, Any], file: str) -> Iterator[str]:
    """Yield one fault for people: what is wrong, the line of the file with a caret under the place, the hint."""
    yield text.escape_cell(f"{_head(fault, file)}{fault.get('message', 'no reason given')}")
    source, column = fault.get("source"), fault.get("column")
    if isinstance(source, str) and isinstance(column, int) and source.strip():
        yield from _pointed(source, column)
    if fault.get("hint"):
        yield text.escape_cell(f"  hint: {fault['hint']}")


def _head(fault: Mapping[str, Any], file: str | None) -> str:
    name = str(file or fault.get("file") or "")
    path = str(fault.get("path") or "").removeprefix(name).lstrip(":")  # of one file among others it begins with that
    rest = [str(fault["line"]), str(fault.get("column") or "")] if fault.get("line") else [path] if name else []
    place = [part for part in (name or path, *rest) if part]
    return f"{':'.join(place)}: " if place else ""


def _pointed(source: str, column: int) -> Iterator[str]:
    """Yield a line of a file and the caret beneath it; of a long one what is around the place."""
    start = max(0, min(column - 1 - LINE_WIDTH // 2, len(source) - LINE_WIDTH))
    before, after = source[start : column - 1], source[column - 1 : start + LINE_WIDTH]
    shown = text.escape_cell(before.replace("\t", " "))
    yield f"    {shown}{text.escape_cell(after.rstrip().replace(chr(9), ' '))}".rstrip()
    yield "    " + " " * sum(_width(character) for character in shown) + "^"


def _width(character: str) -> int:
    """Return how many columns of a terminal a character takes."""
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1
