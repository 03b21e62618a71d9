"""Write the paths of a task as systemd takes them, which refuses '..', without changing where they lead.

What stands before '..' is followed first: behind a link it has another parent than the link.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Final

from barbossad.process import mounts
from barbossad.process.launcher import LaunchSpec
from barbossad.process.programs import StartFailureError
from barbossad.process.systemd import unit_reasons

_LONGEST_NAME: Final = 255
_LONGEST_PATH: Final = 4095
"""What the kernel takes, and so systemd; in bytes."""


def folder(spec: LaunchSpec) -> str:
    """Return the working directory. Raise StartFailureError if it leads nowhere, or nobody here can tell where."""
    try:
        return settled(spec.working_dir)
    except OSError as error:
        what = f"cannot enter the working directory {spec.working_dir!r}"
        raise StartFailureError(f"{what}: {_reason(unit_reasons.FOLDER, spec, error)}") from error


def program(spec: LaunchSpec, name: str) -> str:
    """Return the path of a program, found from the working directory as a shell would; a mere name stays one.

    Raise StartFailureError as ``folder``.
    """
    if "/" not in name:
        return name
    try:
        return settled(f"{spec.working_dir}/{name}" if not name.startswith("/") else name)
    except OSError as error:
        raise StartFailureError(f"cannot start {name!r}: {_reason(unit_reasons.PROGRAM, spec, error)}") from error


def search_path(value: str) -> list[str]:
    """Return the absolute folders of a PATH; those that lead nowhere are left out."""
    found = []
    for entry in value.split(":"):
        if entry.startswith("/"):
            try:
                found.append(settled(entry))
            except OSError:
                continue
    return found


def settled(path: str) -> str:
    """Return an absolute path without '.', '..' and empty parts that leads where it did. Raise OSError."""
    found = Path("/")
    if len(os.fsencode(path)) > _LONGEST_PATH or any(
        len(os.fsencode(part)) > _LONGEST_NAME for part in path.split("/")
    ):
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
    for part in path.split("/"):
        if part == "..":
            if mounts.may_wait(str(found)):
                raise OSError(errno.EAGAIN, "its file system may keep the daemon waiting")
            real = found.resolve(strict=True)
            os.stat(f"{real}/.")  # noqa: PTH116 (a Path drops the dot, which makes it an error where that is no folder)
            found = real.parent
        elif part not in {"", "."}:
            found /= part
    return str(found)


def _reason(status: int, spec: LaunchSpec, error: OSError) -> str:
    if error.errno == errno.ENAMETOOLONG:
        return "the path, or a name in it, is too long"
    known = unit_reasons.established(status, spec)
    return known or f"what '..' leads to cannot be told from here ({error.strerror}); write the path without it"
