"""Read files that decide what Barbossa does, and refuse those that a stranger may write.

A definition, config or policy file is as powerful as the daemon. It is read only where nobody but root and the
daemon's own user may change it, or replace it in its folder. Grandparent folders are the administrator's business.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

MAX_FILE_BYTES: Final = 16 * 1024 * 1024

_OTHERS_MAY_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


class UntrustedFileError(Exception):
    """A file is not to be believed or cannot be read; ``hint`` tells how to mend it."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.hint = hint


def read_trusted(path: Path, *, is_private: bool = False) -> str:
    """Return the text of a file that only root or this process's user may write, as may its folder.

    One that ``is_private`` nobody but its owner may read either. Raise FileNotFoundError if it is not there and
    UntrustedFileError, with the reason, for anything else.
    What is checked is the open file, so that it cannot be exchanged between the check and the reading.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise
    except OSError as error:  # among them ENXIO, a socket
        raise UntrustedFileError(f"it cannot be opened: {error.strerror}") from error
    try:
        _check_file(os.fstat(descriptor), path, is_private=is_private)
        for folder in {path.absolute().parent, path.resolve().parent}:
            _check_owner_and_mode(folder.stat(), f"its folder {folder}", str(folder))
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(MAX_FILE_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(content) > MAX_FILE_BYTES:
        raise UntrustedFileError(f"it is larger than {MAX_FILE_BYTES} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UntrustedFileError(f"it is not UTF-8 in line {line}", "save it as UTF-8") from None


def check_folder(folder: Path) -> None:
    """Raise UntrustedFileError if others than root and this process's user may put something into a folder."""
    _check_owner_and_mode(folder.stat(), f"the folder {folder}", str(folder))


def check_path(path: Path) -> None:
    """Raise UntrustedFileError if others than root and this process's user may change a file, or replace it.

    One that is not there is nobody's.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        return
    _check_owner_and_mode(status, str(path), str(path))
    check_folder(path.resolve().parent)


def _check_file(status: os.stat_result, path: Path, *, is_private: bool) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise UntrustedFileError("it is not a regular file")
    _check_owner_and_mode(status, "it", str(path))
    if is_private and status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise UntrustedFileError(
            f"it may be read by others than its owner (mode {stat.S_IMODE(status.st_mode):04o})", f"chmod 0600 {path}"
        )


def _check_owner_and_mode(status: os.stat_result, what: str, path: str) -> None:
    user = os.geteuid()
    if status.st_uid not in {0, user}:
        raise UntrustedFileError(
            f"{what} belongs to user {status.st_uid}, who is neither root nor the daemon's user ({user})",
            f"chown {'root' if user == 0 else user} {path}",
        )
    if status.st_mode & _OTHERS_MAY_WRITE:
        raise UntrustedFileError(
            f"{what} may be written by others (mode {stat.S_IMODE(status.st_mode):04o})", f"chmod go-w {path}"
        )
