"""W5: what the daemon costs while nothing happens."""

from __future__ import annotations

import time

from benchmarks import processes, schedules, workflows
from benchmarks.daemon import Daemon
from benchmarks.floors import FloorServer
from benchmarks.harness import Bench, Figure
from benchmarks.runs import run_once

TIMERS = 1000
SETTLE_SECONDS = 5.0


def run(bench: Bench) -> list[Figure]:
    """Measure the daemon and the floor side by side for a minute, after the daemon has done a little work.

    The daemon has a thousand schedules that are not due, the floor as many timers.
    """
    window = 15.0 if bench.quick else 60.0
    with Daemon(bench.folder) as daemon, daemon.client() as client:
        schedules.fill(client, TIMERS)
    with Daemon(bench.folder) as daemon, FloorServer(bench.folder / "floor", timers=TIMERS) as floor:
        with daemon.client() as client:
            client.call("workflow.apply", yaml=workflows.one("w5"))
            for _ in range(5):
                run_once(client, "w5")
        time.sleep(SETTLE_SECONDS)
        before, floor_before = processes.threads(daemon.pid), processes.threads(floor.pid)
        time.sleep(window)
        cpu, wake_ups = processes.used_between(before, processes.threads(daemon.pid))
        floor_cpu, floor_wake_ups = processes.used_between(floor_before, processes.threads(floor.pid))
        memory, floor_memory = processes.memory(daemon.pid), processes.memory(floor.pid)
    minute = 60 / window
    held = f"{memory.processes} processes, PSS {memory.proportional_mb:.1f}; {TIMERS} schedules"
    held += f"; floor with {TIMERS} timers {floor_memory.resident_mb:.1f}"
    woken, used = wake_ups * minute, cpu * minute * 1000
    return [
        _figure("memory", memory.resident_mb, "MB", bar=60.0, note=held),
        _figure("wake-ups a minute", woken, "", bar=12.0, note=f"floor {floor_wake_ups * minute:g}"),
        _figure("CPU a minute", used, "ms", note=f"floor {floor_cpu * minute * 1000:.3g}"),
    ]


def _figure(what: str, value: float, unit: str, *, bar: float | None = None, note: str) -> Figure:
    return Figure(workload="W5", what=f"idle: {what}", value=value, unit=unit, bar=bar, note=note)
