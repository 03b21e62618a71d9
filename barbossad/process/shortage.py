"""Wait for descriptors where this process has none left: what others hold, clients say, they will not hold for ever."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Callable
from typing import Final, TypeVar

ERRORS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""Why a file may not be opened, whatever there is in it."""

RETRY_SECONDS: Final = 0.1

logger = logging.getLogger(__name__)

Taken = TypeVar("Taken")


class GivenUpError(Exception):
    """What was waited for is not wanted any more."""


class Shortage:
    """Has starts of tasks wait, and says so once for all that do at a time."""

    def __init__(self) -> None:
        self._waiting = 0

    async def over(self, take: Callable[[], Taken], *, is_wanted: Callable[[], bool]) -> Taken:
        """Return what ``take`` returns, as soon as there are descriptors for it.

        Raise what it raises for other reasons, and GivenUpError if it is not wanted any more before that.
        """
        try:
            return take()
        except OSError as error:
            if not is_one(error):
                raise
            self.tell(error)
        self._waiting += 1
        try:
            while True:
                await asyncio.sleep(RETRY_SECONDS)
                if not is_wanted():
                    raise GivenUpError
                try:
                    return take()
                except OSError as error:
                    if not is_one(error):
                        raise
        finally:
            self._waiting -= 1

    def tell(self, error: OSError) -> None:
        """Say that starts wait, unless others do already."""
        if not self._waiting:
            logger.warning("Tasks wait to be started: %s", error, extra={"action": "starts_wait"})


def is_one(error: BaseException) -> bool:
    """Say whether something failed for want of descriptors."""
    return isinstance(error, OSError) and error.errno in ERRORS


def again(call: Callable[..., object], *facts: object) -> None:
    """Call once more in a while."""
    asyncio.get_running_loop().call_later(RETRY_SECONDS, call, *facts)
