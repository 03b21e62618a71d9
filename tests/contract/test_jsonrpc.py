"""JSON-RPC 2.0: the examples of the specification's section 7 and every rule around them, over a real socket.

Source: https://www.jsonrpc.org/specification.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from barbossad import wire
from barbossad.errors import (
    BarbossaError,
    ConflictError,
    Fault,
    InvalidWorkflowError,
    NotFoundError,
    PermissionDeniedError,
    StateError,
    StoreError,
    TimedOutError,
    UnavailableError,
)
from barbossad.operations.registry import NoParams, Operation, Params
from barbossad.operations.services import Call
from barbossad.security.access import Role
from tests.helpers.rpc_client import Client
from tests.helpers.rpc_server import serving


class Pair(Params):
    """Two numbers."""

    minuend: int
    subtrahend: int


class Numbers(Params):
    """Some numbers, by position."""

    a: int = 0
    b: int = 0
    c: int = 0
    d: int = 0
    e: int = 0


class Anything(Params):
    """Anything."""

    value: Any = None


class Which(Params):
    """Which fault."""

    kind: str = Field(description="The kind of error to answer with")


notified: list[tuple[str, Any]] = []
"""What notifications asked for, in the order in which they were carried out."""


def subtract(_call: Call, params: Pair) -> int:
    return params.minuend - params.subtrahend


async def add(_call: Call, params: Numbers) -> int:
    await asyncio.sleep(0)
    return sum(value for _, value in params)


def get_data(_call: Call, _params: NoParams) -> list[Any]:
    return ["hello", 5]


def note(name: str) -> Any:
    def handler(_call: Call, params: Any) -> str:
        notified.append((name, params.model_dump()))
        return "nobody hears this"

    return handler


def echo(_call: Call, params: Anything) -> Any:
    return params.value


def not_json(_call: Call, _params: NoParams) -> float:
    return float("nan")


FAULT = Fault(line=3, column=5, path="tasks[0]", message="wrong", hint="mend it")
RAISED: dict[str, Exception] = {
    "error": BarbossaError("no"),
    "not_found": NotFoundError("workflow", "x"),
    "conflict": ConflictError("no"),
    "invalid_workflow": InvalidWorkflowError("workflow 'x'", [FAULT]),
    "permission_denied": PermissionDeniedError("no"),
    "unavailable": UnavailableError("no"),
    "timed_out": TimedOutError("no"),
    "internal_error": RuntimeError("a secret of the inside"),
}


async def fail(_call: Call, params: Which) -> None:
    raise RAISED[params.kind]


def operation(name: str, params: type[Params], handler: Any) -> Operation:
    return Operation(
        name=name,
        role=Role.VIEWER,
        params=params,
        result=dict,
        summary="",
        description="",
        max_request_bytes=wire.MAX_REQUEST_BYTES,
        handler=handler,
    )


OPERATIONS = {
    made.name: made
    for made in (
        operation("subtract", Pair, subtract),
        operation("sum", Numbers, add),
        operation("get_data", NoParams, get_data),
        operation("update", Numbers, note("update")),
        operation("notify_hello", Numbers, note("notify_hello")),
        operation("notify_sum", Numbers, note("notify_sum")),
        operation("echo", Anything, echo),
        operation("fail", Which, fail),
        operation("not_json", NoParams, not_json),
    )
}


@pytest.fixture(scope="module")
def socket_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with serving(tmp_path_factory.mktemp("rpc"), OPERATIONS) as path:
        yield path


@pytest.fixture
def client(socket_path: Path) -> Iterator[Client]:
    notified.clear()
    with Client(socket_path) as connected:
        yield connected


def assert_silence(client: Client, line: str) -> None:
    """Send a line and see that nothing is answered: calls made after it, which take longer, are answered first."""
    client.send(line.encode() + b"\n")
    for number in range(4):
        assert client.call("sum", a=number) == number


def without_words(answer: Any) -> Any:
    """Return an answer with the code alone of its errors: the words and the data are an implementation's own."""
    if isinstance(answer, list):
        return [without_words(item) for item in answer]
    if isinstance(answer, dict) and "error" in answer:
        return {**answer, "error": answer["error"]["code"]}
    return answer


