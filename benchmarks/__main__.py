"""Run workloads and print each figure with its bar.

``python -m benchmarks [W1 W4 ...] [--quick] [--json]``
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import (
    clients,
    engine,
    flood,
    memory,
    report,
    schedules,
    units,
    w1_one_task,
    w2_chain,
    w3_fan,
    w4_burst,
    w5_idle,
    w6_start,
    w7_history,
    w8_command_line,
    worker,
)
from benchmarks.daemon import CallError
from benchmarks.floors import BenchError, compile_program
from benchmarks.harness import Bench, Figure
from benchmarks.machine import Machine

WORKLOADS: dict[str, Callable[[Bench], list[Figure]]] = {
    "W1": w1_one_task.run,
    "W2": w2_chain.run,
    "W3": w3_fan.run,
    "W4": w4_burst.run,
    "W5": w5_idle.run,
    "W6": w6_start.run,
    "W7": w7_history.run,
    "W8": w8_command_line.run,
    "memory": memory.run,
    "clients": clients.run,
    "worker": worker.run,
    "flood": flood.run,
    "units": units.run,
    "engine": engine.run,
    "schedules": schedules.run,
}


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure the daemon as ratios to the least the host can do. Exit 1 if a bar is missed.",
        epilog="; ".join(f"{name}: {_title(work)}" for name, work in WORKLOADS.items()),
    )
    parser.add_argument("workloads", nargs="*", metavar="W", help="which ones (default: all)")
    parser.add_argument("--quick", action="store_true", help="fewer samples: a rough figure in a minute or two")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON on stdout")
    parser.add_argument("--runs", type=int, default=100_000, help="how many finished runs W7 has in its store")
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"), help="where to work; a real disk, not a tmpfs")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.workloads if name not in WORKLOADS]
    if unknown:
        parser.error(f"unknown workload {unknown[0]!r}; there are {', '.join(WORKLOADS)}")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Run what is asked for, each workload in a folder of its own, and say whether all bars held."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    figures: list[Figure] = []
    before = Machine.now()
    base = Path(tempfile.mkdtemp(prefix="bb-", dir=options.folder))
    try:
        bench = Bench(
            folder=base,
            quick=options.quick,
            runs=options.runs,
            floor_program=compile_program("floor.c"),
            pinger_program=compile_program("pinger.c"),
        )
        talk = sys.stderr if options.json else sys.stdout
        print(report.HEADER, file=talk, flush=True)
        for name in options.workloads or WORKLOADS:
            folder = base / name.lower()
            folder.mkdir()
            for figure in WORKLOADS[name](dataclasses.replace(bench, folder=folder)):
                figures.append(figure)
                print(report.line(figure), file=talk, flush=True)
            shutil.rmtree(folder)
        print(Machine.now().since(before), file=talk)
    except (BenchError, CallError, OSError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    finally:
        shutil.rmtree(base, ignore_errors=True)
    if options.json:
        print(report.as_json(figures))
    return 0 if all(figure.is_passed for figure in figures) else 1


def _title(work: Callable[[Bench], list[Figure]]) -> str:
    documentation = sys.modules[work.__module__].__doc__ or "?"
    return documentation.strip().splitlines()[0].partition(": ")[2].rstrip(".")


if __name__ == "__main__":
    sys.exit(main())
