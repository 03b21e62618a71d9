"""One client: bytes to lines, lines to answers, with a bound on everything that a client could make grow."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import Final, cast

from barbossad import wire
from barbossad.operations.services import Call
from barbossad.rpc.dispatch import Answer, Dispatcher

MAX_IN_FLIGHT: Final = 1024
"""Calls of one client that may be under way; its further lines wait unread."""

LINES_A_TURN: Final = 16
"""Lines of one client that are handled before others get their turn."""

STALL_SECONDS: Final = 30.0
"""How long a client may leave a line half sent, or an answer unread, before it is cut off."""

log = logging.getLogger(__name__)


class Connection(asyncio.Protocol):
    """Reads lines of one client and writes the answers, each when it is ready."""

    def __init__(self, dispatcher: Dispatcher, call: Call, members: set[Connection]) -> None:
        self._dispatcher = dispatcher
        self._call = call
        self._members = members
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._outgoing: list[bytes] = []
        self._searched = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._stall: asyncio.TimerHandle | None = None
        self._is_draining = False
        self._is_reading = True
        self._turn: asyncio.Handle | None = None
        self._is_closing = False

    # -- asyncio's callbacks -------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)
        self._members.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (it does not matter why)
        """See asyncio.Protocol; what the client asked for goes on, its answers are dropped."""
        self._members.discard(self)
        self._transport = None
        self._set_stall(is_stalled=False)
        if self._turn is not None:
            self._turn.cancel()
        for task in self._tasks:
            task.cancel()

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._buffer += data
        if self._turn is None:
            self._take_lines()

    def pause_writing(self) -> None:
        """See asyncio.Protocol: the client does not read its answers, so it is not read either."""
        self._is_draining = True
        self._update()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self._is_draining = False
        self._update()

    # -- lines ---------------------------------------------------------------------------------------------

    def _take_lines(self) -> None:
        """Handle some of the lines that have arrived; the rest in the next turn of the loop."""
        self._turn = None
        handled = 0
        while self._transport is not None and not self._is_closing and self._may_take():
            end = self._buffer.find(b"\n", self._searched)
            if end < 0:
                self._searched = len(self._buffer)
                break
            if handled == LINES_A_TURN:
                self._turn = asyncio.get_running_loop().call_soon(self._take_lines)
                break
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            self._searched = 0
            handled += 1
            if line.strip():
                self._take(line)
        if len(self._buffer) > wire.MAX_MESSAGE_BYTES and self._searched:
            self._refuse(f"a message of more than {wire.MAX_MESSAGE_BYTES} bytes")
        self._update()

    def _take(self, line: bytes) -> None:
        if len(line) >= wire.MAX_MESSAGE_BYTES:
            self._refuse(f"a message of more than {wire.MAX_MESSAGE_BYTES} bytes")
            return
        answer = self._dispatcher.handle(line, self._call)
        if isinstance(answer, dict | list) or answer is None:
            self._send(answer)
            return
        task = asyncio.get_running_loop().create_task(self._answer(answer), name="rpc-call")
        self._tasks.add(task)
        task.add_done_callback(self._answered)

    async def _answer(self, answer: Awaitable[Answer]) -> None:
        self._send(await answer)

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("an answer could not be sent", exc_info=task.exception(), extra={"action": "rpc_failed"})
        if len(self._tasks) == MAX_IN_FLIGHT - 1:
            self._update()

    def _send(self, answer: Answer) -> None:
        if answer is None or self._transport is None:
            return
        line = wire.encode(answer)
        if len(line) > wire.MAX_MESSAGE_BYTES:
            identity = answer.get("id") if isinstance(answer, dict) else None
            line = wire.encode(wire.error(identity, "internal_error", "the answer is too large; ask for less"))
        if not self._outgoing:
            asyncio.get_running_loop().call_soon(self._flush)
        self._outgoing.append(line)

    def _flush(self) -> None:
        """Send the answers of this turn of the loop together."""
        lines, self._outgoing = self._outgoing, []
        if self._transport is not None and lines:
            self._transport.write(b"".join(lines))

    def _refuse(self, reason: str) -> None:
        """Say what is wrong and hang up: where the next message starts can no longer be told."""
        self._is_closing = True
        self._send(wire.error(None, "invalid_request", reason))
        self._buffer.clear()
        self._flush()
        if self._transport is not None:
            self._transport.close()

    # -- bounds --------------------------------------------------------------------------------------------

    def _may_take(self) -> bool:
        return not self._is_draining and len(self._tasks) < MAX_IN_FLIGHT

    def _update(self) -> None:
        """Read from the client only while it may be served; cut it off when it stalls."""
        if self._transport is None or self._is_closing:
            return
        wants = self._may_take() and self._turn is None
        if wants and not self._is_reading:
            self._is_reading = True
            self._transport.resume_reading()
        elif not wants and self._is_reading:
            self._is_reading = False
            self._transport.pause_reading()
        if wants and self._buffer.find(b"\n", self._searched) >= 0:
            self._turn = asyncio.get_running_loop().call_soon(self._take_lines)
        self._set_stall(is_stalled=self._is_draining or (wants and bool(self._buffer)))

    def _set_stall(self, *, is_stalled: bool) -> None:
        if is_stalled and self._stall is None:
            self._stall = asyncio.get_running_loop().call_later(STALL_SECONDS, self._cut_off)
        elif not is_stalled and self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def _cut_off(self) -> None:
        self._stall = None
        if self._transport is not None:
            log.warning(
                "a client of user %s stalled for %g s and was cut off", self._call.caller.name, STALL_SECONDS,
                extra={"action": "client_cut_off"},
            )  # fmt: skip
            self._transport.abort()

    def close(self) -> None:
        """Hang up after what was answered has been sent."""
        self._is_closing = True
        self._flush()
        if self._transport is not None:
            self._transport.close()

    async def answered(self) -> None:
        """Return when no call of this client is under way."""
        if self._tasks:
            await asyncio.wait(self._tasks)
