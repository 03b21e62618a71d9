"""Work that takes long, or waits: on a thread of its own, or in short turns on the loop beside the calls of others."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

logger = logging.getLogger(__name__)

Result = TypeVar("Result")
TURN_SECONDS: Final = 0.005
"""How long work on the loop may take before others get their turn."""

_RETRY_SECONDS: Final = 0.1

Job = tuple[asyncio.Future[Any], Callable[[], Any]]


class Aside:
    """A thread that is made when it is first needed. It holds up nobody's end: it dies with the process.

    What nobody waits for any more is not begun. What was begun goes on, and what comes after waits for it: however
    often a client asks and hangs up, there is one thread.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    async def run(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Return what ``function`` returns, or raise what it raises."""
        if self._thread is None:
            await self._begin()
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._jobs.put((future, partial(function, *arguments)))
        return await future

    async def _begin(self) -> None:
        """Make the thread; where there may be no more of them, when there may be again."""
        is_told = False
        while self._thread is None:
            thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # a task that forks has all that this user may have, perhaps
                if not is_told:
                    logger.warning("%s waits for a thread: %s", self._name, error, extra={"action": "thread_waits"})
                is_told = True
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                self._thread = thread

    def close(self) -> None:
        """Let the thread end after what it does now."""
        self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, function = job
            if future.done():
                continue
            result, error = None, None
            try:
                result = function()
            except BaseException as raised:  # noqa: BLE001 (it belongs to who waits for the result)
                error = raised
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                future.get_loop().call_soon_threadsafe(_settle, future, result, error)
            del job, future, function, result, error  # held no longer than needed


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


class Gate:
    """Lets many who were woken together go on one after another, each in a turn of the loop where that takes long."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_open = True
        self._until = 0.0

    async def passed(self) -> None:
        """Return when the caller may do its work; what it does until it waits again counts as its turn."""
        if self._is_open:
            self._begin()
        elif self._waiting or time.monotonic() > self._until:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            await turn

    def _begin(self) -> None:
        self._is_open = False
        self._until = time.monotonic() + TURN_SECONDS
        asyncio.get_running_loop().call_soon(self._end)

    def _end(self) -> None:
        """Begin the next turn, with the first of those who wait."""
        self._is_open = True
        while self._waiting and self._is_open:
            turn = self._waiting.popleft()
            if not turn.done():  # it is cancelled when its client hangs up
                turn.set_result(None)
                self._begin()


class Turns:
    """The turns that work on the loop takes: it asks between its pieces, and goes on when others have had theirs."""

    def __init__(self) -> None:
        self._until = time.monotonic() + TURN_SECONDS

    async def pause(self) -> None:
        """Let others have their turn if this one has taken long."""
        if time.monotonic() > self._until:
            await asyncio.sleep(0)
            self._until = time.monotonic() + TURN_SECONDS
