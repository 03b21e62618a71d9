"""Room on the disk that is kept for bad times: on a full disk even a DELETE needs some.

The reserve is a file beside the state file. It is given up when SQLite runs out of room, so that what has happened
can still be recorded and old history be deleted, and it is made again when the disk has room for it twice.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sqlite3
from pathlib import Path
from typing import Final

RESERVE_BYTES: Final = 4 * 1024 * 1024

_MAY_MEAN_FULL: Final = frozenset({sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN})
"""What SQLite also says when a side file, the index of its log say, finds no room (primary result codes)."""

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})

log = logging.getLogger(__name__)


def full_error(words: str) -> sqlite3.Error:
    """Return what SQLite says of a full disk, in other words."""
    error = sqlite3.OperationalError(words)
    error.sqlite_errorcode, error.sqlite_errorname = sqlite3.SQLITE_FULL, "SQLITE_FULL"
    return error


class Reserve:
    """The reserve of one state file; its methods block for a moment."""

    def __init__(self, path: Path, size_bytes: int) -> None:
        self.path = path
        self._size_bytes = size_bytes
        self.is_kept = False
        """Whether it is there."""

        self.is_hindered = False
        """Whether it could not be made the last time for another reason than want of room."""

    @property
    def kept_bytes(self) -> int:
        """How much room is kept now."""
        return self._size_bytes if self.is_kept else 0

    def look(self) -> bool:
        """Return whether it is there: an earlier daemon may have left it."""
        self.is_kept = self.is_kept or self._is_whole()
        return self.is_kept

    def make(self) -> bool:
        """Allocate the file if the disk has room for it twice; return whether it is there."""
        if self.look():
            return True
        self.is_hindered = False
        try:
            if self._room_bytes() < 2 * self._size_bytes:
                return False
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, self._size_bytes)  # a file with a hole would keep nothing
            finally:
                os.close(descriptor)
        except OSError as error:
            self.is_hindered = error.errno not in _FULL
            with contextlib.suppress(OSError):
                self.path.unlink()
            return False
        self.is_kept = True
        return True

    def look_for_room(self) -> None:
        """Raise what SQLite would say of a full disk if less is left than the reserve keeps: it need not be tried."""
        try:
            is_full = self._room_bytes() < self._size_bytes
        except OSError:
            return  # which is another fault, and not for this to tell
        if is_full:
            raise full_error("the disk is full")

    def give_up(self, error: Exception) -> bool:
        """Free its room if ``error`` says that there is none; return whether that was done."""
        if not self.is_kept or not self.means_full(error):
            return False
        try:
            self.path.unlink()
        except OSError as refused:
            log.error(  # noqa: TRY400 (the sentence says it all)
                "the reserve %s cannot be given up: %s", self.path, refused.strerror,
                extra={"action": "store_reserve_stuck"},
            )  # fmt: skip
            return False
        self.is_kept = False
        log.warning("the disk is full: the reserve %s is given up", self.path, extra={"action": "store_reserve_used"})
        return True

    def means_full(self, error: Exception) -> bool:
        """Return whether ``error`` says that the disk is full."""
        if getattr(error, "errno", None) in _FULL:
            return True
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            return True
        try:
            return code in _MAY_MEAN_FULL and self._room_bytes() < self._size_bytes
        except OSError:
            return False

    def _room_bytes(self) -> int:
        found = os.statvfs(self.path.parent)
        return found.f_bavail * found.f_frsize

    def _is_whole(self) -> bool:
        try:
            found = self.path.lstat()
        except OSError:
            return False
        return found.st_size == self._size_bytes and found.st_blocks * 512 >= self._size_bytes
