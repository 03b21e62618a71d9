"""Look at a program before it is wrapped in others, so that why it cannot be started is told as without them."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from barbossad.errors import BarbossaError
from barbossad.process import failures, mounts
from barbossad.process.failures import Stage

TOOLS_PATH: Final = "/usr/bin:/bin:/usr/sbin:/sbin:/usr/local/bin"
"""Where the programs are that do the wrapping; never the task's own PATH."""

_MAX_ARGUMENT_BYTES: Final = 128 * 1024  # MAX_ARG_STRLEN, execve(2)


class StartFailureError(BarbossaError):
    """A task cannot be started; the sentence says why."""


def tool(name: str) -> str | None:
    """Return the path of a program that confines others, None where it is not installed."""
    return shutil.which(name, path=TOOLS_PATH)


def find(argv: Sequence[str], env: Mapping[str, str], working_dir: str) -> str:
    """Return the path of the program of ``argv``, found as the reaper finds it: with the task's PATH and folder.

    Raise StartFailureError if it could not be started. A working directory that there is not is left to it, and so
    is what may keep whoever looks at it waiting.
    """
    name = argv[0]
    if mounts.may_wait(working_dir) or not Path(working_dir).is_dir():
        return name
    for argument in argv:
        if "\0" in argument:
            raise _failure(errno.EINVAL, name)
        if len(argument.encode(errors="surrogateescape")) >= _MAX_ARGUMENT_BYTES:
            raise _failure(errno.E2BIG, name)
    path = name if "/" in name else _on_path(name, env, working_dir)
    if mounts.may_wait(path, working_dir):
        return path
    full = Path(working_dir, path)
    if not full.exists():
        raise _failure(errno.ENOENT, path)
    if full.is_dir() or not os.access(full, os.X_OK):
        raise _failure(errno.EACCES, path)
    _check_form(path, full)
    return path


def _on_path(name: str, env: Mapping[str, str], working_dir: str) -> str:
    denied = ""
    for folder in env.get("PATH", os.defpath).split(":"):
        path = f"{folder or '.'}/{name}"
        if mounts.may_wait(path, working_dir):
            return name
        full = Path(working_dir, path)
        if full.is_file():
            if os.access(full, os.X_OK):
                return path
            denied = denied or path
    raise _failure(errno.EACCES, denied) if denied else _failure(errno.ENOENT, name)


def _check_form(path: str, full: Path) -> None:
    """Refuse what the kernel would not execute: execvp(3), which the wrappers use, would give it to a shell."""
    try:
        with full.open("rb") as file:
            head = file.read(256)
    except OSError:
        return  # it may be executed and not read
    if head.startswith(b"#!"):
        interpreter = head[2:].split(b"\n", 1)[0].split()
        if not interpreter or not Path(os.fsdecode(interpreter[0])).exists():
            raise _failure(errno.ENOENT, path, stage=Stage.INTERPRETER)
    elif not head.startswith(b"\x7fELF"):
        raise _failure(errno.ENOEXEC, path)


def _failure(number: int, path: str, *, stage: Stage = Stage.PROGRAM) -> StartFailureError:
    return StartFailureError(failures.start_failure(stage, number, path))
