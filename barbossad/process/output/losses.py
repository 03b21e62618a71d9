"""Output that the disk does not take: whose it is, why, and whether anything may be written at all."""

from __future__ import annotations

import errno
from collections.abc import Callable

from barbossad.process.launcher import AttemptKey


class Losses:
    """What all captures of a folder of logs tell of; used on the event loop alone."""

    def __init__(self) -> None:
        self.is_full: Callable[[], bool] = lambda: False
        """Says whether the disk has no more than the state file needs: then no log may grow."""

        self.found_full: Callable[[], None] = lambda: None
        """Is called when the disk said that it has no room."""

        self.changed: Callable[[], None] = lambda: None
        """Is called when ``reason`` has come or gone."""

        self._reasons: dict[AttemptKey, str] = {}

    @property
    def reason(self) -> str | None:
        """Why output is being lost at the moment, and that of how many attempts; None if all is recorded."""
        if not self._reasons:
            return None
        count = len(self._reasons)
        return (
            f"output of {count} {'task' if count == 1 else 'tasks'} is being lost: {next(iter(self._reasons.values()))}"
        )

    def check(self) -> None:
        """Raise OSError if no log may grow."""
        if self.is_full():
            raise OSError(errno.ENOSPC, "the disk is full, and what is left of it is for the state file")

    def begin(self, key: AttemptKey, error: OSError) -> None:
        """Take note that the disk does not take an attempt's output."""
        was_well = not self._reasons
        self._reasons[key] = error.strerror or str(error)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            self.found_full()
        if was_well:
            self.changed()

    def end(self, key: AttemptKey) -> None:
        """Take note that the disk takes an attempt's output, or that there is none any more."""
        if self._reasons.pop(key, None) is not None and not self._reasons:
            self.changed()
