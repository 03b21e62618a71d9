"""JSON-RPC 2.0, one message a line: strict about what comes in, plain in what goes out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from barbossad import errors, wire
from barbossad.wire import Request, WireError


@pytest.mark.parametrize(
    ("line", "value"),
    [
        (b"{}\n", {}),
        (b'  [1, -2, 0.5, 1e3, true, null, "x"]\r\n', [1, -2, 0.5, 1000.0, True, None, "x"]),
        ('{"ä": "☠\\n\\ud83d\\ude00"}'.encode(), {"ä": "☠\n😀"}),
        (b"1" * 400, int("1" * 400)),
        (b'"' + b"[" * 1000 + b'"', "[" * 1000),
        (b"[" * 64 + b"]" * 64, None),
        (b'{"a":' * 64 + b"0" + b"}" * 64, None),
        (b"[" + b"[]," * 1000 + b"[]]", [[]] * 1001),
    ],
)
def test_decode(line: bytes, value: object) -> None:
    """What is JSON is read as what it says."""
    found = wire.decode(line)
    assert value is None or found == value


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "not JSON"),
        (b"\n", "not JSON"),
        (b"{", "not JSON"),
        (b"[1,]", "not JSON"),
        (b"{'a': 1}", "not JSON"),
        (b"1 2", "not JSON: Extra data at character 2"),
        (b'"a\x01b"', "not JSON: Invalid control character"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b'"\xff"', "not UTF-8 at byte 1"),
        (b'"\xed\xa0\x80"', "not UTF-8"),
        (b'"\\ud800"', "half a surrogate pair"),
        (b'{"\\uDFFF": 1}', "half a surrogate pair"),
        (b'{"a": 1, "b": 2, "a": 3}', "the key 'a' stands twice"),
        (b'[{"x": {"a": 1, "a": 1}}]', "the key 'a' stands twice"),
        (b"NaN", "NaN is not JSON"),
        (b"[-Infinity]", "-Infinity is not JSON"),
        (b"1e999", "the number 1e999 is too large"),
        (b"-1e400", "too large"),
        (b"1" * 5000, "not acceptable JSON"),
        (b"[" * 65 + b"]" * 65, "nested deeper than 64 levels"),
        (b'{"a":' * 65 + b"0" + b"}" * 65, "nested deeper than 64 levels"),
        (b"[" * 1_000_000, "nested deeper than 64 levels"),
        (b'{"a":' * 100_000, "nested deeper than 64 levels"),
    ],
    ids=lambda value: repr(value[:30]),
)
def test_decode_refuses(line: bytes, reason: str) -> None:
    """What RFC 8259 calls unpredictable, and what is hostile, is a parse error that says why."""
    with pytest.raises(WireError, match=reason) as refused:
        wire.decode(line)
    assert refused.value.kind == "parse_error"
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize(
    "line",
    [
        b"{" + b",".join(b'"k%d":1' % number for number in range(70_000)) + b',"k69999":2}',
        b'{"' + b"k" * 1_000_000 + b'":1,"' + b"k" * 1_000_000 + b'":2}',
        b"[" * 500_000 + b"]" * 500_000,
        b'"' + b"\\u0041" * 150_000 + b'"',
    ],
    ids=["many keys, the last twice", "a long key twice", "brackets", "escapes"],
)
def test_decode_is_quick(line: bytes) -> None:
    """No message of a megabyte takes longer than a moment to be read or refused."""
    begun = time.process_time()
    try:
        wire.decode(line)
    except WireError as refused:
        assert len(str(refused)) < 200  # noqa: PT017 (some are refused, some are not)
    assert time.process_time() - begun < 2


def test_encode() -> None:
    """A message is one line of UTF-8, whatever is in it, and comes back as it was."""
    message = {"a": ["line\nend", "\u2028", "☠", 10**30, 0.1, None], "b": {"": ""}}
    line = wire.encode(message)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert "☠".encode() in line
    assert wire.decode(line) == message


def test_encode_what_no_text_has() -> None:
    """Half a surrogate pair, as Python makes of paths that are not UTF-8, does not keep an answer from being sent."""
    assert wire.decode(wire.encode(["caf\udce9"])) == ["caf?"]
    with pytest.raises(ValueError, match="surrogate"):
        wire.encode(["caf\udce9"], is_exact=True)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"a": [float("-inf")]}])
def test_encode_refuses(value: object) -> None:
    """What is not JSON is never sent."""
    with pytest.raises(ValueError, match="JSON"):
        wire.encode(value)


def test_request() -> None:
    """A request has a method, maybe parameters, and an id unless it is a notification."""
    call = {"jsonrpc": "2.0", "method": "m", "params": {"a": 1}, "id": "x"}
    assert wire.parse_request(call) == Request("m", {"a": 1}, "x", is_notification=False)
    assert wire.parse_request({"jsonrpc": "2.0", "method": "m"}) == Request("m", {}, None, is_notification=True)
    null = {"jsonrpc": "2.0", "method": "m", "params": [1], "id": None}
    assert wire.parse_request(null) == Request("m", [1], None, is_notification=False)
    assert wire.parse_request(wire.call("m", {"a": 1}, 7)).id == 7
    assert wire.parse_request(wire.notification("m", {})).is_notification


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"jsonrpc": "1.0"}, '"jsonrpc": "2.0"'),
        ({"jsonrpc": 2.0}, '"jsonrpc": "2.0"'),
        ({"method": 1}, '"method" is a string'),
        ({"method": None}, '"method" is a string'),
        ({"id": True}, '"id" is'),
        ({"id": {}}, '"id" is'),
        ({"id": [1]}, '"id" is'),
        ({"params": None}, '"params" is'),
        ({"params": "x"}, '"params" is'),
        ({"extra": 1}, "unknown member 'extra'"),
        ({"x" * 1_000_000: 1}, "unknown member 'xxx"),
    ],
    ids=str,
)
def test_request_is_refused(change: dict[str, object], reason: str) -> None:
    """What is no request is refused with the reason; unknown members are errors too."""
    with pytest.raises(WireError, match=reason) as refused:
        wire.parse_request({"jsonrpc": "2.0", "method": "m", "id": 1, **change})
    assert refused.value.kind == "invalid_request"
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("value", [None, 1, "x", [], [{}], True])
def test_request_is_an_object(value: object) -> None:
    """Anything but an object is no request."""
    with pytest.raises(WireError, match="a request is a JSON object"):
        wire.parse_request(value)


@pytest.mark.parametrize(
    ("value", "identity"),
    [
        ({"id": 1}, 1),
        ({"id": "x"}, "x"),
        ({"id": 1.5}, 1.5),
        ({"id": True}, None),
        ({"id": {}}, None),
        ({}, None),
        (7, None),
    ],
)
def test_id_of_what_is_malformed(value: object, identity: object) -> None:
    """An answer to a malformed request carries its id where there is one."""
    assert wire.request_id(value) == identity


def test_answers() -> None:
    """Answers have the shape of the specification; a failure says its kind to programs."""
    assert wire.result(1, [2]) == {"jsonrpc": "2.0", "result": [2], "id": 1}
    assert wire.error(None, "parse_error", "no", {"line": 3}) == {
        "jsonrpc": "2.0",
        "error": {"code": -32700, "message": "no", "data": {"kind": "parse_error", "line": 3}},
        "id": None,
    }


def test_every_error_has_a_code_of_its_own() -> None:
    """Codes are those of the specification, or ours from -32000 down, and no two kinds share one."""
    codes = [error.rpc_code for error in wire.ERRORS.values()]
    assert len(set(codes)) == len(codes)
    assert all(-32099 <= code <= -32000 or code in {-32700, -32600, -32601, -32602, -32603} for code in codes)
    assert all(400 <= error.http_status < 600 and error.exit_code > 0 for error in wire.ERRORS.values())


def _leaves(kind: type[errors.BarbossaError]) -> Iterator[type[errors.BarbossaError]]:
    yield kind
    for leaf in kind.__subclasses__():
        yield from _leaves(leaf)


@pytest.mark.parametrize("leaf", list(_leaves(errors.BarbossaError)))
def test_every_exception_has_a_place_in_the_table(leaf: type[errors.BarbossaError]) -> None:
    """The kind of each exception is one that the table turns into codes, and it says what it is for."""
    assert leaf.kind in wire.ERRORS
    assert leaf.__doc__


def test_sockets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A client talks to the socket that is named, to a user's own daemon if there is one, or to the system's."""
    for name in ("BARBOSSA_SOCKET", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert wire.client_socket_path() == wire.SYSTEM_SOCKET_PATH
    own = tmp_path / "barbossa" / "barbossad.sock"
    own.parent.mkdir()
    own.touch()
    assert wire.client_socket_path() == wire.user_socket_path() == own
    monkeypatch.setenv("BARBOSSA_SOCKET", "/elsewhere")
    assert wire.client_socket_path() == Path("/elsewhere")
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert wire.user_socket_path() == Path("/state/barbossa/run/barbossad.sock")


def test_a_relative_base_folder_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon and its clients find each other wherever they are started: XDG's folders are absolute, or ignored."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", "relative")
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert wire.user_runtime_dir() == Path("/state/barbossa/run")
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/ada")
    assert wire.user_runtime_dir() == Path("/home/ada/.local/state/barbossa/run")
    assert wire.user_dir("XDG_STATE_HOME", ".local/state") == Path("/home/ada/.local/state/barbossa")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("has_home", [True, False])
def test_a_home_of_another_user_holds_no_socket(tmp_path: Path, *, has_home: bool) -> None:
    """Who may not look into the folder of ``HOME``, or has no home at all, talks to the system's daemon."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    become = "import os; os.setgroups([]); os.setgid(54321); os.setuid(54321)"
    done = subprocess.run(
        [sys.executable, "-c", f"from barbossad import wire; {become}; print(wire.client_socket_path())"],
        env={"HOME": str(home)} if has_home else {},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{wire.SYSTEM_SOCKET_PATH}\n"


def test_answers_are_json() -> None:
    """What is sent any JSON parser reads."""
    assert json.loads(wire.encode(wire.error("x", "not_found", "there is no run 'y'"))) is not None
