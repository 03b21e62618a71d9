"""Copy the state file while it is in use: whole, checked, and under its name only then.

Source: https://www.sqlite.org/backup.html. The copy is one file, without a log beside it; to restore it, stop the
daemon and put it in the place of ``barbossa.db``. Its last event says that it is a copy, so that a daemon that finds it
there knows, also on another host, that it is older than history.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from barbossad.errors import StoreError
from barbossad.store import schema

UNFINISHED: Final = ".unfinished"
"""How a copy's name ends until it is checked."""

SPARE_BYTES: Final = 16 * 1024 * 1024
"""Room on the disk that a copy leaves to the daemon."""

PAGES_AT_A_TIME: Final = 4096
"""Pages that are copied before it is asked whether to go on."""

COPIED: Final = "store_copied"
"""The kind of the last event of a copy."""

_MARK: Final = f"INSERT INTO events (at_ms, kind, data) VALUES (strftime('%s', 'now') * 1000, '{COPIED}', '{{}}')"

_ALONE: Final = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """A copy that was made."""

    path: Path
    size_bytes: int


def make(source: Path, target: Path, is_unwanted: Callable[[], bool] = lambda: False) -> Backup:
    """Copy the state file ``source`` to ``target``; blocking, for a thread. Raise StoreError; then nothing is left.

    What is committed when it begins is in it. The folder is made if missing; copies that a crash left unfinished go.
    Now and then it is asked whether the copy is not wanted any more.
    """
    with _ALONE:
        return _make(source, target, is_unwanted)


def _make(source: Path, target: Path, is_unwanted: Callable[[], bool]) -> Backup:
    try:
        target.parent.mkdir(mode=0o700, exist_ok=True)
        for left in target.parent.glob(f"*{UNFINISHED}*"):
            left.unlink()
        if target.exists():
            raise StoreError(f"there is a backup {target} already")
        _refuse_without_room(source, target.parent)
        with _unfinished(target) as fresh:
            _copy(source, fresh, is_unwanted)
            _check(fresh)
            _sync(fresh)
            fresh.rename(target)
        _sync(target.parent)
        return Backup(path=target, size_bytes=target.stat().st_size)
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"the state file {source} could not be copied to {target}: {error}") from error


@contextlib.contextmanager
def _unfinished(target: Path) -> Iterator[Path]:
    """Make an empty file that only its owner may read; it is gone afterwards, unless it was renamed."""
    fresh = target.with_name(target.name + UNFINISHED)
    os.close(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    try:
        yield fresh
    finally:
        for left in target.parent.glob(f"*{UNFINISHED}*"):
            left.unlink()


def _copy(source: Path, fresh: Path, is_unwanted: Callable[[], bool]) -> None:
    def go_on(_status: int, _left: int, _all: int) -> None:
        if is_unwanted():
            raise StoreError("the daemon stops, and makes no backup")

    with (
        contextlib.closing(
            sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
        ) as reading,
        contextlib.closing(sqlite3.connect(fresh, isolation_level=None)) as writing,
    ):
        # In a transaction it sees one state of the file while the daemon writes on; else it would begin anew each time.
        reading.execute("BEGIN")
        reading.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        reading.backup(writing, pages=PAGES_AT_A_TIME, progress=go_on)
        reading.execute("COMMIT")
        writing.execute("PRAGMA journal_mode = DELETE").fetchone()
        if writing.execute("SELECT 1 FROM sqlite_schema WHERE name = 'events'").fetchone():
            writing.execute(_MARK)  # what is no state file is refused by the check


def _check(fresh: Path) -> None:
    with contextlib.closing(sqlite3.connect(f"{fresh.absolute().as_uri()}?mode=ro", uri=True)) as copy:
        schema.inspect(copy, path=fresh)


def _refuse_without_room(source: Path, folder: Path) -> None:
    found = os.statvfs(folder)
    room_bytes = found.f_bavail * found.f_frsize
    wal = source.with_name(source.name + "-wal")
    needed_bytes = source.stat().st_size + (wal.stat().st_size if wal.exists() else 0) + SPARE_BYTES
    if room_bytes < needed_bytes:
        raise StoreError(f"the disk of {folder} has {room_bytes} bytes left, a backup needs {needed_bytes}")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
