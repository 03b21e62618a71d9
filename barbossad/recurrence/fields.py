"""The fields of a cron expression: which there are, what is wrong with one, and how croniter writes it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from barbossad.validation import shown

MONTH_NAMES: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
DAY_NAMES: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field: what it is called, and which numbers and names it may have."""

    name: str
    least: int
    most: int
    names: tuple[str, ...] = ()
    """Names of the numbers from ``least`` on."""


FIELDS: Final = (
    Field(name="second", least=0, most=59),
    Field(name="minute", least=0, most=59),
    Field(name="hour", least=0, most=23),
    Field(name="day of the month", least=1, most=31),
    Field(name="month", least=1, most=12, names=MONTH_NAMES),
    Field(name="day of the week", least=0, most=7, names=DAY_NAMES),
)
DAY, MONTH, WEEKDAY = FIELDS[3], FIELDS[4], FIELDS[5]


# -- what is wrong with a field ------------------------------------------------------------------------------


def problems(field: Field, part: str) -> Iterator[str]:
    """Yield what is wrong with a field."""
    for item in part.split(","):
        problem = _problem(field, item)
        if problem:
            yield f"the {field.name} field has {shown(item)}, {problem}"


def _problem(field: Field, item: str) -> str:
    """Return what is wrong with one item of a field's list; empty if nothing is."""
    if not item or not item.isascii():
        return "which has letters that are none of cron's" if item else "an item of a list that is empty"
    base, slash, step = item.partition("/")
    problem = _step_problem(field, step) if slash else ""
    if problem or base == "*":
        return problem
    if base == "?":
        is_day = field in {DAY, WEEKDAY} and not slash
        return "" if is_day else "but ? stands for no particular day: alone, in a day field"
    special = _special(field, base)
    if special is None:
        return _range_problem(field, base)
    return special if not slash or special else "but no step goes with it"


def _step_problem(field: Field, step: str) -> str:
    if not step.isdecimal() or int(step) == 0:
        return f"whose step {shown(step)} is not a number from 1 on"
    if int(step) > field.most:
        return f"whose step {step} is larger than the field ({field.least} to {field.most})"
    return ""


def _special(field: Field, base: str) -> str | None:
    """Return what is wrong with L, # or W; empty if nothing is, None if it is none of them."""
    if field is WEEKDAY:
        return _special_weekday(base)
    if field is DAY and base == "l":
        return ""
    if field is DAY and re.fullmatch(r"l-\d+|\d+w|w|lw", base):
        return "but only L, the last day, is there besides numbers"
    if "#" in base or base == "l":
        which = "day of the week" if "#" in base else "day of the month, or with a day as L5 in the day of the week"
        return f"which belongs in the field for the {which}"
    return None


def _special_weekday(base: str) -> str | None:
    last = re.fullmatch(r"l-?(\w+)|(\d|[a-z]{3})l", base)
    if last:
        return _value_problem(WEEKDAY, last[1] or last[2])
    day, sharp, week = base.partition("#")
    if not sharp:
        return "but L needs a day here, as in L5" if base == "l" else None
    if not day:
        return "but no day stands before #, as in 5#2 for the second Friday"
    if not re.fullmatch(r"[1-5]", week):
        return f"but {shown(week)} is not the number of a week from 1 to 5"
    return _value_problem(WEEKDAY, day)


def _range_problem(field: Field, base: str) -> str:
    first, dash, last = base.partition("-")
    problem = _value_problem(field, first) or (_value_problem(field, last) if dash else "")
    if problem or not dash:
        return problem
    if field is not WEEKDAY and number(field, first) > number(field, last):
        names = (field.names[-1], field.names[0]) if first in field.names else (field.most, field.least)
        return f"a range that ends before it begins: write {first}-{names[0]},{names[1]}-{last}"
    return ""


def _value_problem(field: Field, value: str) -> str:
    if value.isdecimal():
        is_known = field.least <= int(value) <= field.most and len(value) < 4
        return "" if is_known else f"but {value[:9]} is not between {field.least} and {field.most}"
    if value in field.names:
        return ""
    if not value:
        return "a range with an end missing"
    if value.startswith("-") or re.fullmatch(r"[\d.]+", value):
        return f"but {shown(value)} is no whole number between {field.least} and {field.most}"
    if field.names and value.isalpha():
        return f"but {shown(value)} is none of {', '.join(field.names)}"
    return f"but {shown(value)} is no number" + (" or name" if field.names else "")


# -- for croniter --------------------------------------------------------------------------------------------


def number(field: Field, value: str) -> int:
    """Return the number that a value of a field is or names."""
    return int(value) if value.isdecimal() else field.names.index(value) + field.least


def plain(field: Field, part: str) -> str:
    """Return a field as numbers one by one: croniter 7 takes a range such as ``22-22`` for ``*``."""
    if part in {"*", "?"}:
        return "*"
    numbers, specials = meaning(field, part)
    return ",".join(sorted({*map(str, numbers), *specials}))


def _plain_special(field: Field, item: str) -> str:
    """Return L and # as croniter writes them; empty if it is neither."""
    if field is DAY and item == "l":
        return item
    if field is WEEKDAY and "#" in item:
        day, _, week = item.partition("#")
        return f"{number(field, day) % 7}#{week}"
    last = re.fullmatch(r"l-?(\w+)|(\d|[a-z]{3})l", item) if field is WEEKDAY else None
    return f"l{number(field, last[1] or last[2]) % 7}" if last else ""


# -- what it means -------------------------------------------------------------------------------------------


def meaning(field: Field, part: str) -> tuple[list[int], list[str]]:
    """Return the numbers that a field has, in their order, and what beside them is L or # as croniter writes it."""
    if part == "?":
        part = "*"
    numbers: set[int] = set()
    specials: list[str] = []
    for item in part.split(","):
        special = _plain_special(field, item)
        if special:
            specials += [special] if special not in specials else []
        else:
            numbers.update(_values(field, item))
    return sorted(numbers), specials


def _values(field: Field, item: str) -> Iterator[int]:
    base, slash, step = item.partition("/")
    most = 6 if field is WEEKDAY else field.most
    if base == "*":
        first, last = field.least, most
    else:
        ends = [number(field, end) for end in base.split("-")]
        first, last = ends[0], ends[-1]
        if len(ends) == 1 and slash:  # from there on
            last = most
    if field is not WEEKDAY:
        yield from range(first, last + 1, int(step or 1))
        return
    if last < first:  # over the end of the week
        last += 7
    for day in range(first, last + 1, int(step or 1)):
        yield day % 7
