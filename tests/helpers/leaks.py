"""Find what a test leaves behind in this process: open files, child processes, tasks of the event loop."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SETTLE_SECONDS: Final = 20.0
"""How long what is on its way out (a thread that closes its file, a child that is being reaped) may take."""

_PAUSE_SECONDS: Final = 0.01


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What this process had open, and which children, at one moment."""

    files: frozenset[str]
    children: frozenset[int]


def snapshot() -> Snapshot:
    """Look at this process now."""
    return Snapshot(frozenset(_open_files()), frozenset(_children()))


def leaks_since(before: Snapshot) -> list[str]:
    """Return in words what is there now and was not before; what is on its way out is given a moment."""
    return _settled(lambda: _differences(before))


def leaked_tasks(expected: Iterable[asyncio.Task[object]] = ()) -> list[str]:
    """Return the tasks of the running loop that have not ended, but for the current one and the expected."""
    known = {asyncio.current_task(), *expected}
    return [f"asyncio task {task.get_name()}: {task}" for task in asyncio.all_tasks() - known if not task.done()]


def _settled(look: Callable[[], list[str]]) -> list[str]:
    found = look()
    deadline = time.monotonic() + SETTLE_SECONDS
    while found and time.monotonic() < deadline:
        gc.collect()  # what a thread held to its end is garbage from then on
        if found := look():
            time.sleep(_PAUSE_SECONDS)
    return found


def _differences(before: Snapshot) -> list[str]:
    now = snapshot()
    return [f"open file {name}" for name in sorted(now.files - before.files)] + [
        f"child process {pid} ({_command(pid)})" for pid in sorted(now.children - before.children)
    ]


def _open_files() -> list[str]:
    """Return descriptors with what they are open on; the one that reads the folder is gone when it is looked at."""
    found = []
    for number in os.listdir("/proc/self/fd"):  # noqa: PTH208 (called for every test)
        try:
            found.append(f"{number} {os.readlink(f'/proc/self/fd/{number}')}")  # noqa: PTH115
        except OSError:
            continue
    return found


def _children() -> list[int]:
    found: list[int] = []
    for thread in os.listdir("/proc/self/task"):  # noqa: PTH208
        try:
            found.extend(map(int, Path(f"/proc/self/task/{thread}/children").read_bytes().split()))
        except OSError:  # the thread ended
            continue
    return found


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip() or "dead"
    except OSError:
        return "gone"
