"""What the loss of the connection to systemd leaves behind."""

from __future__ import annotations

import asyncio
import gc

from dbus_fast import Message

from barbossad.process.bus import _Connection


class LostWriter:
    """Writes to a connection whose other end is closed."""

    def schedule_write(self, _message: Message, future: asyncio.Future[None]) -> None:
        """Fail as the socket does."""
        future.set_exception(BrokenPipeError(32, "Broken pipe"))


async def test_a_message_that_is_not_sent_is_no_fault() -> None:
    """A message that found the connection lost, and for which nobody waits, is no traceback in the log."""
    faults: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: faults.append(context))
    connection = _Connection.__new__(_Connection)
    connection._loop = loop
    connection._writer = LostWriter()
    connection._negotiate_unix_fd = True
    connection.send(Message(path="/a", interface="a.b", member="C", destination="a.b", serial=1))
    await asyncio.sleep(0)
    gc.collect()
    await asyncio.sleep(0)
    assert faults == []