def ok(result: Any, identity: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "result": result, "id": identity}


def bad(code: int, identity: Any = None) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "error": code, "id": identity}


EXAMPLES = {
    "positional parameters": (
        '{"jsonrpc": "2.0", "method": "subtract", "params": [42, 23], "id": 1}',
        ok(19, 1),
    ),
    "positional parameters, the other way round": (
        '{"jsonrpc": "2.0", "method": "subtract", "params": [23, 42], "id": 2}',
        ok(-19, 2),
    ),
    "named parameters": (
        '{"jsonrpc": "2.0", "method": "subtract", "params": {"subtrahend": 23, "minuend": 42}, "id": 3}',
        ok(19, 3),
    ),
    "named parameters, the other way round": (
        '{"jsonrpc": "2.0", "method": "subtract", "params": {"minuend": 42, "subtrahend": 23}, "id": 4}',
        ok(19, 4),
    ),
    "a notification": ('{"jsonrpc": "2.0", "method": "update", "params": [1,2,3,4,5]}', None),
    "a notification of a method that does not exist": ('{"jsonrpc": "2.0", "method": "foobar"}', None),
    "a method that does not exist": ('{"jsonrpc": "2.0", "method": "foobar", "id": "1"}', bad(-32601, "1")),
    "invalid JSON": ('{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]', bad(-32700)),
    "an invalid request": ('{"jsonrpc": "2.0", "method": 1, "params": "bar"}', bad(-32600)),
    "a batch of invalid JSON": (
        '[ {"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"}, {"jsonrpc": "2.0", "method" ]',
        bad(-32700),
    ),
    "an empty array": ("[]", bad(-32600)),
    "an invalid batch that is not empty": ("[1]", [bad(-32600)]),
    "an invalid batch": ("[1,2,3]", [bad(-32600), bad(-32600), bad(-32600)]),
    "a mixed batch": (
        """[
        {"jsonrpc": "2.0", "method": "sum", "params": [1,2,4], "id": "1"},
        {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]},
        {"jsonrpc": "2.0", "method": "subtract", "params": [42,23], "id": "2"},
        {"foo": "boo"},
        {"jsonrpc": "2.0", "method": "foo.get", "params": {"name": "myself"}, "id": "5"},
        {"jsonrpc": "2.0", "method": "get_data", "id": "9"}
        ]""".replace("\n", " "),
        [ok(7, "1"), ok(19, "2"), bad(-32600), bad(-32601, "5"), ok(["hello", 5], "9")],
    ),
    "a batch of notifications": (
        """[
        {"jsonrpc": "2.0", "method": "notify_sum", "params": [1,2,4]},
        {"jsonrpc": "2.0", "method": "notify_hello", "params": [7]}
        ]""".replace("\n", " "),
        None,
    ),
}


@pytest.mark.parametrize(("request_line", "expected"), EXAMPLES.values(), ids=EXAMPLES.keys())
def test_examples_of_the_specification(client: Client, request_line: str, expected: Any) -> None:
    """Each example of section 7 is answered as the specification shows."""
    if expected is None:
        assert_silence(client, request_line)
    else:
        assert without_words(client.ask(request_line)) == expected


def test_notifications_are_carried_out(client: Client) -> None:
    """A notification is not answered, and is carried out, alone and in a batch."""
    assert_silence(client, EXAMPLES["a notification"][0])
    assert_silence(client, EXAMPLES["a batch of notifications"][0])
    assert notified == [
        ("update", {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}),
        ("notify_sum", {"a": 1, "b": 2, "c": 4, "d": 0, "e": 0}),
        ("notify_hello", {"a": 7, "b": 0, "c": 0, "d": 0, "e": 0}),
    ]


