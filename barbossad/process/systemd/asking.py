"""A question to systemd that all who ask it in one turn of the event loop share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Answer = TypeVar("Answer")


class SharedQuestion(Generic[Answer]):
    """Puts a question in the turn after the one in which it was asked, so that the answer is newer than whoever asked.

    ``put`` puts it, ``name`` is what the tasks are called.
    """

    def __init__(self, put: Callable[[], Awaitable[Answer]], name: str) -> None:
        self._put = put
        self._name = name
        self._next: asyncio.Task[Answer] | None = None
        self._asked: set[asyncio.Task[Answer]] = set()

    def ask(self) -> asyncio.Task[Answer]:
        """Return what is done with the answer; it is others' too, so shield it when waiting."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_task(self._ask(), name=self._name)
            self._asked.add(self._next)
            self._next.add_done_callback(self._forget)
        return self._next

    async def _ask(self) -> Answer:
        self._next = None
        return await self._put()

    def _forget(self, task: asyncio.Task[Answer]) -> None:
        self._asked.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waits is told; of an attempt that could not be started nobody does

    async def close(self) -> None:
        """Wait for no answers any more."""
        for task in self._asked:
            task.cancel()
        await asyncio.gather(*self._asked, return_exceptions=True)
