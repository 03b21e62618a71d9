"""W1: one workflow of one task, started over the socket again and again."""

from __future__ import annotations

from benchmarks import workflows
from benchmarks.daemon import Daemon
from benchmarks.floors import Spawner
from benchmarks.harness import Bench, Figure, compare
from benchmarks.runs import run_once


def run(bench: Bench) -> list[Figure]:
    """Measure from the call to *finished and durably recorded*, as told by ``run.wait``."""
    with (
        Spawner(bench.floor_program, bench.folder / "floor") as spawner,
        Daemon(bench.folder) as daemon,
        daemon.client() as client,
    ):
        client.call("workflow.apply", yaml=workflows.one("w1"))
        client.call("workflow.apply", yaml=workflows.one("w1-script", workflows.SCRIPT))
        samples = bench.samples(200, 40)
        listed = compare(lambda: run_once(client, "w1"), lambda: spawner.measure(1), samples, warm_up=10)
        script = compare(lambda: run_once(client, "w1-script"), lambda: spawner.measure(1), samples // 2)
    return [
        listed.figure("W1", "one task", bar=2.0),
        script.figure("W1", "one task, script text"),
    ]
