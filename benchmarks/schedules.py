"""schedules: ten thousand that are not due, a thousand that are due at once, and how late a thousand a minute are."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from benchmarks import processes
from benchmarks.daemon import Client, Daemon
from benchmarks.harness import Bench, Figure

A_WORKFLOW = 1000
"""Schedules that one file may have."""

SETTLE_SECONDS = 5.0
LEAD_SECONDS = 8.0
PATIENCE_SECONDS = 60.0


def run(bench: Bench) -> list[Figure]:
    """Measure memory and CPU of many, a tick in which all of a thousand are due, and lateness."""
    return [*_many(bench), _tick(bench), _late(bench)]


def fill(client: Client, count: int) -> None:
    """Apply workflows with so many schedules in all, none of them due in the next days, no two with the same times."""
    for first in range(0, count, A_WORKFLOW):
        entries = "\n".join(
            f'  - {{cron: "{number % 60} {number // 60 % 24} 1 {1 + number // 1440 % 3} *", timezone: Europe/London}}'
            for number in range(first, min(first + A_WORKFLOW, count))
        )
        client.call("workflow.apply", yaml=f"name: idle-{first}\nschedules:\n{entries}\ntasks: [{{shell: ':'}}]\n")


def _many(bench: Bench) -> Iterator[Figure]:
    count, window = bench.samples(10_000, 2_000), 15.0 if bench.quick else 60.0
    used, sizes = [], []
    for wanted in (0, count):
        with Daemon(bench.folder) as daemon, daemon.client() as client:
            fill(client, wanted)
        with Daemon(bench.folder) as daemon:  # anew: what it took to read the files is gone
            time.sleep(SETTLE_SECONDS)
            before = processes.threads(daemon.pid)
            time.sleep(window)
            cpu, _ = processes.used_between(before, processes.threads(daemon.pid))
            used.append(cpu * 1000 * 60 / window)
            sizes.append(processes.memory(daemon.pid).resident_mb)
    note = f"{sizes[0]:.1f} without"
    yield _figure(f"{count:,} not due: memory more", sizes[1] - sizes[0], "MB", bar=40.0, note=note)
    yield _figure(f"{count:,} not due: CPU a minute", used[1], "ms", note=f"{used[0]:.3g} without")


def _tick(bench: Bench) -> Figure:
    """Measure from the instant at which a thousand are due until the last of their runs is recorded."""
    with Daemon(bench.folder) as daemon, daemon.client() as client:
        due_ms = _anchored(client, "tick", lambda _number: 0, "1d")
        seconds = _until_recorded(_database(daemon), "tick", A_WORKFLOW, due_ms)
        client.call("workflow.disable", name="tick")
        _rest(client)
    return _figure("1,000 due at once: all recorded", seconds, "s", bar=2.0, note="with their tasks run meanwhile")


def _late(bench: Bench) -> Figure:
    """Measure how long after they are due runs begin, a thousand schedules firing once in a minute."""
    with Daemon(bench.folder) as daemon, daemon.client() as client:
        due_ms = _anchored(client, "late", lambda number: number * 60, "1d")
        _until_recorded(_database(daemon), "late", A_WORKFLOW, due_ms + 60_000)
        _rest(client)
        with closing(sqlite3.connect(_database(daemon))) as connection:
            late = [row[0] for row in connection.execute(
                "SELECT runs.started_at_ms - fires.due_ms FROM fires JOIN runs ON runs.id = fires.run "
                "WHERE fires.schedule LIKE 'late/%' ORDER BY 1")]  # fmt: skip
    p99 = late[int(len(late) * 0.99)]
    note = f"median {late[len(late) // 2]} ms, worst {late[-1]}"
    return _figure("1,000 in a minute: lateness p99", float(p99), "ms", bar=50.0, note=note)


def _anchored(client: Client, name: str, offset_ms: Callable[[int], int], every: str) -> int:
    """Apply a workflow whose schedules are all due in some seconds, each at an offset; return the first instant."""
    due_ms = (int(time.time() + LEAD_SECONDS)) * 1000
    entries = "\n".join(
        f"  - {{every: {every}, overlap: allow, anchor: '{_instant(due_ms + offset_ms(number))}'}}"
        for number in range(A_WORKFLOW)
    )
    client.call("workflow.apply", yaml=f"name: {name}\nschedules:\n{entries}\ntasks: [{{shell: ':'}}]\n")
    return due_ms


def _database(daemon: Daemon) -> Path:
    return daemon.state_folder / "barbossa.db"


def _instant(at_ms: int) -> str:
    seconds, milliseconds = divmod(at_ms, 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{milliseconds:03d}Z"


def _until_recorded(database: Path, name: str, count: int, due_ms: int) -> float:
    """Return how many seconds after an instant so many fires with their runs are in the state file."""
    deadline = due_ms / 1000 + PATIENCE_SECONDS
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        while True:
            (found,) = connection.execute(
                "SELECT count(*) FROM fires WHERE schedule LIKE ? AND run IS NOT NULL", (f"{name}/%",)
            ).fetchone()
            now = time.time()
            if found >= count:
                return now - due_ms / 1000
            if now > deadline:
                raise RuntimeError(f"only {found} of {count} have fired")
            time.sleep(0.01)


def _rest(client: Client) -> None:
    while client.call("daemon.status")["runs"]["active"]:
        time.sleep(0.05)


def _figure(what: str, value: float, unit: str, *, bar: float | None = None, note: str) -> Figure:
    return Figure(workload="schedules", what=what, value=value, unit=unit, bar=bar, note=note)
