"""Ctrl-C as an event that a wait can see, so that it never cuts an answer in two."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType


class Interrupts:
    """While entered, a first Ctrl-C is noted for ``take``; another before that raises ``KeyboardInterrupt``."""

    # The interpreter's own handler, in C, writes to the pipe. What only noted the signal would be seen no earlier than
    # the end of a wait that begins at that very moment.

    def __init__(self) -> None:
        self._is_pending = False
        self._read_end, self._write_end = -1, -1
        self._previous_wakeup = -1
        self._previous: Callable[[int, FrameType | None], object] | int | None = None

    def __enter__(self) -> Interrupts:
        self._read_end, self._write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._previous_wakeup = signal.set_wakeup_fd(self._write_end, warn_on_full_buffer=False)
        self._previous = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._previous)
        signal.set_wakeup_fd(self._previous_wakeup)
        os.close(self._read_end)
        os.close(self._write_end)

    def fileno(self) -> int:
        """Return a descriptor that is readable while a Ctrl-C is noted."""
        return self._read_end

    def take(self) -> bool:
        """Say whether Ctrl-C was pressed since the last time, and forget it."""
        with suppress(BlockingIOError):
            os.read(self._read_end, 64)
        was_pending, self._is_pending = self._is_pending, False
        return was_pending

    def pause(self, seconds: float) -> None:
        """Wait so long. Raise ``KeyboardInterrupt`` at once on Ctrl-C."""
        select.select([self._read_end], [], [], seconds)
        if self.take():
            raise KeyboardInterrupt

    def read_line(self) -> str:
        """Return a line typed at the keyboard, empty at its end. Raise ``KeyboardInterrupt`` at once on Ctrl-C."""
        select.select([self._read_end, sys.stdin], [], [])
        if self.take():
            raise KeyboardInterrupt
        return sys.stdin.readline()

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        if self._is_pending:
            raise KeyboardInterrupt
        self._is_pending = True
