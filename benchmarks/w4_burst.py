"""W4: five hundred one-task workflows started at once, and what a second client feels meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmarks import workflows
from benchmarks.daemon import Daemon
from benchmarks.floors import FloorServer, Pinger, Spawner
from benchmarks.harness import Bench, Figure, compare, percentile
from benchmarks.runs import run_many

COUNT = 500
IN_FLIGHT = 16


def run(bench: Bench) -> list[Figure]:
    """Measure the burst against its floor, then once more while a second client pings."""
    with (
        Spawner(bench.floor_program, bench.folder / "floor") as spawner,
        Daemon(bench.folder) as daemon,
        daemon.client() as client,
    ):
        client.call("workflow.apply", yaml=workflows.one("w4"))

        def ours() -> float:
            return run_many(client, "w4", COUNT)

        def floor() -> float:
            return spawner.measure(COUNT, in_flight=IN_FLIGHT, rows=COUNT)

        burst = compare(ours, floor, bench.samples(20, 4))
        rounds = bench.samples(10, 2)
        pings = _pings_during(ours, rounds, bench, daemon.socket_path)
        with FloorServer(bench.folder / "floor-server") as server:
            control = _pings_during(floor, rounds, bench, server.socket_path)
    note = (
        f"median {percentile(pings, 50) * 1000:.2f}, worst {max(pings) * 1000:.1f} of {len(pings)}; "
        f"a bare asyncio server during the floor: p99 {percentile(control, 99) * 1000:.2f}"
    )
    ping = percentile(pings, 99) * 1000
    return [
        burst.figure("W4", f"{COUNT} workflows at once", bar=1.8),
        Figure(workload="W4", what="ping meanwhile, p99", value=ping, unit="ms", bar=5.0, note=note),
    ]


def _pings_during(work: Callable[[], float], rounds: int, bench: Bench, socket_path: Path) -> list[float]:
    """Return the seconds of every ping of a server while ``work`` is done again and again."""
    found: list[float] = []
    for _ in range(rounds):
        pinger = Pinger(bench.pinger_program, socket_path)
        work()
        found += pinger.stop()
    return found
