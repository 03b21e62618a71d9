"""Read what a program and its helpers cost, from /proc. Source: proc(5)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psutil

KIB = 1024

Thread = tuple[int, int]
"""A process id and a thread id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What a process and all its descendants hold.

    ``resident_mb`` counts a page that two processes share twice, ``proportional_mb`` (PSS) once.
    """

    processes: int
    resident_mb: float
    proportional_mb: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ThreadUse:
    """What one thread has used since it started. A wake-up is a voluntary context switch."""

    name: str
    cpu_seconds: float
    wake_ups: int


def tree(pid: int) -> list[int]:
    """Return ``pid`` and all its descendants."""
    return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]


def memory(pid: int) -> Memory:
    """Return what ``pid`` and its descendants hold."""
    found = [_fields(Path(f"/proc/{process}/smaps_rollup")) for process in tree(pid)]
    return Memory(
        processes=len(found),
        resident_mb=sum(fields["Rss"] for fields in found) * KIB / 1e6,
        proportional_mb=sum(fields["Pss"] for fields in found) * KIB / 1e6,
    )


def threads(pid: int) -> dict[Thread, ThreadUse]:
    """Return the use of every thread of ``pid`` and of its descendants."""
    found: dict[Thread, ThreadUse] = {}
    for process in tree(pid):
        command = Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        for folder in Path(f"/proc/{process}/task").iterdir():
            thread = int(folder.name)
            part = "main thread" if thread == process else f"thread {thread - process}"
            found[process, thread] = ThreadUse(
                name=f"{part} of {process}: {command[:80]}",
                cpu_seconds=int((folder / "schedstat").read_text().split()[0]) / 1e9,
                wake_ups=_fields(folder / "status")["voluntary_ctxt_switches"],
            )
    return found


def used_between(before: dict[Thread, ThreadUse], after: dict[Thread, ThreadUse]) -> tuple[float, int]:
    """Return the CPU seconds and the wake-ups of all threads; one that is new counts from its start."""
    cpu_seconds, wake_ups = 0.0, 0
    for thread, now in after.items():
        then = before.get(thread)
        cpu_seconds += now.cpu_seconds - (then.cpu_seconds if then else 0.0)
        wake_ups += now.wake_ups - (then.wake_ups if then else 0)
    return cpu_seconds, wake_ups


def open_files(pid: int) -> int:
    """Return how many file descriptors ``pid`` and its descendants hold."""
    return sum(len(list(Path(f"/proc/{process}/fd").iterdir())) for process in tree(pid))


def _fields(path: Path) -> dict[str, int]:
    """Return the numeric fields of a file of ``Name: number [kB]`` lines."""
    found = {}
    for line in path.read_text().splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if words and words[0].isdigit():
            found[name] = int(words[0])
    return found
