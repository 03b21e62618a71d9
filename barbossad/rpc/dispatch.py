"""From a line to its answer: envelopes, batches and errors, as the specification has them."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from barbossad import wire
from barbossad.errors import BarbossaError
from barbossad.operations.registry import Operation
from barbossad.operations.services import Call
from barbossad.security.access import Role
from barbossad.wire import Request, WireError

CALLS_A_TURN: Final = 16
"""Calls of a batch that are begun before others get their turn."""

_TOO_LARGE: Final = "the answer is too large; ask for less"
_SEE_LOG: Final = "the daemon's log says why: journalctl -u barbossad"

log = logging.getLogger(__name__)

Answer = bytes | None
"""A line to send, or None: there is no answer."""


@dataclass(frozen=True, slots=True)
class Pending:
    """An answer that is still to be found, how long the request was, and whether finding it changes something.

    What changes something goes on to its end when the client hangs up: half a change is worse than one nobody hears of.
    """

    answer: Callable[[], Coroutine[Any, Any, Answer]]
    request_bytes: int
    is_change: bool = False


class Dispatcher:
    """Calls operations by name."""

    def __init__(self, operations: Mapping[str, Operation]) -> None:
        self._operations = operations
        self._waiting = frozenset(n for n, known in operations.items() if inspect.iscoroutinefunction(known.handler))

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
            return refusal(None, "invalid_request", message)
        try:
            value = wire.decode(line, max_values=wire.MAX_REQUEST_VALUES)
        except WireError as error:
            return refusal(None, error.kind, str(error))
        if not isinstance(value, list):
            return self._one(value, len(line), call)
        if not value:
            return refusal(None, "invalid_request", "an empty batch asks for nothing")
        if len(value) > wire.MAX_BATCH:
            return refusal(None, "invalid_request", f"a batch holds at most {wire.MAX_BATCH} calls")
        return Pending(partial(_Batch().answer, self._each(value, call)), len(line))

    def _each(self, items: list[Any], call: Call) -> Iterator[Answer | Pending]:
        for item in items:
            yield self._one(item, 0, call)

    def _one(self, value: Any, size_bytes: int, call: Call) -> Answer | Pending:
        try:
            request = wire.parse_request(value)
        except WireError as error:
            return refusal(wire.request_id(value), error.kind, str(error))
        return self._call(request, size_bytes, call)

    def _call(self, request: Request, size_bytes: int, call: Call) -> Answer | Pending:
        operation = self._operations.get(request.method)
        if operation is None:
            message = f"there is no method {request.method[:80]!r}; rpc.discover lists them"
            return None if request.is_notification else refusal(request.id, "method_not_found", message)
        if operation.name in self._waiting:
            answer = partial(_awaited, request, operation, call)
            return Pending(answer, size_bytes, is_change=operation.role > Role.VIEWER)
        try:
            result = operation.invoke(call, request.params)
        except Exception as error:  # noqa: BLE001 (whatever it is, the caller is told)
            return _failure(request, error)
        if inspect.iscoroutine(result):  # not at hand this time: it is asked for again, where it can be waited for
            result.close()
            return Pending(partial(_awaited, request, operation, call), size_bytes)
        return None if request.is_notification else _written(wire.result(request.id, result))


class _Batch:
    """The calls of one line, answered side by side, in one line: as the specification has them, in their order."""

    def __init__(self) -> None:
        self._looks: set[asyncio.Task[Answer]] = set()
        self._changes: set[asyncio.Task[Answer]] = set()
        self._size_bytes = 0

    async def answer(self, each: Iterator[Answer | Pending]) -> Answer:
        """Return the answers; None for a batch of notifications.

        Answers that are too large together are refused as soon as that is known; then, and when the client hangs up,
        only what changes something goes on.
        """
        answers: list[Answer | asyncio.Task[Answer]] = []
        try:
            for position, answer in enumerate(each):
                answers.append(self._begin(answer) if isinstance(answer, Pending) else self._count(answer))
                if position % CALLS_A_TURN == CALLS_A_TURN - 1:
                    await asyncio.sleep(0)
            if self._looks or self._changes:
                await asyncio.wait(self._looks | self._changes)
        except asyncio.CancelledError:
            self._drop_looks()
            if self._changes:
                await asyncio.wait(self._changes)
            raise
        if self._size_bytes > wire.MAX_MESSAGE_BYTES:
            return refusal(None, "internal_error", _TOO_LARGE)
        lines = [answer.result() if isinstance(answer, asyncio.Task) else answer for answer in answers]
        pieces = [line[:-1] for line in lines if line is not None]
        return b"[" + b",".join(pieces) + b"]\n" if pieces else None

    def _begin(self, pending: Pending) -> asyncio.Task[Answer]:
        task = asyncio.create_task(pending.answer(), name="rpc-batch-call")
        task.add_done_callback(self._answered)
        (self._changes if pending.is_change else self._looks).add(task)
        return task

    def _answered(self, task: asyncio.Task[Answer]) -> None:
        if not task.cancelled():
            self._count(task.result())

    def _count(self, answer: Answer) -> Answer:
        self._size_bytes += len(answer or b"")
        if self._size_bytes > wire.MAX_MESSAGE_BYTES:
            self._drop_looks()
            return None
        return answer

    def _drop_looks(self) -> None:
        for task in self._looks:
            task.cancel()


async def _awaited(request: Request, operation: Operation, call: Call) -> Answer:
    try:
        result = operation.invoke(call, request.params)
        value = await result if inspect.isawaitable(result) else result
    except Exception as error:  # noqa: BLE001 (whatever it is, the caller is told)
        return _failure(request, error)
    return None if request.is_notification else _written(wire.result(request.id, value))


def refusal(identity: str | int | float | None, kind: str, message: str) -> bytes:
    """Return the line that says no."""
    return wire.encode(wire.error(identity, kind, message))


def _written(answer: dict[str, Any]) -> bytes:
    """Return an answer as a line; one that is no line, or too long a one, becomes an error."""
    try:
        line = wire.encode(answer)
    except (ValueError, TypeError):  # an operation's result that JSON does not have
        log.exception("an answer is no JSON", extra={"action": "operation_failed"})
        message = "the answer cannot be written as JSON"
        return wire.encode(wire.error(answer["id"], "internal_error", message, {"hint": _SEE_LOG}))
    return line if len(line) <= wire.MAX_MESSAGE_BYTES else refusal(answer["id"], "internal_error", _TOO_LARGE)


def _failure(request: Request, error: Exception) -> Answer:
    """Return what the caller is told; a fault of Barbossa's own is logged and told without its insides."""
    if isinstance(error, BarbossaError):
        kind, message, details = error.kind, str(error), error.details()
    else:
        log.error("%s failed", request.method, exc_info=error, extra={"action": "operation_failed"})
        kind, message, details = "internal_error", f"{request.method} failed", {"hint": _SEE_LOG}
    return None if request.is_notification else _written(wire.error(request.id, kind, message, details))
