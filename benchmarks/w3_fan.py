"""W3: one workflow of a root, two hundred parallel tasks and a join, at most sixteen at a time."""

from __future__ import annotations

from benchmarks import workflows
from benchmarks.daemon import Daemon
from benchmarks.floors import Spawner
from benchmarks.harness import Bench, Figure, compare
from benchmarks.runs import run_once

WIDTH = 200
IN_FLIGHT = 16


def run(bench: Bench) -> list[Figure]:
    """Measure a whole run against one, two hundred and one spawns and one commit of two hundred rows."""
    with (
        Spawner(bench.floor_program, bench.folder / "floor") as spawner,
        Daemon(bench.folder) as daemon,
        daemon.client() as client,
    ):
        client.call("workflow.apply", yaml=workflows.fan("w3", WIDTH))
        fan = compare(
            lambda: run_once(client, "w3"),
            lambda: spawner.measure(1, WIDTH, 1, in_flight=IN_FLIGHT, rows=WIDTH),
            bench.samples(30, 10),
        )
    return [fan.figure("W3", f"{WIDTH} in parallel", bar=1.7)]
