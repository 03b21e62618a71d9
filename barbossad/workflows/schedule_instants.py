"""Read the instants of an entry of ``schedules``: what they mean hangs on its time zone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from typing import Any, Final

from barbossad.document import Path
from barbossad.recurrence import moments, zones
from barbossad.validation import LITERAL_HINT, RefusalError, shown, subject
from barbossad.workflows.expressions import MARK
from barbossad.workflows.schedule_parts import Instants
from barbossad.workflows.schedule_rules import is_local

Refuse = Callable[[Path, str, str], None]
"""Is told of a fault: where in the entry, what, and a hint."""

_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_EPOCH: Final = "1970-01-01 00:00"


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
    if is_end and _DAY.fullmatch(text.strip()):
        return moments.parse_moment(_day_after(text.strip()), zone)
    return moments.parse_moment(text, zone)


def _day_after(text: str) -> str:
    """Return the day after a date, so that all of that lies before; what is no date is left as it is."""
    try:
        return (date.fromisoformat(text) + timedelta(days=1)).isoformat()
    except (ValueError, OverflowError):
        return text
