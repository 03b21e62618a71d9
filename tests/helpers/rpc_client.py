"""Speak to a Barbossa socket as bluntly as a test wants to: whole calls, or bytes."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

SLOWEST_PING_SECONDS = 0.5


class RpcError(Exception):
    """An answer that is an error."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(f"{error['code']} {error['message']}")
        self.code: int = error["code"]
        self.message: str = error["message"]
        self.data: dict[str, Any] = error.get("data", {})
        self.kind: str | None = self.data.get("kind")


class Client:
    """One connection; every read and write has a limit of time."""

    def __init__(self, path: Path, *, seconds: float = 60.0) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(seconds)
        try:
            self.socket.connect(str(path))
        except BaseException:
            self.socket.close()
            raise
        self._rest = bytearray()
        self._number = 0

    def send(self, raw: bytes) -> None:
        """Send bytes as they are."""
        self.socket.sendall(raw)

    def send_message(self, message: object) -> None:
        """Send a value as a line of JSON."""
        self.send(json.dumps(message).encode() + b"\n")

    def read_line(self) -> bytes:
        """Return the next line without its end. Raise EOFError if the server hung up."""
        searched = 0
        while (end := self._rest.find(b"\n", searched)) < 0:
            searched = len(self._rest)
            try:
                piece = self.socket.recv(1 << 20)
            except ConnectionResetError:
                piece = b""
            if not piece:
                raise EOFError
            self._rest += piece
        line = bytes(self._rest[:end])
        del self._rest[: end + 1]
        return line

    def receive(self) -> Any:
        """Return the next message."""
        return json.loads(self.read_line())

    def ask(self, raw: bytes | str) -> Any:
        """Send a line and return the next message."""
        self.send((raw.encode() if isinstance(raw, str) else raw) + b"\n")
        return self.receive()

    def begin(self, method: str, /, **params: Any) -> int:
        """Send a call and return its id."""
        self._number += 1
        self.send_message({"jsonrpc": "2.0", "method": method, "params": params, "id": self._number})
        return self._number

    def call(self, method: str, /, **params: Any) -> Any:
        """Call, and return the result. Raise RpcError. The next answer must be to this call."""
        number = self.begin(method, **params)
        answer = self.receive()
        assert answer["jsonrpc"] == "2.0"
        assert answer["id"] == number, f"an answer to another call: {answer}"
        if "error" in answer:
            raise RpcError(answer["error"])
        return answer["result"]

    def has_ended(self) -> bool:
        """Return whether the server hung up without another word."""
        try:
            self.read_line()
        except EOFError:
            return True
        return False

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Pinger:
    """A well-behaved client beside an ill-behaved one: inside ``with`` it pings, and must notice nothing.

    Leaving fails if one of its answers was wrong, missing or slower than ``slowest_seconds``.
    """

    def __init__(
        self, path: Path, *, method: str = "daemon.ping", slowest_seconds: float = SLOWEST_PING_SECONDS
    ) -> None:
        self._command = [sys.executable, str(Path(__file__).with_name("pinger.py")), str(path), method]
        self._limit = slowest_seconds
        self._process: subprocess.Popen[bytes]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"pinging\n", "the well-behaved client gets no answer at all"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        out, _ = self._process.communicate(timeout=60)  # its input ends here
        if error is None:
            found = json.loads(out)
            assert not found["fault"], f"the well-behaved client noticed: {found['fault']}"
            assert found["slowest"] < self._limit, f"the well-behaved client waited {found['slowest']:.3f} s for a ping"
