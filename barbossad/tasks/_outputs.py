"""Read what a task wrote to ``$BARBOSSA_OUTPUT``.

A program writes ``name=value`` lines and ``name<<END`` … ``END`` blocks, the worker a report; the task's type says
which is to be expected.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from barbossad.process.launcher import OUTPUT_LIMIT, ProcessEnd
from barbossad.tasks import _guard
from barbossad.tasks import _report as reports
from barbossad.tasks._report import Report
from barbossad.tasks._types import TaskType
from barbossad.validation import shown
from barbossad.workflows import absent

_LINE: Final = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_-]{0,62})(?P<sign>=|<<)(?P<rest>.*)", flags=re.DOTALL)
_SAYS_HOW: Final = "write name=value, or name<<END, lines, END"


class OutputsError(ValueError):
    """What a task wrote cannot be read as outputs; the sentence names the line."""


def reader(task_types: Mapping[str, TaskType]) -> Callable[[str, ProcessEnd], Report]:
    """Return what reads the outputs of a task of a named type whose process has exited."""

    def read(name: str, end: ProcessEnd) -> Report:
        skipped = _guard.verdict(end.output) if end.exit_code == 0 else None
        if skipped is not None:
            return Report(skipped=skipped)
        task_type = task_types.get(name)
        if task_type is None:
            return of_absent(name, end)
        return of_worker(end) if task_type.is_worker else of_program(end)

    return read


def masked(written: bytes, mask: Callable[[bytes], bytes]) -> bytes:
    """Return what a task wrote without secrets: as bytes, but for the words that we wrote ourselves."""
    if _guard.verdict(written) is not None:
        return written
    return reports.masked(written, mask) if reports.is_report(written) else mask(written)


def of_absent(name: str, end: ProcessEnd) -> Report:
    """Return the outputs of a task whose type went away while it ran: it may have been a worker or a program.

    No report can be taken for outputs of a program, nor the other way round. Where there is nothing, nobody knows
    whether there had to be a report.
    """
    if end.exit_code == 0 and not end.output:
        return Report(failure=f"it exited with 0 and reported nothing, which may be a failure: {absent.words(name)}")
    return of_worker(end) if reports.is_report(end.output or b"") else of_program(end)


def of_program(end: ProcessEnd) -> Report:
    """Return the outputs of a program: they count only if it exits with 0, and can be read."""
    if end.exit_code != 0 or end.output is None:
        return Report()
    try:
        return Report(outputs=parse(end.output))
    except OutputsError as error:
        return Report(failure=f"its outputs cannot be read: {error}")


def of_worker(end: ProcessEnd) -> Report:
    """Return what a worker reported; without a report nothing has succeeded, whatever the exit code."""
    try:
        if end.output is None:
            raise reports.ReportError("there is none")
        if len(end.output) > OUTPUT_LIMIT:
            raise reports.ReportError(f"it is larger than {OUTPUT_LIMIT} bytes")
        return reports.decode(end.output)
    except ValueError as error:
        if end.exit_code != 0:
            return Report()
        return Report(failure=f"it exited with 0 but its report cannot be read: {error}")


def parse(written: bytes) -> dict[str, str]:
    """Return the outputs by name; a name that is written again has its last value. Raise OutputsError.

    Bytes that are not UTF-8 are kept as escapes. Only newlines end lines.
    """
    if len(written) > OUTPUT_LIMIT:
        raise OutputsError(f"they are larger than {OUTPUT_LIMIT} bytes; put large data into a file and output its path")
    lines = written.decode(errors="backslashreplace").split("\n")
    if lines[-1] == "":
        lines.pop()
    outputs: dict[str, str] = {}
    numbered = enumerate(lines, start=1)
    for number, line in numbered:
        if not line.strip():
            continue
        match = _LINE.fullmatch(line)
        if not match:
            raise OutputsError(f"line {number} is no output: {shown(line)}; {_SAYS_HOW}")
        value = match["rest"]
        if match["sign"] == "<<":
            if not value:
                raise OutputsError(f"line {number} names no word that ends {match['name']!r}; {_SAYS_HOW}")
            block: list[str] = []
            for _, inner in numbered:
                if inner == value:
                    break
                block.append(inner)
            else:
                raise OutputsError(f"the block of {match['name']!r} from line {number} on has no {value!r} at its end")
            value = "\n".join(block)
        outputs[match["name"]] = value
    return outputs
