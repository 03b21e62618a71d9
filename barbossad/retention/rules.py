"""Decide what goes together and how much of it; no I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from barbossad.store.retention import Weight

MOST_ROWS: Final = 1000
"""Rows that one transaction deletes: a few milliseconds of the writer."""

MOST_BYTES: Final = 1024 * 1024
"""About how much one transaction writes: a quarter of the reserve."""

TIGHT_BYTES: Final = 128 * 1024
"""The same on a full disk, where what the reserve gave up has to do for everything."""

PEEL_BYTES: Final = 16 * 1024
"""What a row of a run that is deleted in pieces is taken to weigh: small logs have up to 8 KiB."""

MOST_PAUSE_SECONDS: Final = 0.25

FREE_PAGES_KEPT: Final = 256
"""Free pages that stay in the file for what comes next, while there is room on the disk."""


def first_piece(weights: Sequence[Weight], most_bytes: int) -> list[int]:
    """Return the runs from the front that are deleted in one transaction.

    None, if the first alone is too large for one; but a run of which only its own row is left cannot be parted.
    """
    piece: list[int] = []
    row_count = size_bytes = 0
    for weight in weights:
        row_count += weight.row_count
        size_bytes += weight.size_bytes
        if row_count > MOST_ROWS or size_bytes > most_bytes:
            if not piece and weight.row_count == 1:
                piece.append(weight.run)
            break
        piece.append(weight.run)
    return piece


def peel_rows(most_bytes: int) -> int:
    """Return how many rows of a large run one transaction deletes."""
    return max(1, min(MOST_ROWS, most_bytes // PEEL_BYTES))


def enough(sizes: Iterable[tuple[int, int]], excess_bytes: int) -> tuple[list[int], int]:
    """Return the runs from the front whose sizes together reach the excess, and the excess that is left then."""
    chosen: list[int] = []
    for run, size_bytes in sizes:
        if excess_bytes <= 0:
            break
        chosen.append(run)
        excess_bytes -= size_bytes
    return chosen, excess_bytes


def pause_seconds(took_seconds: float, *, is_tight: bool) -> float:
    """Return how long to leave the writer to others after a transaction: as long as that took, but not for long."""
    return 0.0 if is_tight else min(took_seconds, MOST_PAUSE_SECONDS)


def surplus_pages(free: int, *, is_tight: bool) -> int:
    """Return how many of the free pages of the file go back to the disk."""
    return max(0, free - (0 if is_tight else FREE_PAGES_KEPT))
