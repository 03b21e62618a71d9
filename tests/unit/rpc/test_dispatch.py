"""Lines become answers, or what will give them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from barbossad import wire
from barbossad.operations.registry import NoParams
from barbossad.operations.services import Call
from barbossad.rpc.dispatch import Dispatcher, Pending
from barbossad.security.access import Role
from tests.helpers.rpc_operations import CALL, Gate, Text, echo, make
from tests.helpers.waiting import eventually_async


def line(method: str, params: dict[str, Any] | None = None, identity: Any = 1) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "method": method, "params": params or {}, "id": identity}).encode()


@pytest.fixture
async def gate() -> Gate:
    return Gate()


@pytest.fixture
async def dispatcher(gate: Gate) -> Dispatcher:
    made = (
        make("echo", echo, params=Text),
        make("large.echo", echo, params=Text, max_request_bytes=4 * wire.MAX_REQUEST_BYTES),
        make("look", gate.wait),
        make("change", gate.wait, role=Role.OPERATOR),
    )
    return Dispatcher({known.name: known for known in made})


def answer_of(answer: object) -> Any:
    assert isinstance(answer, bytes)
    assert answer.endswith(b"\n")
    assert answer.count(b"\n") == 1
    return json.loads(answer)


async def test_what_needs_no_waiting_is_answered_at_once(dispatcher: Dispatcher) -> None:
    """An operation that is an ordinary function is answered in the same turn of the loop."""
    assert answer_of(dispatcher.handle(line("echo", {"text": "hi"}), CALL))["result"] == "hi"


async def test_what_waits_is_told_apart(dispatcher: Dispatcher) -> None:
    """An operation that waits is pending; whether it changes something follows from its role."""
    look, change = dispatcher.handle(line("look"), CALL), dispatcher.handle(line("change"), CALL)
    assert isinstance(look, Pending)
    assert isinstance(change, Pending)
    assert (look.is_change, change.is_change) == (False, True)
    assert look.request_bytes == len(line("look"))


async def test_what_waits_only_sometimes(gate: Gate) -> None:
    """An operation may answer at once when it can, and have to be waited for when it cannot."""
    at_hand = False

    async def later() -> str:
        return "later"

    def sometimes(_call: Call, _params: NoParams) -> Any:
        return "now" if at_hand else later()

    dispatcher = Dispatcher({"sometimes": make("sometimes", sometimes)})
    pending = dispatcher.handle(line("sometimes"), CALL)
    assert isinstance(pending, Pending)
    assert answer_of(await pending.answer())["result"] == "later"
    pending = dispatcher.handle(line("sometimes"), CALL)
    at_hand = True
    assert isinstance(pending, Pending)
    assert answer_of(await pending.answer())["result"] == "now"
    assert answer_of(dispatcher.handle(line("sometimes"), CALL))["result"] == "now"


async def test_a_pending_answer_that_nobody_wants_costs_nothing(dispatcher: Dispatcher, gate: Gate) -> None:
    """What is not begun leaves nothing, no coroutine that is never awaited either."""
    dispatcher.handle(line("look"), CALL)
    dispatcher.handle(b"[" + line("look") + b"]", CALL)
    assert gate.begun == 0


@pytest.mark.parametrize(("method", "size", "is_taken"), [
    ("echo", wire.MAX_REQUEST_BYTES, True),
    ("echo", wire.MAX_REQUEST_BYTES + 1, False),
    ("large.echo", wire.MAX_REQUEST_BYTES + 1, True),
    ("large.echo", 4 * wire.MAX_REQUEST_BYTES, True),
    ("large.echo", 4 * wire.MAX_REQUEST_BYTES + 1, False),
])  # fmt: skip
async def test_how_long_a_request_may_be(dispatcher: Dispatcher, method: str, size: int, is_taken: bool) -> None:
    """A request has at most a megabyte, unless its operation says more."""
    short = line(method, {"text": ""})
    whole = line(method, {"text": "x" * (size - len(short))})
    assert len(whole) == size
    answer = answer_of(dispatcher.handle(whole, CALL))
    assert ("result" in answer) is is_taken


async def test_naming_an_operation_that_takes_more_does_not_help(dispatcher: Dispatcher) -> None:
    """Words within the parameters of another call do not lift its limit."""
    whole = line("echo", {"text": '"large.echo"' + "x" * wire.MAX_REQUEST_BYTES})
    assert answer_of(dispatcher.handle(whole, CALL))["error"]["code"] == wire.INVALID_REQUEST


async def test_a_long_unknown_method_is_not_echoed(dispatcher: Dispatcher) -> None:
    """An error is short, whatever was sent."""
    answer = answer_of(dispatcher.handle(line("x" * 100_000), CALL))
    assert answer["error"]["code"] == wire.METHOD_NOT_FOUND
    assert len(answer["error"]["message"]) < 200


async def test_an_answer_that_is_too_large(dispatcher: Dispatcher) -> None:
    """A result that no message may carry is an error in its place."""
    whole = line("large.echo", {"text": "\x01" * (600 * 1024)}, identity="a")
    answer = dispatcher.handle(whole, CALL)
    assert answer_of(answer)["result"]
    huge = make("huge", lambda _call, _params: "\x01" * (3 * 1024 * 1024))
    answer = answer_of(Dispatcher({"huge": huge}).handle(line("huge", identity="a"), CALL))
    assert answer["id"] == "a"
    assert "too large" in answer["error"]["message"]


async def test_a_cancelled_batch_finishes_what_changes_something(dispatcher: Dispatcher, gate: Gate) -> None:
    """When a client is gone, the looks of its batch are dropped and the changes go on to their end."""
    calls = [line("look"), line("change"), line("look"), line("change")]
    pending = dispatcher.handle(b"[" + b",".join(calls) + b"]", CALL)
    assert isinstance(pending, Pending)
    batch = asyncio.create_task(pending.answer())
    await eventually_async(lambda: gate.begun == 4, 5, "all are under way")
    batch.cancel()
    await eventually_async(lambda: gate.dropped == 2, 5, "the looks are dropped")
    assert not batch.done()
    gate.opened.set()
    with pytest.raises(asyncio.CancelledError):
        await batch
    assert (gate.done, gate.dropped) == (2, 2)
