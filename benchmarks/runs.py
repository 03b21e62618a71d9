"""Run workflows over the socket as a client does, and insist that they succeeded."""

from __future__ import annotations

import json
import select
import socket
import time
from typing import Any

from barbossad import wire
from benchmarks.daemon import CallError, Client


def run_once(client: Client, workflow: str) -> float:
    """Start a run, wait for it, and return the seconds from the call to the recorded end."""
    start = time.perf_counter()
    run = client.call("run.start", workflow=workflow)
    run = client.call("run.wait", run_id=run["id"])
    taken = time.perf_counter() - start
    check(run)
    return taken


def run_many(client: Client, workflow: str, count: int) -> float:
    """Start ``count`` runs without waiting for answers, then wait for all; return the seconds of the whole.

    One connection carries everything. Each run's ``run.wait`` is sent as soon as its id is known.
    """
    starts = [wire.encode(wire.call("run.start", {"workflow": workflow}, number)) for number in range(count)]
    start = time.perf_counter()
    pipe = _Pipe(client, b"".join(starts))
    ended: list[dict[str, Any]] = []
    while len(ended) < count:
        for answer in pipe.exchange():
            if "error" in answer:
                raise CallError(str(answer["error"]))
            if answer["id"] < count:
                wait = {"run_id": answer["result"]["id"]}
                pipe.send(wire.encode(wire.call("run.wait", wait, answer["id"] + count)))
            else:
                ended.append(answer["result"])
    taken = time.perf_counter() - start
    for run in ended:
        check(run)
    return taken


def check(run: dict[str, Any]) -> None:
    """Raise ``CallError`` if ``run`` did not succeed: a bench of failures measures nothing."""
    if run["state"] != "succeeded":
        raise CallError(f"run {run['id']} of {run['workflow']} ended {run['state']}: {run.get('reason')}")


class _Pipe:
    """Write and read one connection at once, so that neither side waits for the other with a full buffer."""

    def __init__(self, client: Client, to_send: bytes) -> None:
        self._socket = client.socket
        self._unsent = bytearray(to_send)
        self._rest = b""

    def send(self, line: bytes) -> None:
        """Queue a line for the next exchange."""
        self._unsent += line

    def exchange(self) -> list[dict[str, Any]]:
        """Wait until the socket is ready, write and read what it takes, and return the whole answers."""
        wanted = [self._socket] if self._unsent else []
        readable, writable, _ = select.select([self._socket], wanted, [], 60)
        if not readable and not writable:
            raise CallError("the daemon answered nothing for a minute")
        if writable:
            sent = self._socket.send(self._unsent, socket.MSG_DONTWAIT)
            del self._unsent[:sent]
        return self._read() if readable else []

    def _read(self) -> list[dict[str, Any]]:
        data = self._socket.recv(262_144)
        if not data:
            raise CallError("the daemon closed the connection")
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [json.loads(line) for line in lines]
