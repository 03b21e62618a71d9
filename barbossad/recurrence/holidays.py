"""Holidays: those of countries and their parts, and those of an iCalendar file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from barbossad.model.schedules import Holidays
from barbossad.validation import RefusalError, nearest, shown

if TYPE_CHECKING:
    from icalendar import Component

MAX_FILE_BYTES: Final = 4 * 1024 * 1024
_MOST_DAYS: Final = 400
"""Of one event of a file: a longer one is no holiday."""

_OTHER_ZONES: Final = timedelta(days=2)
"""How far around a year events may lie by their own clocks that touch it by others."""

_COUNTRY_HINT: Final = "write an ISO code such as GB, or with a part of the country GB-SCT"


def check(holidays: Holidays) -> None:
    """Raise RefusalError for a country, a part of it, or a file that there is not."""
    if holidays.country is not None:
        _country_problem(holidays.country, holidays.subdivision)
    if holidays.file is not None:
        trouble = _trouble_of(holidays.file)
        if trouble:
            raise RefusalError(f"cannot be read: {trouble}", "name an iCalendar file (.ics) by its absolute path")


def trouble(holidays: Holidays, year: int) -> str:
    """Return why holidays are not known at the moment, which is in a year, in words; empty if they are."""
    return (_trouble_of(holidays.file) if holidays.file is not None else "") or beyond(holidays, year)


def beyond(holidays: Holidays, year: int) -> str:
    """Return, in words, that those of a country are no longer known in a year; empty if they are."""
    if holidays.country is None or year <= (last := _last_year(holidays.country)):
        return ""
    return f"holidays of {holidays.country} are known up to the end of {last}, and no day after that counts as one"


def name_of(holidays: Holidays, day: date, zone: ZoneInfo) -> str | None:
    """Return what a day of a zone is called if it is a holiday. A file that cannot be read has none."""
    if holidays.country is not None:
        found = _of_year(holidays.country, holidays.subdivision, day.year).get(day)
        if found is not None:
            return found
    if holidays.file is not None:
        try:
            return _in_file(holidays.file, day, zone)
        except (OSError, ValueError):
            return None
    return None


# -- countries -----------------------------------------------------------------------------------------------


def _country_problem(country: str, subdivision: str | None) -> None:
    import holidays as library  # noqa: PLC0415 (large, and few schedules want it)

    known: Mapping[str, list[str]] = library.list_supported_countries(include_aliases=True)
    if country not in known:
        close = nearest(country.upper(), known)
        raise RefusalError(
            f"has holidays of no known country: {shown(country)}", f"did you mean {close}?" if close else _COUNTRY_HINT
        )
    if subdivision is not None and subdivision not in known[country]:
        parts = ", ".join(sorted(known[country])[:30]) or "none"
        raise RefusalError(f"has holidays of no known part of {country}: {shown(subdivision)}", f"there are: {parts}")


@lru_cache(maxsize=64)
def _of_year(country: str, subdivision: str | None, year: int) -> Mapping[date, str]:
    import holidays as library  # noqa: PLC0415 (see above)

    try:
        return dict(library.country_holidays(country, subdiv=subdivision, years=year))
    except NotImplementedError:  # an older library than the one that the schedule was checked with
        return {}


@lru_cache(maxsize=64)
def _last_year(country: str) -> int:
    """Return the last year of which the library knows the holidays."""
    import holidays as library  # noqa: PLC0415 (see above)

    try:
        return library.country_holidays(country).end_year
    except NotImplementedError:  # as above
        return date.max.year


# -- files ---------------------------------------------------------------------------------------------------


def _trouble_of(file: str) -> str:
    try:
        _calendar(file)
    except OSError as error:
        return f"{file}: {os.strerror(error.errno) if error.errno else error}"
    except ValueError as error:
        return f"{file}: {error}"
    return ""


def _in_file(file: str, day: date, zone: ZoneInfo) -> str | None:
    """Return what a day is called in a file. Raise OSError, or ValueError if it is no calendar."""
    found = Path(file).stat()
    return _year_of_file(file, found.st_mtime_ns, found.st_size, day.year, zone).get(day)


def _calendar(file: str) -> Component:
    found = Path(file).stat()
    return _read(file, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=16)
def _read(file: str, _changed_ns: int, size_bytes: int) -> Component:
    import icalendar  # noqa: PLC0415 (large, and few schedules want it)

    if size_bytes > MAX_FILE_BYTES:
        raise ValueError("it is larger than 4 MiB")
    try:
        return icalendar.Calendar.from_ical(Path(file).read_bytes())
    except (ValueError, KeyError, IndexError, UnicodeDecodeError) as error:
        raise ValueError(f"it is no iCalendar file ({error})") from error


@lru_cache(maxsize=64)
def _year_of_file(file: str, changed_ns: int, size_bytes: int, year: int, zone: ZoneInfo) -> Mapping[date, str]:
    """Return the days of a year in a zone by their names, those of events that recur too."""
    import recurring_ical_events  # noqa: PLC0415 (see above)

    first, last = date(year, 1, 1), date(year, 12, 31)
    query = recurring_ical_events.of(_read(file, changed_ns, size_bytes), skip_bad_series=True)
    days: dict[date, str] = {}
    for event in query.between(first - _OTHER_ZONES, last + _OTHER_ZONES):
        if str(event.get("STATUS", "")).upper() != "CANCELLED":
            days.update({day: name for day, name in _days_of(event, zone) if first <= day <= last})
    return days


def _days_of(event: Component, zone: ZoneInfo) -> Iterator[tuple[date, str]]:
    """Yield each day of a zone that one occurrence touches."""
    name = str(event.get("SUMMARY") or "a day of the calendar file")
    begin, end = (_moment(event[name], zone) for name in ("DTSTART", "DTEND"))
    if isinstance(end, datetime):
        end -= timedelta(microseconds=1)  # one that ends at midnight does not touch the day that begins then
        last = end.date()
    else:
        last = end - timedelta(days=1)
    first = begin.date() if isinstance(begin, datetime) else begin
    last = max(first, last)
    for number in range(min((last - first).days, _MOST_DAYS) + 1):
        yield first + timedelta(days=number), name


def _moment(value: Any, zone: ZoneInfo) -> date | datetime:
    """Return what a DTSTART or DTEND says, by the clocks of a zone unless it is a date, or a time of wherever one is.

    The library gives each occurrence both.
    """
    moment: date | datetime = value.dt
    return moment.astimezone(zone) if isinstance(moment, datetime) and moment.tzinfo is not None else moment
