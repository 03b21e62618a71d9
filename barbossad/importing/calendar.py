"""Read a calendar expression of systemd. Source: systemd.time(7), "Calendar Events"."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from barbossad.validation import RefusalError, shown

SHORTHANDS: Final = {
    "minutely": "*-*-* *:*:00",
    "hourly": "*-*-* *:00:00",
    "daily": "*-*-* 00:00:00",
    "weekly": "Mon *-*-* 00:00:00",
    "monthly": "*-*-01 00:00:00",
    "yearly": "*-01-01 00:00:00",
    "annually": "*-01-01 00:00:00",
    "quarterly": "*-01,04,07,10-01 00:00:00",
    "semiannually": "*-01,07-01 00:00:00",
    "semi-annually": "*-01,07-01 00:00:00",
    "biannually": "*-01,07-01 00:00:00",
    "bi-annually": "*-01,07-01 00:00:00",
}
WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
LAST_YEAR: Final = 2199
"""systemd looks no further."""

SHORTEST_MONTH: Final = 28
"""Days are counted no further from the end of a month."""

_BOUNDS: Final = {"month": (1, 12), "day": (1, 31), "hour": (0, 23), "minute": (0, 59), "second": (0, 59)}
_PART: Final = re.compile(r"(?P<start>\d+)(?:\.\.(?P<stop>\d+))?(?:/(?P<step>\d+))?")
_ZONE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+)*")
_DATE: Final = re.compile(
    r"(?:(?P<year>[^-~T\s]+)-)?(?P<month>[^-~T\s]+)(?P<mark>[-~])(?P<day>[^-~T\s]+)", flags=re.ASCII
)
_TIME: Final = re.compile(r"(?P<hour>[^:\s]+):(?P<minute>[^:\s]+)(?::(?P<second>[^:\s]+))?", flags=re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One component: the values that it takes, in order; None stands for any."""

    values: tuple[int, ...] | None
    is_every: int | None = None
    """Where it is a step from its least value on: how long that is. It then follows real time in cron, as ``*/n``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """A calendar expression, read."""

    weekdays: frozenset[int] | None
    """From Monday, 0, on."""

    year: Part
    month: Part
    day: Part
    is_from_end: bool
    """Days are counted from the end of the month, of which 1 is the last."""

    hour: Part
    minute: Part
    second: Part
    timezone: str | None


def parse(text: str) -> Calendar:
    """Return what an expression says. Raise RefusalError for what is none, or is finer than a second."""
    words = text.split()
    if not words:
        raise RefusalError("is empty")
    zone = None
    if len(words) > 1 and _ZONE.fullmatch(words[-1]) and not _is_days(words[-1]):
        zone = words.pop()
    if len(words) == 1 and words[0].lower() in SHORTHANDS:
        words = SHORTHANDS[words[0].lower()].split()
    weekdays = _weekdays(words.pop(0)) if words and _is_days(words[0]) else None
    if len(words) == 1 and "T" in words[0]:
        words = words[0].split("T")
    date = words.pop(0) if words and ":" not in words[0] else "*-*-*"
    time = words.pop(0) if words else "00:00:00"
    dated, timed = _DATE.fullmatch(date), _TIME.fullmatch(time)
    if words or dated is None or timed is None:
        raise RefusalError(f"is not understood: {shown(text)}")
    is_from_end = dated["mark"] == "~"
    return Calendar(
        weekdays=weekdays,
        year=_years(dated["year"] or "*"),
        month=_part("month", dated["month"]),
        day=_part("day", dated["day"], is_from_end=is_from_end),
        is_from_end=is_from_end and dated["day"] != "*",
        hour=_part("hour", timed["hour"]),
        minute=_part("minute", timed["minute"]),
        second=_part("second", timed["second"] or "0"),
        timezone=zone,
    )


def _is_days(word: str) -> bool:
    return all(_weekday(name) is not None for name in re.split(r",|\.\.|-", word.rstrip(",")))


def _weekday(name: str) -> int | None:
    folded = name.lower()
    return next((number for number, day in enumerate(WEEKDAYS) if folded in {day, day[:3]}), None)


def _weekdays(word: str) -> frozenset[int] | None:
    found: set[int] = set()
    for item in word.rstrip(",").split(","):
        first, *last = (_weekday(name) for name in re.split(r"\.\.|-", item))
        stop = last[0] if last else first
        if first is None or stop is None or len(last) > 1 or stop < first:
            raise RefusalError(f"has no such days: {shown(item)}")
        found.update(range(first, stop + 1))
    return frozenset(found) if len(found) < len(WEEKDAYS) else None


def _years(text: str) -> Part:
    if text == "*":
        return Part(values=None)
    found: set[int] = set()
    for item in text.split(","):
        start, stop, step = _numbers("year", item)
        start, stop = _whole_year(start), None if stop is None else _whole_year(stop)
        found.update(range(start, (start if stop is None and step is None else stop or LAST_YEAR) + 1, step or 1))
    return Part(values=tuple(sorted(found)))


def _whole_year(number: int) -> int:
    """Return a year as systemd reads one of two digits."""
    return number + (2000 if number < 70 else 1900) if number < 100 else number


def _part(name: str, text: str, *, is_from_end: bool = False) -> Part:
    if text == "*":
        return Part(values=None)
    least, most = _BOUNDS[name]
    if is_from_end:
        most = SHORTEST_MONTH
    found: set[int] = set()
    every = None
    for item in text.split(","):
        start, stop, step = _numbers(name, item)
        if not (least <= start <= most and start <= (stop if stop is not None else start) <= most):
            raise RefusalError(f"has no such {name}: {shown(item)}")
        if step is not None and stop is None and step > (min(most - start, start - 1) if is_from_end else most - start):
            raise RefusalError(f"has a step that leads nowhere: {shown(item)}")
        if is_from_end:
            found.update(_from_end(start, stop, step))
            continue
        end = stop if stop is not None else most if step is not None else start
        found.update(range(start, end + 1, step or 1))
        if step is not None and stop is None and start == least and "," not in text:
            every = step
    return Part(values=tuple(sorted(found)), is_every=every)


def _from_end(start: int, stop: int | None, step: int | None) -> range:
    """Return days counted from the end of the month; steps go forward in time, as ``07/1`` to the last day."""
    if stop is None:
        return range(start, 0, -(step or 1)) if step is not None else range(start, start + 1)
    return range(stop, start - 1, -(step or 1))


def _numbers(name: str, item: str) -> tuple[int, int | None, int | None]:
    whole = re.sub(r"(\d)\.0+(?=$|/|\.\.)", r"\1", item) if name == "second" else item
    matched = _PART.fullmatch(whole)
    if matched is None:
        if name == "second" and re.search(r"\d\.\d", item):
            raise RefusalError(f"is finer than a second: {shown(item)}")
        raise RefusalError(f"has no such {name}: {shown(item)}")
    step = int(matched["step"]) if matched["step"] else None
    if step == 0:
        raise RefusalError(f"has a step of nothing: {shown(item)}")
    return int(matched["start"]), int(matched["stop"]) if matched["stop"] else None, step
