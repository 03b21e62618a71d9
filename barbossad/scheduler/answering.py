"""Ask whether the file system of a path answers, without waiting for it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable


class Question:
    """Looks at a path on a thread, which may wait for ever and dies with the process; one at a time.

    ``answered`` is called when something was said, be it that there is nothing; never after ``close``.
    """

    def __init__(self, path: str, answered: Callable[[], None]) -> None:
        self._path = path
        self._answered = answered
        self._loop = asyncio.get_running_loop()
        self._is_asked = False
        self._is_closed = False

    def ask(self) -> None:
        """Ask, if that was not done already."""
        if not self._is_asked:
            self._is_asked = True
            threading.Thread(target=self._look, name="file-trigger-look", daemon=True).start()

    def close(self) -> None:
        """Want to hear nothing more."""
        self._is_closed = True

    def _look(self) -> None:
        with contextlib.suppress(OSError):
            os.stat(self._path)  # noqa: PTH116 (text)
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            self._loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        self._is_asked = False
        if not self._is_closed:
            self._answered()
