"""Whether what expressions gave can be recorded, asked before anything is decided on it. Pure.

A decision is recorded whole or not at all: with a value in it that the store cannot take, the end of the task that was
decided on with it would be lost.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from barbossad.errors import BarbossaError
from barbossad.process.launcher import OUTPUT_LIMIT
from barbossad.store import rows

LIST_LIMIT: Final = 64 * 1024 * 1024
"""How many bytes all items of a loop may have, and all their outputs together: they are one row each."""


def check(parts: Iterable[Any], limit_bytes: int) -> None:
    """Raise BarbossaError if the parts of a list or a map cannot be written as JSON, or are too large together."""
    check_sizes(map(size_bytes, parts), limit_bytes)


def size_bytes(part: Any) -> int:
    """Return how large something is as JSON in a list. Raise BarbossaError if it cannot be written so."""
    try:
        return len(rows.to_json([part]).encode())
    except (TypeError, ValueError, RecursionError, MemoryError) as error:
        raise BarbossaError(f"they cannot be written as JSON: {error}") from error


def check_sizes(sizes: Iterable[int], limit_bytes: int) -> None:
    """Raise BarbossaError if what has these sizes is too large together."""
    left = limit_bytes
    for size in sizes:
        left -= size
        if left < 0:
            raise BarbossaError(
                f"they are larger than {limit_bytes} bytes; put large data into a file and hand its path on"
            )


def may_exceed(count: int) -> bool:
    """Say whether the outputs of so many items of a loop can be too large together; those of a few can never be."""
    return count * OUTPUT_LIMIT > LIST_LIMIT
