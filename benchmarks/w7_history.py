"""W7: a hundred thousand finished runs in the store: list the newest fifty, show one, page deep."""

from __future__ import annotations

import itertools
import sqlite3
import time
from pathlib import Path
from typing import Any

from benchmarks import workflows
from benchmarks.daemon import CallError, Client, Daemon
from benchmarks.floors import FloorServer
from benchmarks.harness import Bench, Figure, compare
from benchmarks.runs import run_once

PAGE = 50
SPACING_MS = 1000
"""How far apart the finished runs are."""


def run(bench: Bench) -> list[Figure]:
    """Run once, copy that run's rows as often as asked, and measure what a reader waits for."""
    samples = bench.samples(300, 60)
    daemon = Daemon(bench.folder)
    with daemon, daemon.client() as client:
        client.call("workflow.apply", yaml=workflows.one("w7"))
        run_once(client, "w7")
    fill(next(daemon.state_folder.glob("*.db")), bench.runs)
    floor_server = FloorServer(bench.folder / "floor", runs=bench.runs)
    with daemon, floor_server, daemon.client() as client, floor_server.client() as floor:
        cursor, found = _middle(client, bench.runs)
        ours, floors = itertools.cycle(found), itertools.cycle(range(0, bench.runs, bench.runs // len(found)))

        def first_page() -> float:
            return _timed(client, "run.list", limit=PAGE)

        listed = compare(first_page, lambda: _timed(floor, "run.list", limit=PAGE), samples)
        shown = compare(
            lambda: _timed(client, "run.get", run_id=next(ours)),
            lambda: _timed(floor, "run.get", run_id=f"run-{next(floors):012d}"),
            samples,
        )
        deep = compare(lambda: _timed(client, "run.list", limit=PAGE, cursor=cursor), first_page, samples)
    start = daemon.first_answer_seconds
    return [
        listed.figure("W7", f"list {PAGE} of {bench.runs:,}", bar=3.0),
        shown.figure("W7", f"show one of {bench.runs:,}", bar=3.0),
        deep.figure("W7", "deep page over the first", bar=1.5),
        Figure(workload="W7", what=f"start with {bench.runs:,}", value=start * 1000, unit="ms"),
    ]


def fill(database_path: Path, runs: int) -> None:
    """Copy the rows of the only run in a stopped daemon's state ``runs`` times, each a while earlier.

    The copies are made column by column whatever the columns are, so that they are what the daemon wrote.
    """
    with sqlite3.connect(database_path, isolation_level=None) as database:
        database.execute("PRAGMA foreign_keys = OFF")
        database.execute("BEGIN IMMEDIATE")
        for table in ("runs", "tasks", "attempts", "logs", "events"):
            _copy_rows(database, table, runs)
        database.execute("COMMIT")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()


def _copy_rows(database: sqlite3.Connection, table: str, copies: int) -> None:
    columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})") if row[1] != "seq"]
    shifted = [f"{name} - back * {SPACING_MS}" if _is_instant(table, name) else name for name in columns]
    run = "id" if table == "runs" else "run"
    database.execute(
        f"WITH RECURSIVE copy (back) AS (SELECT ? UNION ALL SELECT back - 1 FROM copy WHERE back > 1)"
        f" INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(shifted)}"
        f" FROM copy CROSS JOIN {table} WHERE {run} IS NOT NULL",
        (copies,),
    )


def _is_instant(table: str, column: str) -> bool:
    """Say whether a column moves with the time of its run; run ids are milliseconds too."""
    return column.endswith("_at_ms") or column == ("id" if table == "runs" else "run")


def _middle(client: Client, runs: int) -> tuple[str, list[str]]:
    """Page to the middle of all runs; return the cursor there and a run of each page on the way."""
    cursor: str | None = None
    seen, found = 0, []
    while seen < runs // 2:
        position: dict[str, Any] = {} if cursor is None else {"cursor": cursor}
        page = client.call("run.list", limit=500, **position)
        cursor = page["next_cursor"]
        if cursor is None:
            raise CallError(f"the listing ended after {seen} of {runs} runs")
        seen += len(page["items"])
        found.append(page["items"][0]["id"])
    return str(cursor), found


def _timed(client: Client, method: str, **params: Any) -> float:
    start = time.perf_counter()
    client.call(method, **params)
    return time.perf_counter() - start
