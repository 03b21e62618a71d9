"""Check workflow files without a daemon: for ``barbossad check``, and through it for ``barbossactl validate``."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from barbossad.errors import Fault
from barbossad.tasks import _registry as tasks
from barbossad.workflows.loader import Loader
from barbossad.workflows.schema import json_schema

STDIN: Final = "-"
LONGEST_SHOWN_LINE: Final = 500
"""Of a longer line no fault is shown in its place: a terminal has no room for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """One file, everything that is wrong with it, and its lines."""

    file: str
    faults: tuple[Fault, ...]
    lines: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return what ``workflow.validate`` answers, with the file and the line of each fault."""
        faults = [{**fault.as_dict(), "source": self._source(fault)} for fault in self.faults]
        return {"file": self.file, "valid": not faults, "faults": faults}

    def _source(self, fault: Fault) -> str | None:
        if fault.line is None or fault.line > len(self.lines):
            return None
        line = self.lines[fault.line - 1]
        return line if len(line) <= LONGEST_SHOWN_LINE else None


def check(files: Iterable[str]) -> list[Checked]:
    """Return what is wrong with each file, ``-`` being stdin, in the order in which they are named."""
    loader = Loader(tasks.load())
    return [_check(loader, file) for file in files]


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a workflow file with the task types that are installed here."""
    return json_schema(tasks.load())


def _check(loader: Loader, file: str) -> Checked:
    try:
        content = sys.stdin.buffer.read() if file == STDIN else Path(file).read_bytes()
    except OSError as error:
        return _unread(file, None, f"cannot be read: {error.strerror or error}")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        return _unread(file, content.count(b"\n", 0, error.start) + 1, "is not UTF-8", "save the file as UTF-8")
    return Checked(file=file, faults=tuple(loader.check(text)), lines=tuple(text.split("\n")))


def _unread(file: str, line: int | None, message: str, hint: str = "") -> Checked:
    return Checked(file=file, faults=(Fault(line=line, column=line and 1, path="", message=message, hint=hint),))
