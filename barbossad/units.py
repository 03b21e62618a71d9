"""Read and write durations (``90``, ``90s``, ``1h30m``, ``250ms``) and sizes (``512M``, powers of 1024)."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, WithJsonSchema

from barbossad.validation import LITERAL_HINT, RefusalError, shown

MAX_DURATION_SECONDS: Final = 100 * 366 * 86_400.0
"""A hundred years: past it a number is a mistake, and timers would overflow."""

MAX_SIZE_BYTES: Final = 2**60

_SECONDS: Final = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_NUMBER: Final = r"\d{1,18}(?:\.\d{1,9})?"
_DURATION: Final = re.compile("".join(rf"(?:(?P<{unit}>{_NUMBER}){unit})?" for unit in _SECONDS), flags=re.ASCII)
_PLAIN: Final = re.compile(_NUMBER, flags=re.ASCII)
_SIZE: Final = re.compile(rf"({_NUMBER})([KMGT]?)(?:i?B)?", flags=re.ASCII | re.IGNORECASE)

DURATION_HINT: Final = "write seconds, or 90s, 5m, 1h30m, 2d, 250ms"
SIZE_HINT: Final = "write bytes, or 64K, 512M, 2G (powers of 1024)"


def _hint(value: object, usual: str) -> str:
    return LITERAL_HINT if isinstance(value, str) and "{{" in value else usual


def parse_duration(value: object) -> float:
    """Return a duration in seconds; ``value`` is a number of seconds or text. Raise RefusalError if it is none.

    Units stand in falling order, each once; a number may have decimals (``1.5h``).
    """
    seconds = _duration(value)
    if seconds is None:
        raise RefusalError(f"is not a duration: {shown(value)}", _hint(value, DURATION_HINT))
    if not 0 <= seconds <= MAX_DURATION_SECONDS:
        raise RefusalError(f"is not between 0 seconds and 100 years: {shown(value)}", DURATION_HINT)
    return seconds


def _duration(value: object) -> float | None:
    if isinstance(value, str):
        return _duration_of_text(value.strip())
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, int):
        return float(max(-1, min(value, 10**15)))
    return value if math.isfinite(value) else None


def _duration_of_text(text: str) -> float | None:
    if _PLAIN.fullmatch(text):
        return float(text)
    match = _DURATION.fullmatch(text)
    if not match or not text:
        return None
    parts = (float(part) * _SECONDS[unit] for unit, part in match.groupdict().items() if part)
    return round(math.fsum(parts), 9)


def format_duration(seconds: float) -> str:
    """Return a duration as people write it, to the millisecond (``1h30m``, ``250ms``, ``0s``)."""
    rest = round(seconds * 1000)
    text = ""
    for unit, milliseconds in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, rest = divmod(rest, milliseconds)
        if count:
            text += f"{count}{unit}"
    return text or "0s"


def parse_size(value: object) -> int:
    """Return a size in bytes; ``value`` is a number of bytes or text. Raise RefusalError if it is none."""
    size = _size(value)
    if size is None:
        raise RefusalError(f"is not a size: {shown(value)}", _hint(value, SIZE_HINT))
    if not 0 <= size <= MAX_SIZE_BYTES:
        raise RefusalError(f"is not between 0 and 1048576T: {shown(value)}", SIZE_HINT)
    return size


def _size(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    if isinstance(value, int):
        return value
    match = _SIZE.fullmatch(value.strip())
    if not match:
        return None
    number, unit = match.groups()
    bytes_per_unit = 1024 ** " KMGT".index(unit.upper() or " ")
    size = float(number) * bytes_per_unit
    return int(number) * bytes_per_unit if number.isdigit() else int(size) if size.is_integer() else None


def format_size(size_bytes: int) -> str:
    """Return a size exactly, in the largest unit that divides it (``10M``, ``1500``)."""
    power = 0
    while size_bytes and size_bytes % 1024 == 0 and power < 4:
        size_bytes //= 1024
        power += 1
    return f"{size_bytes}{' KMGT'[power].strip()}"


def _positive(value: Any) -> float:
    seconds = parse_duration(value)
    if seconds == 0:
        raise RefusalError("must be more than 0", DURATION_HINT)
    return seconds


_DURATION_SCHEMA: Final = WithJsonSchema(
    {
        "anyOf": [
            {"type": "number", "minimum": 0},
            {"type": "string", "pattern": f"^({''.join(f'({_NUMBER}{unit})?' for unit in _SECONDS)}|{_NUMBER})$"},
        ],
        "description": "A duration: seconds, or 90s, 5m, 1h30m, 2d, 250ms",
    }
)

Duration = Annotated[float, BeforeValidator(parse_duration), _DURATION_SCHEMA]
"""Seconds; 0 is allowed."""

PositiveDuration = Annotated[float, BeforeValidator(_positive), _DURATION_SCHEMA]
"""Seconds, more than 0."""

Size = Annotated[
    int,
    BeforeValidator(parse_size),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0},
                {"type": "string", "pattern": rf"^{_NUMBER}[KMGTkmgt]?(i?B)?$"},
            ],
            "description": "A size: bytes, or 64K, 512M, 2G (powers of 1024)",
        }
    ),
]
"""Bytes."""
