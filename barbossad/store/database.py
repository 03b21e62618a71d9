"""The state file: one writer that commits in groups (``writer``), and readers that never wait for it.

Source: https://www.sqlite.org/wal.html; why each pragma is set as it is stands in docs/store.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import aiosqlite

from barbossad.errors import StoreError
from barbossad.store import mark, place, rows, schema
from barbossad.store.batch import Waiting
from barbossad.store.changes import Change
from barbossad.store.reserve import RESERVE_BYTES, Reserve, full_error
from barbossad.store.writer import Writer

Result = TypeVar("Result")
Row = rows.Row
Fetch = Callable[[str, Sequence[Any]], list[Row]]
"""Runs a query with its parameters, and returns all of its rows."""

Connections = tuple[aiosqlite.Connection, list[aiosqlite.Connection], sqlite3.Connection]
"""The writer's, those of the readers, and that of ``look_up``."""

_THREAD_SECONDS: Final = 1.0
"""How long the thread of a connection that could not be made may take to end."""

RETRY_SECONDS: Final = 1.0
"""How long the writer rests before it tries again what the disk refused."""

BUSY_SECONDS: Final = 5.0
"""How long a lock that another process holds on the file is waited for."""

START_BUSY_SECONDS: Final = 30.0
"""As above, before the file is used: a start that fails costs more than one that takes a while."""

