"""Wait for a fact, never for a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

_PAUSE_SECONDS = 0.01


def eventually(check: Callable[[], bool], seconds: float, what: str) -> None:
    """Return once ``check`` holds; fail after ``seconds`` with ``what`` was waited for."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, f"after {seconds} s still not so: {what}"
        time.sleep(_PAUSE_SECONDS)


async def eventually_async(check: Callable[[], bool], seconds: float, what: str) -> None:
    """Do the same while the event loop runs on."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, f"after {seconds} s still not so: {what}"
        await asyncio.sleep(_PAUSE_SECONDS)
