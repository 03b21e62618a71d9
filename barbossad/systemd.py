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
        self._notifier = sdnotify.SystemdNotifier()
        self.sockets = _take_sockets()
        """Listening sockets that were handed over."""

        self.watchdog_seconds = _watchdog_seconds()
        """How long it waits for a sign of life, None if it does not."""

        self.is_present = "NOTIFY_SOCKET" in os.environ
        for name in _VARIABLES:  # nothing that is started from here may speak in our name
            os.environ.pop(name, None)

    def ready(self, status: str) -> None:
        """Say that start, or a reload, is complete."""
        self._notifier.notify(f"READY=1\nSTATUS={status}")

    def reloading(self) -> None:
        """Say that a reload began; ``ready`` says that it is over."""
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._notifier.notify(f"RELOADING=1\nMONOTONIC_USEC={microseconds}")

    def stopping(self, status: str) -> None:
        """Say that the end began."""
        self._notifier.notify(f"STOPPING=1\nSTATUS={status}")

    def status(self, status: str) -> None:
        """Show a line in ``systemctl status``."""
        self._notifier.notify(f"STATUS={status}")

    def alive(self) -> None:
        """Feed the watchdog."""
        self._notifier.notify("WATCHDOG=1")

    def close(self) -> None:
        """Close the connection."""
        if self._notifier.socket is not None:
            self._notifier.socket.close()


def _take_sockets() -> Sequence[socket.socket]:
    """Return the listening Unix stream sockets that were handed over, each no longer inheritable."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return ()
    found = []
    for descriptor in range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + int(os.environ.get("LISTEN_FDS", "0"))):
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
