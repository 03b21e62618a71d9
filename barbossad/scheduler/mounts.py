"""Hear of file systems that are mounted, which no folder tells of. Source: proc_pid_mountinfo(5)."""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import Callable

from barbossad.process.mounts import TABLE, private_tmp


class Mounts:
    """Calls ``changed`` when something was mounted or unmounted, while it is open."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._table = -1
        self._poll: select.epoll | None = None

    def open(self) -> None:
        """Begin, if that was not done."""
        if self._poll is None:
            self._table = os.open(TABLE, os.O_RDONLY | os.O_CLOEXEC)
            # The table can always be read, and only says that it has changed as something urgent, for which the
            # event loop has no word; a descriptor that polls it can be read just then.
            self._poll = select.epoll()
            self._poll.register(self._table, select.EPOLLPRI)
            asyncio.get_running_loop().add_reader(self._poll.fileno(), self._tell)

    def close(self) -> None:
        """Hear no more, until it is opened again."""
        if self._poll is not None:
            asyncio.get_running_loop().remove_reader(self._poll.fileno())
            self._poll.close()
            os.close(self._table)
            self._poll = None

    def _tell(self) -> None:
        if self._poll is not None:
            self._poll.poll(0)
            self._changed()


def why_unseen(path: str) -> str:
    """Return in words why this process sees other files than everybody else at that path; empty if it does not."""
    own = private_tmp(path)
    return f"{path} cannot be seen: {own} is Barbossa's own (PrivateTmp= of its unit); use another" if own else ""
