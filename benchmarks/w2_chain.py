"""W2: one workflow that is a chain of fifty tasks."""

from __future__ import annotations

from benchmarks import workflows
from benchmarks.daemon import Daemon
from benchmarks.floors import Spawner
from benchmarks.harness import Bench, Figure, compare
from benchmarks.runs import run_once

LENGTH = 50


def run(bench: Bench) -> list[Figure]:
    """Measure a whole run of the chain against fifty spawns one after another and one commit."""
    with (
        Spawner(bench.floor_program, bench.folder / "floor") as spawner,
        Daemon(bench.folder) as daemon,
        daemon.client() as client,
    ):
        client.call("workflow.apply", yaml=workflows.chain("w2", LENGTH))
        samples = bench.samples(40, 10)
        chain = compare(lambda: run_once(client, "w2"), lambda: spawner.measure(LENGTH), samples)
    return [chain.figure("W2", f"chain of {LENGTH}", bar=2.0)]
