"""Make what masks long secrets beside the event loop: a key of thousands of lines has tens of thousands of forms."""

from __future__ import annotations

import asyncio
from typing import Final

from barbossad.security import masking
from barbossad.security.masking import Masking

SHORT_CHARACTERS: Final = 1024
"""What masks secrets that have no more together is made in a few milliseconds, when it is needed."""


class Maker:
    """Makes each but once, however many tasks start with the same secrets."""

    def __init__(self) -> None:
        self._making: dict[frozenset[str], asyncio.Future[Masking]] = {}

    def begin(self, secrets: frozenset[str]) -> asyncio.Future[Masking] | None:
        """Return what is done when these can be masked at once; None if they can be.

        So it is where no thread can be made, as a task has all of them: who needs it then makes it.
        """
        if masking.is_at_hand(secrets) or sum(map(len, secrets)) <= SHORT_CHARACTERS:
            return None
        making = self._making.get(secrets)
        if making is None:
            try:
                making = asyncio.get_running_loop().run_in_executor(None, Masking, secrets)
            except RuntimeError:
                return None
            self._making[secrets] = making
            making.add_done_callback(lambda made: self._made(secrets, made))  # which tells no secret of itself
        return making

    def _made(self, secrets: frozenset[str], making: asyncio.Future[Masking]) -> None:
        del self._making[secrets]
        if not making.cancelled() and making.exception() is None:
            masking.keep(secrets, making.result())
