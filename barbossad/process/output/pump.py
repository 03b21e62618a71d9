"""Read many pipes in turn, so that a flood in one takes no more than its share of the event loop."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from typing import Final, Protocol

_DEBOUNCE_SECONDS: Final = 0.03
_TURN_SECONDS: Final = 0.001
_NAP_TURNS: Final = 2
"""A flood leaves the loop to others for so many times as long as its turn took."""


class Source(Protocol):
    """What a pump reads from."""

    fd: int
    """The read end, not blocking; -1 once it is closed."""

    is_watched: bool
    """The pump's own note."""

    def read(self) -> bool:
        """Take one chunk; return whether there is likely more. Close it (``Pump.close``) at its end."""


class Pump:
    """Read the pipes that have something, in turn, a millisecond at a time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: deque[Source] = deque()
        self._is_due = False

    def watch(self, pipe: Source) -> None:
        """Have a pipe read when there is something in it."""
        if pipe.fd >= 0:
            pipe.is_watched = True
            self._loop.add_reader(pipe.fd, self._ready, pipe)

    def drain(self, pipe: Source) -> None:
        """Have a pipe read now."""
        if pipe.fd >= 0:
            self._unwatch(pipe)
            self._queue.append(pipe)
            self._wake(0)

    def close(self, pipe: Source) -> None:
        """Read a pipe no more."""
        if pipe.fd >= 0:
            self._unwatch(pipe)
            os.close(pipe.fd)
            pipe.fd = -1

    def _ready(self, pipe: Source) -> None:
        self.drain(pipe)

    def _unwatch(self, pipe: Source) -> None:
        if pipe.is_watched:
            pipe.is_watched = False
            self._loop.remove_reader(pipe.fd)

    def _wake(self, delay: float) -> None:
        if not self._is_due:
            self._is_due = True
            self._loop.call_later(delay, self._turn)

    def _turn(self) -> None:
        self._is_due = False
        start = now = self._loop.time()
        while self._queue and now - start < _TURN_SECONDS:
            pipe = self._queue.popleft()
            if pipe.fd >= 0:
                if pipe.read():
                    self._queue.append(pipe)
                elif pipe.fd >= 0:
                    self._loop.call_later(_DEBOUNCE_SECONDS, self.watch, pipe)
            now = self._loop.time()
        if self._queue:
            self._wake(_NAP_TURNS * (now - start))
