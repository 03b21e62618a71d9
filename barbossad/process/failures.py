"""Say in words why a process could not be started."""

from __future__ import annotations

import errno
import os
from enum import IntEnum

HOLDS_NUL = "an argument, or a variable of its environment, holds a NUL character"

_PROGRAM = {
    errno.EACCES: "it is not executable (chmod +x), or lies where programs may not be executed",
    errno.ENOEXEC: "it is not a program: a script needs a first line such as #!/bin/sh",
    errno.EINVAL: HOLDS_NUL,
    errno.E2BIG: "the argument list and the environment are too long together, or one argument is over 128 KiB",
    errno.EAGAIN: "the limit on the number of processes is reached",
    errno.ENOMEM: "there is not enough memory",
    errno.ETXTBSY: "another process has it open for writing",
}
_WORKING_DIR = {
    errno.ENOENT: "it does not exist",
    errno.ENOTDIR: "it is not a directory",
    errno.EACCES: "it may not be entered",
}


class Stage(IntEnum):
    """What failed at a start; the reaper tells it by these numbers (`local/native/protocol.h`)."""

    DESCRIPTORS = 1
    WORKING_DIR = 2
    PROGRAM = 3
    INTERPRETER = 4


def start_failure(stage: Stage, number: int, path: str) -> str:
    """Return the sentence for what failed with an errno at a start, and the path that it concerns."""
    if stage is Stage.WORKING_DIR:
        return f"cannot enter the working directory {path!r}: {_WORKING_DIR.get(number, os.strerror(number))}"
    if stage is Stage.INTERPRETER:
        return f"cannot start {path!r}: the interpreter named in its first line does not exist"
    if stage is Stage.DESCRIPTORS:
        return f"cannot start the process: {os.strerror(number)}"
    if number == errno.ENOENT:
        where = "it does not exist" if "/" in path else "there is no such program on the task's PATH"
        return f"cannot start {path!r}: {where}"
    return f"cannot start {path!r}: {_PROGRAM.get(number, os.strerror(number))}"
