"""Write a draft as the YAML that a person would have written."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from barbossad.importing.command import literal
from barbossad.importing.draft import Draft

_STEP: Final = "  "
_MOST_FLOW_CHARACTERS: Final = 100
"""A list of texts that is longer has a line for each."""

_PLAIN: Final = re.compile(r"(?:-{0,2}[A-Za-z/](?:[A-Za-z0-9_./@=+ -]*[A-Za-z0-9_./@=+-])?|(?:\d+(?:d|h|m|s|ms))+)")
"""Text that needs no quotes, unless it is one of ``_WORDS``."""

_PLAIN_LINE: Final = re.compile(r"[A-Za-z/](?:[^\n:#,\[\]{}\"'&*!|>%`\\]|:(?! )(?!$)|(?<! )#|[,\[\]{}\"'&*!|>%`\\])*")
_WORDS: Final = frozenset({"yes", "no", "on", "off", "y", "n", "true", "false", "null", "nan", "inf"})


def text_of(draft: Draft) -> str:
    """Return the file of a draft."""
    lines = [f"# From {_printable(draft.source)}"]
    lines += [f"#   {_printable(line)}" for line in draft.origin]
    lines.append(f"name: {_scalar(draft.name)}")
    if draft.description:
        lines.append(f"description: {_scalar(draft.description)}")
    lines.append("schedules:")
    for entry in draft.schedules:
        lines += _item(_with_remarks(entry, draft.remarks))
    if draft.env:
        lines.append("env:")
        lines += _indented(_keys({name: literal(value) for name, value in draft.env.items()}))
    lines.append("tasks:")
    lines += _item(_with_remarks(draft.task, draft.remarks))
    return "\n".join(lines) + "\n"


def flow(value: object) -> str:
    """Return a value on one line: ``{cron: "0 2 * * *", at: [a, b]}``."""
    if isinstance(value, Mapping):
        return (
            "{" + ", ".join(f"{_scalar(name, is_in_flow=True)}: {flow(inner)}" for name, inner in value.items()) + "}"
        )
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow, value)) + "]"
    return _scalar(value, is_in_flow=True)


def _with_remarks(entry: Mapping[str, Any], remarks: Mapping[str, str]) -> Iterator[str]:
    for name, value in entry.items():
        *before, last = _key(name, value)
        yield from before
        yield f"{last}  # {remarks[name]}" if name in remarks and value is not None else last


def _item(lines: Iterator[str]) -> Iterator[str]:
    """Yield lines as an item of a list that is indented once."""
    for number, line in enumerate(lines):
        yield f"{_STEP}{'- ' if number == 0 else _STEP}{line}" if line else ""


def _indented(lines: Iterator[str]) -> Iterator[str]:
    return (f"{_STEP}{line}" if line else "" for line in lines)


def _keys(values: Mapping[str, Any]) -> Iterator[str]:
    for name, value in values.items():
        yield from _key(name, value)


def _key(name: str, value: Any) -> Iterator[str]:
    key = _scalar(name, is_in_flow=True)
    if isinstance(value, str) and _is_block(value):
        yield f"{key}: |" + ("" if value.endswith("\n") else "-")
        yield from _indented(iter(value.removesuffix("\n").split("\n")))
    elif isinstance(value, Mapping) and (any(_is_long(inner) for inner in value.values()) or _is_wide(value)):
        yield f"{key}:"
        yield from _indented(_keys(value))
    elif isinstance(value, Sequence) and not isinstance(value, str) and _is_wide(value):
        yield f"{key}:"
        yield from (f"{_STEP}- {_scalar(item)}" for item in value)
    else:
        yield f"{key}: {flow(value) if isinstance(value, Mapping | list | tuple) else _scalar(value)}"


def _is_wide(value: object) -> bool:
    return len(flow(value)) > _MOST_FLOW_CHARACTERS


def _is_long(value: object) -> bool:
    """Say whether a value of a map asks for a line of its own."""
    return isinstance(value, str) and (_is_block(value) or " " in value)


def _is_block(text: str) -> bool:
    """Say whether a text of several lines can stand as it is: nothing that YAML would change, or eyes not see."""
    lines = text.removesuffix("\n").split("\n")
    return (
        "\n" in text
        and not text.endswith("\n\n")
        and bool(lines[0])
        and not lines[0].startswith((" ", "\t"))
        and all(line.replace("\t", " ").isprintable() and not line.endswith((" ", "\t")) for line in lines)
    )


def _scalar(value: object, *, is_in_flow: bool = False) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return json.dumps(value)
    is_plain = bool(_PLAIN.fullmatch(value) or (not is_in_flow and _PLAIN_LINE.fullmatch(value)))
    is_plain = is_plain and value.isprintable() and value == value.strip() and value.lower() not in _WORDS
    return value if is_plain else _quoted(value)


def _quoted(text: str) -> str:
    """Return a text in double quotes, as JSON and YAML both have it; what is not seen is escaped."""
    return "".join(
        character if character.isprintable() or ord(character) < 0x20 else _escape(character)
        for character in json.dumps(text, ensure_ascii=False)
    )


def _escape(character: str) -> str:
    number = ord(character)
    return f"\\U{number:08x}" if number > 0xFFFF else f"\\u{number:04x}"


def _printable(text: str) -> str:
    """Return a text for a comment, which is one line."""
    return "".join(
        character if character.isprintable() else " " if character == "\t" else _escape(character) for character in text
    )