@pytest.mark.parametrize(
    "line",
    [
        '{"jsonrpc": "2.0", "method": "subtract", "params": ["a"]}',
        '{"jsonrpc": "2.0", "method": "fail", "params": ["conflict"]}',
        '{"jsonrpc": "2.0", "method": "fail", "params": ["internal_error"]}',
        '[{"jsonrpc": "2.0", "method": "fail", "params": ["conflict"]}, {"jsonrpc": "2.0", "method": "none"}]',
    ],
)
def test_a_notification_that_fails_is_not_answered(client: Client, line: str) -> None:
    """A notification has no answer, not even an error."""
    assert_silence(client, line)


@pytest.mark.parametrize("kind", RAISED)
def test_error_codes(client: Client, kind: str) -> None:
    """Each kind of refusal has its code, and data that names the kind; what failed inside is not told."""
    answer = client.ask(f'{{"jsonrpc": "2.0", "method": "fail", "params": ["{kind}"], "id": 1}}')
    assert answer["error"]["code"] == wire.ERRORS[kind].rpc_code
    assert answer["error"]["data"]["kind"] == kind
    assert answer["error"]["message"]
    assert "secret" not in json.dumps(answer)


def test_a_fault_of_its_own_names_the_log_once(client: Client) -> None:
    """Of what failed inside the message says that it did, and the hint beside it where more is told."""
    answer = client.ask('{"jsonrpc": "2.0", "method": "fail", "params": ["internal_error"], "id": 1}')
    assert answer["error"]["message"] == "fail failed"
    assert answer["error"]["data"]["hint"] == "the daemon's log says why: journalctl -u barbossad"


def test_every_code_is_told_apart() -> None:
    """No two kinds share a code; the specification's own are its own, ours are in the range it leaves to servers."""
    codes = {kind: known.rpc_code for kind, known in wire.ERRORS.items()}
    assert len(set(codes.values())) == len(codes)
    assert {kind: code for kind, code in codes.items() if code < -32099} == {
        "parse_error": -32700,
        "invalid_request": -32600,
        "method_not_found": -32601,
        "invalid_params": -32602,
        "internal_error": -32603,
    }
    assert all(-32099 <= code <= -32000 for code in codes.values() if code > -32600)


def test_every_exception_has_a_code() -> None:
    """Whatever class of the exception tree is raised, the wire has a code for it."""
    classes = [BarbossaError]
    for known in classes:
        classes.extend(known.__subclasses__())
    assert {StateError, StoreError} < set(classes)
    assert {known.kind for known in classes} <= wire.ERRORS.keys()


def test_an_invalid_workflow_carries_every_fault(client: Client) -> None:
    """The data of an error about a file has the faults with line and column."""
    answer = client.ask('{"jsonrpc": "2.0", "method": "fail", "params": ["invalid_workflow"], "id": 1}')
    assert answer["error"]["data"]["faults"] == [
        {"line": 3, "column": 5, "path": "tasks[0]", "message": "wrong", "hint": "mend it"}
    ]


def test_a_result_that_json_does_not_have(client: Client) -> None:
    """An operation whose result cannot be written is an internal error, neither silence nor the end."""
    answer = client.ask('{"jsonrpc": "2.0", "method": "not_json", "id": 4}')
    assert without_words(answer) == bad(-32603, 4)
    answer = client.ask('[{"jsonrpc": "2.0", "method": "not_json", "id": 4}]')
    assert without_words(answer) == [bad(-32603, 4)]


# -- ids -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "identity", ["1", "0", "-7", "1.5", "1e3", "123456789012345678901234567890", '""', '"ü"', '"a\\nb"', "null"]
)
def test_ids_come_back_as_they_were(client: Client, identity: str) -> None:
    """An id is a string, a number or null; fractional and very large ones come back as they are."""
    answer = client.ask(f'{{"jsonrpc": "2.0", "method": "subtract", "params": [3, 1], "id": {identity}}}')
    assert answer == ok(2, json.loads(identity))


