"""Turn ``-p name=value`` and parameter files into the ``params`` of a run."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from barbossactl.exits import CommandError, Exit
from barbossad import wire

_DURATION: Final = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?")


def gather(pairs: Iterable[str], file: str | None, option: str = "-p") -> dict[str, Any]:
    """Return the params: those of the JSON ``file`` (``-``: stdin), then those of ``pairs`` over them.

    A value goes as the string it is, since the workflow says which type it has; ``name:=JSON`` sends
    the value that the JSON means. Raise ``CommandError`` (usage) for what is neither.
    """
    found = _read_file(file) if file is not None else {}
    named: set[str] = set()
    for pair in pairs:
        name, value = _split(pair, option)
        if name in named:
            raise CommandError(f"the parameter {name!r} is given twice", exit_code=Exit.USAGE)
        named.add(name)
        found[name] = value
    return found


def seconds(duration: str) -> float:
    """Return a duration as the workflow language writes it (``90``, ``90s``, ``5m``, ``1h30m``, ``2d``) in seconds.

    Raise ``CommandError`` (usage) for anything else.
    """
    found = _DURATION.fullmatch(duration)
    if found is None or not duration:
        raise CommandError(
            f"{duration!r} is not a duration", hint="for example: 90, 90s, 5m, 1h30m, 2d", exit_code=Exit.USAGE
        )
    units = (86400, 3600, 60, 1)
    return sum(float(amount) * unit for amount, unit in zip(found.groups(), units, strict=True) if amount)


class FileError(CommandError):
    """A file cannot be read; ``reason`` says why to who sees its name already."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message, exit_code=Exit.USAGE)
        self.reason = reason


def read_text(file: str) -> str:
    """Return the text of a file, ``-`` being stdin. Raise ``FileError`` if it cannot be read."""
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        why = error.strerror or error
        raise FileError(f"cannot read {file}: {why}", f"cannot be read: {why}") from error
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        why = f"is not UTF-8 (byte {error.start})"
        raise FileError(f"{file} {why}", f"it {why}") from error


def _split(pair: str, option: str) -> tuple[str, Any]:
    name, equals, value = pair.partition("=")
    is_json = name.endswith(":")
    name = name.removesuffix(":")
    if not equals or not name:
        raise CommandError(
            f"{option} takes name=value or name:=JSON, not {pair!r}",
            hint=f"for example: {option} keep_days=3",
            exit_code=Exit.USAGE,
        )
    _require_text(name, f"the name {name!r} of {option}")
    _require_text(value, f"the value of {option} {name}")
    return name, _parse_json(value, f"the value of {option} {name}") if is_json else value


def _read_file(file: str) -> dict[str, Any]:
    value = _parse_json(read_text(file), file)
    if not isinstance(value, dict):
        raise CommandError(f"{file} holds no JSON object", hint='it looks like {"name": value}', exit_code=Exit.USAGE)
    return value


def _parse_json(document: str, subject: str) -> Any:
    """Parse JSON as strictly as the daemon does, so that nothing of a value is lost or changed on the way to it."""
    try:
        return wire.decode(document.encode())
    except wire.WireError as error:
        reason, hint = str(error), ""
        if "surrogate" in reason:
            reason = "no text: it holds half a surrogate pair"
            hint = 'write the character itself, or both halves of it: "\\ud83d\\ude00"'
        raise CommandError(f"{subject} is {reason}", hint=hint, exit_code=Exit.USAGE) from error


def _require_text(word: str, subject: str) -> None:
    """Refuse bytes that are no UTF-8, which Python hands over as halves of surrogate pairs."""
    try:
        word.encode()
    except UnicodeEncodeError as error:
        byte = word[error.start].encode(errors="surrogateescape")
        raise CommandError(
            f"{subject} is not UTF-8: it holds the byte 0x{byte.hex()}",
            hint="write it in UTF-8; a file whose name is no UTF-8 needs another name, or a link that has one",
            exit_code=Exit.USAGE,
        ) from error
