"""Whether what expressions gave can be recorded, asked before anything is decided on it. Pure.

A decision is recorded whole or not at all: with a value in it that the store cannot take, the end of the task that was
decided on with it would be lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from barbossad.errors import BarbossaError
from barbossad.process.launcher import OUTPUT_LIMIT
from barbossad.store import rows

LIST_LIMIT: Final = 64 * 1024 * 1024
"""How many bytes all items of a loop may have, and all their outputs together: they are one row each."""


def check(parts: Iterable[Any], limit_bytes: int) -> None:
    """Raise BarbossaError if the parts of a list or a map cannot be written as JSON, or are too large together."""
    left = limit_bytes
    for part in parts:
        try:
            left -= len(rows.to_json([part]).encode())
        except (TypeError, ValueError, RecursionError, MemoryError) as error:
            raise BarbossaError(f"they cannot be written as JSON: {error}") from error
        if left < 0:
            raise BarbossaError(
                f"they are larger than {limit_bytes} bytes; put large data into a file and hand its path on"
            )


def check_outputs_of_items(outputs: Sequence[Any]) -> None:
    """Raise BarbossaError if the outputs of a loop's items are too large together; a few can never be."""
    if len(outputs) * OUTPUT_LIMIT > LIST_LIMIT:
        check(outputs, LIST_LIMIT)
