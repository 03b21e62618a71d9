"""Say where the daemon's time goes: CPU by thread and process, then its loop under cProfile.

``python -m benchmarks.profiling W1`` (or W2, W3, W4). The first pass is undisturbed; in the second the
profiler slows Python code and not C code, so its shares are a hint and its times not those of the bench.
"""

from __future__ import annotations

import argparse
import pstats
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import processes, workflows
from benchmarks.daemon import Client, Daemon
from benchmarks.runs import run_many, run_once

WORK: dict[str, tuple[str, int, Callable[[Client], float]]] = {
    "W1": (workflows.one("w1"), 1, lambda client: run_once(client, "w1")),
    "W2": (workflows.chain("w2", 50), 50, lambda client: run_once(client, "w2")),
    "W3": (workflows.fan("w3", 200), 202, lambda client: run_once(client, "w3")),
    "W4": (workflows.one("w4"), 500, lambda client: run_many(client, "w4", 500)),
}
"""What each workload applies, how many tasks one repetition runs, and one repetition."""


def main() -> int:
    """Do both passes and print them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profiling", description=__doc__)
    parser.add_argument("workload", choices=WORK)
    parser.add_argument("--tasks", type=int, default=2000, help="how many tasks to run in each pass")
    parser.add_argument("--lines", type=int, default=35, help="how many functions to print")
    parser.add_argument("--sort", default="tottime", help="what pstats sorts by: tottime, cumulative")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bb-", dir="/var/tmp"))
    try:
        _by_thread(folder, options.workload, options.tasks)
        profile = folder / "profile"
        wrapper = [sys.executable, "-m", "cProfile", "-o", str(profile), "-m", "barbossad"]
        with Daemon(folder, wrapper=wrapper) as daemon:
            _work(daemon, options.workload, options.tasks)
        pstats.Stats(str(profile)).strip_dirs().sort_stats(options.sort).print_stats(options.lines)
    finally:
        shutil.rmtree(folder)
    return 0


def _by_thread(folder: Path, workload: str, tasks: int) -> None:
    """Print what each thread of the daemon and of its helpers used for a task."""
    with Daemon(folder) as daemon:
        _work(daemon, workload, 50)
        before = processes.threads(daemon.pid)
        taken = _work(daemon, workload, tasks)
        after = processes.threads(daemon.pid)
    print(f"{workload}: {taken / tasks * 1e6:.0f} µs a task")
    for key, now in after.items():
        cpu, waits = now.cpu_seconds, now.wake_ups
        if key in before:
            cpu, waits = cpu - before[key].cpu_seconds, waits - before[key].wake_ups
        if cpu / tasks >= 1e-6:
            print(f"  {cpu / tasks * 1e6:7.0f} µs CPU {waits / tasks:6.2f} wake-ups  {now.name}")


def _work(daemon: Daemon, workload: str, tasks: int) -> float:
    """Repeat the workload until ``tasks`` tasks have run; return the seconds."""
    text, tasks_each, repetition = WORK[workload]
    with daemon.client() as client:
        client.call("workflow.apply", yaml=text)
        return sum(repetition(client) for _ in range(max(1, tasks // tasks_each)))


if __name__ == "__main__":
    sys.exit(main())
