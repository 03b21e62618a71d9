"""A few operations for tests of the transport, and a caller."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from barbossad import wire
from barbossad.operations.registry import NoParams, Operation, Params
from barbossad.operations.services import Call, Services
from barbossad.security.access import Caller, Role

CALL = Call(cast("Services", None), Caller(uid=4711, name="ada", role=Role.ADMIN))


class Text(Params):
    """Some text."""

    text: str = ""


def make(
    name: str,
    handler: Any,
    *,
    role: Role = Role.VIEWER,
    params: type[Params] = NoParams,
    max_request_bytes: int = wire.MAX_REQUEST_BYTES,
    less: Callable[[Any], Any] | None = None,
) -> Operation:
    """Return an operation of a handler."""
    return Operation(
        name=name,
        role=role,
        params=params,
        result=dict,
        summary="",
        description="",
        max_request_bytes=max_request_bytes,
        less=less,
        handler=handler,
    )


class Gate:
    """Operations that wait until the test lets them go on."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.begun = 0
        self.done = 0
        self.dropped = 0

    async def wait(self, _call: Call, _params: NoParams) -> str:
        self.begun += 1
        try:
            await self.opened.wait()
        except asyncio.CancelledError:
            self.dropped += 1
            raise
        self.done += 1
        return "done"


def echo(_call: Call, params: Text) -> str:
    return params.text
