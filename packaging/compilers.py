"""Find a C compiler that works: the host's own, or one from the package index."""

from __future__ import annotations

import functools
import importlib.util
import os
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

PACKAGE = "ziglang>=0.13"
"""A C compiler as a wheel of some 100 MB; it is gone when the build is over."""

NATIVE_NAMES = ("cc", "gcc", "clang")
REMEDY = "install a C compiler (on Debian: apt-get install gcc libc6-dev)"

_PROBE = '#include <stdio.h>\nint main(void) { return puts("works") < 0; }\n'


@functools.cache
def of_host() -> tuple[str, ...] | None:
    """Return the command of the first compiler on this host that works: `$CC`, where that is set, or a usual name."""
    named = (os.environ["CC"],) if os.environ.get("CC") else NATIVE_NAMES
    return next((command for name in named if works(command := tuple(shlex.split(name)))), None)


def works(command: tuple[str, ...]) -> bool:
    """Say whether a compiler is there, with the headers of the C library, and makes a program that runs."""
    if not command or shutil.which(command[0]) is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder, "probe.c"), Path(folder, "probe")
        source.write_text(_PROBE)
        made = subprocess.run([*command, str(source), "-o", str(program)], capture_output=True, check=False)
        if made.returncode:
            return False
        try:
            return subprocess.run([str(program)], capture_output=True, check=False).stdout == b"works\n"
        except PermissionError:  # a folder from which nothing may be executed says nothing of the compiler
            return bool(program.stat().st_mode & stat.S_IXUSR)
        except OSError:
            return False


def command_and_environment(scratch: Path) -> tuple[list[str], dict[str, str]]:
    """Return how to compile, and what is added to the environment; what the compiler keeps goes to ``scratch``.

    Raise RuntimeError, saying what to do, if there is no compiler.
    """
    host = of_host()
    if host is not None:
        return list(host), {}
    if importlib.util.find_spec("ziglang") is None:
        raise RuntimeError(f"there is no C compiler that works: {REMEDY}, or build with pip, which fetches one")
    caches = dict.fromkeys(("ZIG_GLOBAL_CACHE_DIR", "ZIG_LOCAL_CACHE_DIR"), str(scratch))
    return [sys.executable, "-m", "ziglang", "cc", "-mcpu=baseline", "-s"], caches  # not for this very processor
