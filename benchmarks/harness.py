"""Measure two things in interleaved blocks, and say how far apart they are."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BLOCK = 10
"""How many samples of one side are taken before the other side has its turn."""

Sample = Callable[[], float]
"""Do the work once and return the seconds it took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What every workload is given: where to work, how thoroughly, and the compiled programs."""

    folder: Path
    quick: bool
    runs: int
    floor_program: Path
    pinger_program: Path

    def samples(self, full: int, quick: int) -> int:
        """Return how many samples this bench takes."""
        return quick if self.quick else full


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured number, and its bar: a miss fails the bench."""

    workload: str
    what: str
    value: float
    unit: str
    bar: float | None = None
    note: str = ""

    @property
    def is_passed(self) -> bool:
        """Say whether the bar holds; without a bar it always does."""
        return self.bar is None or self.value <= self.bar

    def as_dict(self) -> dict[str, Any]:
        """Return the shape of ``--json``."""
        return {
            "workload": self.workload,
            "what": self.what,
            "value": round(self.value, 4),
            "unit": self.unit,
            "bar": self.bar,
            "passed": self.is_passed,
            "note": self.note,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The samples of both sides, block by block, in seconds."""

    ours: tuple[tuple[float, ...], ...]
    floor: tuple[tuple[float, ...], ...]

    @property
    def ours_median(self) -> float:
        """Return the median of all our samples, in seconds."""
        return statistics.median(sample for block in self.ours for sample in block)

    @property
    def floor_median(self) -> float:
        """Return the median of all samples of the floor, in seconds."""
        return statistics.median(sample for block in self.floor for sample in block)

    @property
    def ratio(self) -> float:
        """Return the ratio of the medians."""
        return self.ours_median / self.floor_median

    @property
    def spread(self) -> tuple[float, float]:
        """Return the lowest and the highest ratio of two neighbouring blocks' medians."""
        pairs = zip(self.ours, self.floor, strict=True)
        ratios = [statistics.median(ours) / statistics.median(floor) for ours, floor in pairs]
        return min(ratios), max(ratios)

    @property
    def quiet_ratio(self) -> float:
        """Return the ratio of the tenth percentiles: about what a host with nothing else to do would show."""
        ours = [sample for block in self.ours for sample in block]
        floor = [sample for block in self.floor for sample in block]
        return percentile(ours, 10) / percentile(floor, 10)

    def figure(self, workload: str, what: str, *, bar: float | None = None, note: str = "") -> Figure:
        """Return the ratio as a figure that also tells the spread and both medians."""
        low, high = self.spread
        told = f"{low:.2f} to {high:.2f}, undisturbed {self.quiet_ratio:.2f}"
        told += f"; {seconds(self.ours_median)} over {seconds(self.floor_median)}"
        told += f"; {note}" if note else ""
        return Figure(workload=workload, what=what, value=self.ratio, unit="x", bar=bar, note=told)


def compare(ours: Sample, floor: Sample, samples: int, *, warm_up: int = 1) -> Comparison:
    """Take ``samples`` of each side in blocks of ``BLOCK``, the sides taking turns at going first.

    ``warm_up`` samples of each side are thrown away before: files are made, caches filled.
    """
    for _ in range(warm_up):
        floor()
        ours()
    our_blocks: list[tuple[float, ...]] = []
    floor_blocks: list[tuple[float, ...]] = []
    block = max(1, min(BLOCK, samples // 2))  # one block alone would have no spread
    for number, start in enumerate(range(0, samples, block)):
        size = min(block, samples - start)
        turns = [(floor, floor_blocks), (ours, our_blocks)]
        for sample, blocks in turns if number % 2 == 0 else reversed(turns):
            blocks.append(tuple(sample() for _ in range(size)))
    return Comparison(ours=tuple(our_blocks), floor=tuple(floor_blocks))


def percentile(samples: Sequence[float], percent: float) -> float:
    """Return the sample below or at which ``percent`` of all lie (nearest rank)."""
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def seconds(value: float) -> str:
    """Return a duration as a person reads it: µs, ms or s with three digits."""
    if value < 0.001:
        return f"{value * 1_000_000:.0f} µs"
    return f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s"
