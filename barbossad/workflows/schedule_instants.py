"""Read the instants of an entry of ``schedules``: what they mean hangs on its time zone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, time
from typing import Any, Final

from barbossad.document import Path
from barbossad.model.schedules import Timing
from barbossad.recurrence import instants, moments, zones
from barbossad.recurrence.steps import TooManyStepsError, in_steps
from barbossad.recurrence.windows import parse_window
from barbossad.validation import LITERAL_HINT, RefusalError, shown, subject
from barbossad.workflows.expressions import MARK
from barbossad.workflows.schedule_parts import Instants
from barbossad.workflows.schedule_rules import is_local

Refuse = Callable[[Path, str, str], None]
"""Is told of a fault: where in the entry, what, and a hint."""

MOST_STEPS: Final = 5_000_000
"""To find out whether a schedule ever fires: some three seconds. That every day of centuries lies outside of the
windows takes half of it."""

_EPOCH: Final = "1970-01-01 00:00"

_SOME_YEAR_MS: Final = 1_704_067_200_000
"""The beginning of 2024, from where a schedule without a start is tried: a leap year."""

_AFTER_A_DAY_MS: Final = 3 * 86_400_000
"""From the midnight with which a date begins in UTC until it is over in every zone, with a night that began on it."""


def read_instants(raw: Mapping[str, Any], refuse: Refuse) -> Instants:
    """Return what the texts of an entry mean that are instants; what is none is refused.

    Local times are left out where there is no usable time zone: that is told elsewhere.
    """
    zone = _usable(raw.get("timezone"))
    found: dict[Path, int] = {}
    for path, text in _texts(raw):
        try:
            instant = _instant(text, zone, is_end=path == ("between", "end"))
        except RefusalError as error:
            refuse(path, f"{subject(path)} {error}", error.hint)
            continue
        if instant is not None:
            if path[0] == "at" and instant in found.values():
                refuse(path, f"{subject(path)} is an instant that stands there already", "name it once")
            found[path] = instant
    start, end = found.get(("between", "start")), found.get(("between", "end"))
    if start is not None and end is not None and start >= end:
        refuse(("between",), "'between' ends before it begins", "write the earlier one as start")
    anchor = found.get(("anchor",))
    if anchor is None:
        anchor = moments.parse_moment(_EPOCH, zone) if zone and "every" in raw else 0
    return Instants(
        at_ms=tuple(sorted(instant for path, instant in found.items() if path[0] == "at")),
        anchor_ms=anchor,
        start_ms=start,
        end_ms=end,
    )


def _usable(name: object) -> str | None:
    if not isinstance(name, str):
        return None
    try:
        zones.zone(name)
    except RefusalError:
        return None
    return name


def _texts(raw: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    """Yield the texts of an entry that are to be instants."""
    at = raw.get("at")
    between = raw.get("between")
    items: list[tuple[Path, object]] = (
        [(("at", index), item) for index, item in enumerate(at)] if isinstance(at, list) else [(("at",), at)]
    )
    items.append((("anchor",), raw.get("anchor")))
    if isinstance(between, Mapping):
        items += [(("between", key), between.get(key)) for key in ("start", "end")]
    yield from ((path, item) for path, item in items if isinstance(item, str))


def _instant(text: str, zone: str | None, *, is_end: bool) -> int | None:
    """Return the instant that a text means; None for local time without a zone. Raise RefusalError."""
    if MARK in text:
        raise RefusalError(f"cannot hold an expression: {shown(text)}", LITERAL_HINT)
    if is_local(text) and zone is None:
        return None
    return moments.parse_moment(text, zone, is_end=is_end)


def never(timing: Timing) -> tuple[str, str, str] | None:
    """Return why a timing has no instants at all, as a key, a sentence and a hint; None if it has some.

    What cannot be told in a bounded number of steps has none: it could not be told either when it fires.
    """
    try:
        return in_steps(MOST_STEPS, _never, timing)
    except TooManyStepsError:
        key = "within" if timing.within else "blackout" if timing.blackout else "between"
        return key, f"{key!r} takes too long to work out", "write fewer windows, or such as are not so seldom"


def _never(timing: Timing) -> tuple[str, str, str] | None:
    kind = "cron" if timing.cron else "every" if timing.every_ms else "at"
    limits = [key for key, value in (("between", timing.start_ms or timing.end_ms), ("within", timing.within)) if value]
    if kind == "at" and limits and instants.next_instant(timing, timing.at_ms[0] - 1) is None:
        return limits[-1], f"{limits[-1]!r} leaves nothing of 'at'", "remove one of the two"
    plain = replace(timing, within=(), blackout=(), holidays=None)
    start = timing.start_ms
    if start is None:  # what has only an end has begun long ago
        plain, start = replace(plain, end_ms=None), _SOME_YEAR_MS
    if plain.end_ms is not None and instants.next_instant(plain, start - 1) is None:
        return "between", f"'between' leaves nothing of {kind!r}", "no such time lies in it"
    if timing.within and instants.next_instant(replace(plain, within=timing.within), start - 1) is None:
        return "within", f"'within' leaves nothing of {kind!r}", "no window has such a time"
    if timing.blackout and kind != "at":
        timing = replace(plain, within=timing.within, blackout=timing.blackout)
    if timing.blackout and _is_all_in_blackout(timing, start if kind != "at" else timing.at_ms[0]):
        return "blackout", f"'blackout' leaves nothing of {kind!r}", "leave out a window, or write enabled: false"
    return None


def _is_all_in_blackout(timing: Timing, start_ms: int) -> bool:
    """Say whether each instant lies in a blackout, those too that come when the blackouts of some years are over."""
    windows = [parse_window(text) for text in timing.blackout]
    over = max((window.dates[1] for window in windows if window.dates and not window.is_yearly), default=None)
    starts = [start_ms]
    if over is not None and timing.end_ms is None:
        over_ms = round(datetime.combine(over, time(), UTC).timestamp() * 1000) + _AFTER_A_DAY_MS
        starts.append(max(start_ms, over_ms))
    return all(instants.next_outside(timing, at_ms - 1) is None for at_ms in starts)
