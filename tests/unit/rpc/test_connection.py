"""One client's connection: bounds, turns, and what is left when it goes. Over a real pair of sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest

from barbossad import wire
from barbossad.rpc import connection
from barbossad.rpc.connection import Connection
from barbossad.rpc.dispatch import Dispatcher
from barbossad.rpc.members import Members
from barbossad.security.access import Role
from tests.helpers.rpc_operations import CALL, Gate, Text, echo, make
from tests.helpers.waiting import eventually_async


class Spy:
    """A transport that notes what is written."""

    def __init__(self, transport: asyncio.Transport, written: list[bytes]) -> None:
        self._transport = transport
        self._written = written

    def write(self, data: bytes) -> None:
        self._written.append(data)
        self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class Line:
    """A connection and the client's end of it."""

    def __init__(self) -> None:
        self.gate = Gate()
        self.members: Members[Connection] = Members()
        operations = {
            "echo": make("echo", echo, params=Text),
            "look": make("look", self.gate.wait),
            "change": make("change", self.gate.wait, role=Role.OPERATOR),
        }
        self.connection = Connection(Dispatcher(operations), CALL, self.members)
        self.reader: asyncio.StreamReader
        self.writer: asyncio.StreamWriter

    async def open(self) -> None:
        theirs, ours = socket.socketpair()
        await asyncio.get_running_loop().connect_accepted_socket(lambda: self.connection, theirs)
        self.reader, self.writer = await asyncio.open_connection(sock=ours)

    def call(self, method: str, identity: int = 1, text: str | None = None) -> None:
        params = {} if text is None else {"text": text}
        self.writer.write(wire.encode(wire.call(method, params, identity)))

    async def close(self) -> None:
        """Hang up at once, with whatever has not been sent."""
        self.writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    made = Line()
    await made.open()
    yield made
    await made.close()
    made.gate.opened.set()
    await eventually_async(lambda: not len(made.members), 30, "the connection is forgotten")


async def test_a_limit_of_calls_under_way(line: Line) -> None:
    """A client that has as many calls under way as it may is not read until one is answered."""
    for number in range(connection.MAX_IN_FLIGHT + 50):
        line.call("look", number)
    line.call("echo", 99_999)
    await eventually_async(lambda: line.gate.begun == connection.MAX_IN_FLIGHT, 30, "the calls are under way")
    await asyncio.sleep(0)
    assert line.gate.begun == connection.MAX_IN_FLIGHT
    line.gate.opened.set()
    answers = [await line.reader.readline() for _ in range(connection.MAX_IN_FLIGHT + 51)]
    assert len(answers) == connection.MAX_IN_FLIGHT + 51


async def test_a_limit_of_bytes_under_way(line: Line) -> None:
    """Batches count by their length: no client has millions of calls under way."""
    batch = b"[" + b",".join([wire.encode(wire.call("look", {}, 1)).rstrip()] * wire.MAX_BATCH) + b"]\n"
    line.writer.write(batch * 100)
    most = (connection.MAX_IN_FLIGHT_BYTES // len(batch) + 1) * wire.MAX_BATCH
    await eventually_async(lambda: line.gate.begun == most, 30, "the calls are under way")
    for _ in range(100):
        await asyncio.sleep(0)
    assert line.gate.begun == most


async def test_a_client_that_goes(line: Line) -> None:
    """When a client goes, its looks are dropped, its changes finished, and it is remembered until they are."""
    line.call("look", 1)
    line.call("change", 2)
    await eventually_async(lambda: line.gate.begun == 2, 30, "both are under way")
    await line.close()
    await eventually_async(lambda: line.gate.dropped == 1, 30, "the look is dropped")
    assert line.members
    await asyncio.sleep(0)
    line.gate.opened.set()
    await line.connection.answered()
    assert (line.gate.done, line.gate.dropped) == (1, 1)


async def test_close_sends_what_was_answered(line: Line) -> None:
    """Hanging up on a client sends the answers that are ready first."""
    line.call("echo", 1, "x" * 100_000)
    sent = line.connection
    await eventually_async(lambda: bool(sent._outgoing or sent._written_bytes), 30, "it is answered")
    line.connection.close()
    assert len(await line.reader.read()) > 100_000


@pytest.mark.parametrize("count", [1, 5])
async def test_answers_of_one_turn_are_sent_together(line: Line, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The only answer that a client waits for is sent at once; several are sent in one piece, in their order."""
    transport = line.connection._transport
    assert transport is not None
    sent: list[bytes] = []
    monkeypatch.setattr(line.connection, "_transport", Spy(transport, sent))
    for number in range(count):
        line.call("look", number)
    await eventually_async(lambda: line.gate.begun == count, 30, "they are under way")
    line.gate.opened.set()
    answers = [json.loads(await line.reader.readline())["id"] for _ in range(count)]
    assert answers == list(range(count))
    assert [piece.count(b"\n") for piece in sent] == [count]


async def test_a_connection_that_is_closed_before_it_is_made() -> None:
    """A connection that was told to close while it was still being set up does not come to life."""
    made = Line()
    made.connection.close()
    await made.open()
    assert await made.reader.read() == b""
    await made.close()
    assert not made.members


async def test_lines_in_pieces(line: Line) -> None:
    """However the bytes are cut, the lines are the same."""
    whole = b"".join(wire.encode(wire.call("echo", {"text": "ü€😀"}, number)) for number in range(5))
    for start in range(0, len(whole), 3):
        line.writer.write(whole[start : start + 3])
        await line.writer.drain()
        await asyncio.sleep(0)
    for number in range(5):
        assert wire.decode(await line.reader.readline()) == wire.result(number, "ü€😀")


async def test_a_client_whose_role_is_taken_away(line: Line) -> None:
    """What it follows ends; what it asked to change is answered first, then it is told why it is hung up on."""
    line.call("look", 1)
    line.call("change", 2)
    await eventually_async(lambda: line.gate.begun == 2, 30, "both are under way")
    line.connection.have_role(None)
    await eventually_async(lambda: line.gate.dropped == 1, 30, "the look is dropped")
    line.gate.opened.set()
    changed, told = [json.loads(await line.reader.readline()) for _ in range(2)]
    assert (changed["id"], changed["result"]) == (2, "done")
    assert (told["id"], told["error"]["data"]["kind"]) == (None, "permission_denied")
    assert "user ada has no role here" in told["error"]["message"]
    assert await line.reader.read() == b""


async def test_an_idle_client_whose_role_is_taken_away(line: Line) -> None:
    """It is told at once."""
    line.connection.have_role(None)
    assert b"has no role here" in await line.reader.read()


async def test_a_role_holds_from_the_next_call_on(line: Line) -> None:
    """One that is lowered, or given, needs no new connection."""
    line.gate.opened.set()
    line.connection.have_role(Role.VIEWER)
    line.call("change", 1)
    assert "needs the role operator" in json.loads(await line.reader.readline())["error"]["message"]
    line.connection.have_role(Role.OPERATOR)
    line.call("change", 2)
    assert json.loads(await line.reader.readline())["result"] == "done"
