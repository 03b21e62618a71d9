"""Speak JSON-RPC 2.0, one message a line: envelopes, framing, limits and the table of errors.

Standard library only, so that ``barbossactl`` can share it without importing the daemon.
Source: https://www.jsonrpc.org/specification and RFC 8259.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024
"""The longest line either side sends, newline included."""

MAX_REQUEST_BYTES: Final = 1024 * 1024
"""The longest request of an operation that does not ask for more."""

MAX_DEPTH: Final = 64
"""How deep arrays and objects may nest."""

MAX_REQUEST_VALUES: Final = 100_000
"""How many values a request may hold: a megabyte of empty lists takes half a second to read."""

MAX_BATCH: Final = 1000
"""How many calls one batch may hold."""

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorClass:
    """How one kind of error looks on each way out."""

    rpc_code: int
    http_status: int
    exit_code: int


ERRORS: Final[dict[str, ErrorClass]] = {
    "parse_error": ErrorClass(rpc_code=PARSE_ERROR, http_status=400, exit_code=1),
    "invalid_request": ErrorClass(rpc_code=INVALID_REQUEST, http_status=400, exit_code=1),
    "method_not_found": ErrorClass(rpc_code=METHOD_NOT_FOUND, http_status=404, exit_code=1),
    "invalid_params": ErrorClass(rpc_code=INVALID_PARAMS, http_status=422, exit_code=2),
    "internal_error": ErrorClass(rpc_code=INTERNAL_ERROR, http_status=500, exit_code=1),
    "error": ErrorClass(rpc_code=-32000, http_status=500, exit_code=1),
    "not_found": ErrorClass(rpc_code=-32001, http_status=404, exit_code=1),
    "conflict": ErrorClass(rpc_code=-32002, http_status=409, exit_code=1),
    "invalid_workflow": ErrorClass(rpc_code=-32003, http_status=422, exit_code=2),
    "permission_denied": ErrorClass(rpc_code=-32004, http_status=403, exit_code=4),
    "refused_by_guard": ErrorClass(rpc_code=-32005, http_status=403, exit_code=4),
    "unavailable": ErrorClass(rpc_code=-32006, http_status=503, exit_code=1),
    "timed_out": ErrorClass(rpc_code=-32007, http_status=504, exit_code=6),
    "too_many_requests": ErrorClass(rpc_code=-32008, http_status=429, exit_code=1),
    "invalid_config": ErrorClass(rpc_code=-32009, http_status=422, exit_code=2),
}
"""The one table from an error's ``kind`` to its RPC code, HTTP status and exit code."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A value as the JSON that it is: what is told to many, or made in pieces, is written once."""

    text: bytes


class WireError(Exception):
    """Say that a message is not what the protocol allows; carries the ``kind`` and a sentence."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Request:
    """One call. ``id`` is meaningless when ``is_notification``; ``params`` are by name or by position."""

    method: str
    params: dict[str, Any] | list[Any]
    id: str | int | float | None
    is_notification: bool


def encode(message: object, *, is_exact: bool = False) -> bytes:
    """Return ``message`` as one line of UTF-8 JSON, newline included. Raise ValueError on NaN.

    Half a surrogate pair, which no text has, becomes "?", so that an answer is sent whatever it tells of; where
    the message ``is_exact``, as what is asked for has to be, it raises ValueError too.
    """
    return _ENCODER.encode(message).encode(errors="strict" if is_exact else "replace") + b"\n"


def encoded(members: Mapping[str, object]) -> Encoded:
    """Return an object of members of which some may be written already."""
    pairs = (encode(name)[:-1] + b":" + _text(value) for name, value in members.items())
    return Encoded(b"{" + b",".join(pairs) + b"}")


def _text(value: object) -> bytes:
    return value.text if isinstance(value, Encoded) else encode(value)[:-1]


def decode(line: bytes, *, max_values: int | None = None) -> object:
    """Parse one line strictly.

    Refuses what RFC 8259 calls unpredictable: invalid UTF-8, half surrogate pairs, duplicate keys, NaN and
    Infinity, numbers too large for either kind, nesting deeper than ``MAX_DEPTH``, and more than ``max_values``.
    Raise ``WireError("parse_error")`` with the reason.
    """
    if max_values is not None and _has_more_values(line, max_values):
        raise WireError("parse_error", f"more than {max_values} values")
    try:
        value = _DECODER.decode(line.decode("utf-8"))
        if b"\\ud" in line or b"\\uD" in line:
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise WireError("parse_error", f"nested deeper than {MAX_DEPTH} levels") from None
    except UnicodeDecodeError as error:
        raise WireError("parse_error", f"not UTF-8 at byte {error.start}") from None
    except UnicodeEncodeError:
        raise WireError("parse_error", "half a surrogate pair is no text") from None
    except json.JSONDecodeError as error:
        raise WireError("parse_error", f"not JSON: {error.msg} at character {error.pos}") from None
    except ValueError as error:
        raise WireError("parse_error", f"not acceptable JSON: {error}") from None
    if line.count(b"[") + line.count(b"{") > MAX_DEPTH and _is_too_deep(value):
        raise WireError("parse_error", f"nested deeper than {MAX_DEPTH} levels")
    return value


def parse_request(value: object) -> Request:
    """Check one envelope. Raise ``WireError("invalid_request")`` with the reason."""
    if not isinstance(value, dict):
        raise WireError("invalid_request", "a request is a JSON object")
    if value.get("jsonrpc") != "2.0":
        raise WireError("invalid_request", 'a request has "jsonrpc": "2.0"')
    method = value.get("method")
    if not isinstance(method, str):
        raise WireError("invalid_request", '"method" is a string')
    identity = value.get("id")
    if identity is not None and (isinstance(identity, bool) or not isinstance(identity, str | int | float)):
        raise WireError("invalid_request", '"id" is a string, a number or null')
    unknown = value.keys() - {"jsonrpc", "method", "params", "id"}
    if unknown:
        raise WireError("invalid_request", f"unknown member {min(unknown)[:80]!r}")
    params = value.get("params", {})
    if not isinstance(params, dict | list):
        raise WireError("invalid_request", '"params" is an object or an array')
    return Request(method, params, identity, is_notification="id" not in value)


def request_id(value: object) -> str | int | float | None:
    """Return the id of a message that may be malformed, or None: what an error answer carries."""
    identity = value.get("id") if isinstance(value, dict) else None
    return identity if isinstance(identity, str | int | float) and not isinstance(identity, bool) else None


def call(method: str, params: dict[str, Any], identity: int | str) -> dict[str, Any]:
    """Return the envelope of a call."""
    return {"jsonrpc": "2.0", "method": method, "params": params, "id": identity}


def notification(method: str, params: dict[str, Any]) -> dict[str, Any]:
    """Return the envelope of a call that wants no answer."""
    return {"jsonrpc": "2.0", "method": method, "params": params}


def result(identity: str | int | float | None, value: object) -> dict[str, Any]:
    """Return the envelope of an answer."""
    return {"jsonrpc": "2.0", "result": value, "id": identity}


def error(
    identity: str | int | float | None, kind: str, message: str, details: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return the envelope of a failure; ``data`` holds the ``kind`` and the details."""
    body = {"code": ERRORS[kind].rpc_code, "message": message, "data": {"kind": kind, **(details or {})}}
    return {"jsonrpc": "2.0", "error": body, "id": identity}


