"""W6: from the start of the process to the first answer on its socket."""

from __future__ import annotations

from benchmarks.daemon import Daemon, Server
from benchmarks.floors import FloorServer
from benchmarks.harness import Bench, Figure, compare


def run(bench: Bench) -> list[Figure]:
    """Measure starts on a state that is there already, after one that made it."""
    daemon = Daemon(bench.folder)
    server = FloorServer(bench.folder / "floor")
    starts = compare(lambda: _start(daemon), lambda: _start(server), bench.samples(20, 5))
    return [starts.figure("W6", "start to first answer")]


def _start(server: Server) -> float:
    with server:
        return server.first_answer_seconds
