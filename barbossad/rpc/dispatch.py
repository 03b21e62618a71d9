"""From a line to its answer: envelopes, batches and errors, as the specification has them."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from barbossad import wire
from barbossad.aside import Gate, Turns
from barbossad.errors import BarbossaError
from barbossad.operations.registry import Operation
from barbossad.operations.services import Call
from barbossad.security.access import Role
from barbossad.wire import Request, WireError

CALLS_A_TURN: Final = 16
"""Calls of a batch that are begun before others get their turn."""

LARGE_BYTES: Final = 64 * 1024
"""An answer that was waited for and is longer is sent in a turn of its own: many may wait for the same."""

_TOO_LARGE: Final = "the answer is too large; ask for less"
_TOO_LARGE_TOGETHER: Final = "the answers to this batch are too large together; ask for less"
_NOT_BEGUN: Final = "this call was not begun"
_GIVEN_UP: Final = "this call was given up"
_ENDED: Final = "this call came to its end: look at what became of it"
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
        self._gate = Gate()
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
            return self.one(value, len(line), call)
        if not value:
            return refusal(None, "invalid_request", "an empty batch asks for nothing")
        if len(value) > wire.MAX_BATCH:
            return refusal(None, "invalid_request", f"a batch holds at most {wire.MAX_BATCH} calls")
        return Pending(_Batch(self, value, call).answer, len(line))

    def is_change(self, value: Any) -> bool:
        """Return whether a message of a batch calls what changes something."""
        method = value.get("method") if isinstance(value, dict) else None
        operation = self._operations.get(method) if isinstance(method, str) else None
        return operation is not None and operation.role > Role.VIEWER

    def one(self, value: Any, size_bytes: int, call: Call) -> Answer | Pending:
        """Return the answer to one message, or what will give it."""
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
            answer = partial(_awaited, request, operation, call, self._gate)
            return Pending(answer, size_bytes, is_change=operation.role > Role.VIEWER)
        try:
            result = operation.invoke(call, request.params)
        except Exception as error:  # noqa: BLE001 (whatever it is, the caller is told)
            return _failure(request, error)
        if inspect.iscoroutine(result):  # not at hand this time: it is asked for again, where it can be waited for
            result.close()
            return Pending(partial(_awaited, request, operation, call, self._gate), size_bytes)
        return None if request.is_notification else _told(request, operation, result)


class _Batch:
    """The calls of one line, answered side by side, in one line: as the specification has them, in their order.

    Room for a refusal of each is kept, so that each is told what became of it. When the answers become too large
    together, what only looks is given up, and nothing more is begun.
    """

    def __init__(self, dispatcher: Dispatcher, items: list[Any], call: Call) -> None:
        self._dispatcher = dispatcher
        self._items = items
        self._call = call
        self._kept = [len(self._refused(item, _ENDED) or b"") for item in items]
        self._left = wire.MAX_MESSAGE_BYTES - sum(self._kept) - len("[]\n")
        self._is_full = False
        self._answers: list[Answer] = [None] * len(items)
        self._looks: set[asyncio.Task[Answer]] = set()
        self._changes: set[asyncio.Task[Answer]] = set()

    async def answer(self) -> Answer:
        """Return the answers; None for a batch of notifications.

        When the client hangs up, only what changes something goes on.
        """
        if self._left < 0:
            return refusal(None, "invalid_request", "the ids of a batch are too long to be answered together")
        turns = Turns()
        try:
            for place, item in enumerate(self._items):
                self._begin(place, item)
                if place % CALLS_A_TURN == CALLS_A_TURN - 1:
                    await asyncio.sleep(0)
                await turns.pause()
            if self._looks or self._changes:
                await asyncio.wait(self._looks | self._changes)
        except asyncio.CancelledError:
            self._drop_looks()
            if self._changes:
                await asyncio.wait(self._changes)
            raise
        pieces = [line[:-1] for line in self._answers if line is not None]
        return b"[" + b",".join(pieces) + b"]\n" if pieces else None

    def _begin(self, place: int, item: Any) -> None:
        is_change = self._dispatcher.is_change(item)
        if self._is_full and not (is_change and _is_notification(item)):  # of which nothing needs to be told
            self._answers[place] = self._refused(item, _NOT_BEGUN)
            return
        answer = self._dispatcher.one(item, 0, self._call)
        if not isinstance(answer, Pending):
            self._take(place, answer, is_change=is_change)
            return
        task = asyncio.create_task(answer.answer(), name="rpc-batch-call")
        task.add_done_callback(partial(self._answered, place))
        (self._changes if answer.is_change else self._looks).add(task)

    def _answered(self, place: int, task: asyncio.Task[Answer]) -> None:
        if task.cancelled():
            self._answers[place] = self._refused(self._items[place], _GIVEN_UP)
        else:
            self._take(place, task.result(), is_change=task in self._changes)

    def _take(self, place: int, answer: Answer, *, is_change: bool) -> None:
        """Put an answer in its place, or what takes less room."""
        more = len(answer or b"") - self._kept[place]
        if more <= self._left:
            self._left -= more
            self._answers[place] = answer
            return
        self._answers[place] = self._refused(self._items[place], _ENDED if is_change else _GIVEN_UP)
        self._is_full = True
        self._drop_looks()

    def _refused(self, item: Any, what: str) -> Answer:
        if _is_notification(item):
            return None
        return refusal(wire.request_id(item), "internal_error", f"{_TOO_LARGE_TOGETHER}; {what}")

    def _drop_looks(self) -> None:
        for task in self._looks:
            task.cancel()


def _is_notification(item: Any) -> bool:
    return isinstance(item, dict) and "id" not in item


async def _awaited(request: Request, operation: Operation, call: Call, gate: Gate) -> Answer:
    try:
        result = operation.invoke(call, request.params)
        value = await result if inspect.isawaitable(result) else result
    except Exception as error:  # noqa: BLE001 (whatever it is, the caller is told)
        return _failure(request, error)
    if request.is_notification:
        return None
    if isinstance(value, wire.Encoded) and len(value.text) > LARGE_BYTES:
        await gate.passed()
    return _told(request, operation, value)


def refusal(identity: str | int | float | None, kind: str, message: str) -> bytes:
    """Return the line that says no."""
    return wire.encode(wire.error(identity, kind, message))


def _told(request: Request, operation: Operation, value: Any) -> bytes:
    """Return what an operation answers with as a line; where that is too long, less if there is less to tell."""
    if isinstance(value, wire.Encoded):
        return _bounded(wire.encoded(wire.result(request.id, value)).text + b"\n", request.id)
    line = _line(wire.result(request.id, value))
    if len(line) > wire.MAX_MESSAGE_BYTES and operation.less is not None:
        line = _line(wire.result(request.id, operation.less(value)))
    return _bounded(line, request.id)


def _bounded(line: bytes, identity: str | int | float | None) -> bytes:
    return line if len(line) <= wire.MAX_MESSAGE_BYTES else refusal(identity, "internal_error", _TOO_LARGE)


def _line(answer: dict[str, Any]) -> bytes:
    """Return an answer as a line; one that is no line becomes an error."""
    try:
        return wire.encode(answer)
    except (ValueError, TypeError):  # an operation's result that JSON does not have
        log.exception("an answer is no JSON", extra={"action": "operation_failed"})
        message = "the answer cannot be written as JSON"
        return wire.encode(wire.error(answer["id"], "internal_error", message, {"hint": _SEE_LOG}))


def _failure(request: Request, error: Exception) -> Answer:
    """Return what the caller is told; a fault of Barbossa's own is logged and told without its insides."""
    if isinstance(error, BarbossaError):
        kind, message, details = error.kind, str(error), error.details()
    else:
        log.error("%s failed", request.method, exc_info=error, extra={"action": "operation_failed"})
        kind, message, details = "internal_error", f"{request.method} failed", {"hint": _SEE_LOG}
    if request.is_notification:
        return None
    return _bounded(_line(wire.error(request.id, kind, message, details)), request.id)
