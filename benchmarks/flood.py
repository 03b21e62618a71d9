"""flood: the latency of small tasks while another floods its output, over that without, and what the flood costs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import workflows
from benchmarks.daemon import Client, Daemon
from benchmarks.harness import Bench, Figure, compare
from benchmarks.runs import run_once

FLOODS = {
    "one long line": "exec tr '\\\\0' x < /dev/zero",
    "short lines": "exec yes",
    "lines": "exec yes 'a line as programs log them, some seventy characters long, of no use'",
}
FLOWING_BYTES = 16 * 1024 * 1024
"""So much is in the log of a flood before anything is measured beside it."""

MEMORY_MIB = 64.0
KIB = 1024


@dataclass(slots=True)
class _Flood:
    """A task that writes without end, while it is on."""

    client: Client
    workflow: str
    run_id: str = field(default="", init=False)

    def on(self) -> None:
        """Start it unless it runs, and wait until it flows."""
        if self.run_id:
            return
        self.run_id = self.client.call("run.start", workflow=self.workflow)["id"]
        cursor = 0
        while cursor < FLOWING_BYTES:
            page = self.client.call(
                "run.logs", run_id=self.run_id, task="work", cursor=str(cursor + FLOWING_BYTES), limit=1, wait_seconds=1
            )
            cursor = int(page["next_cursor"]) if page["items"] else cursor

    def off(self) -> None:
        """End it if it runs, and wait until it is gone."""
        if self.run_id:
            self.client.call("run.cancel", run_id=self.run_id)
            self.client.call("run.wait", run_id=self.run_id)
            self.run_id = ""


@contextlib.contextmanager
def _flooding(client: Client, number: int, command: str) -> Iterator[_Flood]:
    name = f"flood-{number}"
    client.call("workflow.apply", yaml=workflows.one(name, f'"{command}"'))
    flood = _Flood(client, name)
    try:
        yield flood
    finally:
        flood.off()


def run(bench: Bench) -> list[Figure]:
    """Measure a run of one small task beside each kind of flood and without it, in turns."""
    figures = []
    with Daemon(bench.folder) as daemon, daemon.client() as client:
        client.call("workflow.apply", yaml=workflows.one("small"))
        for _ in range(20):
            run_once(client, "small")
        before = _resident_mib(daemon.pid, "VmRSS")
        Path(f"/proc/{daemon.pid}/clear_refs").write_text("5", encoding="ascii")  # the peak begins here
        for number, (kind, command) in enumerate(FLOODS.items()):
            with _flooding(client, number, command) as flood:

                def beside(flood: _Flood = flood) -> float:
                    flood.on()
                    return run_once(client, "small")

                def alone(flood: _Flood = flood) -> float:
                    flood.off()
                    return run_once(client, "small")

                compared = compare(beside, alone, bench.samples(200, 60))
            figures.append(compared.figure("flood", f"small task beside {kind}", bar=2.0))
        growth = _resident_mib(daemon.pid, "VmHWM") - before
    note = f"from {before:.1f} MiB, the peak of all floods"
    figures.append(
        Figure(workload="flood", what="memory that floods cost", value=growth, unit="MiB", bar=MEMORY_MIB, note=note)
    )
    return figures


def _resident_mib(pid: int, key: str) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.partition(f"{key}:")[2].split()[0]) / KIB