def user_dir(variable: str, default: str) -> Path:
    """Return a user's folder of Barbossa beneath an XDG base folder, or beneath ``default`` in the user's home."""
    base = _base_dir(variable)
    return (Path.home() / default if base is None else base) / "barbossa"


def user_runtime_dir() -> Path:
    """Return the folder of a user's own daemon for its socket and other short-lived files."""
    base = _base_dir("XDG_RUNTIME_DIR")
    return user_dir("XDG_STATE_HOME", ".local/state") / "run" if base is None else base / "barbossa"


def _base_dir(variable: str) -> Path | None:
    """Return the folder that a variable of XDG names; a relative one counts as not set, as XDG says."""
    named = os.environ.get(variable, "")
    return Path(named) if named.startswith("/") else None


def user_socket_path() -> Path:
    """Return where a user's own daemon listens."""
    return user_runtime_dir() / "barbossad.sock"


SYSTEM_SOCKET_PATH: Final = Path("/run/barbossa/barbossad.sock")


def client_socket_path() -> Path:
    """Return the socket a client talks to: ``BARBOSSA_SOCKET``, a user's own if there, the system's.

    A home that the user may not enter, or does not have, holds no socket for that user.
    """
    named = os.environ.get("BARBOSSA_SOCKET")
    if named:
        return Path(named)
    try:
        own = user_socket_path()
        return own if own.exists() else SYSTEM_SOCKET_PATH
    except (OSError, RuntimeError):
        return SYSTEM_SOCKET_PATH


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {twice[:80]!r} stands twice in one object")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError(f"the number {digits[:80]} is too large")
    return number


_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
_DECODER: Final = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)


_MARKS: Final = re.compile(rb'"[^"\\]*+(?:\\.?[^"\\]*+)*+"?|[\[{,]', re.DOTALL)
"""A whole string, one without an end too, so that nothing is looked at twice; or what starts another value."""


def _has_more_values(line: bytes, limit: int) -> bool:
    """Whether a line would make more values than that, told before they are made; commas in text do not count."""
    if line.count(b",") + line.count(b"[") + line.count(b"{") < limit:
        return False
    marks = (found for found in _MARKS.finditer(line) if line[found.start()] != 0x22)
    return next(islice(marks, limit, None), None) is not None


def _is_too_deep(value: object) -> bool:
    """Walk ``value`` level by level, without recursion."""
    level = [value]
    for _ in range(MAX_DEPTH):
        deeper: list[object] = []
        for item in level:
            if isinstance(item, dict):
                deeper.extend(item.values())
            elif isinstance(item, list):
                deeper.extend(item)
        level = [item for item in deeper if isinstance(item, dict | list)]
        if not level:
            return False
    return True
