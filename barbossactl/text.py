"""Words for people: control characters made harmless, durations, local times with their age."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

_UNSAFE: Final = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 but tab and line end, DEL, C1: what moves a terminal's cursor or worse
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # what makes text read in another order than it is
    "\u2028\u2029\ud800-\udfff"  # what some readers take for a line end; halves of a character
)
_IN_DOCUMENT: Final = re.compile(f"[{_UNSAFE}]")
_IN_LINE: Final = re.compile(f"[\n{_UNSAFE}]")
_IN_CELL: Final = re.compile(f"[\n\t{_UNSAFE}]")
_SHORT: Final = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}


def escape_line(text: str) -> str:
    """Return a line of output with every control character but the tab as a visible escape."""
    return text if text.isprintable() else _IN_LINE.sub(_visible, text)


def escape_cell(text: str) -> str:
    """Return a name or a sentence as one cell of a table: tabs are escaped too."""
    return text if text.isprintable() else _IN_CELL.sub(_visible, text)


def escape_document(text: str) -> str:
    """Return a text of several lines with everything but its tabs and line ends made harmless."""
    return _IN_DOCUMENT.sub(_visible, text)


def escape_json(document: str) -> str:
    """Return JSON in which nothing can act on a terminal; it means the same."""
    return _IN_DOCUMENT.sub(lambda found: f"\\u{ord(found[0]):04x}", document)


def duration(seconds: float) -> str:
    """Return a length of time as people say it: ``15 ms``, ``0.3 s``, ``42 s``, ``3 min 12 s``, ``2 h 05 min``."""
    if seconds < 0.0995:
        return f"{max(seconds, 0.0) * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def parse_instant(text: str) -> datetime | None:
    """Return an RFC 3339 instant as an aware datetime, None if it is none."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def seconds_between(start: str | None, end: str | None, now: datetime | None = None) -> float | None:
    """Return how long something took, or has taken until ``now`` while it has no end; None before its start.

    0 where the clock was set back meanwhile.
    """
    began = parse_instant(start) if start else None
    if began is None:
        return None
    ended = parse_instant(end) if end else None
    return max(((ended or now or datetime.now(UTC)) - began).total_seconds(), 0.0)


def moment(text: str, now: datetime | None = None, *, is_aged: bool = True) -> str:
    """Return an instant in local time: ``10:00:01 (3 min 12 s ago)``, its age if wanted, before today with its date."""
    instant = parse_instant(text)
    if instant is None:
        return escape_cell(text)
    now = now or datetime.now(UTC)
    age = (now - instant).total_seconds()
    spoken = "just now" if 0 <= age < 1 else f"{duration(age)} ago" if age >= 0 else f"in {duration(-age)}"
    local = instant.astimezone()
    day = "" if local.date() == now.astimezone().date() else f"{local:%Y-%m-%d} "
    return f"{day}{local:%H:%M:%S}" + (f" ({spoken})" if is_aged else "")


def clock_time(text: str) -> str:
    """Return the local time of day of an instant, to the millisecond."""
    instant = parse_instant(text)
    return f"{instant.astimezone():%H:%M:%S.%f}"[:-3] if instant else escape_cell(text)


def size(size_bytes: float) -> str:
    """Return a number of bytes as people say it, in powers of 1024."""
    amount = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def count(number: int, noun: str) -> str:
    """Return ``1 task``, ``2 tasks``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _visible(found: re.Match[str]) -> str:
    character = found[0]
    code = ord(character)
    return _SHORT.get(character) or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")
