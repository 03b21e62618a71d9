"""memory: ten thousand runs, and how much larger the daemon is than after the first hundred."""

from __future__ import annotations

from benchmarks import processes, workflows
from benchmarks.daemon import Daemon
from benchmarks.harness import Bench, Figure
from benchmarks.runs import run_many

TOGETHER = 100
"""Runs that are started at once; memory is looked at when all of them have ended."""


def run(bench: Bench) -> list[Figure]:
    """Record runs and measure the growth of the resident memory of the daemon and its helpers."""
    runs = bench.samples(10_000, 2_000)
    with Daemon(bench.folder) as daemon, daemon.client() as client:
        client.call("workflow.apply", yaml=workflows.one("memory"))
        sizes = []
        for _ in range(runs // TOGETHER):
            run_many(client, "memory", TOGETHER)
            sizes.append(processes.memory(daemon.pid).resident_mb)
    note = f"{sizes[0]:.1f} after {TOGETHER}, {sizes[-1]:.1f} at the end, {max(sizes):.1f} at most"
    growth = sizes[-1] - sizes[0]
    return [Figure(workload="memory", what=f"growth by {runs:,} runs", value=growth, unit="MB", bar=10.0, note=note)]
