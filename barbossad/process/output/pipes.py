"""Whose a pipe is; and what the kernel tells of one that is not being read: what is in it, and whether that is all."""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import termios
from collections.abc import Iterable
from typing import Final

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_NONBLOCK: Final = 2  # SPLICE_F_NONBLOCK

_FOR_ANYBODY: Final = 0o622
"""Who writes is not known yet; nobody else gets at a pipe, for it has no name but in /proc of who holds it."""


def give(fds: Iterable[int], owner: tuple[int, int] | None) -> None:
    """Let a task's user open its pipes by name (/dev/stderr): ``owner``, None for one who does not exist yet.

    Raise OSError.
    """
    for fd in fds:
        if owner is None:
            os.fchmod(fd, _FOR_ANYBODY)
        else:
            os.fchown(fd, *owner)


def waiting_bytes(fd: int) -> int:
    """Return how much is in a pipe now; whoever is its only reader will find at least that."""
    count = ctypes.c_int()
    fcntl.ioctl(fd, termios.FIONREAD, count)
    return count.value


def is_complete(fd: int) -> bool:
    """Say whether nobody can write to a pipe any more, so that what is in it is all there will be."""
    poll = select.poll()
    poll.register(fd, 0)
    return bool(poll.poll(0))  # POLLHUP comes unasked, and nothing else was asked for


def peek(fd: int, size: int) -> bytes:
    """Return at most ``size`` bytes from the beginning of a pipe and leave them in it (tee(2)). Raise OSError."""
    mine, theirs = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        copied = _LIBC.tee(fd, theirs, ctypes.c_size_t(size), ctypes.c_uint(_NONBLOCK))
        if copied < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return os.read(mine, copied) if copied else b""
    finally:
        os.close(mine)
        os.close(theirs)
