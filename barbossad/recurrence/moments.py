"""Instants as people write them: RFC 3339, or a wall time of a zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Final

from barbossad.recurrence.zones import transition, zone
from barbossad.validation import RefusalError, kind_of, shown

_EARLIEST_YEAR: Final = 1900
_LATEST_YEAR: Final = 9000
EARLIEST_MS: Final = round(datetime(_EARLIEST_YEAR, 1, 1, tzinfo=UTC).timestamp() * 1000)
LATEST_MS: Final = round(datetime(_LATEST_YEAR, 1, 1, tzinfo=UTC).timestamp() * 1000)
"""Time zones, and what reckons with days, have their limits: what lies beyond is a mistake, or the end of a series."""

HINT: Final = "write 2026-12-24 18:00 with a timezone, or with an offset as in 2026-12-24T18:00:00Z"


def parse_moment(value: object, timezone: str | None, *, is_end: bool = False) -> int:
    """Return an instant in milliseconds since the epoch; ``value`` is text, or a date or time as YAML reads it.

    A wall time that comes twice is the first, one that does not exist is right after the gap. A date alone is its
    beginning, with ``is_end`` its end. Raise RefusalError, also for a wall time without a zone.
    """
    moment = _read(value)
    check_year(moment, value)
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day) + timedelta(days=int(is_end))  # noqa: DTZ001
    if moment.tzinfo is not None:
        return round(moment.timestamp() * 1000)
    if timezone is None:
        raise RefusalError(f"has no offset from UTC, and there is no timezone: {shown(value)}", HINT)
    local = moment.replace(tzinfo=zone(timezone))
    early, late = local.timestamp(), local.replace(fold=1).timestamp()
    return round(early * 1000) if early <= late else transition(zone(timezone), late, early) * 1000


def check_year(moment: date, given: object) -> None:
    """Raise RefusalError for an instant or a day, as it was given, in a year that nobody means."""
    if not _EARLIEST_YEAR <= moment.year < _LATEST_YEAR:
        raise RefusalError(f"is not between the years {_EARLIEST_YEAR} and {_LATEST_YEAR}: {shown(given)}")


def _read(value: object) -> date | datetime:
    if isinstance(value, date):  # which a datetime is too
        return value
    if not isinstance(value, str):
        raise RefusalError(f"must be a date and a time, not {kind_of(value)}", HINT)
    text = value.strip()
    try:
        return date.fromisoformat(text) if len(text) == len("2026-12-24") else datetime.fromisoformat(text)
    except ValueError as error:
        about = str(error).removeprefix("Invalid isoformat string: ").strip("'\"")
        reason = f" ({about})" if about and about not in text else ""
        raise RefusalError(f"is not a date and a time: {shown(value)}{reason}", HINT) from None