_WRITER_PRAGMAS: Final = (
    "PRAGMA auto_vacuum = INCREMENTAL",  # of a new file, before anything is in it
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

_INCREMENTAL: Final = 2
"""What ``PRAGMA auto_vacuum`` says then."""

_MOST_PAGES_REBUILT: Final = 65536
"""A file of up to 256 MiB is rebuilt at its start; a VACUUM stands still and needs the room a second time."""


log = logging.getLogger(__name__)


class Database:
    """An open state file."""

    def __init__(
        self,
        path: Path,
        writer: Writer,
        readers: list[aiosqlite.Connection],
        near: sqlite3.Connection,
        reserve: Reserve,
    ) -> None:
        self.path = path
        self._writer = writer
        self._reserve = reserve
        self._near = near
        self._free_readers: asyncio.LifoQueue[aiosqlite.Connection] = asyncio.LifoQueue()
        for reader in readers:
            self._free_readers.put_nowait(reader)

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls,
        path: Path,
        *,
        readers: int = 2,
        busy_seconds: float = BUSY_SECONDS,
        start_busy_seconds: float = START_BUSY_SECONDS,
        retry_seconds: float = RETRY_SECONDS,
        reserve_bytes: int = RESERVE_BYTES,
    ) -> AsyncIterator[Database]:
        """Open, check and migrate ``path`` (made with mode 0600 if missing); close it on leaving.

        ``reserve_bytes`` of disk are kept beside it, as ``path`` with the suffix ``.reserve``. On a full disk that is
        given up, and the file begins with a fault; so it does where there is no room for it.

        Raise StoreError if it is damaged, locked, foreign or newer than this program, or missing though it had a
        history; then it is left as it is.
        """
        reserve = Reserve(path.with_suffix(".reserve"), reserve_bytes)
        async with contextlib.AsyncExitStack() as stack:
            try:
                mark.refuse_lost(path)
                opened = partial(_opened, path, readers=readers, busy=busy_seconds, start_busy=start_busy_seconds)
                (writing, reading, near), full = await _on_the_reserve(opened, reserve, stack)
            except (sqlite3.Error, OSError) as error:
                remedy = place.remedy(path, error, is_full=reserve.means_full(error))
                raise StoreError(f"cannot open the state file {path}: {error}{remedy}") from error
            writer = Writer(path, writing, reserve, busy_seconds=busy_seconds, retry_seconds=retry_seconds)
            if full is None and not reserve.make():
                log.warning("the disk has no room for the reserve %s", reserve.path, extra={"action": "no_reserve"})
                if not reserve.is_hindered:
                    full = full_error(f"the disk has no room for the reserve {reserve.path}")
            if full is not None:
                writer.begin_out_of_room(full)
            try:
                yield cls(path, writer, reading, near, reserve)
            finally:
                await writer.close()

    @property
    def fault(self) -> str | None:
        """Why changes are not being recorded at the moment, or None."""
        return self._writer.fault

    def look(self) -> None:
        """See whether the file is still where it was opened; if not, that is the ``fault`` from now on."""
        self._writer.look()

    def look_for_room(self) -> None:
        """See whether the disk is full, where somebody else found no room; if so, that is the ``fault`` from now on."""
        self._writer.look_for_room()

    def refusal(self) -> asyncio.Future[str]:
        """Return a future that is done when the disk refuses changes the next time, with the reason; wait shielded."""
        return self._writer.refusal()

    @property
    def size_bytes(self) -> int:
        """How large the file is; 0 if it is not there."""
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    @property
    def reserve_bytes(self) -> int:
        """How much of the disk is kept for bad times; 0 while that is given up."""
        return self._reserve.kept_bytes

    @property
    def is_out_of_room(self) -> bool:
        """Whether the disk is full, and what is recorded lives on what the reserve gave up, if it was there."""
        return self._writer.is_out_of_room

    def on_fault(self, tell: Callable[[str | None], None]) -> None:
        """Have ``tell`` called with the reason when the disk refuses changes, now if it does, and with None after."""
        self._writer.on_fault = tell
        if self.fault is not None:
            tell(self.fault)

    def write(self, change: Callable[[sqlite3.Connection], Result], *, is_fact: bool = False) -> asyncio.Future[Result]:
        """Run ``change`` in the next transaction; the future is done when that is committed.

        What ``change`` raises goes to the future and takes only itself back. If the disk refuses the commit,
        a request fails with StoreError at once, while a fact (something that has happened on the host) is kept and
        tried again until it is recorded. ``change`` may run twice, the first time in vain: it must have no other
        effects.
        """
        return self._enqueue(Waiting(_future(), is_fact, function=change))

    async def answer(self) -> None:
        """Return when the writer's thread has answered: it lives, also while the disk refuses what it writes.

        Raise StoreError when closed.
        """
        self._writer.answered.clear()
        if self.fault is None:  # otherwise it tries again by itself, and a change of nothing would look like its end
            self.write(lambda _tx: None).cancel()
        await self._writer.answered.wait()

    def make_room(
        self, change: Callable[[sqlite3.Connection], Result], *, is_alone: bool = False
    ) -> asyncio.Future[Result]:
        """Run ``change``, which deletes what is old, like a request of ``write``.

        While the store refuses changes it comes before the facts that wait, for they may wait for its room. With
        ``is_alone`` there is no transaction around it.
        """
        return self._enqueue(Waiting(_future(), is_fact=False, function=change, makes_room=True, is_alone=is_alone))

    def record(
        self,
        steps: Sequence[Change],
        *,
        is_fact: bool,
        then: Callable[[asyncio.Future[None]], None] | None = None,
    ) -> asyncio.Future[None]:
        """Write steps of a run in the next transaction, all or none, with those of other runs; like ``write``.

        ``then`` is called with the future when it is done, a turn of the loop before its callbacks would be.
        """
        return self._enqueue(Waiting(_future(), is_fact, steps=steps, then=then))

    def _enqueue(self, item: Waiting) -> asyncio.Future[Any]:
        self._writer.enqueue(item)
        return item.future

    async def read(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Return all rows of a query, on a connection that cannot write, in a thread of its own."""
        reader = await self._free_readers.get()
        try:
            # aiosqlite has no public way to run a function in its thread.
            found = await reader._execute(_fetch, reader._conn, sql, parameters)  # type: ignore[no-untyped-call]  # noqa: SLF001
            return cast("list[Row]", found)
        except sqlite3.Error as error:
            raise self._unreadable(error) from error
        finally:
            self._free_readers.put_nowait(reader)

    async def read_by(self, function: Callable[[Fetch], Result]) -> Result:
        """Return what ``function`` makes of one state of the file, as ``read`` does: it runs in the reader's thread."""
        reader = await self._free_readers.get()
        try:
            found = await reader._execute(_together, reader._conn, function)  # type: ignore[no-untyped-call]  # noqa: SLF001
            return cast("Result", found)
        except sqlite3.Error as error:
            raise self._unreadable(error) from error
        finally:
            self._free_readers.put_nowait(reader)

    def look_up_by(self, function: Callable[[Fetch], Result]) -> Result:
        """Return what ``function`` makes of one state of the file, as ``look_up`` does: here and now."""
        try:
            return _together(self._near, function)
        except sqlite3.Error as error:
            raise self._unreadable(error) from error

    def look_up(self, *queries: tuple[str, Sequence[Any]]) -> list[list[Row]]:
        """Return the rows of several queries that see one and the same state of the file, read here and now.

        For what is found by primary key, or next to that, alone: it touches a few pages, and the way to a reader's
        thread and back would take several times as long (docs/decisions/0006). Everything else goes by ``read``.
        """
        try:
            if len(queries) == 1:
                return [_fetch(self._near, *queries[0])]
            return _together(self._near, lambda fetch: [fetch(sql, parameters) for sql, parameters in queries])
        except sqlite3.Error as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: sqlite3.Error) -> StoreError:
        return StoreError(f"cannot read the state file {self.path}: {error}")


