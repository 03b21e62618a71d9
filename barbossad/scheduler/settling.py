"""Wait until nothing happens to a file any more, and say what has become of it since it was quiet."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from barbossad.clock import Clock
from barbossad.model.schedules import FileChange

QUIET_SECONDS: Final = 60.0
"""A new file that somebody holds open for writing is done, too, when nothing was written for so long."""


@dataclass(slots=True)
class _Unsettled:
    was_there: bool
    """Before the first of what has happened."""

    is_there: bool
    at_ms: int
    due: float
    """By the clock of the event loop."""


class Settling:
    """Files to which something happened. ``told`` gets the path, the change, and the instant of the last event."""

    def __init__(self, clock: Clock, seconds: float, told: Callable[[str, FileChange, int], None]) -> None:
        self._clock = clock
        self._seconds = seconds
        self._told = told
        self._loop = asyncio.get_running_loop()
        self._closed: dict[str, _Unsettled] = {}
        self._open: dict[str, _Unsettled] = {}
        """New ones that are being written. Both are in the order in which they are due."""

        self._timer: asyncio.TimerHandle | None = None

    def seen(self, path: str, *, was_there: bool, is_there: bool, is_open: bool = False) -> None:
        """Note that something happened to a file: whether it was there before, and is now.

        One that is open is waited for until something happens to it again, which it does when it is closed.
        """
        before = self._closed.pop(path, None) or self._open.pop(path, None)
        self._put(path, was_there=before.was_there if before else was_there, is_there=is_there, is_open=is_open)

    def no_longer_open(self) -> None:
        """Wait for no closing any more: it may have been missed."""
        for path in tuple(self._open):
            self.seen(path, was_there=False, is_there=True)

    def hurry(self) -> None:
        """Tell of all files now: nobody will be there when they have been quiet for long enough."""
        for place in (self._closed, self._open):
            for path in tuple(place):
                self._tell(path, place.pop(path, None))
        self._arm()

    def close(self) -> None:
        """Tell nothing any more."""
        self._closed.clear()
        self._open.clear()
        self._arm()

    def _put(self, path: str, *, was_there: bool, is_there: bool, is_open: bool) -> None:
        due = self._loop.time() + (QUIET_SECONDS if is_open else self._seconds)
        place = self._open if is_open else self._closed
        place[path] = _Unsettled(was_there, is_there, self._clock.now_ms(), due)
        if self._timer is None or due < self._timer.when():
            self._arm()

    def _arm(self) -> None:
        """Set the timer to what is due first."""
        if self._timer is not None:
            self._timer.cancel()
        due = [next(iter(place.values())).due for place in (self._closed, self._open) if place]
        self._timer = self._loop.call_at(min(due), self._settle) if due else None

    def _settle(self) -> None:
        """Tell of what is due."""
        self._timer = None
        now = self._loop.time() + 0.001  # the loop's timers are no finer
        try:
            for path in _due(self._closed, now):
                self._tell(path, self._closed.pop(path, None))
            for path in _due(self._open, now):
                found = self._open.pop(path, None)
                if found is not None and self._is_being_written(path):
                    self._put(path, was_there=found.was_there, is_there=True, is_open=True)
                else:
                    self._tell(path, found)
        finally:
            self._arm()

    def _is_being_written(self, path: str) -> bool:
        """Say whether there was something to write of late; it is open, and written to the end for all we know."""
        try:
            return self._clock.now_ms() / 1000 - Path(path).stat().st_mtime < QUIET_SECONDS
        except OSError:  # that it is gone was missed, or will be told
            return False

    def _tell(self, path: str, found: _Unsettled | None) -> None:
        if found is None:  # whoever was told of one before it wants to hear no more
            return
        if found.is_there:
            change = FileChange.CHANGED if found.was_there else FileChange.CREATED
        elif found.was_there:
            change = FileChange.DELETED
        else:  # it came and went
            return
        self._told(path, change, found.at_ms)


def _due(place: dict[str, _Unsettled], now: float) -> list[str]:
    found = []
    for path, unsettled in place.items():
        if unsettled.due > now:
            break
        found.append(path)
    return found
