"""Read a connection ahead of who uses it, so that no answer lies unread while that waits for a slow reader or a person.

The daemon cuts off a client that takes nothing of its answers for half a minute: a pager would be enough for that.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
from contextlib import suppress
from queue import SimpleQueue
from typing import Final

CHUNK_BYTES: Final = 256 * 1024


class ReadAhead:
    """What a thread has read of a connection: to wait on and to read like the connection itself.

    It holds no more than the answers to what was asked: who asks for no more while it is busy bounds it.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._chunks: SimpleQueue[bytes | OSError] = SimpleQueue()
        self._count = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_SEMAPHORE)
        """How many chunks there are, as a descriptor that is readable while there are any."""

        self._thread = threading.Thread(target=self._read, name="read-ahead", daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        """Return a descriptor that is readable when ``recv`` does not wait."""
        return self._count

    def recv(self, _size: int) -> bytes:
        """Return the next chunk, nothing at the end of the connection. Raise what reading it raised."""
        os.eventfd_read(self._count)
        chunk = self._chunks.get()
        if isinstance(chunk, OSError):
            raise chunk
        return chunk

    def close(self) -> None:
        """End the connection and the thread."""
        with suppress(OSError):  # it is at its end already
            self._connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        os.close(self._count)
        self._connection.close()

    def _read(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # Ctrl-C is to wake the one that waits
        chunk: bytes | OSError = b"-"
        while chunk and not isinstance(chunk, OSError):
            try:
                select.select([self._connection], [], [])  # the connection has a timeout, for what is sent
                chunk = self._connection.recv(CHUNK_BYTES)
            except OSError as error:
                chunk = error
            self._chunks.put(chunk)
            os.eventfd_write(self._count, 1)
