"""The two files that an attempt may have while it runs: its script and what it writes as outputs."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import secrets
import stat
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from barbossad.model.names import plain_task_id
from barbossad.process import procfs
from barbossad.process.launcher import OUTPUT_LIMIT, AttemptKey

SCRIPT_SUFFIX = ".script"
OUTPUT_SUFFIX = ".output"
SHARED_MODE = 0o711
"""Of a folder whose files belong to several users: whoever knows a name gets at what is theirs."""

STEPS_AT_ONCE: Final = 100
"""Of the removal of a folder: the rest is done on a thread."""

Owner = tuple[int, int]
"""User and group as chown(2) takes them."""


def path_of(folder: Path, key: AttemptKey, suffix: str) -> str:
    """Return the path of one of an attempt's files."""
    return f"{folder}/{key.run_id}-{plain_task_id(key.task_id)}-{key.number}{suffix}"


def shared_folder(folder: Path) -> Path:
    """Return where the files of attempts lie that run as another user, who may not enter ``folder``."""
    return Path(f"/run/barbossa-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]}")


def write_script(path: str, text: bytes, owner: Owner | None = None, *, mode: int = 0o500) -> None:
    """Make a file that only its owner may read, and execute if ``mode`` says so; raise OSError if it cannot be made."""
    fd = _create(path, mode)
    try:
        if owner is not None:
            os.fchown(fd, *owner)
        view = memoryview(text)
        while view:
            view = view[os.write(fd, view) :]
    finally:
        os.close(fd)


def make_output(path: str, owner: Owner | None) -> None:
    """Make the file for outputs of a task that could not make it: it may not write, or not see, where it is."""
    fd = _create(path, 0o600)
    try:
        if owner is not None:
            os.fchown(fd, *owner)
    finally:
        os.close(fd)


def _create(path: str, mode: int) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, flags, mode)
    except FileExistsError:  # left by a daemon that was killed
        remove(path)
        return os.open(path, flags, mode)


def take_output(path: str, *, keep: bool = False) -> bytes | None:
    """Return what the task wrote, at most a byte more than is allowed, and remove it unless told to keep it.

    The task made the file and may have put anything there: what is not a plain file counts as nothing. Raise OSError,
    having removed nothing, if this process has no descriptors for it.
    """
    if not os.access(path, os.F_OK, follow_symlinks=False):  # as for most tasks; an exception costs as much again
        return None
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in procfs.SHORTAGES:
            raise
        if not keep:
            remove(path)
        return None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        with open(fd, "rb", closefd=False) as file:
            return file.read(OUTPUT_LIMIT + 1) or None
    except OSError:
        return None
    finally:
        os.close(fd)
        if not keep:
            remove(path)


def remove(path: str) -> None:
    """Remove whatever is there; a large folder, which only a task can have made, is out of the way at once."""
    try:
        os.unlink(path)  # noqa: PTH108 (a Path for each task would cost more than the call)
    except IsADirectoryError:
        steps = _removal(path)
        if len(list(itertools.islice(steps, STEPS_AT_ONCE))) == STEPS_AT_ONCE:
            rest = threading.Thread(target=deque, args=(steps, 0), name="task-folder", daemon=True)
            with contextlib.suppress(RuntimeError):  # no thread can be made: the next start goes on
                rest.start()
    except OSError:
        return


def _removal(path: str) -> Iterator[None]:
    """Remove a folder step by step, however deep it is, and never what is mounted there.

    Each folder is moved beside the first before it is emptied: what is mounted cannot be moved.
    """
    folders: list[str] = []
    with contextlib.suppress(OSError):
        folders.append(_moved(path, path))
    while folders:
        with contextlib.suppress(OSError):
            folder = folders.pop()
            with os.scandir(folder) as entries:
                for entry in entries:
                    yield
                    with contextlib.suppress(OSError):
                        if entry.is_dir(follow_symlinks=False):
                            folders.append(_moved(entry.path, path))
                        else:
                            os.unlink(entry.path)  # noqa: PTH108 (as above)
            os.rmdir(folder)  # noqa: PTH106 (as above)


def _moved(folder: str, path: str) -> str:
    """Give a folder a name of its own beside a path, with the ending by which the next start would find it."""
    to = f"{os.path.dirname(path)}/{secrets.token_hex(8)}{os.path.splitext(path)[1]}"  # noqa: PTH120, PTH122 (as above)
    os.rename(folder, to)  # noqa: PTH104 (as above)
    return to


def clear(folder: Path, mode: int = 0o700) -> None:
    """Make the folder, the owner's alone unless ``mode`` says more, and remove what an earlier daemon left in it."""
    folder.mkdir(mode=mode, parents=True, exist_ok=True)
    folder.chmod(mode)
    for entry in folder.iterdir():
        if entry.suffix in {SCRIPT_SUFFIX, OUTPUT_SUFFIX}:
            remove(str(entry))
