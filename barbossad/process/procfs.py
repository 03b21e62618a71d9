"""Ask /proc about processes.

Every attempt's processes carry a *tag*: a number of their own as RLIMIT_RTTIME. It limits nothing (it stands for
146,000 years) but is inherited through fork, exec, ``setsid`` and a cleared environment, so that a process can
be told from its neighbours whatever it did to hide. A tag is a daemon's own high part and the attempt's serial
number, counted down, because an unprivileged process may only ever lower the limit.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal

from barbossad import systemd
from barbossad.model import boots

MARKER = "BARBOSSA_ATTEMPT"
"""The environment variable that names the attempt a process belongs to."""

TAG_FLOOR = 1 << 62
TAG_SERIALS = 1 << 36
"""How many attempts a reaper can tell apart; the part of a tag above that is the daemon's."""

SHORTAGES = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""Why a file may not be opened, whatever there is in it."""

_SUBREAPER = 36
_GET_SUBREAPER = 37


def boot_id() -> str:
    """Return the name of the time since the host was started (``boots``).

    What containers are shown as the kernel's word, a unit with a view of its own of /proc/sys is not: it reads that of
    the host. So where systemd is the first process, its start is a part of the name. It stays when systemd executes
    itself anew; where something else is the first process, its start need be no boot.
    """
    kernel = read("sys/kernel/random/boot_id").decode().strip()
    return boots.name(kernel, start_ticks(1) if systemd.is_booted() else None)


def become_subreaper(is_one: bool = True) -> bool:
    """Make the calling process the parent of all orphans below it, or no longer; return whether it was that.

    Raise OSError if the kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    before = ctypes.c_int()
    if libc.prctl(_GET_SUBREAPER, ctypes.byref(before), 0, 0, 0) or libc.prctl(_SUBREAPER, int(is_one), 0, 0, 0):
        raise OSError(ctypes.get_errno(), "cannot become a child subreaper")
    return bool(before.value)


def read(path: str) -> bytes:
    """Return a file under /proc, empty when the process is gone or not ours to read.

    Raise OSError if that cannot be told, for want of descriptors, say.
    """
    try:
        fd = os.open("/proc/" + path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in SHORTAGES:
            raise
        return b""
    try:
        parts: list[bytes] = []
        while (part := os.read(fd, 65536)) and len(parts) < _MOST_PARTS:
            parts.append(part)
        return b"".join(parts)
    except OSError:
        return b""
    finally:
        os.close(fd)


_MOST_PARTS = 128
"""8 MiB: longer than an environment can be (execve(2)), unless a process has moved its own."""


class Stat:
    """What proc(5) says in ``/proc/PID/stat``, as far as it is asked for."""

    __slots__ = ("group", "is_dead", "parent", "session", "start_ticks")

    def __init__(self, fields: list[bytes]) -> None:
        self.parent = int(fields[1])
        self.group = int(fields[2])
        self.session = int(fields[3])
        self.start_ticks = int(fields[19])
        self.is_dead = fields[0] in (b"Z", b"X") and int(fields[17]) <= 1  # other threads may outlive the first


def stat(pid: int) -> Stat | None:
    """Return the facts about a process, None when it is gone. Raise OSError as ``read`` does."""
    fields = read(f"{pid}/stat").rpartition(b")")[2].split()
    return Stat(fields) if len(fields) >= 20 else None


def start_ticks(pid: int) -> int | None:
    """Return when a process was made, None where that cannot be told."""
    try:
        found = stat(pid)
    except OSError:
        return None
    return found.start_ticks if found else None


def tag(pid: int) -> int:
    """Return the number that the process carries as RLIMIT_RTTIME, 0 for none."""
    for line in read(f"{pid}/limits").splitlines():
        if line.startswith(b"Max realtime timeout"):
            hard = line.split()[4]
            return int(hard) if hard.isdigit() else 0
    return 0


def marker(pid: int) -> str:
    """Return the attempt named in the environment that the process was started with, "" for none."""
    prefix = MARKER.encode() + b"="
    for entry in read(f"{pid}/environ").split(b"\0"):
        if entry.startswith(prefix):
            return entry[len(prefix) :].decode("utf-8", "replace")
    return ""


def children(pid: int) -> list[int]:
    """Return the children of a process, dead ones that nobody has waited for too."""
    if not _HAS_CHILDREN_FILE:
        return [child for child in all_pids() if (found := stat(child)) and found.parent == pid]
    try:
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 (names are all that is wanted)
    except OSError:
        return []
    return [int(child) for thread in threads for child in read(f"{pid}/task/{thread}/children").split()]


def all_pids() -> list[int]:
    """Return every process that can be seen."""
    names = os.listdir("/proc")  # noqa: PTH208 (as above)
    return [int(name) for name in names if name.isdigit()]


_HAS_CHILDREN_FILE = os.access("/proc/thread-self/children", os.R_OK)  # CONFIG_PROC_CHILDREN


def signal_checked(pid: int, start_ticks: int, numbers: tuple[signal.Signals, ...]) -> None:
    """Send signals to the process that was made at ``start_ticks``, and to no other that took its number."""
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return
    try:
        found = stat(pid)
        if found is not None and found.start_ticks == start_ticks:
            for number in numbers:
                signal.pidfd_send_signal(handle, number)
    except OSError:
        pass  # as above
    finally:
        os.close(handle)
