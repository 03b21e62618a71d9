"""Find and end the processes of attempts whose reaper is gone; blocking, meant for a thread."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from barbossad.errors import UnavailableError
from barbossad.process import procfs
from barbossad.process.local.supervisor import PROGRAM_NAME

REAPER_SECONDS: Final = 10.0
"""How long an earlier reaper, which saw its daemon die, may go on cleaning up by itself."""

KILL_SECONDS: Final = 10.0
"""How long what was sent SIGKILL may take to go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """How the processes are known: by tags up to ``tag``, by marker, by a first process (pid to start in ticks).

    What is below the processes ``spared`` is not theirs.
    """

    tag: int
    markers: Collection[str]
    firsts: Mapping[int, int]
    spared: Collection[int] = ()


def end(traces: Traces) -> None:
    """Return when nothing of them is left; raise UnavailableError if something cannot be killed.

    A look at all processes may take long itself, where there are ten thousands: time is given from the first kill.
    """
    start = time.monotonic()
    killed_at: float | None = None
    while True:
        reapers, tasks = _find(traces)
        if not reapers and not tasks:
            return
        waited = time.monotonic() - start
        if reapers and waited < REAPER_SECONDS:
            _wait(reapers, REAPER_SECONDS - waited)  # it knows them better
            continue
        for pid, start_ticks in (reapers | tasks).items():
            procfs.signal_checked(pid, start_ticks, (signal.SIGKILL,))
        if killed_at is None:
            killed_at = time.monotonic()
        elif time.monotonic() - killed_at > KILL_SECONDS:
            pids = ", ".join(str(pid) for pid in sorted(reapers | tasks))
            raise UnavailableError(f"processes that an earlier daemon left cannot be killed: pid {pids}")
        _wait(reapers | tasks, 0.5)


def _find(traces: Traces) -> tuple[dict[int, int], dict[int, int]]:
    """Return earlier reapers, and processes of the attempts, each with its start in ticks."""
    found = {pid: stat for pid in procfs.all_pids() if (stat := procfs.stat(pid))}
    reaper_words = (PROGRAM_NAME.encode(), str(traces.tag).encode())
    reapers: dict[int, int] = {}
    tasks: dict[int, int] = {}
    for pid, stat in found.items():
        if pid == os.getpid() or _is_below(pid, traces.spared, found):
            continue
        words = procfs.read(f"{pid}/cmdline").split(b"\0")
        if _is_of(pid, stat, traces, found):  # be it that it waits to become a task's and has the reaper's words still
            group = tasks
        elif all(word in words for word in reaper_words):
            group = reapers
        else:
            continue
        if not stat.is_dead:
            group[pid] = stat.start_ticks
        elif stat.parent == os.getpid():
            _bury(pid)
    return reapers, tasks


def _is_of(pid: int, stat: procfs.Stat, traces: Traces, found: Mapping[int, procfs.Stat]) -> bool:
    if 0 < traces.tag - procfs.tag(pid) < procfs.TAG_SERIALS:
        return True
    if procfs.marker(pid) in traces.markers:
        return True
    ticks = traces.firsts.get(stat.session)
    leader = found.get(stat.session)
    return ticks is not None and leader is not None and leader.start_ticks == ticks


def _is_below(pid: int, roots: Collection[int], found: Mapping[int, procfs.Stat]) -> bool:
    seen = 0
    while pid in found and seen < len(found):
        if pid in roots:
            return True
        pid = found[pid].parent
        seen += 1
    return False


def _wait(pids: Collection[int], seconds: float) -> None:
    """Wait until one of the processes is gone."""
    poll = select.poll()
    handles = []
    try:
        for pid in pids:
            try:
                handles.append(os.pidfd_open(pid))
            except OSError:
                continue
            poll.register(handles[-1], select.POLLIN)
        if handles:
            poll.poll(seconds * 1000)
    finally:
        for handle in handles:
            os.close(handle)


def _bury(pid: int) -> None:
    """Wait for a dead process that fell to the caller when its reaper died."""
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
