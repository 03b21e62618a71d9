"""Say a calendar expression of systemd as entries of ``schedules``, exactly, or not at all."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from typing import Any, Final

from barbossad.importing.calendar import LAST_YEAR, Calendar, Part, parse
from barbossad.validation import RefusalError

MOST_INSTANTS: Final = 50
"""An expression of so many instants at most is written as a list of them."""

MOST_ENTRIES: Final = 10
LAST: Final = "last"
"""Stands for the days of the last seven of a month that are the right days of the week: ``L1``."""

_DAY: Final = {1: "Mon", 2: "Tue", 3: "Wed", 4: "Thu", 5: "Fri", 6: "Sat", 0: "Sun"}
_LENGTHS: Final = {31: (1, 3, 5, 7, 8, 10, 12), 30: (4, 6, 9, 11)}
_FEBRUARY: Final = 2
_FULL: Final = {"month": range(1, 13), "day": range(1, 32), "hour": range(24), "minute": range(60)}


def entries(text: str, timezone: str) -> list[dict[str, Any]]:
    """Return the entries that fire when a timer with OnCalendar=``text`` does; ``timezone`` is that of the host.

    Raise RefusalError with what of it cannot be said.
    """
    calendar = parse(text)
    zone = calendar.timezone or timezone
    at = _instants(calendar)
    if at is not None:
        if not at:
            raise RefusalError("names no day that there is")
        return [{"at": at[0] if len(at) == 1 else at, "timezone": zone}]
    found = []
    for between, (months, days) in itertools.product(_between(calendar.year), _dates(calendar)):
        entry: dict[str, Any] = {"cron": _expression(calendar, months, days), "timezone": zone}
        if between:
            entry["between"] = between
        if days not in {"*", LAST} and calendar.weekdays is not None:
            entry["within"] = [_DAY[(day + 1) % 7] for day in sorted(calendar.weekdays)]
        found.append(entry)
    if len(found) > MOST_ENTRIES:
        raise RefusalError(f"would need {len(found)} schedules")
    return found


def _expression(calendar: Calendar, months: str, days: str) -> str:
    weekdays = "*"
    if days == LAST:
        days, weekdays = "*", ",".join(f"L{(day + 1) % 7}" for day in sorted(calendar.weekdays or ()))
    elif days == "*" and calendar.weekdays is not None:
        weekdays = ranges(sorted((day + 1) % 7 for day in calendar.weekdays))
    fields = [_field(calendar.minute), _field(calendar.hour), days, months, weekdays]
    if calendar.second.values != (0,):
        fields.insert(0, _field(calendar.second))
    return " ".join(fields)


def _field(part: Part) -> str:
    if part.values is None:
        return "*"
    if part.is_every is not None and len(part.values) > 1:
        return "*" if part.is_every == 1 else f"*/{part.is_every}"
    return ranges(part.values)


def ranges(values: Sequence[int]) -> str:
    """Return numbers in rising order as cron has them, three and more in a row as a range: ``1-5,9``."""
    words: list[str] = []
    for _, group in itertools.groupby(enumerate(values), lambda pair: pair[1] - pair[0]):
        row = [value for _, value in group]
        words += [f"{row[0]}-{row[-1]}"] if len(row) > 2 else map(str, row)
    return ",".join(words)


def _dates(calendar: Calendar) -> Iterator[tuple[str, str]]:
    """Yield fields for months with those for days that go with them."""
    months = calendar.month.values or tuple(_FULL["month"])
    month_field = _field(calendar.month) if len(months) < len(_FULL["month"]) else "*"
    if calendar.day.values is None or not calendar.is_from_end:
        yield month_field, _field(calendar.day)
        return
    if calendar.day.values == (1,):
        yield month_field, "L"
        return
    if _FEBRUARY in months:
        if calendar.day.values == tuple(range(1, 8)) and calendar.weekdays is not None:
            yield month_field, LAST
            return
        raise RefusalError("counts days from the end of February, which has 28 or 29, and cron cannot")
    for length, of_length in _LENGTHS.items():
        some = [month for month in months if month in of_length]
        if some:
            yield ranges(some), ranges(sorted(length + 1 - day for day in calendar.day.values if day <= length))


def _between(years: Part) -> Iterator[dict[str, str]]:
    """Yield the stretches of time that years make: nothing where there is no end to them."""
    if years.values is None:
        yield {}
        return
    for _, group in itertools.groupby(enumerate(years.values), lambda pair: pair[1] - pair[0]):
        row = [year for _, year in group]
        stretch = {"start": f"{row[0]}-01-01"}
        if row[-1] < LAST_YEAR:
            stretch["end"] = f"{row[-1]}-12-31"
        yield stretch


def _instants(calendar: Calendar) -> list[str] | None:
    """Return the instants of an expression that has few of them; None for one that comes again and again."""
    parts = (calendar.year, calendar.month, calendar.day, calendar.hour, calendar.minute, calendar.second)
    if calendar.is_from_end or any(part.values is None for part in parts):
        return None
    count = 1
    for part in parts:
        count *= len(part.values or ())
    if count > MOST_INSTANTS:
        return None
    found = []
    values: list[Iterable[int]] = [part.values or () for part in parts]
    for year, month, day, hour, minute, second in itertools.product(*values):
        try:
            weekday = date(year, month, day).weekday()
        except ValueError:
            continue
        if calendar.weekdays is None or weekday in calendar.weekdays:
            clock = f"{hour:02}:{minute:02}" + (f":{second:02}" if second else "")
            found.append(f"{year:04}-{month:02}-{day:02} {clock}")
    return found
