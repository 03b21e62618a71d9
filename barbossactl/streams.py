"""Standard streams that were closed before the program began (``>&-``, or a parent that has none), or take no more."""

from __future__ import annotations

import os
import sys
from typing import TextIO


def open_closed() -> None:
    """Let each standard stream that is closed be as ``/dev/null``; call it before anything else is opened.

    What is opened next would take its number otherwise, a connection for instance, and be written into.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is not None:
            continue
        nowhere = os.open(os.devnull, os.O_RDWR)
        if nowhere != number:
            os.dup2(nowhere, number)
            os.close(nowhere)
        os.set_inheritable(number, True)
        setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115 (a number; for good)


def abandon(stream: TextIO) -> None:
    """Let what is not written yet, and what follows, go nowhere; or else the interpreter's last flush would fail."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
