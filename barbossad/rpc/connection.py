"""One client: bytes to lines, lines to answers, with a bound on everything that a client could make grow."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from typing import Final, cast

from barbossad import wire
from barbossad.operations import registry
from barbossad.operations.services import Call
from barbossad.rpc.dispatch import Answer, Dispatcher, Pending, refusal
from barbossad.rpc.members import Members
from barbossad.security.access import Caller, Role

MAX_IN_FLIGHT: Final = 1024
"""Calls of one client that may be under way; its further lines wait unread."""

MAX_IN_FLIGHT_BYTES: Final = wire.MAX_REQUEST_BYTES
"""How much the calls under way may have been long, together: a batch is one line of many calls."""

MAX_UNSENT_BYTES: Final = 4 * wire.MAX_MESSAGE_BYTES
"""Answers of one client that may wait to be read by it; one that lets more pile up is cut off."""

SENT_TOGETHER_BYTES: Final = 256 * 1024
"""Answers of one turn of the loop are sent together, but no more than this."""

LINES_A_TURN: Final = 8
TURN_SECONDS: Final = 0.005
"""Lines of one client that are handled, and the time after which no more are, before others get their turn."""

STALL_SECONDS: Final = 30.0
"""How long a client may leave a line half sent, or take nothing of an answer, before it is cut off."""

log = logging.getLogger(__name__)


class Connection(asyncio.Protocol):
    """Reads lines of one client and writes the answers, each when it is ready."""

    def __init__(
        self, dispatcher: Dispatcher, call: Call, members: Members[Connection], *, stall_seconds: float = STALL_SECONDS
    ) -> None:
        self._dispatcher = dispatcher
        self._call = call
        self._members = members
        self._stall_seconds = stall_seconds
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._searched = 0
        self._taken = 0
        self._outgoing: list[bytes] = []
        self._outgoing_bytes = 0
        self._is_taking = False
        self._written_bytes = 0
        self._tasks: dict[asyncio.Task[None], Pending] = {}
        self._in_flight_bytes = 0
        self._stall: asyncio.TimerHandle | None = None
        self._progress = (0, 0)
        self._is_draining = False
        self._is_reading = True
        self._turn: asyncio.Handle | None = None
        self._is_closing = False
        self._is_leaving = False
        """Whether it is turned away once what it asked to change has been answered."""

        members.add(self)

    @property
    def caller(self) -> Caller:
        """Who is at the other end."""
        return self._call.caller

    def have_role(self, role: Role | None) -> None:
        """Take over the role that the caller has now. One that has none any more is told so, and cut off."""
        if role is self.caller.role or self._is_closing:
            return
        self._call = replace(self._call, caller=replace(self.caller, role=role))
        if role is None:
            log.info("user %s has no role any more: cut off", self.caller.name, extra={"action": "client_cut_off"})
            self._is_closing = self._is_leaving = True
            self._buffer.clear()
            if self._transport is not None:
                self._transport.pause_reading()
            self._drop_looks()
            self._leave()

    # -- asyncio's callbacks -------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)
        if self._is_closing:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (it does not matter why)
        """See asyncio.Protocol; what changes something goes on, what only looks is dropped."""
        self._transport = None
        self._buffer.clear()
        self._set_stall(is_stalled=False)
        if self._turn is not None:
            self._turn.cancel()
        self._drop_looks()
        self._leave()

    def _drop_looks(self) -> None:
        """Answer nobody: what only looks ends, also what was about to be told something this very turn."""
        for task, pending in self._tasks.items():
            if not pending.is_change:
                task.cancel()

    def _leave(self) -> None:
        """When nothing that the client asked for goes on: be forgotten if it is gone, turn it away if it is to go."""
        if self._tasks:
            return
        if self._transport is None:
            self._members.discard(self)
        elif self._is_leaving:
            self._is_leaving = False
            self._hang_up("permission_denied", registry.no_role(self.caller))

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
        self._is_taking = True
        handled, until = 0, time.monotonic() + TURN_SECONDS
        while self._transport is not None and not self._is_closing and self._may_take():
            end = self._buffer.find(b"\n", self._searched)
            if end < 0:
                self._searched = len(self._buffer)
                break
            if handled == LINES_A_TURN or time.monotonic() > until:
                self._turn = asyncio.get_running_loop().call_soon(self._take_lines)
                break
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            self._searched = 0
            handled += 1
            self._taken += 1
            if line.strip():
                self._take(line)
        self._is_taking = False
        self._flush()  # what could be answered at once
        if len(self._buffer) > wire.MAX_MESSAGE_BYTES and self._searched:
            self._refuse(f"a message of more than {wire.MAX_MESSAGE_BYTES} bytes")
        self._update()

    def _take(self, line: bytes) -> None:
        if len(line) >= wire.MAX_MESSAGE_BYTES:
            self._refuse(f"a message of more than {wire.MAX_MESSAGE_BYTES} bytes")
            return
        answer = self._dispatcher.handle(line, self._call)
        if not isinstance(answer, Pending):
            self._send(answer)
            return
        task = asyncio.get_running_loop().create_task(self._answer(answer), name="rpc-call")
        self._tasks[task] = answer
        self._in_flight_bytes += answer.request_bytes
        task.add_done_callback(self._answered)

    async def _answer(self, pending: Pending) -> None:
        self._send(await pending.answer())

    def _answered(self, task: asyncio.Task[None]) -> None:
        could_take = self._may_take()
        self._in_flight_bytes -= self._tasks.pop(task).request_bytes
        if not task.cancelled() and task.exception() is not None:
            log.error("an answer could not be sent", exc_info=task.exception(), extra={"action": "rpc_failed"})
        if not could_take:
            self._update()
        self._leave()

    def _send(self, answer: Answer) -> None:
        if answer is None or self._transport is None:
            return
        is_first = not self._outgoing
        self._outgoing.append(answer)
        self._outgoing_bytes += len(answer)
        if self._outgoing_bytes > SENT_TOGETHER_BYTES or (len(self._tasks) == 1 and not self._is_taking):
            self._flush()  # enough, or the only answer that the client waits for
        elif is_first and not self._is_taking:
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        """Send the answers of this turn of the loop together."""
        lines, self._outgoing, self._outgoing_bytes = self._outgoing, [], 0
        if self._transport is None or not lines:
            return
        data = b"".join(lines)
        self._written_bytes += len(data)
        self._transport.write(data)
        if self._transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
            self._cut_off(f"left {MAX_UNSENT_BYTES} bytes of answers unread")

    def _refuse(self, reason: str) -> None:
        """Say what is wrong and hang up: where the next message starts can no longer be told."""
        self._buffer.clear()
        self._hang_up("invalid_request", reason)

    def _hang_up(self, kind: str, reason: str) -> None:
        """Hang up with a reason, when that has been read, or soon."""
        self._is_closing = True
        self._send(refusal(None, kind, reason))
        self._flush()
        if self._transport is not None:
            self._transport.close()
            self._set_stall(is_stalled=True)

    # -- bounds --------------------------------------------------------------------------------------------

    def _may_take(self) -> bool:
        if self._is_draining or len(self._tasks) >= MAX_IN_FLIGHT:
            return False
        return self._in_flight_bytes < MAX_IN_FLIGHT_BYTES

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
            self._progress = self._measure_progress()
            self._stall = asyncio.get_running_loop().call_later(self._stall_seconds, self._check_stall)
        elif not is_stalled and self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def _check_stall(self) -> None:
        """Cut the client off, unless a whole line or some of an answer has passed meanwhile."""
        self._stall = None
        if self._progress != self._measure_progress():
            self._set_stall(is_stalled=True)
        else:
            self._cut_off(f"stalled for {self._stall_seconds:g} s")

    def _measure_progress(self) -> tuple[int, int]:
        unsent = self._transport.get_write_buffer_size() if self._transport is not None else 0
        return self._taken, self._written_bytes - unsent

    def _cut_off(self, why: str) -> None:
        if self._transport is not None:
            log.warning(
                "a client of user %s %s and was cut off",
                self._call.caller.name,
                why,
                extra={"action": "client_cut_off"},
            )
            self._transport.abort()
            self._transport = None
            self._drop_looks()

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
