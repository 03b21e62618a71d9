"""What is deleted together: as much as one transaction may hold, and everything in the end."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from barbossad.retention import rules
from barbossad.store.retention import Weight


def weight(run: int, row_count: int = 1, size_bytes: int = 1) -> Weight:
    return Weight(run=run, row_count=row_count, size_bytes=size_bytes)


def cases() -> Iterator[list[tuple[int, int]]]:
    """Yield lists of rows and bytes, from none to twice of what one transaction may have."""
    chance = random.Random(7)
    most = (2 * rules.MOST_ROWS, 2 * rules.MOST_BYTES)
    for _ in range(200):
        scale = chance.choice([1, 3, 50])
        count = chance.randrange(30)
        yield [(chance.randint(1, most[0] // scale), chance.randint(1, most[1] // scale)) for _ in range(count)]


@pytest.mark.parametrize("facts", list(cases()))
def test_a_piece_is_bounded(facts: list[tuple[int, int]]) -> None:
    """Runs that go together are the first ones, and stay within the bounds; only a bare row may exceed them."""
    weights = [weight(run, *fact) for run, fact in enumerate(facts)]
    piece = rules.first_piece(weights, rules.MOST_BYTES)
    assert piece == list(range(len(piece)))
    chosen = weights[: len(piece)]
    if len(chosen) != 1 or chosen[0].row_count != 1:
        assert sum(one.row_count for one in chosen) <= rules.MOST_ROWS
        assert sum(one.size_bytes for one in chosen) <= rules.MOST_BYTES


@pytest.mark.parametrize("facts", list(cases()))
def test_everything_goes_in_the_end(facts: list[tuple[int, int]]) -> None:
    """Piece by piece nothing is left: a run too large for one transaction is peeled to its bare row."""
    left = [weight(run, *fact) for run, fact in enumerate(facts)]
    gone: list[int] = []
    while left:
        piece = rules.first_piece(left, rules.MOST_BYTES)
        if not piece:
            left[0] = weight(left[0].run, 1, left[0].size_bytes)
        gone += piece
        left = left[len(piece) :]
    assert gone == list(range(len(facts)))


def test_large_run_is_parted() -> None:
    """A run that is too large for a transaction is in no piece, until only its row is left."""
    large = rules.TIGHT_BYTES + 1
    assert rules.first_piece([weight(1, 2, large), weight(2)], rules.TIGHT_BYTES) == []
    assert rules.first_piece([weight(1, 1, large), weight(2)], rules.TIGHT_BYTES) == [1]


def test_peeling_is_bounded() -> None:
    """On a full disk fewer rows go at a time, but always one."""
    assert rules.peel_rows(rules.MOST_BYTES) * 8192 <= rules.MOST_BYTES
    assert rules.peel_rows(rules.TIGHT_BYTES) * 8192 <= rules.TIGHT_BYTES
    assert rules.peel_rows(1) == 1


@pytest.mark.parametrize("excess", [-5, 0, 1, 50, 51, 1000, 1275, 1276])
def test_enough_is_no_more_than_that(excess: int) -> None:
    """The oldest go until the rest fits, and not one more."""
    sizes = list(range(1, 51))
    chosen, left = rules.enough(list(enumerate(sizes)), excess)
    assert chosen == list(range(len(chosen)))
    assert left == excess - sum(sizes[: len(chosen)])
    assert left <= 0 or len(chosen) == len(sizes)
    if chosen:
        assert left + sizes[len(chosen) - 1] > 0


def test_others_get_their_turn() -> None:
    """The writer is free for as long as it was taken, but not while the disk is full; a long wait is cut off."""
    assert rules.pause_seconds(0.01, is_tight=False) == 0.01
    assert rules.pause_seconds(60, is_tight=False) == rules.MOST_PAUSE_SECONDS
    assert rules.pause_seconds(0.01, is_tight=True) == 0


def test_free_pages() -> None:
    """Some free pages are kept for what comes; on a full disk none."""
    assert rules.surplus_pages(rules.FREE_PAGES_KEPT + 3, is_tight=False) == 3
    assert rules.surplus_pages(3, is_tight=False) == 0
    assert rules.surplus_pages(3, is_tight=True) == 3