@pytest.mark.parametrize("identity", ["true", "false", "[]", "{}", "[1]"])
def test_ids_of_other_types_are_refused(client: Client, identity: str) -> None:
    """An id of another type makes the request invalid, and the answer's id null."""
    answer = client.ask(f'{{"jsonrpc": "2.0", "method": "get_data", "id": {identity}}}')
    assert without_words(answer) == bad(-32600)


# -- requests that are none ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "identity"),
    [
        ('{"method": "get_data", "id": 1}', 1),
        ('{"jsonrpc": "1.0", "method": "get_data", "id": 1}', 1),
        ('{"jsonrpc": 2.0, "method": "get_data", "id": "x"}', "x"),
        ('{"jsonrpc": "2.0", "id": 1}', 1),
        ('{"jsonrpc": "2.0", "method": null, "id": 1}', 1),
        ('{"jsonrpc": "2.0", "method": "get_data", "params": null, "id": 1}', 1),
        ('{"jsonrpc": "2.0", "method": "get_data", "params": "x", "id": 1}', 1),
        ('{"jsonrpc": "2.0", "method": "get_data", "params": 7, "id": 1}', 1),
        ('{"jsonrpc": "2.0", "method": "get_data", "id": 1, "uid": 0}', 1),
        ('{"jsonrpc": "2.0", "result": 7, "id": 1}', 1),
        ('"text"', None),
        ("7", None),
        ("null", None),
        ("true", None),
    ],
)
def test_invalid_requests(client: Client, line: str, identity: Any) -> None:
    """What is JSON but no request, unknown members included, is refused with the id that it has."""
    assert without_words(client.ask(line)) == bad(-32600, identity)


@pytest.mark.parametrize(
    ("params", "path"),
    [
        ("[1]", "subtrahend"),
        ("[1, 2, 3]", ""),
        ("{}", "minuend"),
        ('{"minuend": 1, "subtrahend": 2, "more": 3}', "more"),
        ('{"minuend": "1", "subtrahend": 2}', "minuend"),
        ('{"minuend": 1.5, "subtrahend": 2}', "minuend"),
        ('{"minuend": true, "subtrahend": 2}', "minuend"),
    ],
)
def test_invalid_params(client: Client, params: str, path: str) -> None:
    """Parameters that are missing, too many, unknown or of another type are told by name; nothing is converted."""
    answer = client.ask(f'{{"jsonrpc": "2.0", "method": "subtract", "params": {params}, "id": 1}}')
    assert answer["error"]["code"] == -32602
    faults = answer["error"]["data"]["faults"]
    assert path in {fault["path"] for fault in faults}
    assert all(fault["message"] for fault in faults)


# -- JSON that RFC 8259 calls unpredictable -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("NaN", "NaN"),
        ("Infinity", "Infinity"),
        ("-Infinity", "Infinity"),
        ("1e999", "too large"),
        ("-1e999", "too large"),
        ("9" * 5000, ""),
        ('{"a": 1, "a": 2}', "twice"),
        ('{"a": 1, "\\u0061": 2}', "twice"),
        ('"\\ud800"', "surrogate"),
        ('"\\udc00\\ud800"', "surrogate"),
        ('{"\\uD800": 1}', "surrogate"),
        ("[" * 65 + "]" * 65, "deeper"),
        ('{"a":' * 64 + "1" + "}" * 64, "deeper"),
        ("[" * 100_000, ""),
        ("{" * 100_000, ""),
        ('{"a":[' * 50_000, ""),
        ("01", ""),
        ("1.", ""),
        (".5", ""),
        ("'a'", ""),
        ('"a\tb"', ""),
        ("[1,]", ""),
        ("/* a */ 1", ""),
        ("", ""),
    ],
)
def test_json_that_is_refused(client: Client, value: str, reason: str) -> None:
    """What readers of JSON understand differently, or what costs without end, is a parse error with its reason."""
    answer = client.ask(f'{{"jsonrpc": "2.0", "method": "echo", "params": {{"value": {value}}}, "id": 1}}')
    assert without_words(answer) == bad(-32700)
    assert reason in answer["error"]["message"]


