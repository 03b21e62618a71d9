"""The words that a service and its manager exchange: readiness, reload, watchdog, descriptors handed over and kept.

Sources: sd_notify(3), sd_listen_fds(3), sd_pid_notify_with_fds(3), sd_notify_barrier(3), sd_watchdog_enabled(3).
"""

from __future__ import annotations

import asyncio
import errno
import os
import select
import socket
import stat
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import sdnotify

_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")
_FIRST_DESCRIPTOR = 3
_BOOTED = "/run/systemd/system"
_MADE = ("/run/barbossa", "/run/barbossa-tasks")  # by tmpfiles.d/barbossa.conf


def is_booted() -> bool:
    """Say whether systemd is this system's manager (sd_booted(3))."""
    return os.path.isdir(_BOOTED)  # noqa: PTH112 (a Path would say no more)


def is_read_only(folder: Path) -> bool:
    """Say whether nothing may be written to the file system of a folder, as this process sees it."""
    return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)


def folder_hint(folder: Path, error: OSError) -> str:
    """Return what to do about a folder that could not be made or written."""
    if error.errno != errno.EROFS or not is_booted():
        return "is this the right user?"
    if any(folder.is_relative_to(made) for made in _MADE):
        return "systemd makes it: systemctl restart barbossad.socket barbossad"
    return (
        "as a service the daemon may write only where its unit says, if the disk itself can be written: make the "
        f"folder, say systemctl edit barbossad, and there, below [Service], ReadWritePaths={folder} (docs/systemd.md); "
        "then systemctl restart barbossad"
    )


class Manager:
    """systemd as this process sees it; silent where there is none."""

    def __init__(self) -> None:
        is_present = "NOTIFY_SOCKET" in os.environ
        self._notifier = sdnotify.SystemdNotifier() if is_present else None  # without one it leaves a socket open
        self.is_service = is_present
        """Whether this process was started by systemd as a service that speaks to it."""

        self.sockets, self.kept = _take_descriptors()
        """Listening sockets that were handed over; and descriptors that an earlier process had kept, by their names."""

        self.names_kept = frozenset(self.kept)
        """Under which names it had kept them, whatever has become of them since."""

        self.watchdog_seconds = _watchdog_seconds()
        """How long it waits for a sign of life, None if it does not."""

        self.stage = "the configuration is read"
        """What a start is at, for a ``status``."""

        for name in _VARIABLES:  # nothing that is started from here may speak in our name
            os.environ.pop(name, None)

    @property
    def paths(self) -> list[Path]:
        """Where the sockets are that were handed over."""
        return [Path(os.fsdecode(handed.getsockname())) for handed in self.sockets]

    def starting(self, status: str, seconds: float) -> None:
        """Say that the start goes on, and may take ``seconds`` more, whatever its unit says."""
        self._notify(f"EXTEND_TIMEOUT_USEC={round(seconds * 1_000_000)}\nSTATUS={_one_line(status)}")

    def ready(self, status: str) -> None:
        """Say that start, or a reload, is complete."""
        self._notify(f"READY=1\nSTATUS={_one_line(status)}")

    def reloading(self) -> None:
        """Say that a reload began; ``ready`` says that it is over."""
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._notify(f"RELOADING=1\nMONOTONIC_USEC={microseconds}")

    def stopping(self, status: str) -> None:
        """Say that the end began."""
        self._notify(f"STOPPING=1\nSTATUS={_one_line(status)}")

    def status(self, status: str) -> None:
        """Show a line in ``systemctl status``."""
        self._notify(f"STATUS={_one_line(status)}")

    def alive(self) -> None:
        """Feed the watchdog."""
        self._notify("WATCHDOG=1")

    def keep(self, descriptors: Mapping[str, int]) -> None:
        """Have systemd keep descriptors over a restart of this service, under names without colons.

        Only after a ``barrier`` are they known to have arrived. Raise OSError if they cannot be sent.
        """
        assert self._notifier is not None
        for name, descriptor in descriptors.items():
            words = f"FDSTORE=1\nFDPOLL=0\nFDNAME={name}".encode()
            socket.send_fds(self._notifier.socket, [words], [descriptor])

    def let_go(self, names: Sequence[str]) -> None:
        """Have systemd close what it keeps under these names."""
        for name in names:
            self._notify(f"FDSTOREREMOVE=1\nFDNAME={name}")

    def turn_away(self) -> None:
        """Close the connections that wait at the sockets: each would have a daemon that cannot start started again."""
        for listening in self.sockets:
            while select.select([listening], [], [], 0)[0]:
                listening.accept()[0].close()

    def drop_kept(self) -> None:
        """Close what an earlier process had kept, here and at systemd."""
        self.let_go(list(self.kept))
        for descriptor in self.kept.values():
            os.close(descriptor)
        self.kept.clear()

    async def barrier(self) -> None:
        """Return when systemd has dealt with all that was said before. Raise OSError if it cannot be asked."""
        assert self._notifier is not None
        mine, theirs = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[None] = loop.create_future()
        try:
            try:
                socket.send_fds(self._notifier.socket, [b"BARRIER=1"], [theirs])
            finally:
                os.close(theirs)
            loop.add_reader(mine, _answer, answered)
            await answered
        finally:
            loop.remove_reader(mine)
            os.close(mine)

    def close(self) -> None:
        """Close the connection."""
        if self._notifier is not None and self._notifier.socket is not None:
            self._notifier.socket.close()

    def _notify(self, words: str) -> None:
        if self._notifier is not None:
            # sdnotify sends Latin-1 and drops, without a word, what that has not; systemd reads UTF-8.
            self._notifier.notify(words.encode(errors="replace").decode("latin-1"))


def _answer(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


def _one_line(status: str) -> str:
    """Return it without line ends: what stands behind one would be another word of the protocol."""
    return " ".join(status.split())


def _take_descriptors() -> tuple[Sequence[socket.socket], dict[str, int]]:
    """Return the listening Unix stream sockets and the named other descriptors that were handed over.

    None of them is inheritable any more. Of two with one name the first counts; sockets of other kinds are closed.
    """
    sockets: list[socket.socket] = []
    kept: dict[str, int] = {}
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return sockets, kept
    count = os.environ.get("LISTEN_FDS", "")
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    for position in range(int(count) if count.isdecimal() else 0):
        descriptor = _FIRST_DESCRIPTOR + position
        name = names[position] if position < len(names) else ""
        os.set_inheritable(descriptor, False)
        if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            handed = socket.socket(fileno=descriptor)
            if handed.family == socket.AF_UNIX and handed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                sockets.append(handed)
            else:
                handed.close()
        elif name in kept:
            os.close(descriptor)
        else:
            kept[name] = descriptor
    return sockets, kept


def _watchdog_seconds() -> float | None:
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    if not microseconds.isdigit() or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(microseconds) / 1_000_000
