"""The two files that an attempt may have while it runs: its script and what it writes as outputs."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from barbossad.process.launcher import OUTPUT_LIMIT, AttemptKey

SCRIPT_SUFFIX = ".script"
OUTPUT_SUFFIX = ".output"


def path_of(folder: Path, key: AttemptKey, suffix: str) -> str:
    """Return the path of one of an attempt's files."""
    return f"{folder}/{key.run_id}-{key.task_id}-{key.number}{suffix}"


def write_script(path: str, text: bytes, *, mode: int = 0o500, owner: tuple[int, int] | None = None) -> None:
    """Make a file that only its owner (user and group, if not the caller's) may read, and execute if ``mode`` says so.

    Raise OSError if it cannot be made.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        fd = os.open(path, flags, mode)
    except FileExistsError:  # left by a daemon that was killed
        remove(path)
        fd = os.open(path, flags, mode)
    try:
        view = memoryview(text)
        while view:
            view = view[os.write(fd, view) :]
        if owner not in {None, (os.geteuid(), os.getegid())}:
            assert owner is not None
            os.fchown(fd, *owner)
    finally:
        os.close(fd)


def take_output(path: str, *, keep: bool = False) -> bytes | None:
    """Return what the task wrote, at most a byte more than is allowed, and remove it unless told to keep it.

    The task made the file and may have put anything there: what is not a plain file counts as nothing.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError:
        if not keep:
            remove(path)
        return None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        with open(fd, "rb", closefd=False) as file:
            return file.read(OUTPUT_LIMIT + 1)
    except OSError:
        return None
    finally:
        os.close(fd)
        if not keep:
            remove(path)


def remove(path: str) -> None:
    """Remove whatever is there."""
    try:
        os.unlink(path)  # noqa: PTH108 (a Path for each task would cost more than the call)
    except FileNotFoundError:
        return
    except OSError:
        shutil.rmtree(path, ignore_errors=True)


def clear(folder: Path) -> None:
    """Make the folder, the owner's alone, and remove what an earlier daemon left in it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    for entry in folder.iterdir():
        if entry.suffix in {SCRIPT_SUFFIX, OUTPUT_SUFFIX}:
            remove(str(entry))
