"""How the bench compares two things, judges figures and prints them."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from benchmarks import report
from benchmarks.__main__ import WORKLOADS, parse
from benchmarks.harness import BLOCK, Comparison, Figure, compare, percentile, seconds
from benchmarks.machine import Machine


def recorder(name: str, turns: list[str]) -> Callable[[], float]:
    def sample() -> float:
        turns.append(name)
        return 1.0

    return sample


def test_sides_are_interleaved_in_blocks_and_take_turns_at_going_first() -> None:
    """A drift of the machine hits both sides alike: blocks of ten, the order swapped each time."""
    turns: list[str] = []
    compare(recorder("ours", turns), recorder("floor", turns), 4 * BLOCK, warm_up=0)
    blocks = [turns[start : start + BLOCK] for start in range(0, len(turns), BLOCK)]
    assert all(len(set(block)) == 1 for block in blocks)
    order = ["floor", "ours", "ours", "floor"]
    assert [block[0] for block in blocks] == order + order


def test_warm_up_samples_are_not_counted() -> None:
    """What is taken while caches fill is thrown away."""
    cold = iter([100.0])
    comparison = compare(lambda: next(cold, 2.0), lambda: 1.0, 10, warm_up=1)
    assert comparison.ratio == 2.0
    assert sum(len(block) for block in comparison.ours) == 10


def test_few_samples_still_make_two_blocks() -> None:
    """A spread needs two blocks at least."""
    comparison = compare(lambda: 1.0, lambda: 1.0, 5, warm_up=0)
    assert [len(block) for block in comparison.ours] == [2, 2, 1]


def test_ratio_is_of_medians_and_spread_of_blocks() -> None:
    """One slow sample does not move the figure; the spread is the lowest and the highest block."""
    comparison = Comparison(ours=((2.0, 2.0, 90.0), (3.0, 3.0, 3.0)), floor=((1.0, 1.0, 1.0), (1.0, 1.0, 1.0)))
    assert comparison.ratio == 3.0
    assert comparison.spread == (2.0, 3.0)


def test_undisturbed_ratio_looks_at_the_quickest_samples() -> None:
    """What else the host does shows in the slow samples, so the quickest tenth says what it would be alone."""
    disturbed = tuple([2.0] + [50.0] * 9)
    comparison = Comparison(ours=(disturbed,), floor=(tuple([1.0] * 10),))
    assert (comparison.ratio, comparison.quiet_ratio) == (50.0, 2.0)


@pytest.mark.parametrize(("percent", "expected"), [(50, 50), (99, 99), (100, 100), (0, 1)])
def test_percentile_is_a_sample_that_was_measured(percent: float, expected: float) -> None:
    """The p99 of a hundred is the ninety-ninth, never between two."""
    assert percentile(list(range(100, 0, -1)), percent) == expected


@pytest.mark.parametrize(
    ("value", "bar", "passed"),
    [(3.0, 3.0, True), (3.01, 3.0, False), (9e9, None, True)],
)
def test_a_bar_fails(value: float, bar: float | None, passed: bool) -> None:
    """At the bar is within it; what has no bar cannot fail."""
    figure = Figure(workload="W1", what="one task", value=value, unit="x", bar=bar)
    assert figure.is_passed == passed


def test_a_missed_bar_stands_out_in_the_table() -> None:
    """A reader sees the figure, its bar and the verdict in one line."""
    line = report.line(Figure(workload="W1", what="one task", value=3.456, unit="x", bar=3.0, note="2.9 to 4.1"))
    assert line.split() == ["W1", "one", "task", "3.46", "x", "3", "FAIL", "2.9", "to", "4.1"]


def test_json_holds_every_figure() -> None:
    """A program reads the same verdicts as a person."""
    figures = [Figure(workload="W5", what="idle: memory", value=61.0, unit="MB", bar=60.0)]
    [shown] = json.loads(report.as_json(figures))
    assert (shown["workload"], shown["value"], shown["passed"]) == ("W5", 61.0, False)


@pytest.mark.parametrize(("value", "expected"), [(0.0000123, "12 µs"), (0.00123, "1.23 ms"), (1.5, "1.5 s")])
def test_durations_are_told_in_a_unit_that_fits(value: float, expected: str) -> None:
    """Nobody counts zeros."""
    assert seconds(value) == expected


def test_an_unknown_workload_is_refused_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    """A typing error does not run everything else first."""
    with pytest.raises(SystemExit):
        parse(["W1", "W99"])
    assert "W99" in capsys.readouterr().err


def test_every_workload_of_the_list_is_there() -> None:
    """W1 to W8, memory, the thousand clients, the worker, the flood, units of systemd, the engine, and schedules."""
    others = ["memory", "clients", "worker", "flood", "units", "engine", "schedules"]
    assert list(WORKLOADS) == [*(f"W{number}" for number in range(1, 9)), *others]


def test_what_others_took_is_told_beside_what_the_bench_used() -> None:
    """Of a hundred CPU seconds half was idle, ten stolen, thirty the bench's own: the last ten were others'."""
    before = Machine(total=1000.0, idle=500.0, stolen=5.0, own=1.0)
    told = Machine(total=1100.0, idle=550.0, stolen=15.0, own=31.0).since(before)
    assert "other programs used 10% of the CPU" in told
    assert "kept 10% back" in told
