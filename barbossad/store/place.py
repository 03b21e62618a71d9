"""See that an open state file is still where it was opened, and what is wrong with a place where none can be.

A file that was moved away, deleted or replaced under its daemon still takes changes, which nobody would ever find
again. Source: https://www.sqlite.org/howtocorrupt.html, "Unlinking or renaming a database file while in use".
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path


class Place:
    """Which files stood at the paths of the state file and its log when they were opened."""

    def __init__(self, path: Path) -> None:
        paths = (str(path), f"{path}-wal")
        self._known = {place: found for place in paths if (found := _identity(place)) is not None}

    def check(self) -> sqlite3.Error | None:
        """Return the error that a change has to be refused with, None if every file is where it was."""
        for path, known in self._known.items():
            found = _identity(path)
            if found != known:
                what = "is not there any more" if found is None else "is not the file that was opened"
                error = sqlite3.OperationalError(f"{path} {what}")
                error.sqlite_errorcode = sqlite3.SQLITE_READONLY_DBMOVED
                error.sqlite_errorname = "SQLITE_READONLY_DBMOVED"
                return error
        return None


def remedy(path: Path, error: Exception, *, is_full: bool) -> str:
    """Return what to do about a state file that could not be opened, as the end of a sentence; empty if unknown."""
    if is_full:
        return f"; the disk of {path.parent} is full, and nothing is kept for it any more: make room there"
    for place in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
        with contextlib.suppress(OSError):
            if place.is_dir():
                return f"; {place} is a folder: move it away, and put the state file or a backup of it there"
            if place.exists() and not os.access(place, os.R_OK | os.W_OK):
                return (
                    f"; {place} may not be read and written by uid {os.getuid()}: chown it to that user, chmod it 600"
                )
    if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
        return f"; another program has locked it: end that (`fuser -v {path}` names it)"
    return ""


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 (twice a commit: a Path costs as much again)
    except OSError:
        return None
    return found.st_dev, found.st_ino
