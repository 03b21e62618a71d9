"""What the kernel tells of a unit's control group: whether something lives in it, and what it cost. Read only.

Source: Documentation/admin-guide/cgroup-v2.rst of the kernel.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from barbossad.errors import UnavailableError
from barbossad.process import shortage

SLICE: Final = "barbossa.slice"
"""Holds the units of all tasks."""

_HIERARCHIES: Final = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd")


def path_of(unit: str) -> Path | None:
    """Return the control group of a unit in our slice, None if it has none (any more)."""
    for hierarchy in _HIERARCHIES:
        path = Path(hierarchy, SLICE, unit)
        if path.exists():
            return path
    return None


def is_populated(unit: str) -> bool:
    """Say whether a process of a unit lives, in a control group within its own too.

    Raise OSError if that cannot be told, for want of descriptors: nothing is taken for gone that was not looked at.
    """
    group = path_of(unit)
    if group is None:
        return False
    try:
        words = (group / "cgroup.events").read_text().split()
        return words[words.index("populated") + 1] == "1"
    except (OSError, ValueError) as error:
        _check_seen(error)
        return any(_has_members(Path(folder)) for folder, _, _ in os.walk(group, onerror=_check_seen))


async def is_surely_populated(unit: str) -> bool:
    """Say whether a process of a unit lives, as soon as there are descriptors to look with."""
    while True:
        try:
            return is_populated(unit)
        except OSError as error:
            if not shortage.is_one(error):
                raise
        await asyncio.sleep(shortage.RETRY_SECONDS)


def peak_memory_bytes(unit: str) -> int | None:
    """Return the most memory that a unit has used so far; None where the kernel does not count it."""
    group = path_of(unit)
    try:
        return int((group / "memory.peak").read_text()) if group else None
    except (OSError, ValueError):
        return None


def refuse_units(units: Iterable[str]) -> None:
    """Raise UnavailableError if one of the units lives: without systemd nobody can adopt or end it."""
    alive = [unit for unit in units if is_populated(unit)]
    if alive:
        raise UnavailableError(
            f"tasks of an earlier daemon run in units of systemd: {', '.join(alive[:5])}; a daemon adopts them that is "
            "a service of systemd, and whose config does not say tasks: {launcher: local}; or stop the units"
        )


def _has_members(group: Path) -> bool:
    try:
        return bool((group / "cgroup.procs").read_text().strip())
    except OSError as error:
        _check_seen(error)
        return False


def _check_seen(error: Exception) -> None:
    """Raise an error that says nothing of what was looked at."""
    if shortage.is_one(error):
        raise error