@contextlib.asynccontextmanager
async def _opened(path: Path, *, readers: int, busy: float, start_busy: float) -> AsyncIterator[Connections]:
    """Open the connections to a state file, which is made if missing, and close them on leaving."""
    if not path.exists():
        path.touch(mode=0o600)
    read_only = f"{path.absolute().as_uri()}?mode=ro"
    await _inspect(path, read_only, start_busy)
    async with contextlib.AsyncExitStack() as stack:
        writing = await stack.enter_async_context(_connect(str(path), _prepare_writer, start_busy))
        async with writing.execute(f"PRAGMA busy_timeout = {round(busy * 1000)}"):
            pass
        # Readers are closed before the writer (the stack is last in, first out): the last connection
        # to leave checkpoints the WAL, and only the writer may.
        reading = [await stack.enter_async_context(_connect(read_only, _prepare_reader, busy)) for _ in range(readers)]
        yield writing, reading, stack.enter_context(contextlib.closing(_connect_near(read_only)))


async def _on_the_reserve(
    opened: Callable[[], contextlib.AbstractAsyncContextManager[Connections]],
    reserve: Reserve,
    stack: contextlib.AsyncExitStack,
) -> tuple[Connections, Exception | None]:
    """Open a state file, on a full disk on the room that the reserve gives up; return what said that it is full."""
    try:
        return await stack.enter_async_context(opened()), None
    except (sqlite3.Error, OSError) as error:
        if not reserve.look() or not reserve.give_up(error):
            raise
        full = error
    return await stack.enter_async_context(opened()), full


def _future() -> asyncio.Future[Any]:
    return asyncio.get_running_loop().create_future()


def _together(connection: sqlite3.Connection, function: Callable[[Fetch], Result]) -> Result:
    """Call ``function`` with what runs queries that all see one and the same state of the file."""
    connection.execute("BEGIN")
    try:
        return function(partial(_fetch, connection))
    finally:
        connection.execute("COMMIT")


def _fetch(connection: sqlite3.Connection, sql: str, parameters: Sequence[Any]) -> list[Row]:
    return connection.execute(sql, parameters).fetchall()


@contextlib.asynccontextmanager
async def _connect(
    target: str, prepare: Callable[[sqlite3.Connection], None], busy_seconds: float
) -> AsyncIterator[aiosqlite.Connection]:
    connecting = aiosqlite.connect(
        target,
        uri=target.startswith("file:"),
        isolation_level=None,
        cached_statements=256,
        timeout=busy_seconds,
        check_same_thread=False,  # the event loop writes too, while the writer's thread does not
    )
    try:
        connection = await connecting
    except BaseException:
        # Its thread tells of its own end a little later, which may not be to a loop that is closed by then.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_THREAD_SECONDS):
                while connecting._thread.is_alive():  # noqa: ASYNC110, SLF001 (a thread is no event)
                    await asyncio.sleep(0.001)
        raise
    try:
        await connection._execute(prepare, connection._conn)  # type: ignore[no-untyped-call]  # noqa: SLF001
        yield connection
    finally:
        await connection.close()


async def _inspect(path: Path, read_only: str, busy_seconds: float) -> None:
    """Check a file before it is opened for writing, by which even one that is refused would be changed."""
    look = partial(schema.inspect, path=path)
    try:
        async with _connect(read_only, look, busy_seconds):
            pass
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_READONLY_ROLLBACK:
            raise
        # The power failed in the first moment of the file, before it had its WAL: only a writer can take that back.
        async with _connect(str(path), look, busy_seconds):
            pass


def _prepare_writer(connection: sqlite3.Connection) -> None:
    for pragma in _WRITER_PRAGMAS:
        connection.execute(pragma)
    connection.executescript("BEGIN IMMEDIATE; COMMIT")  # nobody else writes, and the file lets us
    schema.migrate(connection)
    _make_shrinkable(connection)


def _make_shrinkable(connection: sqlite3.Connection) -> None:
    """Let a file that was made before ``auto_vacuum`` was set give its room back, once, if that is quickly done."""
    (mode,) = connection.execute("PRAGMA auto_vacuum").fetchone()
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    if mode == _INCREMENTAL or pages > _MOST_PAGES_REBUILT:
        return
    try:
        connection.execute("VACUUM")  # the mode was asked for when the connection was made
    except sqlite3.Error as error:
        log.warning("the state file cannot be rebuilt to give room back: %s", error, extra={"action": "no_vacuum"})


def _prepare_reader(connection: sqlite3.Connection) -> None:
    for pragma in _READER_PRAGMAS:
        connection.execute(pragma)
    # A first look opens the log and its index: later there may be no descriptor left for them.
    connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()


def _connect_near(target: str) -> sqlite3.Connection:
    """Return the connection of ``look_up``; it waits for nobody's lock, for it would be the event loop that waits."""
    connection = sqlite3.connect(target, uri=True, isolation_level=None, timeout=0)
    _prepare_reader(connection)
    return connection