@pytest.mark.parametrize(
    "raw", [b'"\xff"', b'"\xc3"', b'"\xed\xa0\x80"', b"\xef\xbb\xbf{}", b"\x00", b'"\xf8\x88\x80\x80\x80"']
)
def test_bytes_that_are_refused(client: Client, raw: bytes) -> None:
    """Only UTF-8 without a byte order mark is read."""
    assert without_words(client.ask(raw)) == bad(-32700)


@pytest.mark.parametrize(
    "value",
    [
        '"\\ud83d\\ude00"',
        '"\\\\ud800"',
        '"\\u0000\\u001f"',
        '"\\u2028"',
        "9" * 4000,
        "-0.0",
        "1e-999",
        "[" * 60 + "]" * 60,
        '{"a": {"a": 1}, "A": 2}',
        '""',
        '{"": 1}',
        "null",
        '"' + "[" * 1000 + '"',
    ],
)
def test_json_that_is_taken(client: Client, value: str) -> None:
    """What is well-formed and unambiguous arrives as it was sent, and goes back so."""
    answer = client.ask(f'{{"jsonrpc": "2.0", "method": "echo", "params": {{"value": {value}}}, "id": 1}}')
    assert answer == ok(json.loads(value), 1)


def test_depth_sixty_four_is_taken_and_sixty_five_is_not(client: Client) -> None:
    """A message may nest 64 levels, the two of its own envelope and parameters among them."""
    for levels, code in ((62, None), (63, -32700)):
        value = "[" * levels + "]" * levels
        answer = client.ask(f'{{"jsonrpc": "2.0", "method": "echo", "params": {{"value": {value}}}, "id": 1}}')
        assert answer.get("error", {}).get("code") == code, levels


def test_white_space_and_empty_lines(client: Client) -> None:
    """White space around a message, a carriage return too, and empty lines between messages do not matter."""
    line = ' \t{"jsonrpc" : "2.0", "method": "get_data", "id": 1} \r'
    client.send(b"\n\r\n  \n" + line.encode() + b"\n\n")
    assert client.receive() == ok(["hello", 5], 1)


# -- batches ----------------------------------------------------------------------------------------------------


def test_batches_have_a_limit(client: Client) -> None:
    """A batch of the most calls is answered in order; one more call, and the whole is refused."""
    calls = [{"jsonrpc": "2.0", "method": "sum", "params": [1, n], "id": n} for n in range(wire.MAX_BATCH)]
    assert client.ask(json.dumps(calls)) == [ok(n + 1, n) for n in range(wire.MAX_BATCH)]
    assert without_words(client.ask(json.dumps([*calls, calls[0]]))) == bad(-32600)


def test_faults_of_one_call_of_a_batch_are_its_own(client: Client) -> None:
    """Calls of a batch that fail in every way leave the others as they are."""
    calls = [
        {"jsonrpc": "2.0", "method": "sum", "params": [1], "id": 1},
        {"jsonrpc": "2.0", "method": "fail", "params": ["internal_error"], "id": 2},
        {"jsonrpc": "2.0", "method": "subtract", "params": [], "id": 3},
        [],
        {"jsonrpc": "2.0", "method": "sum", "params": [2], "id": 4},
    ]
    answer = client.ask(json.dumps(calls))
    assert without_words(answer) == [ok(1, 1), bad(-32603, 2), bad(-32602, 3), bad(-32600), ok(2, 4)]
