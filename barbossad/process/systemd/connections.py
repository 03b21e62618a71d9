"""Connections over which systemd is spoken with: by the bus of the system, or without one."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import Final

from dbus_fast import BusType, Message
from dbus_fast.aio import MessageBus

PRIVATE: Final = "/run/systemd/private"
"""Where systemd itself takes calls, of root alone: it is there before the bus and after it. `systemctl` uses it."""


class Connection(MessageBus):
    """A connection whose loss is told once, by ``wait_for_disconnect``, and to each call that waits for a reply.

    The library's own, when it is lost under a message, hands the closed descriptor to the event loop, which either
    raises past whoever would have looked at the futures, or, if the number is another's by then, watches that.
    """

    def __init__(self, address: str | None = None) -> None:
        super().__init__(address, BusType.SYSTEM, negotiate_unix_fd=True)

    async def call(self, message: Message) -> Message | None:  # type: ignore[override] # as in the library
        """Call a method and return the reply. Raise OSError or EOFError if the connection is lost, now or before."""
        if not self.connected:
            raise ConnectionResetError("the connection was closed")
        return await super().call(message)

    def send(self, message: Message) -> asyncio.Future[None]:  # type: ignore[override] # as in the library
        """Send a message; who waits for its reply does not wait for its being sent."""
        message.serial = message.serial or self.next_serial()
        sent: asyncio.Future[None] = self._loop.create_future()
        sent.add_done_callback(_heed)
        if self.connected:
            assert self._writer is not None  # made by connect()
            with suppress(OSError):  # of the event loop, about a connection that was closed under this message
                self._writer.schedule_write(message, sent)
        return sent


class DirectConnection(Connection):
    """A connection to systemd itself, with no bus between that knows names and rules: it sends all signals it has.

    It answers the greeting that the library sends to a bus with an error, which the library takes for an answer.
    """

    def __init__(self) -> None:
        super().__init__(f"unix:path={PRIVATE}")

    async def _authenticate(self) -> None:
        """Say all at once, as systemd's own clients do: of what follows the last word in one piece, it hears too late.

        Not a byte is read beyond the answer, which signals may follow.
        """
        uid = str(os.geteuid()).encode().hex()
        words = f"\0AUTH EXTERNAL {uid}\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n"
        assert self._sock is not None  # made by connect()
        await self._loop.sock_sendall(self._sock, words.encode())
        answer = b""
        while answer.count(b"\n") < 2:
            byte = await self._loop.sock_recv(self._sock, 1)
            if not byte:
                raise ConnectionResetError("systemd closed the connection")
            answer += byte
        if not answer.startswith(b"OK ") or not answer.endswith(b"\nAGREE_UNIX_FD\r\n"):
            raise ConnectionRefusedError(f"systemd refuses the connection: {answer!r}")


def _heed(sent: asyncio.Future[None]) -> None:
    if not sent.cancelled():
        sent.exception()  # or else the event loop calls it a fault, with a traceback in the log
