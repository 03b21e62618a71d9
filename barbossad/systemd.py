"""The words that a service and its manager exchange: readiness, reload, watchdog, sockets handed over.

Sources: sd_notify(3), sd_listen_fds(3), sd_watchdog_enabled(3).
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence

import sdnotify

_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")
_FIRST_DESCRIPTOR = 3


class Manager:
    """systemd as this process sees it; silent where there is none."""

    def __init__(self) -> None:
        is_present = "NOTIFY_SOCKET" in os.environ
        self._notifier = sdnotify.SystemdNotifier() if is_present else None  # without one it leaves a socket open
        self.sockets = _take_sockets()
        """Listening sockets that were handed over."""

        self.watchdog_seconds = _watchdog_seconds()
        """How long it waits for a sign of life, None if it does not."""

        for name in _VARIABLES:  # nothing that is started from here may speak in our name
            os.environ.pop(name, None)

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

    def close(self) -> None:
        """Close the connection."""
        if self._notifier is not None and self._notifier.socket is not None:
            self._notifier.socket.close()

    def _notify(self, words: str) -> None:
        if self._notifier is not None:
            # sdnotify sends Latin-1 and drops, without a word, what that has not; systemd reads UTF-8.
            self._notifier.notify(words.encode(errors="replace").decode("latin-1"))


def _one_line(status: str) -> str:
    """Return it without line ends: what stands behind one would be another word of the protocol."""
    return " ".join(status.split())


def _take_sockets() -> Sequence[socket.socket]:
    """Return the listening Unix stream sockets that were handed over, each no longer inheritable."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return ()
    found = []
    count = os.environ.get("LISTEN_FDS", "")
    for descriptor in range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + (int(count) if count.isdecimal() else 0)):
        os.set_inheritable(descriptor, False)
        handed = socket.socket(fileno=descriptor)
        if handed.family == socket.AF_UNIX and handed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            found.append(handed)
        else:
            handed.close()
    return found


def _watchdog_seconds() -> float | None:
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    if not microseconds.isdigit() or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(microseconds) / 1_000_000
