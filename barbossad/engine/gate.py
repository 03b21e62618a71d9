"""Why nothing new may start at the moment, if it may not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class Gate:
    """Open unless the daemon starts or stops, is drained, or its store refuses changes."""

    def __init__(self) -> None:
        self.opened: Callable[[], None] = lambda: None
        """Is called when it has opened."""

        self.drained: Callable[[], None] = lambda: None
        """Is called when draining has begun or is undone."""

        self._store_fault: str | None = None
        self.is_stopping = False
        self.is_leaving = False
        """Whether the daemon stops and leaves what runs to the next one."""

        self.is_draining = False
        self._undrained = asyncio.Event()
        self.is_recovering = False
        """Whether the runs of an earlier daemon are being found: what they hold must be known before all else."""

    @property
    def closed(self) -> str | None:
        """Return why it is closed, in words; None if it is open."""
        if self.is_stopping:
            return "the daemon is stopping"
        if self._store_fault is not None:
            return "the state file refuses changes"
        if self.is_recovering:
            return "the daemon looks at what an earlier one left"
        if self.is_draining:
            return "the daemon is being drained (barbossactl daemon drain --end goes on)"
        return None

    def stop(self, *, leave: bool = False) -> None:
        """Close for good."""
        self.is_stopping = True
        self.is_leaving = leave

    def drain(self, *, is_on: bool) -> None:
        """Close, or open again, because somebody wants it so."""
        self.is_draining = is_on
        (self._undrained.clear if is_on else self._undrained.set)()
        self._tell()
        self.drained()

    async def while_draining(self, ended: Coroutine[Any, Any, None]) -> None:
        """Wait for the end of what runs, unless draining is undone: it would be waited for in vain."""
        waits = [asyncio.ensure_future(ended), asyncio.ensure_future(self._undrained.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    def store_fault(self, fault: str | None) -> None:
        """Close while the store refuses changes."""
        self._store_fault = fault
        self._tell()

    def _tell(self) -> None:
        if self.closed is None:
            asyncio.get_running_loop().call_soon(self.opened)
