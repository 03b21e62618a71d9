"""How two texts differ, as people and programs read it."""

from __future__ import annotations

import asyncio
import difflib
from typing import Final

QUICK_CHARACTERS: Final = 16_384
"""Texts up to this are compared at once; longer ones may take seconds, and go to a thread."""


async def difference(before: str, after: str, *, names: tuple[str, str]) -> str:
    """Return the unified diff from one text to another, empty where they are the same."""
    if len(before) + len(after) <= QUICK_CHARACTERS:
        return _unified(before, after, names)
    return await asyncio.to_thread(_unified, before, after, names)


def _unified(before: str, after: str, names: tuple[str, str]) -> str:
    lines = difflib.unified_diff(_lines(before), _lines(after), *names)
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _lines(text: str) -> list[str]:
    """Return the lines with their ends; only a line feed ends one, as in a YAML file and in ``patch``."""
    lines = [f"{line}\n" for line in text.split("\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]
