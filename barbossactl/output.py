"""Print data on stdout: tables on a terminal, stable tab-separated text in a pipe, JSON where asked for."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from barbossactl import text

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

STATE_STYLES: Final = {
    "succeeded": "green",
    "failed": "bold red",
    "timed_out": "bold red",
    "interrupted": "bold red",
    "cancelled": "yellow",
    "skipped": "dim",
    "upstream_failed": "dim red",
    "running": "cyan",
    "starting": "cyan",
    "degraded": "bold red",
    "stopping": "yellow",
}
"""How a state looks on a terminal; one that is not named here looks like any text."""


class Kind(Enum):
    """What a cell holds, which decides how a terminal shows it."""

    TEXT = auto()
    NAME = auto()
    """An id or a name: never cut, never folded."""
    STATE = auto()
    INSTANT = auto()
    """RFC 3339: local time with its age on a terminal, as it came in a pipe."""
    SECONDS = auto()
    """A length of time: in words on a terminal, a number in a pipe."""
    BYTES = auto()


_WHOLE: Final = frozenset({Kind.NAME, Kind.STATE})
"""What is never folded."""

GAP: Final = 2
"""Spaces between two columns of a table."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table, or one line of a list of fields."""

    title: str
    kind: Kind = Kind.TEXT


def is_terminal() -> bool:
    """Say whether a person reads stdout."""
    return sys.stdout.isatty()


def console() -> Console:
    """Return the terminal. Nothing in what it prints is taken for markup."""
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False)


def line(words: str = "") -> None:
    """Print one line of data."""
    sys.stdout.write(words + "\n")


def document(words: str) -> None:
    """Print a text of several lines: as it is in a pipe, with nothing that acts on a terminal there."""
    sys.stdout.write(text.escape_document(words) if is_terminal() else words)


def talk(words: str) -> None:
    """Print one line for people, which is no data: on stderr, after what is on stdout already."""
    sys.stdout.flush()
    sys.stderr.write(words + "\n")
    sys.stderr.flush()


def error(message: str, hint: str = "") -> None:
    """Print what went wrong and what to do next as one line on stderr."""
    sentence = f"{message}; {hint}" if hint else message
    talk(f"barbossactl: {text.escape_cell(sentence)}")


def as_json(value: object) -> None:
    """Print a value as JSON."""
    line(text.escape_json(json.dumps(value, ensure_ascii=False, indent=2)))


def listing_as_json(items: Iterable[object]) -> None:
    """Print a listing as JSON, an item a line, without holding it in memory."""
    sys.stdout.write('{"items": [')
    separator = "\n"
    for item in items:
        sys.stdout.write(separator + json_line(item))
        separator = ",\n"
    line('\n], "next_cursor": null}' if separator != "\n" else '], "next_cursor": null}')


def json_line(value: object) -> str:
    """Return a value as JSON on one line."""
    return text.escape_json(json.dumps(value, ensure_ascii=False))


def table(columns: Sequence[Column], rows: Iterable[Sequence[object]], *, empty: str) -> None:
    """Print rows. ``empty`` is said to a person when there are none; a program then reads nothing."""
    if not is_terminal():
        for row in rows:
            line("\t".join(plain(value) for value in row))
        return
    remaining = iter(rows)
    first = next(remaining, None)
    if first is None:
        talk(empty)
    else:
        _draw_table(columns, chain([first], remaining))


def fields(pairs: Iterable[tuple[Column, object]]) -> None:
    """Print what is known of one thing, a field a line; in a pipe the title and the value with a tab between."""
    if not is_terminal():
        for column, value in pairs:
            line(f"{column.title}\t{plain(value)}")
        return
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for column, value in pairs:
        if value not in (None, "", []):
            grid.add_row(column.title, cell(column.kind, value))
    console().print(grid)


def plain(value: object) -> str:
    """Return a value as one field of tab-separated text: never empty, never with a tab or a line end."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | dict):
        return json_line(value)
    return text.escape_cell(str(value))


def words(value: object) -> str:
    """Return a plain value as a sentence has it: lists and maps without their brackets."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{name} {words(inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)


def pairs(labels: Mapping[str, str]) -> str:
    """Return labels as a command takes them: ``key=value, key=value``."""
    return ", ".join(f"{key}={value}" for key, value in labels.items())


def cell(kind: Kind, value: Any) -> Text:
    """Return a value as a terminal shows it."""
    from rich.text import Text

    if value is None or value == "":
        return Text("-", style="dim")
    if kind is Kind.STATE:
        return Text(text.escape_cell(str(value)), style=STATE_STYLES.get(str(value), ""))
    if kind is Kind.INSTANT:
        return Text(text.moment(str(value)))
    if kind is Kind.SECONDS:
        return Text(text.duration(float(value)))
    if kind is Kind.BYTES:
        return Text(text.size(float(value)))
    return Text(plain(value))


def _draw_table(columns: Sequence[Column], rows: Iterable[Sequence[object]]) -> None:
    """Draw a table for a person, without columns of which nothing is known; words are kept whole where they fit."""
    from rich.table import Table

    terminal = console()
    shown: list[tuple[Column, list[Text]]] = []
    for column, values in zip(columns, zip(*rows, strict=True), strict=True):
        if any(value is not None and value != "" for value in values):
            shown.append((column, [cell(column.kind, value) for value in values]))
    widths = _widths(shown, terminal.width - GAP * (len(shown) - 1))
    drawn = Table(box=None, header_style="bold", pad_edge=False, padding=(0, GAP, 0, 0))
    for (column, _), width in zip(shown, widths, strict=True):
        drawn.add_column(
            column.title.upper(),
            no_wrap=column.kind in _WHOLE,
            overflow="fold",
            justify="right" if column.kind in {Kind.SECONDS, Kind.BYTES} else "left",
            width=width,
        )
    for row in zip(*(cells for _, cells in shown), strict=True):
        drawn.add_row(*row)
    terminal.print(drawn)


def _widths(shown: Sequence[tuple[Column, Sequence[Text]]], room: int) -> list[int | None]:
    """Return how wide to make each column: as its longest word at least; None for all if there is no room for that."""
    least, wanted = [], []
    for column, cells in shown:
        texts = [column.title, *(one.plain for one in cells)]
        wanted.append(max(map(len, texts)))
        is_whole = column.kind in _WHOLE
        least.append(wanted[-1] if is_whole else max(len(word) for one in texts for word in one.split() or [""]))
    left = room - sum(least)
    if left < 0:
        return [None] * len(least)
    widths: list[int | None] = list(least)
    by_need = sorted(range(len(least)), key=lambda place: wanted[place] - least[place])
    for number, place in enumerate(by_need):
        more = min(wanted[place] - least[place], left // (len(by_need) - number))
        widths[place], left = least[place] + more, left - more
    return widths
