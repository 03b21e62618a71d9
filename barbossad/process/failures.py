"""Say in words why a process could not be started."""

from __future__ import annotations

import errno
import os

_PROGRAM = {
    errno.EACCES: "it is not executable (chmod +x), or lies where programs may not be executed",
    errno.ENOEXEC: "it is not a program: a script needs a first line such as #!/bin/sh",
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


def start_failure(stage: str, number: int, path: str, message: str) -> str:
    """Return the sentence for a fault that the reaper told of (``FAILED`` in its docstring)."""
    if stage == "working_dir":
        return f"cannot enter the working directory {path!r}: {_WORKING_DIR.get(number, os.strerror(number))}"
    if stage == "interpreter":
        return f"cannot start {path!r}: the interpreter named in its first line does not exist"
    if stage == "program":
        if number == errno.ENOENT:
            where = "it does not exist" if "/" in path else "there is no such program on the task's PATH"
            return f"cannot start {path!r}: {where}"
        if number == errno.EINVAL:
            return f"cannot start {path!r}: {message}"
        return f"cannot start {path!r}: {_PROGRAM.get(number, os.strerror(number))}"
    return f"cannot start the process: {message}"
