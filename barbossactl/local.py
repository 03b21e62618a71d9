"""Ask the daemon's package for what needs no daemon: check workflow files, print the schema of their language.

This command line knows nothing of the language; ``barbossad``, which does, is run as a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from barbossactl import text
from barbossactl.exits import CommandError

_HINT: Final = "install Barbossa's package for this Python, or ask a running daemon: barbossactl validate --daemon FILE"
_FAULTS_FOUND: Final = 2
"""What ``barbossad check`` ends with when it has checked everything and a file is not valid."""


def check(files: Sequence[str]) -> list[dict[str, Any]]:
    """Return for each file whether it is valid, and its faults, each with the line of the file it is in.

    Raise ``CommandError`` if the checker cannot be run.
    """
    found: list[dict[str, Any]] = _run(["check", "--json", "--", *files])["items"]
    return found


def schema() -> dict[str, Any]:
    """Return the JSON Schema of the language. Raise ``CommandError`` if it cannot be had."""
    return _run(["schema"])


def _run(arguments: Sequence[str]) -> dict[str, Any]:
    command = [*_program(), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except OSError as error:
        raise CommandError(f"cannot run {command[0]}: {error.strerror or error}", hint=_HINT) from error
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        answer = {}
    if not answer or done.returncode not in {0, _FAULTS_FOUND}:
        said = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        reason = text.escape_cell(said) if said else f"it ended with {done.returncode}"
        raise CommandError(f"the checker of workflow files, {command[0]}, does not work here: {reason}", hint=_HINT)
    return answer


def _program() -> list[str]:
    """Return the daemon's program: that beside this one, or else the module of this very Python.

    Never what the PATH or the current folder would give: files are checked that came from anywhere, as root too.
    """
    beside = Path(sys.argv[0]).resolve().parent / "barbossad"
    if Path(sys.argv[0]).name == "barbossactl" and beside.is_file() and os.access(beside, os.X_OK):
        return [str(beside)]
    return [sys.executable, "-P", "-m", "barbossad"]
