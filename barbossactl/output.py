"""Print data on stdout: tables on a terminal, stable tab-separated text in a pipe, JSON where asked for."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from barbossactl import streams, text

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
    """A sentence: folds between words."""
    NAME = auto()
    """A name that people choose: folds at its dots and dashes where there is no room for it."""
    WORD = auto()
    """What is short by nature: an id, a type, a number, yes or no. Never folded, as all that follows."""
    STATE = auto()
    INSTANT = auto()
    """RFC 3339: local time on a terminal, with its age where there is room; as it came in a pipe."""
    SECONDS = auto()
    """A length of time: in words on a terminal, a number in a pipe."""
    BYTES = auto()


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table, or one line of a list of fields."""

    title: str
    kind: Kind = Kind.TEXT
    spare: int = 0
    """What has more of this is left out sooner on a narrow terminal, what has none never."""


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
    """Print one line for people, which is no data: on stderr, after what is on stdout already.

    Where stderr takes nothing, on a full disk say, nobody reads it: what was asked for is done all the same.
    """
    sys.stdout.flush()
    try:
        sys.stderr.write(words + "\n")
        sys.stderr.flush()
    except OSError:
        streams.abandon(sys.stderr)


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


def cell(kind: Kind, value: Any, *, is_brief: bool = False) -> Text:
    """Return a value as a terminal shows it; an instant without its age if ``is_brief``."""
    from rich.text import Text

    if value is None or value == "":
        return Text("-", style="dim")
    if kind is Kind.STATE:
        return Text(text.escape_cell(str(value)), style=STATE_STYLES.get(str(value), ""))
    if kind is Kind.INSTANT:
        return Text(text.moment(str(value), is_aged=not is_brief))
    if kind is Kind.SECONDS:
        return Text(text.duration(float(value)))
    if kind is Kind.BYTES:
        return Text(text.size(float(value)))
    return Text(plain(value))


def _draw_table(columns: Sequence[Column], rows: Iterable[Sequence[object]]) -> None:
    """Draw a table for a person, without columns of which nothing is known."""
    from barbossactl import tables

    folding = {Kind.TEXT: tables.Folding.SENTENCE, Kind.NAME: tables.Folding.NAME}
    parts = [
        tables.Part(
            title=column.title.upper(),
            cells=[cell(column.kind, value) for value in values],
            short=[cell(column.kind, value, is_brief=True) for value in values],
            folding=folding.get(column.kind, tables.Folding.NEVER),
            is_right=column.kind in {Kind.SECONDS, Kind.BYTES},
            spare=column.spare,
        )
        for column, values in zip(columns, zip(*rows, strict=True), strict=True)
        if any(value is not None and value != "" for value in values)
    ]
    terminal = console()
    layout = tables.lay_out(parts, terminal.width)
    for each in layout.lines(terminal.width):
        terminal.print(each, soft_wrap=True)
    if layout.left_out:
        names = ", ".join(part.title.lower() for part in layout.left_out)
        talk(f"there is no room for: {names}; a wider terminal shows all, and so does --json")
