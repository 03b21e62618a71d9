"""The interface describes itself: an OpenRPC document made from the operations."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from functools import lru_cache
from typing import Any

from typing_extensions import TypedDict

from barbossad import __version__, wire
from barbossad.operations import registry
from barbossad.operations.registry import NoParams, Operation, define
from barbossad.operations.services import Call
from barbossad.security.access import Role
from barbossad.wire import Encoded


class OpenRpc(TypedDict):
    """A document as https://spec.open-rpc.org describes it."""

    openrpc: str
    info: dict[str, Any]
    methods: list[dict[str, Any]]


@define("rpc.discover", Role.VIEWER)
def discover(call: Call, params: NoParams) -> Encoded | OpenRpc | Awaitable[Encoded]:  # noqa: ARG001 (takes none)
    """Describe every method: its parameters, result, role and errors, as OpenRPC."""
    return _written() if _written.cache_info().currsize else asyncio.to_thread(_written)


@lru_cache(maxsize=1)
def _written() -> Encoded:
    """Return the document as it is sent: made once, since that takes a while and never differs."""
    return Encoded(wire.encode(document())[:-1])


@lru_cache(maxsize=1)
def document() -> OpenRpc:
    """Return the OpenRPC document of all operations."""
    return {
        "openrpc": "1.3.2",
        "info": {
            "title": "Barbossa",
            "version": __version__,
            "description": "JSON-RPC 2.0 over a Unix socket, one message a line.",
        },
        "methods": [_method(operation) for operation in registry.load().values()],
    }


def _method(operation: Operation) -> dict[str, Any]:
    schema = operation.params.model_json_schema()
    definitions = schema.get("$defs", {})
    required = schema.get("required", [])
    return {
        "name": operation.name,
        "summary": operation.summary,
        "description": operation.description,
        "paramStructure": "either",
        "params": [
            {
                "name": name,
                "required": name in required,
                "description": field.get("description", ""),
                "schema": {**field, **({"$defs": definitions} if definitions else {})},
            }
            for name, field in schema.get("properties", {}).items()
        ],
        "result": {"name": "result", "schema": operation.result_schema()},
        "errors": [
            {"code": known.rpc_code, "message": kind.replace("_", " "), "data": {"kind": kind}}
            for kind, known in wire.ERRORS.items()
        ],
        "x-role": operation.role.word,
    }
