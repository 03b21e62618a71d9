"""From a line to its answer: envelopes, batches and errors, as the specification has them."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Mapping
from typing import Any

from barbossad import wire
from barbossad.errors import BarbossaError
from barbossad.operations.registry import Operation
from barbossad.operations.services import Call
from barbossad.wire import Request, WireError

Answer = dict[str, Any] | list[dict[str, Any]] | None

log = logging.getLogger(__name__)


class Dispatcher:
    """Calls operations by name."""

    def __init__(self, operations: Mapping[str, Operation]) -> None:
        self._operations = operations

    def largest_request(self, line: bytes) -> int:
        """Return how many bytes a line may have, by the operations that it may be calling."""
        largest = wire.MAX_REQUEST_BYTES
        for operation in self._operations.values():
            if operation.max_request_bytes > largest and f'"{operation.name}"'.encode() in line:
                largest = operation.max_request_bytes
        return largest

    def handle(self, line: bytes, call: Call) -> Answer | Awaitable[Answer]:
        """Return the answer to a line (None: there is none), or an awaitable of it."""
        if len(line) > wire.MAX_REQUEST_BYTES and len(line) > self.largest_request(line):
            message = f"a request of {len(line)} bytes is too large; at most {wire.MAX_REQUEST_BYTES} are taken"
            return wire.error(None, "invalid_request", message)
        try:
            message_value = wire.decode(line)
        except WireError as error:
            return wire.error(None, error.kind, str(error))
        if isinstance(message_value, list):
            return self._batch(message_value, call)
        return self._one(message_value, call)

    def _batch(self, items: list[Any], call: Call) -> Answer | Awaitable[Answer]:
        if not items:
            return wire.error(None, "invalid_request", "an empty batch asks for nothing")
        if len(items) > wire.MAX_BATCH:
            return wire.error(None, "invalid_request", f"a batch holds at most {wire.MAX_BATCH} calls")
        return self._answer_all(items, call)

    async def _answer_all(self, items: list[Any], call: Call) -> Answer:
        """Answer the calls of a batch side by side; a batch of notifications has no answer."""
        pending = []
        for position, item in enumerate(items):
            pending.append(_settled(self._one(item, call)))
            if position % 32 == 31:
                await asyncio.sleep(0)  # let others have their turn
        answers = [answer for answer in await asyncio.gather(*pending) if isinstance(answer, dict)]
        return answers or None

    def _one(self, value: Any, call: Call) -> Answer | Awaitable[Answer]:
        try:
            request = wire.parse_request(value)
        except WireError as error:
            return wire.error(wire.request_id(value), error.kind, str(error))
        return self._call(request, call)

    def _call(self, request: Request, call: Call) -> Answer | Awaitable[Answer]:
        operation = self._operations.get(request.method)
        if operation is None:
            message = f"there is no method {request.method!r}; rpc.discover lists them"
            return None if request.is_notification else wire.error(request.id, "method_not_found", message)
        try:
            result = operation.invoke(call, request.params)
        except Exception as error:  # noqa: BLE001 (whatever it is, the caller is told)
            return _failure(request, error)
        if inspect.isawaitable(result):
            return _awaited(request, result)
        return None if request.is_notification else wire.result(request.id, result)


async def _awaited(request: Request, result: Awaitable[Any]) -> Answer:
    try:
        value = await result
    except Exception as error:  # noqa: BLE001 (whatever it is, the caller is told)
        return _failure(request, error)
    return None if request.is_notification else wire.result(request.id, value)


async def _settled(answer: Answer | Awaitable[Answer]) -> Answer:
    if isinstance(answer, dict | list) or answer is None:
        return answer
    return await answer


def _failure(request: Request, error: Exception) -> Answer:
    """Return what the caller is told; a fault of Barbossa's own is logged and told without its insides."""
    if isinstance(error, BarbossaError):
        kind, message, details = error.kind, str(error), error.details()
    else:
        log.error("%s failed", request.method, exc_info=error, extra={"action": "operation_failed"})
        kind, message, details = "internal_error", f"{request.method} failed; the daemon's log says why", {}
    return None if request.is_notification else wire.error(request.id, kind, message, details)
