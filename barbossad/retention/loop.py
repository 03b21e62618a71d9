"""Prune by the clock, and at once when the disk is full."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Final

from barbossad.errors import StoreError
from barbossad.retention.pruner import Pruned, Pruner

FIRST_SECONDS: Final = 5.0
"""How long after a start the first pass begins: what was left unfinished comes first."""

EVERY_SECONDS: Final = 600.0

TIGHT_SECONDS: Final = 10.0
"""How often while the disk is full: every run that ends may be one too many."""

REST_SECONDS: Final = 1.0
"""How long after a pass nobody can wake it: a store that refuses changes tells so again and again."""

log = logging.getLogger(__name__)


class RetentionLoop:
    """Sleeps until the next pass is due or it is woken."""

    def __init__(
        self,
        pruner: Pruner,
        *,
        first_seconds: float = FIRST_SECONDS,
        every_seconds: float = EVERY_SECONDS,
        rest_seconds: float = REST_SECONDS,
    ) -> None:
        self._pruner = pruner
        self._first_seconds = first_seconds
        self._every_seconds = every_seconds
        self._rest_seconds = rest_seconds
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Have a pass made now, or right after the one that is being made."""
        self._woken.set()

    async def run(self) -> None:
        """Prune until cancelled. What the disk refuses is told and tried again; any other fault ends the daemon."""
        seconds = self._first_seconds
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._woken.wait()
            self._woken.clear()
            try:
                _tell(await self._pruner.prune())
            except (StoreError, OSError) as error:
                log.warning("history could not be pruned: %s", error, extra={"action": "prune_refused"})
            seconds = min(TIGHT_SECONDS, self._every_seconds) if self._pruner.is_tight else self._every_seconds
            await asyncio.sleep(self._rest_seconds)


def _tell(done: Pruned) -> None:
    if done.runs or done.events or done.fires:
        log.info(
            "pruned %d runs, %d events, %d fires of schedules and %d bytes of log files; %d pages were given back "
            "to the disk", done.runs, done.events, done.fires, done.log_bytes, done.pages, extra={"action": "pruned"},
        )  # fmt: skip
