"""The state file: one writer that commits in groups, and readers that never wait for it.

Whatever waits when the writer becomes free goes into one transaction, so that hundreds of tasks share one
fsync; each caller is answered only after its own commit. A change is a function that gets the open transaction and
runs on the writer's thread from BEGIN to COMMIT without a break: no cancelled coroutine can leave it open.

Source: https://www.sqlite.org/wal.html; why each pragma is set as it is stands in docs/store.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import aiosqlite

from barbossad.errors import StoreError
from barbossad.store import changes, schema
from barbossad.store.changes import Change

Result = TypeVar("Result")
Row = tuple[Any, ...]

RETRY_SECONDS: Final = 1.0
"""How long the writer rests before it tries again what the disk refused."""

BUSY_SECONDS: Final = 5.0
"""How long a lock that another process holds on the file is waited for."""

_WRITER_PRAGMAS: Final = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",  # NORMAL loses acknowledged commits in a power cut
    "PRAGMA foreign_keys = ON",
    "PRAGMA secure_delete = ON",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
    "PRAGMA mmap_size = 0",
    "PRAGMA journal_size_limit = 67108864",
    "PRAGMA temp_store = MEMORY",
)
_READER_PRAGMAS: Final = (
    "PRAGMA query_only = ON",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
    "PRAGMA mmap_size = 0",
)

_REFUSALS: Final = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_PERM,
    }
)
"""What the disk or the file says no with, as opposed to a change that is wrong (primary result codes)."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Waiting:
    """What is in the queue: steps of runs, or another change. Facts are kept until the disk takes them."""

    future: asyncio.Future[Any]
    is_fact: bool
    steps: Sequence[Change] = ()
    function: Callable[[sqlite3.Connection], Any] | None = None


class Database:
    """An open state file."""

    def __init__(
        self,
        path: Path,
        writer: aiosqlite.Connection,
        readers: list[aiosqlite.Connection],
        *,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self.path = path
        self.fault: str | None = None
        """Why changes are not being recorded at the moment, or None."""

        self._writer = writer
        self._readers = readers
        self._free_readers: asyncio.LifoQueue[aiosqlite.Connection] = asyncio.LifoQueue()
        for reader in readers:
            self._free_readers.put_nowait(reader)
        self._queue: list[_Waiting] = []
        self._wake = asyncio.Event()
        self._is_closing = False
        self._retry_seconds = retry_seconds
        self._on_fault: Callable[[str | None], None] = lambda _fault: None

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls,
        path: Path,
        *,
        readers: int = 2,
        busy_seconds: float = BUSY_SECONDS,
        retry_seconds: float = RETRY_SECONDS,
    ) -> AsyncIterator[Database]:
        """Open, check and migrate ``path`` (made with mode 0600 if missing); close it on leaving.

        Raise StoreError if it is damaged, locked, foreign or newer than this program; then it is left as it is.
        """
        read_only = f"{path.absolute().as_uri()}?mode=ro"
        async with contextlib.AsyncExitStack() as stack:
            try:
                if not path.exists():
                    path.touch(mode=0o600)
                async with _connect(read_only, partial(schema.inspect, path=path), busy_seconds):
                    pass  # opened for writing, even a file that is refused would be changed
                writer = await stack.enter_async_context(_connect(str(path), _prepare_writer, busy_seconds))
                reading = [
                    await stack.enter_async_context(_connect(read_only, _prepare_reader, busy_seconds))
                    for _ in range(readers)
                ]
            except (sqlite3.Error, OSError) as error:
                raise StoreError(f"cannot open the state file {path}: {error}") from error
            # Readers are closed before the writer (the stack is last in, first out): the last connection
            # to leave checkpoints the WAL, and only the writer may.
            database = cls(path, writer, reading, retry_seconds=retry_seconds)
            committing = asyncio.create_task(database._commit_forever(), name="store-writer")
            try:
                yield database
            finally:
                database._is_closing = True
                database._wake.set()
                await committing

    def on_fault(self, tell: Callable[[str | None], None]) -> None:
        """Have ``tell`` called with the reason when the disk refuses changes, and with None when it is over."""
        self._on_fault = tell

    def write(self, change: Callable[[sqlite3.Connection], Result], *, is_fact: bool = False) -> asyncio.Future[Result]:
        """Run ``change`` in the next transaction; the future is done when that is committed.

        What ``change`` raises goes to the future and takes only itself back. If the disk refuses the commit,
        a request fails with StoreError at once, while a fact (something that has happened on the host) is kept and
        tried again until it is recorded. ``change`` may run twice, the first time in vain: it must have no other
        effects.
        """
        return self._enqueue(_Waiting(_future(), is_fact, function=change))

    def record(self, steps: Sequence[Change], *, is_fact: bool) -> asyncio.Future[None]:
        """Write steps of a run in the next transaction, all or none, with those of other runs; like ``write``."""
        return self._enqueue(_Waiting(_future(), is_fact, steps=steps))

    def _enqueue(self, item: _Waiting) -> asyncio.Future[Any]:
        if self._is_closing:
            raise StoreError("the state file is being closed")
        self._queue.append(item)
        self._wake.set()
        return item.future

    async def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Return all rows of a query, on a connection that cannot write."""
        (found,) = await self.read_together((sql, parameters))
        return found

    async def read_together(self, *queries: tuple[str, Sequence[Any]]) -> list[list[Row]]:
        """Return the rows of several queries that see one and the same state of the file."""
        reader = await self._free_readers.get()
        try:
            # aiosqlite has no public way to run several statements in one trip to its thread.
            found = await reader._execute(_fetch, reader._conn, queries)  # type: ignore[no-untyped-call]  # noqa: SLF001
            return cast("list[list[Row]]", found)
        except sqlite3.Error as error:
            raise StoreError(f"cannot read the state file {self.path}: {error}") from error
        finally:
            self._free_readers.put_nowait(reader)

    async def _commit_forever(self) -> None:
        while self._queue or not self._is_closing:
            if not self._queue and self.fault is None:
                await self._wake.wait()
                self._wake.clear()
                continue
            batch, self._queue = self._queue or [_probe()], []
            # aiosqlite has no public way to run several statements in one trip to its thread.
            refused = await self._writer._execute(_commit_group, self._writer._conn, batch)  # type: ignore[no-untyped-call]  # noqa: SLF001
            if refused:
                await self._refused(refused)
            elif self.fault is not None:
                self._recovered()

    def _recovered(self) -> None:
        log.warning("the state file accepts changes again", extra={"action": "store_recovered"})
        self.fault = None
        self._on_fault(None)

    async def _refused(self, refused: list[tuple[_Waiting, sqlite3.Error]]) -> None:
        """Fail the requests, keep the facts, and rest a moment before the facts, or a probe, are tried again."""
        reason = f"{refused[0][1]} ({refused[0][1].sqlite_errorname})"
        if self.fault is None:
            log.error("the state file %s refuses changes: %s", self.path, reason, extra={"action": "store_refused"})
        self.fault = reason
        self._on_fault(reason)
        facts: list[_Waiting] = []
        for item, _ in refused:
            if item.is_fact and not self._is_closing:
                facts.append(item)
            elif not item.future.done():
                item.future.set_exception(StoreError(f"the state file {self.path} refuses changes: {reason}"))
        self._queue[:0] = facts
        if not self._is_closing:
            await asyncio.sleep(self._retry_seconds)


def _probe() -> _Waiting:
    """Return a change that changes nothing but has to be written, to learn whether the disk takes changes again."""

    def change(tx: sqlite3.Connection) -> None:
        (version,) = tx.execute("PRAGMA user_version").fetchone()
        tx.execute(f"PRAGMA user_version = {version}")

    future = asyncio.get_running_loop().create_future()
    future.cancel()  # nobody waits for it
    return _Waiting(future, is_fact=False, function=change)


def _commit_group(connection: sqlite3.Connection, batch: list[_Waiting]) -> list[tuple[_Waiting, sqlite3.Error]]:
    """Commit a batch on the writer's thread and answer its callers; return what the disk refused, unanswered."""
    try:
        results = _transact(connection, batch)
        outcomes: list[tuple[Any, BaseException | None]] = [(result, None) for result in results]
    except BaseException as error:  # noqa: BLE001 (whatever a change raises belongs to its caller)
        if isinstance(error, sqlite3.Error) and _primary_code(error) in _REFUSALS:
            return [(item, error) for item in batch]
        if len(batch) > 1:  # one of them is at fault: each gets a transaction of its own
            return _commit_one_by_one(connection, batch)
        outcomes = [(None, error)]
    batch[0].future.get_loop().call_soon_threadsafe(_answer, batch, outcomes)
    return []


