"""Days of iCalendar files. Of a file nothing is believed: what it is, how long it is, what its rules cost."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from barbossad.recurrence.steps import TooManyStepsError, in_steps
from barbossad.units import format_size

if TYPE_CHECKING:
    from icalendar import Component

MAX_FILE_BYTES: Final = 4 * 1024 * 1024
MOST_STEPS: Final = 2_000_000
"""To read a file, and again for what recurs in it in a year. So many take some two seconds, in which nobody else is
served; a thousand events that recur each year take a quarter of it."""

_MOST_DAYS: Final = 400
"""Of one event: a longer one is no holiday."""

_OTHER_ZONES: Final = timedelta(days=2)
"""How far around a year events may lie by their own clocks that touch it by others."""


class CalendarError(ValueError):
    """A file has no days that could be known, and why."""


@dataclass(frozen=True, slots=True)
class _File:
    """A file as it was when it was looked at: one that changed is another."""

    path: str
    device: int
    inode: int
    changed_ns: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class _Occurrence:
    """One time of an event: from when to when, as the file has it, and what it is called."""

    begin: date | datetime
    end: date | datetime
    name: str


def trouble(path: str, year: int | None = None) -> str:
    """Return why the days of a file are not known, of a year if one is given, in words; empty if they are."""
    try:
        file = _look(path)
        found = _read(file) if year is None else _of_year(file, year)
        if isinstance(found, CalendarError):
            raise found
    except OSError as error:
        return f"{path}: {os.strerror(error.errno) if error.errno else error}"
    except CalendarError as error:
        return f"{path}: {error}"
    return ""


def name_of(path: str, day: date, zone: ZoneInfo) -> str | None:
    """Return what a day of a zone is called in a file, if it is in it. Raise OSError or CalendarError."""
    found = _days_of_year(_look(path), day.year, zone)
    if isinstance(found, CalendarError):
        raise found
    return found.get(day)


# What is wrong with a file is kept like its days, and so is returned from here on: it costs as much to find out.


def _look(path: str) -> _File:
    found = os.stat(path)  # noqa: PTH116 (each time that a day is asked for)
    _check(found)
    return _File(path, found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)


def _check(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise CalendarError("it is no regular file")


def _content(path: str) -> bytes:
    """Return what is in a file, whatever its size is said to be, and never wait for it. Raise CalendarError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    with os.fdopen(descriptor, "rb") as file:
        _check(os.fstat(descriptor))  # it may be another than the one that was looked at
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise CalendarError(f"it is larger than {format_size(MAX_FILE_BYTES)}")
    return content


@lru_cache(maxsize=16)
def _read(file: _File) -> Component | CalendarError:
    import icalendar  # noqa: PLC0415 (large, and few schedules want it)

    try:
        return in_steps(MOST_STEPS, icalendar.Calendar.from_ical, _content(file.path))
    except TooManyStepsError:
        return CalendarError("there is too much in it; split it, or leave out what is no holiday")
    except OSError:
        raise
    except CalendarError as error:
        return error
    except Exception:  # noqa: BLE001 (whatever the library makes of it; its words would show what is in the file)
        return CalendarError("it is no iCalendar file")


@lru_cache(maxsize=64)
def _of_year(file: _File, year: int) -> tuple[_Occurrence, ...] | CalendarError:
    """Return what touches a year, by the clocks of any zone, each time that it recurs."""
    import recurring_ical_events  # noqa: PLC0415 (as above)

    calendar = _read(file)
    if isinstance(calendar, CalendarError):
        return calendar
    try:
        return in_steps(MOST_STEPS, _occurrences, recurring_ical_events.of, calendar, year)
    except TooManyStepsError:
        return CalendarError(
            f"what recurs in it is too much for {year}; let events recur by the day at most (FREQ=DAILY), seldom ones "
            "from a later year on (DTSTART)"
        )
    except Exception as error:  # noqa: BLE001 (as above)
        return CalendarError(f"what recurs in it in {year} cannot be told ({type(error).__name__})")


def _occurrences(of: Callable[..., Any], calendar: Component, year: int) -> tuple[_Occurrence, ...]:
    first, last = date(year, 1, 1) - _OTHER_ZONES, date(year, 12, 31) + _OTHER_ZONES
    query = of(calendar, skip_bad_series=True)
    return tuple(
        _Occurrence(
            begin=event["DTSTART"].dt,
            end=event["DTEND"].dt,
            name=str(event.get("SUMMARY") or "a day of the calendar file"),
        )
        for event in query.between(first, last)  # which gives each both a DTSTART and a DTEND
        if str(event.get("STATUS", "")).upper() != "CANCELLED"
    )


@lru_cache(maxsize=64)
def _days_of_year(file: _File, year: int, zone: ZoneInfo) -> Mapping[date, str] | CalendarError:
    """Return the days of a year in a zone by their names."""
    found = _of_year(file, year)
    if isinstance(found, CalendarError):
        return found
    first, last = date(year, 1, 1), date(year, 12, 31)
    try:
        return {day: name for each in found for day, name in _days_of(each, zone) if first <= day <= last}
    except OverflowError:  # beyond the last year that there is
        return CalendarError(f"what recurs in it in {year} cannot be told")


def _days_of(occurrence: _Occurrence, zone: ZoneInfo) -> Iterator[tuple[date, str]]:
    """Yield each day of a zone that one occurrence touches."""
    begin, end = (_moment(value, zone) for value in (occurrence.begin, occurrence.end))
    if isinstance(end, datetime):
        end -= timedelta(microseconds=1)  # one that ends at midnight does not touch the day that begins then
        last = end.date()
    else:
        last = end - timedelta(days=1)
    first = begin.date() if isinstance(begin, datetime) else begin
    last = max(first, last)
    for number in range(min((last - first).days, _MOST_DAYS) + 1):
        yield first + timedelta(days=number), occurrence.name


def _moment(moment: Any, zone: ZoneInfo) -> date | datetime:
    """Return a moment by the clocks of a zone, unless it is a date, or a time of wherever one is."""
    found: date | datetime = moment
    return found.astimezone(zone) if isinstance(found, datetime) and found.tzinfo is not None else found
