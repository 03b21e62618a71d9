"""From a line to its answer: envelopes, batches and errors, as the specification has them."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from barbossad import wire
from barbossad.errors import BarbossaError
from barbossad.operations.registry import Operation
from barbossad.operations.services import Call
from barbossad.security.access import Role
from barbossad.wire import Request, WireError

Answer = dict[str, Any] | list[dict[str, Any]] | None


@dataclass(frozen=True, slots=True)
class Pending:
    """An answer that is still to be found, how long the request was, and whether finding it changes something.

    What changes something goes on to its end when the client hangs up: half a change is worse than one nobody hears of.
    """

    answer: Coroutine[Any, Any, Answer]
    request_bytes: int
    is_change: bool = False


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

    def handle(self, line: bytes, call: Call) -> Answer | Pending:
        """Return the answer to a line (None: there is none), or what will give it."""
        if len(line) > wire.MAX_REQUEST_BYTES and len(line) > self.largest_request(line):
            message = f"a request of {len(line)} bytes is too large; at most {wire.MAX_REQUEST_BYTES} are taken"
            return wire.error(None, "invalid_request", message)
        try:
            message_value = wire.decode(line, max_values=wire.MAX_REQUEST_VALUES)
        except WireError as error:
            return wire.error(None, error.kind, str(error))
        if isinstance(message_value, list):
            return self._batch(message_value, len(line), call)
        return self._one(message_value, len(line), call)

    def _batch(self, items: list[Any], size_bytes: int, call: Call) -> Answer | Pending:
        if not items:
            return wire.error(None, "invalid_request", "an empty batch asks for nothing")
        if len(items) > wire.MAX_BATCH:
            return wire.error(None, "invalid_request", f"a batch holds at most {wire.MAX_BATCH} calls")
        return Pending(self._answer_all(items, call), size_bytes)

    async def _answer_all(self, items: list[Any], call: Call) -> Answer:
        """Answer the calls of a batch side by side; a batch of notifications has no answer."""
        answers: list[Answer | asyncio.Task[Answer]] = []
        looks: set[asyncio.Task[Answer]] = set()
        changes: set[asyncio.Task[Answer]] = set()
        try:
            for position, item in enumerate(items):
                answer = self._one(item, 0, call)
                if isinstance(answer, Pending):
                    task = asyncio.create_task(answer.answer, name="rpc-batch-call")
                    (changes if answer.is_change else looks).add(task)
                    answers.append(task)
                else:
                    answers.append(answer)
                if position % 32 == 31:
                    await asyncio.sleep(0)  # let others have their turn
            if looks or changes:
                await asyncio.wait(looks | changes)
        except asyncio.CancelledError:
            for task in looks:
                task.cancel()
            if changes:
                await asyncio.wait(changes)
            raise
        found = [answer.result() if isinstance(answer, asyncio.Task) else answer for answer in answers]
        return [answer for answer in found if isinstance(answer, dict)] or None

    def _one(self, value: Any, size_bytes: int, call: Call) -> Answer | Pending:
        try:
            request = wire.parse_request(value)
        except WireError as error:
            return wire.error(wire.request_id(value), error.kind, str(error))
        return self._call(request, size_bytes, call)

    def _call(self, request: Request, size_bytes: int, call: Call) -> Answer | Pending:
        operation = self._operations.get(request.method)
        if operation is None:
            message = f"there is no method {request.method!r}; rpc.discover lists them"
            return None if request.is_notification else wire.error(request.id, "method_not_found", message)
        try:
            result = operation.invoke(call, request.params)
        except Exception as error:  # noqa: BLE001 (whatever it is, the caller is told)
            return _failure(request, error)
        if inspect.iscoroutine(result):
            return Pending(_awaited(request, result), size_bytes, is_change=operation.role > Role.VIEWER)
        return None if request.is_notification else wire.result(request.id, result)


async def _awaited(request: Request, result: Coroutine[Any, Any, Any]) -> Answer:
    try:
        value = await result
    except Exception as error:  # noqa: BLE001 (whatever it is, the caller is told)
        return _failure(request, error)
    return None if request.is_notification else wire.result(request.id, value)


def _failure(request: Request, error: Exception) -> Answer:
    """Return what the caller is told; a fault of Barbossa's own is logged and told without its insides."""
    if isinstance(error, BarbossaError):
        kind, message, details = error.kind, str(error), error.details()
    else:
        log.error("%s failed", request.method, exc_info=error, extra={"action": "operation_failed"})
        kind, message, details = "internal_error", f"{request.method} failed; the daemon's log says why", {}
    return None if request.is_notification else wire.error(request.id, kind, message, details)
