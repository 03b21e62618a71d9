"""The one writer: what waits when it becomes free goes into one transaction.

Hundreds of tasks so share one fsync, and each caller is still answered only after its own commit. A change runs
from BEGIN to COMMIT without a break, so no cancelled coroutine can leave a transaction open. All of it is callbacks.

A commit is made on a thread of the writer's own, but for one: when nothing was being written, what waits is a
handful of steps, and the disk has been quick of late, then the event loop makes it itself, because the way to
the thread and back would take as long as the commit (docs/decisions/0040).
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import aiosqlite

from barbossad.errors import StoreError
from barbossad.store.batch import Outcome, Refusal, Waiting, Written, commit_timed, primary_code
from barbossad.store.emptying import checkpoint, wait_for_locks
from barbossad.store.place import Place
from barbossad.store.reserve import Reserve

ANSWERS_A_TURN: Final = 4
"""Callers that are answered in one turn of the loop: each may go on to launch a process."""

MOST_TOGETHER: Final = 64
"""Changes in one transaction: more of them would save little, and the last would wait for all."""

STEPS_HERE: Final = 3
"""Steps of runs in a transaction that the event loop makes itself; one that ends many tasks counts as so many."""

QUICK_SECONDS: Final = 0.002
"""What a commit may have taken of late for the event loop to make the next one itself."""

_FORGETTING: Final = 0.9
"""How much of a slow commit is remembered after each that follows."""

log = logging.getLogger(__name__)


class Writer:
    """The queue before the writing connection; used on the event loop alone."""

    def __init__(
        self,
        path: Path,
        connection: aiosqlite.Connection,
        reserve: Reserve,
        *,
        busy_seconds: float,
        retry_seconds: float,
    ) -> None:
        self.fault: str | None = None
        """Why changes are not being recorded at the moment, or None."""

        self.answered = asyncio.Event()
        """Set whenever the writer's thread has dealt with something, be it that the disk refused it."""

        self.on_fault: Callable[[str | None], None] = lambda _fault: None
        self._path = path
        self._connection = connection
        self._place = Place(path)
        self._reserve = reserve
        self._loop = asyncio.get_running_loop()
        self._busy_seconds = busy_seconds
        self._retry_seconds = retry_seconds
        self._lately_seconds = 0.0
        self._is_patient = True
        self._queue: list[Waiting] = []
        self._is_busy = False
        self._is_closing = False
        self._is_out_of_room = False
        self._rest: asyncio.TimerHandle | None = None
        self._refill: asyncio.TimerHandle | None = None
        self._idle: asyncio.Future[None] | None = None
        self._refusal: asyncio.Future[str] | None = None

    @property
    def is_out_of_room(self) -> bool:
        """Whether the disk is full, and what is recorded lives on what the reserve gave up, if it was there."""
        return self._is_out_of_room

    def enqueue(self, item: Waiting) -> None:
        """Have a change written with what else is decided in this turn of the loop. Raise StoreError when closed."""
        if self._is_closing:
            raise StoreError("the state file is being closed")
        if item.makes_room and self.fault is not None:
            self._queue.insert(0, item)
            if self._rest is not None:
                self._rest.cancel()
                self._rest = self._loop.call_later(0, self._send)
        else:
            self._queue.append(item)
        if not self._is_busy:
            self._is_busy = True
            self._loop.call_soon(self._begin)

    def look(self) -> None:
        """Notice that the file is not where it was opened, though nothing is to be written at the moment."""
        if (
            self.fault is None and not self._is_busy and not self._is_closing
        ):  # otherwise it is noticed by what is written
            moved = self._place.check()
            if moved is not None:
                self._is_busy = True
                self._refused([(self._probe(), moved)])

    def look_for_room(self) -> None:
        """Be at fault at once if the disk is full, as somebody else who writes there has found."""
        if self.fault is None and not self._is_closing:
            self.enqueue(self._nobodys(lambda _tx: self._reserve.look_for_room(), is_alone=True))

    def refusal(self) -> asyncio.Future[str]:
        """Return a future that is done when the disk refuses something the next time, with the reason."""
        if self._refusal is None:
            self._refusal = self._loop.create_future()
        return self._refusal

    def begin_out_of_room(self, error: Exception) -> None:
        """Be at fault from the start, until there is room: nothing is kept for bad times any more."""
        self.fault = f"{error} ({getattr(error, 'sqlite_errorname', type(error).__name__)})"
        self._is_out_of_room = True
        self._wait_for_room()

    async def close(self) -> None:
        """Take nothing more and return when all that was taken is written; what the disk refuses now is lost."""
        self._is_closing = True
        if self._refill is not None:
            self._refill.cancel()
        if self._rest is not None:
            self._rest.cancel()
            self._send()
        if self._is_busy:
            self._idle = self._loop.create_future()
            await self._idle

    def _begin(self) -> None:
        """Write what was decided in this turn, the first since the writer became idle: here, if that is quick."""
        batch = self._queue
        is_quick = self._lately_seconds <= QUICK_SECONDS and self.fault is None
        if not is_quick or any(item.function for item in batch) or sum(i.weight for i in batch) > STEPS_HERE:
            self._send()
            return
        self._queue = []
        if self._is_patient:
            self._is_patient = False
            wait_for_locks(self._connection._conn, 0)  # noqa: SLF001
        outcomes, refused, seconds = self._commit(self._connection._conn, batch)  # noqa: SLF001
        if refused and primary_code(refused[0][1]) == sqlite3.SQLITE_BUSY:
            self._answer(outcomes)
            self._hand_over([item for item, _ in refused])  # to who may wait for the lock
        else:
            self._done(outcomes, refused, seconds)

    def _send(self) -> None:
        """Give what waits to the writer's thread; after a refusal, at least a probe."""
        self._rest = None
        count = _next_count(self._queue, is_refusing=self.fault is not None)
        batch, self._queue = self._queue[:count], self._queue[count:]
        if not batch and self.fault is not None and self._refill is None and not self._is_closing:
            batch = [self._probe()]
        if not batch:
            self._is_busy = False
            if self._idle is not None:
                self._idle.set_result(None)
            return
        self._hand_over(batch)

    def _hand_over(self, batch: list[Waiting]) -> None:
        """Have a batch written on the writer's thread."""
        self._on_thread(partial(self._work, self._connection._conn, batch))  # noqa: SLF001

    def _on_thread(self, work: Callable[[], None]) -> None:
        """Have something done on the writer's thread, after what it was given before."""
        # aiosqlite has no public way to run several statements in one trip to its thread.
        self._connection._tx.put_nowait((None, work))  # noqa: SLF001

    def _work(self, connection: sqlite3.Connection, batch: list[Waiting]) -> None:
        """Run on the writer's thread."""
        if not self._is_patient:
            self._is_patient = True
            wait_for_locks(connection, self._busy_seconds)
        self._loop.call_soon_threadsafe(self._done, *self._commit(connection, batch))

    def _commit(self, connection: sqlite3.Connection, batch: list[Waiting]) -> Written:
        """Commit a batch, if the file is still where it was opened."""
        moved = self._place.check()
        if moved is not None:
            return [], [(item, moved) for item in batch], 0.0
        return commit_timed(connection, batch)

    def _done(self, outcomes: list[Outcome], refused: list[Refusal], seconds: float) -> None:
        """Answer the callers, then go on with what has come meanwhile."""
        self.answered.set()
        self._lately_seconds = max(seconds, self._lately_seconds * _FORGETTING)
        self._answer(outcomes)
        if refused:
            self._refused(refused)
            return
        if self.fault is not None and self._is_out_of_room:
            self._wait_for_room()
        elif self.fault is not None:
            self._recovered()
        # The callers' own callbacks come first: what they decide now goes with the next commit.
        self._loop.call_soon(self._send)

    def _answer(self, outcomes: list[Outcome]) -> None:
        """Answer some callers in this turn of the loop and the rest in later ones, so that others get theirs."""
        for item, result, error in outcomes[:ANSWERS_A_TURN]:
            self._settle(item, result, error)
        if len(outcomes) > ANSWERS_A_TURN:
            self._loop.call_soon(self._answer, outcomes[ANSWERS_A_TURN:])

    def _settle(self, item: Waiting, result: Any, error: BaseException | None) -> None:
        """Tell a caller; one that no longer waits is told nothing, while its change stands."""
        if not item.future.done():
            if error is None:
                item.future.set_result(result)
            else:
                item.future.set_exception(error)
        if item.then is not None:
            try:
                item.then(item.future)
            except Exception as fault:  # noqa: BLE001 (the others are told all the same)
                told = {"message": "a caller of the writer failed", "exception": fault, "future": item.future}
                self._loop.call_exception_handler(told)

    def _refused(self, refused: list[Refusal]) -> None:
        """Fail the requests, keep the facts, and rest a moment before the facts, or a probe, are tried again."""
        first = refused[0][1]
        reason = f"{first} ({first.sqlite_errorname})"
        if self.fault is None:
            log.error("the state file %s refuses changes: %s", self._path, reason, extra={"action": "store_refused"})
        self._is_out_of_room = self._is_out_of_room or self._reserve.means_full(first)
        has_room_now = self._reserve.give_up(first)
        self.fault = reason
        self.on_fault(reason)
        if self._refusal is not None and not has_room_now:  # otherwise it is tried again at once
            self._refusal.set_result(reason)
            self._refusal = None
        facts: list[Waiting] = []
        for item, _ in refused:
            if item.is_fact and not self._is_closing:
                facts.append(item)
            else:
                self._settle(item, None, StoreError(f"the state file {self._path} refuses changes: {reason}"))
        first_in_line = [item for item in self._queue if item.makes_room]
        self._queue = [*first_in_line, *facts, *(item for item in self._queue if not item.makes_room)]
        if has_room_now:  # while that is whole, the log finds room in the file, and leaves its own to what comes
            self._queue.insert(0, self._nobodys(checkpoint, is_alone=True))
        seconds = 0 if self._is_closing or has_room_now else self._retry_seconds
        self._rest = self._loop.call_later(seconds, self._send)

    # -- a full disk ---------------------------------------------------------------------------------------

    def _recovered(self) -> None:
        log.warning("the state file accepts changes again", extra={"action": "store_recovered"})
        self.fault = None
        self.on_fault(None)

    def _wait_for_room(self) -> None:
        """Stay at fault until the reserve can be made again: what is recorded meanwhile lives on its room."""
        if self._refill is None and not self._is_closing:
            make = partial(self._on_thread, self._make_reserve)
            self._refill = self._loop.call_later(self._retry_seconds, make)

    def _make_reserve(self) -> None:
        """Run on the writer's thread."""
        self._loop.call_soon_threadsafe(self._made_reserve, self._reserve.make())

    def _made_reserve(self, is_kept: bool) -> None:
        self._refill = None
        self.answered.set()
        if not is_kept and not self._reserve.is_hindered:
            self._wait_for_room()
            return
        self._is_out_of_room = False
        if is_kept:
            log.warning("there is room again: the reserve is kept", extra={"action": "store_reserve_kept"})
        if self._rest is None and not self._is_closing:  # otherwise what was refused is tried again first
            self._recovered()

    def _probe(self) -> Waiting:
        """Return a change that changes nothing but has to be written, to learn whether the disk takes changes again."""

        def change(tx: sqlite3.Connection) -> None:
            (version,) = tx.execute("PRAGMA user_version").fetchone()
            tx.execute(f"PRAGMA user_version = {version}")

        return self._nobodys(change)

    def _nobodys(self, change: Callable[[sqlite3.Connection], object], *, is_alone: bool = False) -> Waiting:
        """Return a change that nobody waits for."""
        future = self._loop.create_future()
        future.cancel()
        return Waiting(future, is_fact=False, function=change, is_alone=is_alone)


def _next_count(queue: Sequence[Waiting], *, is_refusing: bool) -> int:
    """Return how many from the front of a queue are written together."""
    for position, item in enumerate(queue[:MOST_TOGETHER]):
        if item.is_alone or (item.makes_room and is_refusing):
            return position or 1
    return min(len(queue), MOST_TOGETHER)