def _commit_one_by_one(connection: sqlite3.Connection, batch: list[_Waiting]) -> list[tuple[_Waiting, sqlite3.Error]]:
    for position, item in enumerate(batch):
        refused = _commit_group(connection, [item])
        if refused:  # what follows may build on it, so it must not overtake it
            return [(later, refused[0][1]) for later in batch[position:]]
    return []


def _primary_code(error: sqlite3.Error) -> int:
    """Return SQLite's primary result code; 0 for errors of Python's module, such as a missing binding."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & 0xFF


def _transact(connection: sqlite3.Connection, batch: list[_Waiting]) -> list[Any]:
    """Do everything of a batch in one transaction. The steps of all runs go first, and together."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        steps = [step for item in batch for step in item.steps]
        if steps:
            changes.apply_all(connection, steps)
        results = [item.function(connection) if item.function else None for item in batch]
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return results


def _future() -> asyncio.Future[Any]:
    return asyncio.get_running_loop().create_future()


def _fetch(connection: sqlite3.Connection, queries: Sequence[tuple[str, Sequence[Any]]]) -> list[list[Row]]:
    if len(queries) == 1:
        return [connection.execute(*queries[0]).fetchall()]
    connection.execute("BEGIN")
    try:
        return [connection.execute(sql, parameters).fetchall() for sql, parameters in queries]
    finally:
        connection.execute("COMMIT")


def _answer(batch: list[_Waiting], outcomes: list[tuple[Any, BaseException | None]]) -> None:
    for item, (result, error) in zip(batch, outcomes, strict=True):
        if item.future.done():
            continue  # its caller no longer waits; the change stands
        if error is None:
            item.future.set_result(result)
        else:
            item.future.set_exception(error)


@contextlib.asynccontextmanager
async def _connect(
    target: str, prepare: Callable[[sqlite3.Connection], None], busy_seconds: float
) -> AsyncIterator[aiosqlite.Connection]:
    async with aiosqlite.connect(
        target, uri=target.startswith("file:"), isolation_level=None, cached_statements=256, timeout=busy_seconds
    ) as connection:
        await connection._execute(prepare, connection._conn)  # type: ignore[no-untyped-call]  # noqa: SLF001
        yield connection


def _prepare_writer(connection: sqlite3.Connection) -> None:
    for pragma in _WRITER_PRAGMAS:
        connection.execute(pragma)
    schema.migrate(connection)


def _prepare_reader(connection: sqlite3.Connection) -> None:
    for pragma in _READER_PRAGMAS:
        connection.execute(pragma)
