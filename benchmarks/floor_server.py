"""Serve the least that the daemon could be: asyncio, a Unix socket, SQLite, timers that are not due.

Run as a script of its own (``python3 -I floor_server.py SOCKET DATABASE``); it imports nothing else of ours.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sqlite3
import time
from pathlib import Path
from typing import Any

FIELDS = (
    "id", "workflow", "version", "state", "trigger", "reason", "created_at", "started_at", "finished_at"
)  # fmt: skip
COLUMNS = ", ".join(f'"{field}"' for field in FIELDS)
LIST = f'SELECT {COLUMNS} FROM run ORDER BY "created_at" DESC LIMIT ?'
GET = f'SELECT {COLUMNS} FROM run WHERE "id" = ?'
TASKS = "SELECT id, type, state, exit_code, started_at, finished_at FROM task WHERE run_id = ?"
SCHEMA = f"""
PRAGMA journal_mode=WAL;
CREATE TABLE IF NOT EXISTS run
    ({", ".join(f'"{field}" TEXT' for field in FIELDS)}, PRIMARY KEY ("id")) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS task
    (run_id TEXT, id TEXT, type TEXT, state TEXT, exit_code INTEGER, started_at TEXT, finished_at TEXT);
CREATE INDEX IF NOT EXISTS run_by_time ON run ("created_at");
CREATE INDEX IF NOT EXISTS task_by_run ON task (run_id);
"""


def fill(database: sqlite3.Connection, runs: int) -> None:
    """Write ``runs`` finished runs of one task, a second apart."""

    def instant(second: int) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(1_700_000_000 + second))

    rows = (
        (
            f"run-{n:012d}",
            "nightly",
            "1f2e3d4c5b6a",
            "succeeded",
            "manual",
            "",
            instant(n),
            instant(n),
            instant(n + 1),
        )
        for n in range(runs)
    )
    marks = ", ".join("?" * len(FIELDS))
    database.executemany(f"INSERT INTO run VALUES ({marks})", rows)
    tasks = ((f"run-{n:012d}", "work", "shell", "succeeded", 0, instant(n), instant(n + 1)) for n in range(runs))
    database.executemany("INSERT INTO task VALUES (?, ?, ?, ?, ?, ?, ?)", tasks)
    database.commit()


class Floor(asyncio.Protocol):
    """Answer one line of JSON with another."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Split at newlines and answer each call."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            call = json.loads(line)
            answer = {"jsonrpc": "2.0", "result": self._answer(call), "id": call.get("id")}
            self._transport.write(json.dumps(answer, separators=(",", ":")).encode() + b"\n")

    def _answer(self, call: dict[str, Any]) -> object:
        params = call.get("params") or {}
        match call["method"]:
            case "run.list":
                rows = self._database.execute(LIST, (params["limit"],)).fetchall()
                return {"items": [dict(zip(FIELDS, row, strict=True)) for row in rows], "next_cursor": None}
            case "run.get":
                row = self._database.execute(GET, (params["run_id"],)).fetchone()
                tasks = self._database.execute(TASKS, (params["run_id"],)).fetchall()
                return {**dict(zip(FIELDS, row, strict=True)), "tasks": tasks}
            case _:
                return {"version": "0", "pid": os.getpid(), "uptime_seconds": time.monotonic()}


async def serve(socket_path: str, database: sqlite3.Connection, timers: int) -> None:
    """Listen until SIGTERM."""
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    for number in range(timers):
        loop.call_later(86_400 + number, stopped.set)
    server = await loop.create_unix_server(lambda: Floor(database), socket_path)
    async with server:
        await stopped.wait()


def main() -> None:
    """Open the database, fill it if asked, serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("socket")
    parser.add_argument("database")
    parser.add_argument("--timers", type=int, default=0)
    parser.add_argument("--runs", type=int, default=0)
    options = parser.parse_args()
    Path(options.socket).unlink(missing_ok=True)
    database = sqlite3.connect(options.database)
    database.executescript(SCHEMA)
    if options.runs and database.execute("SELECT max(id) FROM run").fetchone() == (None,):
        fill(database, options.runs)
    asyncio.run(serve(options.socket, database, options.timers))


if __name__ == "__main__":
    main()
