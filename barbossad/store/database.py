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
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import aiosqlite

from barbossad.errors import StoreError
from barbossad.store import schema

Result = TypeVar("Result")
Change = Callable[[sqlite3.Connection], Any]
Row = tuple[Any, ...]

RETRY_SECONDS: Final = 1.0
"""How long the writer rests before it tries again what the disk refused."""

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
    "PRAGMA busy_timeout = 5000",
)
_READER_PRAGMAS: Final = (
    "PRAGMA query_only = ON",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
    "PRAGMA mmap_size = 0",
    "PRAGMA busy_timeout = 5000",
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
    """One change in the queue. ``is_fact`` ones are kept until the disk takes them."""

    change: Change
    future: asyncio.Future[Any]
    is_fact: bool


class Database:
    """An open state file."""

    def __init__(self, path: Path, writer: aiosqlite.Connection, readers: list[aiosqlite.Connection]) -> None:
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
        self._on_fault: Callable[[str | None], None] = lambda _fault: None

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, path: Path, *, readers: int = 2) -> AsyncIterator[Database]:
        """Open, check and migrate ``path`` (made with mode 0600 if missing); close it on leaving.

        Raise StoreError if it is damaged, locked, foreign or newer than this program.
        """
        async with contextlib.AsyncExitStack() as stack:
            try:
                if not path.exists():
                    path.touch(mode=0o600)
                writer = await stack.enter_async_context(_connect(str(path), _prepare_writer))
                reading = [
                    await stack.enter_async_context(_connect(f"{path.absolute().as_uri()}?mode=ro", _prepare_reader))
                    for _ in range(readers)
                ]
            except (sqlite3.Error, OSError) as error:
                raise StoreError(f"cannot open the state file {path}: {error}") from error
            # Readers are closed before the writer (the stack is last in, first out): the last connection
            # to leave checkpoints the WAL, and only the writer may.
            database = cls(path, writer, reading)
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
        tried again until it is recorded. ``change`` may run twice, the first time in vain: it must not have other effects.
        """
        if self._is_closing:
            raise StoreError("the state file is being closed")
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(change, future, is_fact))
        self._wake.set()
        return future

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
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                batch, self._queue = self._queue, []
                # aiosqlite has no public way to run several statements in one trip to its thread.
                refused = await self._writer._execute(_commit_group, self._writer._conn, batch)  # type: ignore[no-untyped-call]  # noqa: SLF001
                if refused:
                    await self._refused(refused)
                elif self.fault is not None:
                    self._recovered()
            if self._is_closing:
                return

    def _recovered(self) -> None:
        log.warning("the state file accepts changes again", extra={"action": "store_recovered"})
        self.fault = None
        self._on_fault(None)

    async def _refused(self, refused: list[tuple[_Waiting, sqlite3.Error]]) -> None:
        """Fail the requests, keep the facts, and rest a moment."""
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
        if facts:
            await asyncio.sleep(RETRY_SECONDS)


def _commit_group(connection: sqlite3.Connection, batch: list[_Waiting]) -> list[tuple[_Waiting, sqlite3.Error]]:
    """Commit a batch on the writer's thread and answer its callers; return what the disk refused, unanswered."""
    try:
        results = _transact(connection, [item.change for item in batch])
        outcomes: list[tuple[Any, BaseException | None]] = [(result, None) for result in results]
    except BaseException as error:  # noqa: BLE001 (whatever a change raises belongs to its caller)
        if isinstance(error, sqlite3.Error) and error.sqlite_errorcode & 0xFF in _REFUSALS:
            return [(item, error) for item in batch]
        if len(batch) > 1:  # one of them is at fault: each gets a transaction of its own
            return [refusal for item in batch for refusal in _commit_group(connection, [item])]
        outcomes = [(None, error)]
    batch[0].future.get_loop().call_soon_threadsafe(_answer, batch, outcomes)
    return []


def _transact(connection: sqlite3.Connection, changes: list[Change]) -> list[Any]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        results = [change(connection) for change in changes]
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return results


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
    target: str, prepare: Callable[[sqlite3.Connection, str], None]
) -> AsyncIterator[aiosqlite.Connection]:
    async with aiosqlite.connect(
        target, uri=target.startswith("file:"), isolation_level=None, cached_statements=256
    ) as connection:
        await connection._execute(prepare, connection._conn, target)  # type: ignore[no-untyped-call]  # noqa: SLF001
        yield connection


def _prepare_writer(connection: sqlite3.Connection, path: str) -> None:
    for pragma in _WRITER_PRAGMAS:
        connection.execute(pragma)
    schema.check(connection, path, Path(path).stat().st_size)
    schema.migrate(connection, path)


def _prepare_reader(connection: sqlite3.Connection, _target: str) -> None:
    for pragma in _READER_PRAGMAS:
        connection.execute(pragma)
