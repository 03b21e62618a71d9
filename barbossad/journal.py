"""Send records to journald with fields of their own, by its native protocol.

Source: https://systemd.io/JOURNAL_NATIVE_PROTOCOL/. A datagram holds the fields of one record; one that is too large
for a datagram goes as a sealed memory file, whose descriptor is all that is sent.
"""

from __future__ import annotations

import array
import errno
import fcntl
import os
import socket
import struct
import time
from collections.abc import Mapping
from typing import Final

SOCKET_PATH: Final = "/run/systemd/journal/socket"

SEND_SECONDS: Final = 0.2
"""How long journald may keep its queue full before a record is given up here: its caller is the event loop."""

RETRY_SECONDS: Final = 1.0
"""How long it is not tried again after that; then it is not waited for, until it has taken one."""

_SEALS: Final = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_TOO_LARGE: Final = frozenset({errno.EMSGSIZE, errno.ENOBUFS})


def encode(fields: Mapping[str, str]) -> bytes:
    """Return fields as the protocol has them; names are large letters, digits and ``_``, values any text."""
    parts: list[bytes] = []
    for name, text in fields.items():
        value = text.encode(errors="backslashreplace")
        if b"\n" in value:
            parts += (name.encode(), b"\n", struct.pack("<Q", len(value)), value, b"\n")
        else:
            parts += (name.encode(), b"=", value, b"\n")
    return b"".join(parts)


class Journal:
    """The way to journald. May be used by several threads."""

    def __init__(self, path: str | None = None) -> None:
        self._path = path or SOCKET_PATH
        self._retry_at = 0.0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        seconds, rest = divmod(SEND_SECONDS, 1)
        limit = struct.pack("@ll", int(seconds), int(rest * 1e6))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)

    def send(self, fields: Mapping[str, str]) -> None:
        """Send one record. Raise OSError if journald cannot be reached; then nothing of it was sent."""
        if self._retry_at and time.monotonic() < self._retry_at:
            raise BlockingIOError(errno.EAGAIN, "journald did not take records a moment ago")
        try:
            self._send(encode(fields), socket.MSG_DONTWAIT if self._retry_at else 0)
        except OSError:
            self._retry_at = time.monotonic() + RETRY_SECONDS
            raise
        self._retry_at = 0.0

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _send(self, data: bytes, flags: int) -> None:
        # by its path each time: a journald that was started anew has another socket there
        try:
            self._socket.sendto(data, flags, self._path)
        except OSError as error:
            if error.errno not in _TOO_LARGE:
                raise
            self._send_as_file(data, flags)

    def _send_as_file(self, data: bytes, flags: int) -> None:
        fd = os.memfd_create("barbossad-record", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))
            self._socket.sendmsg([], [rights], flags, self._path)
        finally:
            os.close(fd)
