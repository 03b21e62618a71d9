"""Who is at the other end of a Unix socket, as the kernel tells it: unix(7), SO_PEERCRED and SO_PEERGROUPS."""

from __future__ import annotations

import array
import os
import pwd
import socket
import struct
from typing import Final

_CREDENTIALS: Final = struct.Struct("iII")
_SO_PEERGROUPS: Final = 59  # asm-generic/socket.h; Linux 4.13
_GROUPS_BYTES: Final = 1024  # the most that socket.getsockopt takes: 256 groups


def identity(connection: socket.socket) -> tuple[int, frozenset[int]]:
    """Return the uid and all group ids of the process that connected, as they were then."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, gid = _CREDENTIALS.unpack(raw)
    return uid, frozenset({gid, *_groups(connection, uid, gid)})


def _groups(connection: socket.socket, uid: int, gid: int) -> list[int]:
    try:
        raw = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_BYTES)
    except OSError:  # no such option, or more groups than fit: what the databases say
        try:
            return os.getgrouplist(pwd.getpwuid(uid).pw_name, gid)
        except KeyError:
            return []
    return list(array.array("I", raw))
