"""Lines become answers, or what will give them."""

from __future__ import annotations

import asyncio
import json
import time
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
    await eventually_async(lambda: gate.begun == 4, 30, "all are under way")
    batch.cancel()
    await eventually_async(lambda: gate.dropped == 2, 30, "the looks are dropped")
    assert not batch.done()
    gate.opened.set()
    with pytest.raises(asyncio.CancelledError):
        await batch
    assert (gate.done, gate.dropped) == (2, 2)


async def batch_of(dispatcher: Dispatcher, *calls: bytes) -> Any:
    pending = dispatcher.handle(b"[" + b",".join(calls) + b"]", CALL)
    assert isinstance(pending, Pending)
    return answer_of(await pending.answer())


class Costly:
    """Operations with long answers, which count how often they were called."""

    def __init__(self) -> None:
        self.looks = self.changes = 0

    def look(self, _call: Call, _params: NoParams) -> str:
        self.looks += 1
        return "x" * 3 * 1024 * 1024

    def change(self, _call: Call, _params: NoParams) -> str:
        self.changes += 1
        return "x" * 3 * 1024 * 1024


@pytest.fixture
def costly() -> Costly:
    return Costly()


@pytest.fixture
def costly_dispatcher(costly: Costly, gate: Gate) -> Dispatcher:
    made = (
        make("costly", costly.look),
        make("costly.change", costly.change, role=Role.OPERATOR),
        make("look", gate.wait),
    )
    return Dispatcher({known.name: known for known in made})


async def test_answers_that_are_too_large_together(costly_dispatcher: Dispatcher, costly: Costly) -> None:
    """What fits is answered; the rest is not worked on, and each call says so under its own id."""
    answers = await batch_of(costly_dispatcher, *(line("costly", identity=number) for number in range(100)))
    assert [answer["id"] for answer in answers] == list(range(100))
    assert ["result" in answer for answer in answers] == [True] * 5 + [False] * 95
    assert costly.looks == 6
    messages = [answer["error"]["message"].rpartition("; ")[2] for answer in answers[5:]]
    assert messages == ["this call was given up"] + ["this call was not begun"] * 94


async def test_no_change_is_half_told(costly_dispatcher: Dispatcher, costly: Costly) -> None:
    """Of each change it is told whether it was begun, however long its answer is and those of others are."""
    calls = [line("costly.change", identity=number) for number in range(8)]
    calls.append(json.dumps({"jsonrpc": "2.0", "method": "costly.change"}).encode())
    answers = await batch_of(costly_dispatcher, *calls)
    assert ["result" in answer for answer in answers] == [True] * 5 + [False] * 3
    messages = [answer["error"]["message"].rpartition("; ")[2] for answer in answers[5:]]
    ended = "this call came to its end: look at what became of it"
    assert messages == [ended, "this call was not begun", "this call was not begun"]
    assert costly.changes == 7  # the notification, of which nothing needs to be told, among them


async def test_what_is_looked_at_is_given_up_when_the_answers_are_too_large(
    costly_dispatcher: Dispatcher, gate: Gate
) -> None:
    """Nobody waits for what cannot be told any more."""
    answers = await batch_of(costly_dispatcher, line("look", identity="a"), *[line("costly", identity="b")] * 6)
    assert answers[0]["id"] == "a"
    assert answers[0]["error"]["message"].endswith("this call was given up")
    assert gate.done == 0


async def test_others_have_their_turn_within_a_batch(costly_dispatcher: Dispatcher) -> None:
    """A batch of calls that are each answered at once does not hold the loop to its end."""
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(others())
    slow = make("slow", lambda _call, _params: time.sleep(0.006))
    await batch_of(Dispatcher({"slow": slow}), *[line("slow")] * 12)
    other.cancel()
    assert turns >= 10


async def test_a_result_that_is_written_already(dispatcher: Dispatcher) -> None:
    """It is put into the answer as it is, also where it was waited for and is long."""
    written = wire.Encoded(wire.encode({"text": "x" * 100_000})[:-1])

    async def later(_call: Call, _params: NoParams) -> wire.Encoded:
        return written

    made = (make("now", lambda _call, _params: written), make("later", later))
    dispatcher = Dispatcher({known.name: known for known in made})
    expected = wire.encode({"jsonrpc": "2.0", "result": {"text": "x" * 100_000}, "id": "é"})
    assert dispatcher.handle(line("now", identity="é"), CALL) == expected
    pending = dispatcher.handle(line("later", identity="é"), CALL)
    assert isinstance(pending, Pending)
    assert await pending.answer() == expected


async def test_less_is_told_where_all_is_too_large() -> None:
    """An operation that knows how to tell less does; of what still is too large it is said that it is."""
    large = "x" * wire.MAX_MESSAGE_BYTES

    def tell(_call: Call, _params: NoParams) -> str:
        return large

    made = (
        make("less", tell, less=lambda value: value[:3]),
        make("never", tell, less=lambda value: value),
        make("all", tell),
    )
    dispatcher = Dispatcher({known.name: known for known in made})
    assert answer_of(dispatcher.handle(line("less"), CALL))["result"] == "xxx"
    for method in ("never", "all"):
        assert "too large" in answer_of(dispatcher.handle(line(method), CALL))["error"]["message"]
