"""W8: ``barbossactl daemon ping`` as a whole process."""

from __future__ import annotations

from benchmarks.daemon import Daemon, program
from benchmarks.floors import HERE, base_python, run_process
from benchmarks.harness import Bench, Figure, compare


def run(bench: Bench) -> list[Figure]:
    """Measure the command line against an isolated interpreter with argparse, socket and json."""
    with Daemon(bench.folder) as daemon:
        ours = [*program("barbossactl"), "daemon", "ping"]
        floor = [base_python(), "-I", str(HERE / "floor_ping.py"), str(daemon.socket_path)]
        pings = compare(
            lambda: run_process(ours, daemon.environment),
            lambda: run_process(floor, daemon.environment),
            bench.samples(50, 20),
            warm_up=2,
        )
    return [pings.figure("W8", "barbossactl daemon ping", bar=4.0)]
