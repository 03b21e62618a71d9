"""Figures of fires: quantiles, and reasons that are one."""

from __future__ import annotations

import pytest

from barbossad.operations import schedule_history


@pytest.mark.parametrize(
    ("values", "part", "expected"),
    [
        ([], 0.5, None),
        ([4000], 0.99, 4.0),
        ([3000, 1000], 0.5, 1.0),
        ([3000, 1000, 2000], 0.5, 2.0),
        (range(1000, 101_000, 1000), 0.99, 99.0),
        (range(1000, 101_000, 1000), 0.5, 50.0),
    ],
)
def test_quantiles(values: list[int], part: float, expected: float | None) -> None:
    """A quantile is the smallest value that this part of all does not exceed."""
    assert schedule_history._quantile(values, part) == expected


def test_skips() -> None:
    """Reasons that differ only in the run before and its instant are one; the most frequent is first."""
    reasons = {
        "run 01m8a89qvg of 2026-11-25T21:03:02.000Z has not ended (overlap: skip)": 2,
        "run 01m8a89nx0 of 2026-11-25T21:04:02.000Z has not ended (overlap: skip)": 3,
        "held by label team=0123456789: disks": 4,
    }
    assert schedule_history._skips(reasons) == [
        {"reason": "run … of … has not ended (overlap: skip)", "count": 5},
        {"reason": "held by label team=0123456789: disks", "count": 4},
    ]
    many = {f"held: {number}": number for number in range(1, 50)}
    told = schedule_history._skips(many)
    assert [one["count"] for one in told] == list(range(49, 49 - schedule_history.REASONS, -1))
