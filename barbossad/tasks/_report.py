"""How the worker says what became of its task: JSON lines in ``$BARBOSSA_OUTPUT``, written at once, at the end.

::

    {"barbossa_report":1}
    {"output":"waited_seconds","value":10.0}
    {"result":"succeeded"}

A task that failed has ``{"result":"failed","reason":"…"}`` and no outputs. The last line is the evidence: a report
without it counts for nothing, and so does an exit code of 0 without a report. No line of it can be taken for a
``name=value`` of a program's outputs, nor the other way round. Whoever reads one trusts nothing in it: the task's
user may write to the file what it likes.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from barbossad.tasks._api import TaskError

HEADER: Final = {"barbossa_report": 1}
MAX_DEPTH: Final = 32
MAX_REASON_CHARACTERS: Final = 1000
MOST_BROKEN: Final = 200
"""Lines of a report that are masked one by one; a task of ours has not so many outputs."""

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,62}")


class ReportError(ValueError):
    """What stands in the file is no report; the sentence names the line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a task said of itself."""

    outputs: Mapping[str, Any] | None = None
    failure: str | None = None
    """Why it failed; None: it did not say, and its exit code has the word."""

    skipped: str | None = None
    """Why there was nothing to do, if it found that."""

    lack: str | None = None
    """Why its outputs are not known, if it had some that cannot be told."""


def encode(outputs: Mapping[str, Any], limit_bytes: int) -> bytes:
    """Return the report of a success. Raise TaskError if an output has no form in JSON, or all are too large."""
    lines: list[dict[str, Any]] = [HEADER]
    for name, value in outputs.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise TaskError(f"{name!r} cannot be the name of an output")
        line = {"output": name, "value": value}
        try:
            _text([line])
        except (TypeError, ValueError, RecursionError) as error:
            raise TaskError(f"its output {name!r} cannot be written as JSON: {error}") from error
        if _depth(value) > MAX_DEPTH:
            raise TaskError(f"its output {name!r} is nested deeper than {MAX_DEPTH} levels")
        lines.append(line)
    written = _text([*lines, {"result": "succeeded"}])
    if len(written) > limit_bytes:
        raise TaskError(
            f"its outputs are larger than {limit_bytes} bytes; put large data into a file and output its path"
        )
    return written


def is_report(written: bytes) -> bool:
    """Say whether something begins as a report does, whether or not it goes on as one."""
    return written.startswith(_text([HEADER]))


def encode_failure(reason: str) -> bytes:
    """Return the report of a failure, which always fits."""
    return _text([HEADER, {"result": "failed", "reason": sentence(reason)}])


def decode(written: bytes) -> Report:
    """Return what a report says. Raise ReportError if it is none."""
    lines = written.split(b"\n")
    if lines.pop() != b"" or not lines:
        raise ReportError("its last line is not whole")
    if _object(lines, 0) != HEADER:
        raise ReportError("line 1 is not the first line of a report")
    outputs: dict[str, Any] = {}
    for position in range(1, len(lines) - 1):
        line = _object(lines, position)
        name = line.get("output")
        if line.keys() != {"output", "value"} or not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ReportError(f"line {position + 1} is no output")
        if _depth(line["value"]) > MAX_DEPTH:
            raise ReportError(f"line {position + 1} is nested deeper than {MAX_DEPTH} levels")
        outputs[name] = line["value"]
    match _object(lines, len(lines) - 1):
        case {"result": "succeeded"}:
            return Report(outputs=outputs)
        case {"result": "failed", "reason": str(reason)}:
            return Report(failure=sentence(reason))
    raise ReportError("its last line does not say what became of the task")


def masked(written: bytes, mask: Callable[[bytes], bytes]) -> bytes:
    """Return a report in whose values and reasons secrets are masked: its own words and digits may be a password.

    Where that has to be done by hand in more lines than any task of ours writes, it is no report any more.
    """
    lines, told = written.split(b"\n"), mask(written).split(b"\n")
    if len(lines) == len(told):
        broken = [at for at, new in enumerate(told) if new != lines[at] and not _is_like(lines[at], new)]
        for at in broken[:MOST_BROKEN]:
            told[at] = _masked_line(lines[at], told[at], mask)
    return b"\n".join(told)


def _is_like(line: bytes, told: bytes) -> bool:
    """Say whether a line of an output is one still with its stars, of the same name."""
    try:
        before, after = _value(line), _value(told)
    except (ValueError, RecursionError):
        return False
    return all(isinstance(found, dict) and found.keys() == {"output", "value"} for found in (before, after)) and bool(
        before["output"] == after["output"]
    )


def _masked_line(line: bytes, told: bytes, mask: Callable[[bytes], bytes]) -> bytes:
    """Return a line with its secrets masked where they may be; ``told``, masked as bytes, if it is none of ours."""
    try:
        match _value(line):
            case {"barbossa_report": 1, **others} | {"result": "succeeded", **others} if not others:
                return line
            case {"output": str(name), "value": value, **others} if not others and mask(name.encode()) == name.encode():
                return _text([{"output": name, "value": _masked_value(value, mask)}])[:-1]
            case {"result": "failed", "reason": str(reason), **others} if not others:
                return _text([{"result": "failed", "reason": mask(reason.encode()).decode(errors="replace")}])[:-1]
    except (ValueError, RecursionError):
        pass
    return told


def _masked_value(value: Any, mask: Callable[[bytes], bytes]) -> Any:
    """Return a value in whose JSON nothing was found, or with its stars; what is no JSON with them becomes text."""
    text = _text([value])[:-1]
    told = mask(text)
    try:
        return value if told == text else _value(told)
    except ValueError:
        return told.decode(errors="replace")


def sentence(text: str) -> str:
    """Return text as one line that can be shown anywhere, shortened where it is long."""
    line = " ".join(text.split())
    if len(line) > MAX_REASON_CHARACTERS:
        line = line[: MAX_REASON_CHARACTERS - 1] + "…"
    shown = "".join(character if character.isprintable() else repr(character)[1:-1] for character in line)
    return shown or "it gave no reason"


def _text(lines: list[Any]) -> bytes:
    text = "".join(f"{json.dumps(line, ensure_ascii=False, allow_nan=False)}\n" for line in lines)
    return text.encode(errors="backslashreplace")  # half a surrogate pair becomes JSON's own escape of it


def _object(lines: list[bytes], position: int) -> dict[str, Any]:
    try:
        found = _value(lines[position])
    except (ValueError, RecursionError) as error:
        raise ReportError(f"line {position + 1} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise ReportError(f"line {position + 1} is no object")
    return dict(found)


def value_of(text: str) -> Any:
    """Return what a program printed as JSON. Raise ValueError if it is none, or none that can be kept and told."""
    try:
        found = _value(text.encode(errors="surrogatepass"))
    except RecursionError as error:
        raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels") from error
    if _depth(found) > MAX_DEPTH:
        raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels")
    return found


def _value(written: bytes) -> Any:
    found = json.loads(written, parse_float=_number, parse_constant=_number)
    if b"\\ud" in written.lower():  # half a surrogate pair, which no text can hold, goes no further
        found = json.loads(json.dumps(found, ensure_ascii=False).encode(errors="replace"))
    return found


def _number(text: str) -> float:
    """Return a finite number; nothing that others write may turn into what JSON cannot hold."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no number")
    return number


def _depth(value: Any) -> int:
    """Return how deep lists and maps are nested; one more than allowed stands for all that are deeper."""
    depth, level = 0, [value]
    while depth <= MAX_DEPTH:
        nested = [item for item in level if isinstance(item, dict | list | tuple)]
        if not nested:
            return depth
        level = [part for item in nested for part in (item.values() if isinstance(item, dict) else item)]
        depth += 1
    return depth
