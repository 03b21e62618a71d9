"""The file of the high-water mark, beside the state file, and what it tells of one that is not there."""

from __future__ import annotations

import contextlib
import json
import logging
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from barbossad.errors import StoreError

_UNREADABLE: Final = (OSError, ValueError, KeyError, TypeError)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """The numbers of the newest run and the newest event, 0 if there was none.

    Runs behind ``lost_after`` and up to ``lost_up_to`` were forgotten when an older file was put back; their logs may
    be all that is left of them. ``is_unsettled`` until what that file had under way is ended.
    """

    run: int
    event: int
    lost_after: int = 0
    lost_up_to: int = 0
    is_unsettled: bool = False


def read(path: Path) -> Mark | None:
    """Return the mark that was written, None if there is none that can be read."""
    try:
        return _load(path)
    except FileNotFoundError:
        return None
    except _UNREADABLE as error:
        log.warning(
            "the high-water mark %s cannot be read, so an older state file would not be noticed: %s", path, error,
            extra={"action": "store_mark_unreadable"},
        )  # fmt: skip
        return None


def _load(path: Path) -> Mark:
    found = json.loads(path.read_bytes())
    numbers = {name: int(found[name]) for name in ("run", "event", "lost_after", "lost_up_to")}
    return Mark(**numbers, is_unsettled=bool(found.get("is_unsettled")))


def write(path: Path, mark: Mark) -> None:
    """Replace the mark in one step; blocking. Raise OSError."""
    fresh = path.with_name(path.name + ".new")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.write(descriptor, json.dumps(asdict(mark)).encode() + b"\n")
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)
        fresh.rename(path)
    except OSError:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise


def beside(database: Path) -> Path:
    """Return where the mark of a state file lies."""
    return database.with_suffix(".mark")


def refuse_lost(database: Path) -> None:
    """Raise StoreError if a state file is missing or empty, and something beside it shows that it had a history.

    A new one would hide the loss, and SQLite would delete the log in which the last changes may be.
    """
    if database.is_dir() or _size_bytes(database):
        return
    path, log_path = beside(database), database.with_name(database.name + "-wal")
    left = {}
    with contextlib.suppress(*_UNREADABLE):  # told when it is compared with the file
        mark = _load(path)
        if mark.run or mark.event:
            left[path.name] = f"{path.name} beside it tells of a history up to event {mark.event}"
    if _size_bytes(log_path):
        left[log_path.name] = f"{log_path.name} beside it holds changes of it"
    if left:
        raise StoreError(
            f"the state file {database} is {'empty' if database.exists() else 'missing'}, but "
            f"{' and '.join(left.values())}: put {database.name} back, or a backup of it in its place "
            f"(then without {log_path.name}); to begin anew, without that history, remove {' and '.join(left)}"
        )


def _size_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
