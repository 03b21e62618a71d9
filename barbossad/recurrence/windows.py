"""Windows of wall time: days of the week, dates, times of day, and what goes together of these."""

from __future__ import annotations

import re
from calendar import isleap
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import Final

from barbossad.validation import RefusalError, nearest, shown

HINT: Final = "write such as Mon-Fri 08:00-18:00, Sat-Sun, 22:00-06:00, 2026-12-24/2027-01-02 or 12-24/01-02"

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_LONG_DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_TIMES: Final = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?-(\d{1,2}):(\d{2})(?::(\d{2}))?", re.ASCII)
_DATE: Final = r"(?:(\d{4})-)?(\d{2})-(\d{2})"
_DATES: Final = re.compile(rf"{_DATE}(?:/{_DATE})?", re.ASCII)
_DAY_SECONDS: Final = 86_400
_ONE_DAY: Final = timedelta(days=1)
_MOST_YEARS: Final = 40
"""In so many a day of the year has been each day of the week, the 29th of February too."""

_ANY_YEAR: Final = 2000
"""A leap year: what is said without a year is kept in it."""


@dataclass(frozen=True, slots=True)
class Window:
    """Wall times that have all that is said: a day of the week, a date, a time of day."""

    text: str
    weekdays: frozenset[int] | None = None
    dates: tuple[date, date] | None = None
    is_yearly: bool = False
    begin_second: int = 0
    end_second: int = _DAY_SECONDS
    """Before this; where it is not after the begin, the window goes on into the next day."""

    def covers(self, local: datetime) -> bool:
        """Say whether a wall time lies in it. A window over midnight belongs to the day on which it begins."""
        second = local.hour * 3600 + local.minute * 60 + local.second
        if self.begin_second < self.end_second:
            return self.begin_second <= second < self.end_second and self._has(local.date())
        if second >= self.begin_second:
            return self._has(local.date())
        return second < self.end_second and self._has(local.date() - timedelta(days=1))

    def next_day(self, day: date) -> date | None:
        """Return the first day from one on with a time that lies in it; None if none comes for many years."""
        found = self._next_had(day)
        if self.begin_second >= self.end_second:
            night = self._next_had(day - _ONE_DAY)
            if night is not None and (found is None or night < found):
                return night + _ONE_DAY
        return found

    def _next_had(self, day: date) -> date | None:
        for first, last in self._spans(day):
            begin = max(first, day)
            for number in range(min((last - begin).days, 6) + 1):
                found = begin + timedelta(days=number)
                if self.weekdays is None or found.weekday() in self.weekdays:
                    return found
        return None

    def _spans(self, day: date) -> Iterator[tuple[date, date]]:
        """Yield from when to when its dates go, those that are not over on a day, the first first."""
        if self.dates is None:
            yield day, day + timedelta(days=6)
        elif not self.is_yearly:
            yield self.dates
        else:
            first, last = self.dates
            for year in range(day.year, min(day.year + _MOST_YEARS, date.max.year)):
                begin, end = _in_year(first, year, is_end=False), _in_year(last, year, is_end=True)
                if first > last:
                    yield date(year, 1, 1), end
                    end = date(year, 12, 31)
                yield begin, end

    def _has(self, day: date) -> bool:
        if self.weekdays is not None and day.weekday() not in self.weekdays:
            return False
        if self.dates is None:
            return True
        first, last = self.dates
        if not self.is_yearly:
            return first <= day <= last
        day = day.replace(year=_ANY_YEAR)
        return first <= day <= last if first <= last else day >= first or day <= last


def _in_year(day: date, year: int, *, is_end: bool) -> date:
    """Return a day in a year; of the 29th of February, where there is none, the day after it, or before as an end."""
    if (day.month, day.day) == (2, 29) and not isleap(year):
        return date(year, 2, 28) if is_end else date(year, 3, 1)
    return day.replace(year=year)


@lru_cache(maxsize=512)
def parse_window(text: str) -> Window:
    """Return a window. Raise RefusalError with the part that is wrong."""
    weekdays: frozenset[int] | None = None
    dates: tuple[date, date] | None = None
    is_yearly, begin, end = False, 0, _DAY_SECONDS
    seen: set[str] = set()
    for part in text.split():
        if _TIMES.fullmatch(part):
            kind, (begin, end) = "time", _times(text, part)
        elif _DATES.fullmatch(part):
            kind, (dates, is_yearly) = "date", _dates(text, part)
        else:
            kind, weekdays = "day of the week", _weekdays(text, part)
        if kind in seen:
            raise RefusalError(f"cannot be {shown(text)}: it has two parts that say the {kind}", HINT)
        seen.add(kind)
    if not seen:
        raise RefusalError("is an empty window", HINT)
    return Window(text, weekdays, dates, is_yearly, begin, end)


def _times(text: str, part: str) -> tuple[int, int]:
    match = _TIMES.fullmatch(part)
    assert match is not None
    numbers = [int(number or 0) for number in match.groups()]
    begin, end = (_second(text, numbers[first : first + 3]) for first in (0, 3))
    if begin in {_DAY_SECONDS, end}:
        raise RefusalError(f"cannot be {shown(text)}: {part} is an empty span", HINT)
    return begin, end


def _second(text: str, numbers: list[int]) -> int:
    hour, minute, second = numbers
    if (hour, minute, second) == (24, 0, 0):
        return _DAY_SECONDS
    try:
        at = time(hour, minute, second)
    except ValueError:
        message = f"cannot be {shown(text)}: {hour:02}:{minute:02} is no time of day"
        raise RefusalError(message, "hours go to 23, and 24:00 ends a day") from None
    return at.hour * 3600 + at.minute * 60 + at.second


def _dates(text: str, part: str) -> tuple[tuple[date, date], bool]:
    match = _DATES.fullmatch(part)
    assert match is not None
    first_year, first_month, first_day, last_year, last_month, last_day = match.groups()
    first = _date(text, first_year, first_month, first_day)
    if last_month is None:
        return (first, first), first_year is None
    if (first_year is None) != (last_year is None):
        raise RefusalError(f"cannot be {shown(text)}: one date has a year and the other has none", HINT)
    last = _date(text, last_year, last_month, last_day)
    if first_year is not None and last < first:
        raise RefusalError(f"cannot be {shown(text)}: it ends before it begins", HINT)
    return (first, last), first_year is None


def _date(text: str, year: str | None, month: str, day: str) -> date:
    try:
        return date(int(year or _ANY_YEAR), int(month), int(day))
    except ValueError:
        said = f"{year}-{month}-{day}" if year else f"{month}-{day}"
        raise RefusalError(f"cannot be {shown(text)}: there is no {said}", "months come before days: 12-24") from None


def _weekdays(text: str, part: str) -> frozenset[int]:
    found: set[int] = set()
    for item in part.split(","):
        first, dash, last = item.partition("-")
        begin = _weekday(text, first)
        end = _weekday(text, last) if dash else begin
        found |= {(begin + number) % 7 for number in range((end - begin) % 7 + 1)}
    return frozenset(found)


def _weekday(text: str, name: str) -> int:
    small = name.lower()
    for names in (_DAYS, _LONG_DAYS):
        if small in names:
            return names.index(small)
    close = nearest(small, _DAYS) or nearest(small, _LONG_DAYS)
    hint = f"did you mean {close.capitalize()}?" if close else HINT
    raise RefusalError(f"cannot be {shown(text)}: {shown(name)} is no day of the week, date or time", hint)
