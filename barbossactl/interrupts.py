"""Ctrl-C as an event that a wait can see, so that it never cuts an answer in two."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupts:
    """While entered, a first Ctrl-C is noted for ``take``; another before that raises ``KeyboardInterrupt``."""

    def __init__(self) -> None:
        self._is_pending = False
        self._read_end, self._write_end = -1, -1
        self._previous: Callable[[int, FrameType | None], object] | int | None = None

    def __enter__(self) -> Interrupts:
        self._read_end, self._write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._previous = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._previous)
        os.close(self._read_end)
        os.close(self._write_end)

    def fileno(self) -> int:
        """Return a descriptor that is readable while a Ctrl-C is noted."""
        return self._read_end

    def take(self) -> bool:
        """Say whether Ctrl-C was pressed since the last time, and forget it."""
        if not self._is_pending:
            return False
        os.read(self._read_end, 16)
        self._is_pending = False
        return True

    def pause(self, seconds: float) -> None:
        """Wait so long. Raise ``KeyboardInterrupt`` at once on Ctrl-C."""
        select.select([self._read_end], [], [], seconds)
        if self.take():
            raise KeyboardInterrupt

    @contextmanager
    def as_usual(self) -> Iterator[None]:
        """Let Ctrl-C raise as it does elsewhere: for a question at the keyboard."""
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, self._note)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        if self._is_pending:
            raise KeyboardInterrupt
        self._is_pending = True
        os.write(self._write_end, b"!")
