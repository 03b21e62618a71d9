"""A socket in journald's place, and the records that arrive there."""

from __future__ import annotations

import array
import fcntl
import os
import socket
import struct
from pathlib import Path


class Listener:
    """Takes records, in a datagram each or in a sealed file."""

    def __init__(self, path: str) -> None:
        self.path = path
        Path(path).unlink(missing_ok=True)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(path)
        self._socket.setblocking(False)
        self.files = 0

    def records(self) -> list[dict[str, str]]:
        """Return what has arrived since it was asked before."""
        found = []
        while True:
            try:
                data, rights, _, _ = self._socket.recvmsg(1 << 20, socket.CMSG_SPACE(4))
            except BlockingIOError:
                return found
            if rights:
                assert data == b""
                data = self._file(rights[0][2])
            found.append(decode(data))

    def close(self) -> None:
        self._socket.close()

    def _file(self, right: bytes) -> bytes:
        (fd,) = array.array("i", right)
        self.files += 1
        seals = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
        wanted = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
        assert seals & wanted == wanted, "journald takes no file that its sender may still change"
        data = os.pread(fd, os.fstat(fd).st_size, 0)
        os.close(fd)
        return data


def decode(data: bytes) -> dict[str, str]:
    """Return the fields of a record, as the protocol says that they are read."""
    fields: dict[str, str] = {}
    while data:
        line, _, rest = data.partition(b"\n")
        name, sign, value = line.partition(b"=")
        if not sign:
            (size,) = struct.unpack("<Q", rest[:8])
            value, rest = rest[8 : 8 + size], rest[8 + size :]
            assert rest[:1] == b"\n"
            rest = rest[1:]
        assert name.decode() not in fields, f"{name!r} twice"
        fields[name.decode()] = value.decode()
        data = rest
    return fields
