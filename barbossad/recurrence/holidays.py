"""Holidays: those of countries and their parts, and those of an iCalendar file."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from barbossad.model.schedules import Holidays
from barbossad.recurrence import calendar_files
from barbossad.validation import RefusalError, nearest, shown

_COUNTRY_HINT: Final = "write an ISO code such as GB, or with a part of the country GB-SCT"


def check(holidays: Holidays) -> None:
    """Raise RefusalError for a country, a part of it, or a file that there is not."""
    if holidays.country is not None:
        _country_problem(holidays.country, holidays.subdivision)
    if holidays.file is not None:
        unreadable = calendar_files.trouble(holidays.file)
        if unreadable:
            raise RefusalError(f"cannot be read: {unreadable}", "name an iCalendar file (.ics) by its absolute path")


def trouble(holidays: Holidays, year: int) -> str:
    """Return why holidays are not known at the moment, which is in a year, in words; empty if they are."""
    return (calendar_files.trouble(holidays.file, year) if holidays.file is not None else "") or beyond(holidays, year)


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
            return calendar_files.name_of(holidays.file, day, zone)
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
