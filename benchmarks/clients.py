"""Clients: a thousand at once, each making twenty calls, and what is left open afterwards."""

from __future__ import annotations

import json
import resource
import selectors
import socket
import time
from pathlib import Path

from barbossad import wire
from benchmarks.daemon import Daemon
from benchmarks.harness import Bench, Figure
from benchmarks.processes import open_files

CLIENTS = 1000
CALLS = 20
DEADLINE_SECONDS = 60.0
CALL = wire.encode(wire.call("daemon.ping", {}, 1))


class _Caller:
    """One client that makes its calls one after another."""

    def __init__(self, socket_path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.setblocking(False)
        self.socket.connect(str(socket_path))  # a full backlog is an error here, not a wait
        self.left = CALLS
        self._rest = b""

    def ask(self) -> None:
        """Send the next call."""
        self.left -= 1
        self.socket.send(CALL)

    def answered(self) -> bool:
        """Read what is there and say whether the answer is whole. Raise if it is an error."""
        data = self.socket.recv(65536)
        self._rest += data
        if not data:
            raise ConnectionResetError("hung up")
        if not self._rest.endswith(b"\n"):
            return False
        answer = json.loads(self._rest)
        self._rest = b""
        if "result" not in answer:
            raise ConnectionResetError(str(answer))
        return True


def run(bench: Bench) -> list[Figure]:
    """Count errors and the growth in open files; both are to be nothing."""
    _allow_open_files(CLIENTS + 100)
    with Daemon(bench.folder) as daemon:
        with daemon.client() as client:
            client.call("daemon.ping")
        before = open_files(daemon.pid)
        errors, taken = _burst(daemon.socket_path)
        deadline = time.monotonic() + 5
        while (grown := open_files(daemon.pid) - before) > 0 and time.monotonic() < deadline:
            time.sleep(0.01)
    calls = CLIENTS * CALLS
    note = f"{CLIENTS} clients, {CALLS} calls each; first error: {errors[0]}" if errors else ""
    return [
        Figure(workload="clients", what="errors", value=len(errors), unit="", bar=0.0, note=note),
        Figure(workload="clients", what="open files grown", value=grown, unit="", bar=0.0),
        Figure(workload="clients", what="a call", value=taken / calls * 1e6, unit="µs", note=f"{calls} calls"),
    ]


def _burst(socket_path: Path) -> tuple[list[str], float]:
    """Connect all, let each make its calls, and return the errors and the seconds of the whole."""
    errors: list[str] = []
    start = time.perf_counter()
    with selectors.DefaultSelector() as selector:
        for _ in range(CLIENTS):
            try:
                caller = _Caller(socket_path)
            except OSError as error:
                errors.append(f"connect: {error}")
            else:
                selector.register(caller.socket, selectors.EVENT_READ, caller)
        for key in list(selector.get_map().values()):
            key.data.ask()
        while selector.get_map():
            ready = selector.select(DEADLINE_SECONDS)
            if not ready:
                errors += ["no answer"] * len(selector.get_map())
                break
            for key, _ in ready:
                _turn(key.data, selector, errors)
        for key in list(selector.get_map().values()):
            key.data.socket.close()
    return errors, time.perf_counter() - start


def _turn(caller: _Caller, selector: selectors.BaseSelector, errors: list[str]) -> None:
    """Take an answer, ask again or hang up."""
    try:
        if not caller.answered():
            return
        if caller.left:
            caller.ask()
            return
    except (OSError, ValueError) as error:
        errors.append(str(error))
    selector.unregister(caller.socket)
    caller.socket.close()


def _allow_open_files(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))
