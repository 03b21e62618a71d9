"""What systemd is to a service: a datagram socket that hears its words."""

from __future__ import annotations

import socket
from pathlib import Path


class Manager:
    """The socket that NOTIFY_SOCKET names."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(40)

    def hear(self) -> dict[str, str]:
        """Return the next message."""
        lines = self._socket.recv(65536).decode().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def hear_of(self, word: str) -> dict[str, str]:
        """Return the next message that has this word."""
        while word not in (message := self.hear()):
            pass
        return message

    def close(self) -> None:
        self._socket.close()
