"""Ask whether the file system of a path answers, without waiting for it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable

from barbossad.aside import Aside


class Question:
    """Looks at a path on a thread of its own, which may wait for ever; one question at a time.

    ``answered`` is called when something was said, be it that there is nothing; never after ``close``.
    """

    def __init__(self, path: str, answered: Callable[[], None]) -> None:
        self._path = path
        self._answered = answered
        self._aside = Aside("file-trigger-look")
        self._asking: asyncio.Task[None] | None = None

    def ask(self) -> None:
        """Ask, if that was not done already."""
        if self._asking is None:
            self._asking = asyncio.get_running_loop().create_task(self._ask(), name="file-trigger-look")

    def close(self) -> None:
        """Want to hear nothing more."""
        if self._asking is not None:
            self._asking.cancel()
        self._aside.close()

    async def _ask(self) -> None:
        with contextlib.suppress(OSError):
            await self._aside.run(os.stat, self._path)
        self._asking = None
        self._answered()
