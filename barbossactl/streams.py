"""Standard streams that were closed before the program began (``>&-``, or a parent that has none), or take no more."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class OutputError(OSError):
    """Standard output takes no more: a full disk, say. Any other OSError is about something else."""


class _Output(io.FileIO):
    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(error.errno, error.strerror) from error


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


def watch_output() -> None:
    """Let stdout raise ``OutputError`` wherever it takes no more, and hold whatever a terminal or a file can show."""
    before = sys.stdout
    before.flush()
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_Output(before.fileno(), "w", closefd=False)),
        encoding=before.encoding,
        errors="backslashreplace",
        line_buffering=bool(before.line_buffering),
    )


def abandon(stream: TextIO) -> None:
    """Let what is not written yet, and what follows, go nowhere; or else the interpreter's last flush would fail."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
