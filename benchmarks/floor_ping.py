"""Ping a server on a Unix socket once: the least that a command line can be.

Run as a script of its own (``python3 -I floor_ping.py SOCKET``); it imports nothing of the project.
"""

from __future__ import annotations

import argparse
import json
import socket


def main() -> None:
    """Ask once and print the answer."""
    parser = argparse.ArgumentParser()
    parser.add_argument("socket")
    options = parser.parse_args()
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(options.socket)
        call = {"jsonrpc": "2.0", "method": "daemon.ping", "params": {}, "id": 1}
        server.sendall(json.dumps(call).encode() + b"\n")
        answer = b""
        while not answer.endswith(b"\n"):
            answer += server.recv(65536)
    print(json.loads(answer)["result"]["version"])


if __name__ == "__main__":
    main()
