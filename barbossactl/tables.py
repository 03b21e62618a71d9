"""Lay out tables for a terminal, however narrow: what is short by nature stays whole, the rest folds where it may.

Where a table does not fit, ages of instants are left out first. Then long names and sentences fold. Where that is not
enough, sentences go below their row, the longest first, and at last the columns that tell least are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from functools import cached_property
from itertools import accumulate
from typing import Final

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text

GAP: Final = 2
"""Spaces between two columns."""

INDENT: Final = 4
"""How far what stands below a row is indented."""

NOTHING: Final = "-"
"""What stands in a cell of which nothing is known."""

NARROWEST_NAME: Final = 12
NARROWEST_SENTENCE: Final = 20
READABLE: Final = 30
"""A column that is so wide can wait while others are not."""

_SPACES: Final = re.compile(r" (?!\d\d:\d\d)(?!(?<=\d )(?:ms|s|min|h|d|B|KiB|MiB|GiB|TiB)\b)")
"""Where a line may end: not between the date and the time of an instant, nor between a number and its unit."""

_BREAKS: Final = re.compile(r"(?<=[-./_,:;=|])(?=\w)")
"""Where a word may be broken that is too long for its line."""


class Folding(Enum):
    """How the cells of a column may be broken."""

    NEVER = auto()
    NAME = auto()
    SENTENCE = auto()


@dataclass(frozen=True, kw_only=True)
class Part:
    """A column with what stands in it. It has no slots, since it keeps what it has measured."""

    title: str
    cells: Sequence[Text]
    short: Sequence[Text] = ()
    """The same in fewer words, where there are such."""

    folding: Folding = Folding.NEVER
    is_right: bool = False
    spare: int = 0
    """What has more of this is left out sooner, what has none never."""

    @cached_property
    def goals(self) -> tuple[int, int, int, int]:
        """How wide to be: at least, better, good, and whole."""
        texts = [cell.plain for cell in self.cells]
        title = cell_len(self.title)
        whole = max(title, *map(cell_len, texts))
        if self.folding is Folding.NEVER:
            return whole, whole, whole, whole
        if self.folding is Folding.NAME:
            least = max(title, *(min(cell_len(name), _margin(name) + NARROWEST_NAME) for name in texts))
            return least, max(least, min(whole, READABLE)), whole, whole
        least = min(whole, max(title, NARROWEST_SENTENCE))
        return least, least, max(least, min(whole, READABLE)), whole


@dataclass(slots=True)
class Layout:
    """Which columns stand side by side, which below their row, and which nowhere."""

    beside: list[Part]
    below: list[Part] = field(default_factory=list)
    left_out: list[Part] = field(default_factory=list)
    widths: list[int] = field(default_factory=list)

    def lines(self, room: int) -> Iterator[Text]:
        """Yield the lines of the table: the headings, then its rows."""
        yield self._line([[part.title] for part in self.beside], 0, ["bold"] * len(self.beside))
        for row in range(len(self.beside[0].cells)):
            cells = [part.cells[row] for part in self.beside]
            folded = [fold(cell.plain, width) for cell, width in zip(cells, self.widths, strict=True)]
            for number in range(max(map(len, folded))):
                yield self._line(folded, number, [cell.style for cell in cells])
            for part in self.below:
                if part.cells[row].plain != NOTHING:
                    margin = " " * min(INDENT + _margin(cells[0].plain), room // 2)
                    yield from map(Text, fold(f"{margin}{part.title.lower()}: {part.cells[row].plain}", room))

    def _line(self, folded: Sequence[Sequence[str]], number: int, styles: Sequence[str | Style]) -> Text:
        """Return line ``number`` of a row, of which some cells may have fewer."""
        line = Text()
        for part, width, cell, style in zip(self.beside, self.widths, folded, styles, strict=True):
            words = cell[number] if number < len(cell) else ""
            padding = " " * (width - cell_len(words))
            line.append(padding if part.is_right else "").append(words, style)
            line.append(("" if part.is_right else padding) + " " * GAP)
        line.rstrip()
        return line


def lay_out(parts: Sequence[Part], room: int) -> Layout:
    """Return what goes where so that no line has more than ``room`` columns, as far as that can be."""
    if _needed(parts, 2) > room:
        parts = [replace(part, cells=part.short or part.cells) for part in parts]
    layout = Layout(list(parts))
    while _needed(layout.beside, 0) > room and _give_way(layout):
        pass
    goals = [part.goals for part in layout.beside]
    layout.widths = [least for least, *_ in goals]
    left = room - _needed(layout.beside, 0)
    for step in range(1, 4):
        left = _grow(layout.widths, [steps[step] for steps in goals], left)
    return layout


def fold(words: str, width: int) -> list[str]:
    """Return lines of no more than ``width``; a name's margin stays.

    A line ends at a space. Within a word it ends only where that is too long for a line, and there after a dot, a dash
    and the like if it can.
    """
    rest = words.lstrip(" ")
    margin = max(0, min(_margin(words), width - NARROWEST_NAME))
    width -= margin
    lines: list[str] = []
    while cell_len(rest) > width:
        end = _end_of_line(rest, width)
        lines.append(rest[:end].rstrip())
        rest = rest[end:].lstrip(" ")
    return [" " * margin + line for line in (*lines, rest)]


def _end_of_line(words: str, width: int) -> int:
    """Return how many of the characters the first line takes."""
    most = max(1, sum(used <= width for used in accumulate(map(cell_len, words))))
    space = _last(_SPACES, words, most)
    following = words[space + 1 :].partition(" ")[0]
    if space > width // 2 or (space > 0 and cell_len(following) <= width):
        return space
    return _last(_BREAKS, words, most) or space or most


def _last(places: re.Pattern[str], words: str, most: int) -> int:
    """Return where the last of some places is within so many characters, 0 if there is none."""
    return max((place.start() for place in places.finditer(words, 1, most + 2) if place.start() <= most), default=0)


def _margin(words: str) -> int:
    return len(words) - len(words.lstrip(" "))


def _needed(parts: Sequence[Part], step: int) -> int:
    """Return how wide a table is whose columns have reached that step of their goals."""
    return sum(part.goals[step] for part in parts) + GAP * (len(parts) - 1)


def _give_way(layout: Layout) -> bool:
    """Take away one of the columns that stand side by side; say whether there was one to take."""
    others = layout.beside[1:]
    long = [part for part in others if part.folding is Folding.SENTENCE and part.goals[-1] > NARROWEST_NAME]
    if long:
        part = max(long, key=lambda each: each.goals[-1])
        layout.below.append(part)
    else:
        part = max(others, key=lambda each: each.spare, default=layout.beside[0])
        if not part.spare:
            return False
        layout.left_out.append(part)
    layout.beside.remove(part)
    return True


def _grow(widths: list[int], goals: Sequence[int], left: int) -> int:
    """Widen columns towards their goals, those first that need least; return what is left of the room."""
    by_need = sorted(range(len(widths)), key=lambda place: goals[place] - widths[place])
    for number, place in enumerate(by_need):
        more = max(0, min(goals[place] - widths[place], left // (len(by_need) - number)))
        widths[place] += more
        left -= more
    return left
