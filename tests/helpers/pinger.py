"""A program of its own that pings a socket until its standard input ends; then it says how that went, as JSON.

As a process, so that what a test does meanwhile with its own interpreter is not taken for slowness of the daemon. Nor
is what others take of the processors: how long a thread was ready to run and did not is known to the kernel.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import struct
import sys
import time
from pathlib import Path

_PAUSE_SECONDS = 0.005


def main(path: str, method: str) -> None:
    """Ping, one call after the other."""
    count, slowest, fault = 0, 0.0, ""
    with socket.socket(socket.AF_UNIX) as connected:
        connected.settimeout(60)
        connected.connect(path)
        server, _, _ = struct.unpack("3i", connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        lines = connected.makefile("rb")
        while not fault and not select.select([0], [], [], _PAUSE_SECONDS)[0]:
            start, held_up = time.monotonic(), held_up_seconds(server)
            try:
                connected.sendall(b'{"jsonrpc":"2.0","method":"%s","id":%d}\n' % (method.encode(), count))
                answer = json.loads(lines.readline() or b"{}")
            except OSError as error:
                fault = f"{type(error).__name__}: {error}"
                continue
            seconds = time.monotonic() - start
            slowest = max(slowest, seconds - max(0.0, held_up_seconds(server) - held_up))
            if answer.get("id") != count or "result" not in answer:
                fault = f"a wrong answer: {answer}"
            count += 1
            if count == 1:
                say("pinging")
    say(json.dumps({"count": count, "slowest": slowest, "fault": fault}))


def held_up_seconds(server: int) -> float:
    """Return how long the server's threads and this one have waited for a processor so far; see ``schedstat``."""
    waited = 0
    for process in (server, os.getpid()):
        for thread in Path(f"/proc/{process}/task").glob("*/schedstat"):
            with contextlib.suppress(OSError):  # it has ended
                waited += int(thread.read_bytes().split()[1])
    return waited / 1e9


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


main(*sys.argv[1:])
