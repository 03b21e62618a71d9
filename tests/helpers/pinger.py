"""A program of its own that pings a socket until its standard input ends; then it says how that went, as JSON.

As a process, so that what a test does meanwhile with its own interpreter is not taken for slowness of the daemon.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time

_PAUSE_SECONDS = 0.005


def main(path: str, method: str) -> None:
    """Ping, one call after the other."""
    count, slowest, fault = 0, 0.0, ""
    with socket.socket(socket.AF_UNIX) as connected:
        connected.settimeout(30)
        connected.connect(path)
        lines = connected.makefile("rb")
        while not fault and not select.select([0], [], [], _PAUSE_SECONDS)[0]:
            start = time.monotonic()
            try:
                connected.sendall(b'{"jsonrpc":"2.0","method":"%s","id":%d}\n' % (method.encode(), count))
                answer = json.loads(lines.readline() or b"{}")
            except OSError as error:
                fault = f"{type(error).__name__}: {error}"
                continue
            slowest = max(slowest, time.monotonic() - start)
            if answer.get("id") != count or "result" not in answer:
                fault = f"a wrong answer: {answer}"
            count += 1
            if count == 1:
                say("pinging")
    say(json.dumps({"count": count, "slowest": slowest, "fault": fault}))


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


main(*sys.argv[1:])
