"""One writer that commits in groups, readers that never wait, and what happens when the disk says no."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from barbossad.errors import ConflictError, StoreError
from barbossad.store import batch
from barbossad.store import writer as writers
from barbossad.store.database import Database

LIMIT_SECONDS = 20


def put(number: int) -> Callable[[sqlite3.Connection], int]:
    """Return a change that adds an event, which is numbered by its instant."""

    def change(tx: sqlite3.Connection) -> int:
        tx.execute("INSERT INTO events (at_ms, kind, data) VALUES (?, 'test', '{}')", (number,))
        return number

    return change


def fail(error: BaseException) -> Callable[[sqlite3.Connection], None]:
    """Return a change that writes something and then finds that it may not."""

    def change(tx: sqlite3.Connection) -> None:
        put(-1)(tx)
        raise error

    return change


async def numbers(database: Database) -> list[int]:
    return [row[0] for row in await database.read("SELECT at_ms FROM events ORDER BY seq")]


class Blocker:
    """A change that holds the writer's thread in the middle of its transaction."""

    def __init__(self) -> None:
        self.is_inside = threading.Event()
        self.may_go_on = threading.Event()

    def __call__(self, tx: sqlite3.Connection) -> None:
        put(1000)(tx)
        self.is_inside.set()
        assert self.may_go_on.wait(LIMIT_SECONDS)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the file as another process would that writes to it and does not come to an end."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        try:
            yield
        finally:
            other.execute("ROLLBACK")


async def count_transactions(database: Database, doing: Callable[[], Any]) -> int:
    """Return how many transactions the writer commits while ``doing`` is done."""
    statements: list[str] = []
    await database.write(lambda tx: tx.set_trace_callback(statements.append))
    await doing()
    await database.write(lambda tx: tx.set_trace_callback(None))
    return statements.count("COMMIT") - 1  # that of setting the callback


# -- committing --------------------------------------------------------------------------------------------


async def test_waiting_changes_share_commits(database: Database) -> None:
    """200 changes that are asked for at once take a handful of commits, and each caller gets its own result."""

    async def all_at_once() -> None:
        assert await asyncio.gather(*(database.write(put(number)) for number in range(200))) == list(range(200))

    assert await count_transactions(database, all_at_once) <= 200 // writers.MOST_TOGETHER + 2
    assert await numbers(database) == list(range(200))


async def test_what_comes_during_a_commit_goes_into_the_next(database: Database) -> None:
    """While the writer works, changes gather; they are one group when it is free."""
    blocker = Blocker()

    async def first_one_then_many() -> None:
        first = database.write(blocker)
        await asyncio.to_thread(blocker.is_inside.wait)
        others = [database.write(put(number)) for number in range(50)]
        blocker.may_go_on.set()
        await asyncio.gather(first, *others)

    assert await count_transactions(database, first_one_then_many) <= 3


async def test_answered_after_the_commit(database: Database, path: Path) -> None:
    """Whoever is answered can see the change from another connection."""
    with contextlib.closing(sqlite3.connect(path)) as other:
        seen: list[bool] = []

        def look(done: asyncio.Future[int]) -> None:
            sql = "SELECT count(*) FROM events WHERE at_ms = ?"
            seen.append(other.execute(sql, (done.result(),)).fetchone() == (1,))

        futures = []
        for number in range(100):
            futures.append(database.write(put(number)))
            futures[-1].add_done_callback(look)
            if number % 7 == 0:
                await asyncio.sleep(0)
        await asyncio.gather(*futures)
        assert seen == [True] * 100


@pytest.mark.parametrize(
    "error",
    [
        ConflictError("no"),
        ValueError("no"),
        KeyboardInterrupt(),
        asyncio.CancelledError(),
        sqlite3.ProgrammingError("not even SQLite was asked"),
        sqlite3.IntegrityError("no"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_failing_change_fails_alone(database: Database, error: BaseException) -> None:
    """What a change raises is its caller's alone: nothing of it stays, everything of the others does."""
    futures: list[asyncio.Future[Any]] = [database.write(put(number)) for number in range(5)]
    failing = database.write(fail(error), is_fact=True)
    futures += [database.write(put(number)) for number in range(5, 10)]
    done = await asyncio.gather(*futures, failing, return_exceptions=True)
    assert done[:-1] == list(range(10))
    assert type(done[-1]) is type(error)
    assert await numbers(database) == list(range(10))
    assert database.fault is None


async def test_wrong_statement_fails_alone(database: Database) -> None:
    """A fault in a statement is the fault of who wrote it, not of the disk; the writer lives on."""
    for wrong in ("SELECT ?", "SELECT nonsense FROM nowhere"):
        with pytest.raises(sqlite3.Error):
            await database.write(lambda tx, sql=wrong: tx.execute(sql))  # type: ignore[misc]
    with pytest.raises(OverflowError):
        await database.write(put(1 << 80))
    assert await database.write(put(1)) == 1
    assert database.fault is None


async def test_cancelled_waiter(database: Database) -> None:
    """Who stops waiting leaves no transaction open: the change stands, and the next one is made as ever."""
    blocker = Blocker()
    waiter = asyncio.ensure_future(database.write(blocker))
    await asyncio.to_thread(blocker.is_inside.wait)
    queued = database.write(put(1))
    waiter.cancel()
    queued.cancel()
    blocker.may_go_on.set()
    assert await database.write(lambda tx: tx.in_transaction) is True
    assert await numbers(database) == [1000, 1]


async def test_closing_commits_what_waits(path: Path) -> None:
    """Leaving commits what was asked for; nothing is accepted after that."""
    async with Database.open(path) as database:
        futures = [database.write(put(number)) for number in range(10)]
    assert await asyncio.gather(*futures) == list(range(10))
    with pytest.raises(StoreError, match="closed"):
        database.write(put(11))
    async with Database.open(path) as again:
        assert await numbers(again) == list(range(10))


# -- reading -----------------------------------------------------------------------------------------------


async def test_readers_do_not_wait_for_the_writer(database: Database) -> None:
    """In the middle of a long transaction readers answer at once, with what was committed before."""
    await database.write(put(1))
    blocker = Blocker()
    writing = database.write(blocker)
    await asyncio.to_thread(blocker.is_inside.wait)
    async with asyncio.timeout(LIMIT_SECONDS):
        assert await asyncio.gather(*(numbers(database) for _ in range(10))) == [[1]] * 10
    assert not writing.done()
    blocker.may_go_on.set()
    await writing
    assert await numbers(database) == [1, 1000]


async def test_reads_together_see_one_state(database: Database) -> None:
    """Several queries of one read see the same commit, however much is written meanwhile."""

    def both(number: int) -> Callable[[sqlite3.Connection], None]:
        def change(tx: sqlite3.Connection) -> None:
            put(number)(tx)
            tx.execute("INSERT INTO workflows VALUES (?, 'v', 1, 0, 'x')", (f"w{number}",))

        return change

    writing = asyncio.gather(*(asyncio.ensure_future(_spread(database, both, number)) for number in range(150)))
    while not writing.done():
        events, workflows = database.look_up(
            ("SELECT count(*) FROM events", ()), ("SELECT count(*) FROM workflows", ())
        )
        assert events == workflows
        await asyncio.sleep(0)
    await writing


async def _spread(database: Database, change: Callable[[int], Any], number: int) -> None:
    for _ in range(number % 40):
        await asyncio.sleep(0)
    await database.write(change(number))


@pytest.mark.parametrize("sql", ["INSERT INTO events (at_ms, kind, data) VALUES (1, '', '')", "SELECT * FROM nowhere"])
async def test_read_that_cannot_be(database: Database, sql: str) -> None:
    """A reader cannot write; what it cannot do is told, and it is free for the next."""
    for _ in range(5):  # more often than there are readers
        with pytest.raises(StoreError, match="cannot read"):
            await database.read(sql)
        with pytest.raises(StoreError, match="cannot read"):
            database.look_up((sql, ()), (sql, ()))
    assert await numbers(database) == []


async def test_cancelled_reader_is_free_again(database: Database) -> None:
    """A read that nobody waits for any more gives its connection back."""
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) SELECT max(i) FROM n"
    reads = [asyncio.create_task(database.read(endless)) for _ in range(6)]
    await asyncio.sleep(0)
    for read in reads:
        read.cancel()
    await asyncio.gather(*reads, return_exceptions=True)
    async with asyncio.timeout(LIMIT_SECONDS):
        assert await numbers(database) == []


# -- a disk that says no -----------------------------------------------------------------------------------


async def test_locked_file(database: Database, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """While another process holds the file, requests are refused and facts are kept; it goes on by itself."""
    told: list[str | None] = []
    over = asyncio.Event()
    database.on_fault(lambda fault: told.append(fault) or (over.set() if fault is None else None))  # type: ignore[func-returns-value]
    with locked(path):
        facts = [database.write(put(number), is_fact=True) for number in range(3)]
        with pytest.raises(StoreError, match="refuses changes: database is locked"):
            await database.write(put(99))
        assert database.fault is not None
        assert "SQLITE_BUSY" in database.fault
        facts.append(database.write(put(3), is_fact=True))
        assert await numbers(database) == []  # readers are not concerned
        assert not any(fact.done() for fact in facts)
    async with asyncio.timeout(LIMIT_SECONDS):
        assert await asyncio.gather(*facts) == [0, 1, 2, 3]
        await over.wait()
    assert await numbers(database) == [0, 1, 2, 3]
    assert database.fault is None
    assert told[-1] is None
    said = [
        (record.levelno, record.__dict__["action"]) for record in caplog.records if record.name.endswith("store.writer")
    ]
    assert said == [(logging.ERROR, "store_refused"), (logging.WARNING, "store_recovered")]


async def test_fault_ends_without_a_new_change(database: Database, path: Path) -> None:
    """That the disk takes changes again is found out even if nobody asks for any."""
    over = asyncio.Event()
    database.on_fault(lambda fault: over.set() if fault is None else None)
    with locked(path), pytest.raises(StoreError):
        await database.write(put(1))
    assert database.fault is not None
    async with asyncio.timeout(LIMIT_SECONDS):
        await over.wait()
    assert database.fault is None
    assert await numbers(database) == []


async def test_full_disk(database: Database) -> None:
    """On a full disk requests fail, reading works, and facts are recorded once there is room again."""

    async def use_at_most(pages: int) -> None:
        await database._writer._connection.execute(f"PRAGMA max_page_count = {pages}")

    def large(tx: sqlite3.Connection) -> None:
        tx.execute("INSERT INTO events (at_ms, kind, data) VALUES (7, 'test', ?)", ("x" * 100_000,))

    await use_at_most(1)  # SQLite makes that "no more than there are"
    with pytest.raises(StoreError, match="full"):
        await database.write(large)
    fact = database.write(large, is_fact=True)
    assert await numbers(database) == []
    assert not fact.done()
    await use_at_most(1_000_000)
    async with asyncio.timeout(LIMIT_SECONDS):
        await fact
    assert await numbers(database) == [7]


async def test_nothing_overtakes_a_refused_change(path: Path) -> None:
    """When the disk says no in the middle of a group, what came after is refused too: it may build on the refused."""
    calls: list[str] = []

    def refused_second_time(_tx: sqlite3.Connection) -> None:
        calls.append("refused")
        if calls.count("refused") == 2:
            busy = sqlite3.OperationalError("database is locked")
            busy.sqlite_errorcode, busy.sqlite_errorname = sqlite3.SQLITE_BUSY, "SQLITE_BUSY"
            raise busy

    async with Database.open(path, retry_seconds=0) as database:
        first = database.write(put(1), is_fact=True)
        second = database.write(refused_second_time, is_fact=True)
        third = database.write(lambda _tx: calls.append("third"), is_fact=True)
        wrong = database.write(fail(ValueError("this makes each go alone")))
        fourth = database.write(put(4), is_fact=True)
        await asyncio.gather(first, second, third, fourth)
        with pytest.raises(StoreError):
            await wrong
        assert await numbers(database) == [1, 4]
    together, alone, again = ["refused", "third"], ["refused"], ["refused", "third"]
    assert calls == together + alone + again


async def test_closing_with_a_locked_file(path: Path) -> None:
    """Leaving does not wait for ever for a disk that says no: who still waits is told."""
    async with asyncio.timeout(LIMIT_SECONDS):
        async with Database.open(path, busy_seconds=0.05, retry_seconds=0.02) as database:
            with contextlib.ExitStack() as stack:
                stack.enter_context(locked(path))
                fact = database.write(put(1), is_fact=True)
                with pytest.raises(StoreError):
                    await database.write(put(2))
                releasing = stack.pop_all()
        try:
            with pytest.raises(StoreError, match="refuses"):
                await fact
        finally:
            releasing.close()


# -- opening -----------------------------------------------------------------------------------------------


async def test_new_file_is_private(database: Database, path: Path) -> None:
    """Nobody but the daemon's user may read the state."""
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for more in path.parent.glob("barbossa.db-*"):
        assert stat.S_IMODE(more.stat().st_mode) == 0o600


async def test_commits_are_durable(database: Database) -> None:
    """The writer syncs every commit: NORMAL would lose acknowledged ones in a power cut."""
    wanted = {
        "synchronous": 2,
        "journal_mode": "wal",
        "foreign_keys": 1,
        "secure_delete": 1,
        "trusted_schema": 0,
        "auto_vacuum": 2,
    }
    found = await database.write(lambda tx: {name: tx.execute(f"PRAGMA {name}").fetchone()[0] for name in wanted})
    assert found == wanted


_WRITE_AND_DIE = """
import asyncio, os, sys
from pathlib import Path
from barbossad.store.database import Database

async def main():
    async with Database.open(Path(sys.argv[1])) as database:
        for number in range(20):
            await database.write(
                lambda tx: tx.execute("INSERT INTO events (at_ms, kind, data) VALUES (?, '', '')", (number,)).rowcount
            )
        database.write(lambda tx: os.kill(os.getpid(), 9))
        await asyncio.Event().wait()

asyncio.run(main())
"""


def write_and_die(path: Path) -> None:
    """Write twenty events in a process that dies in the middle of the next transaction."""
    died = subprocess.run([sys.executable, "-c", _WRITE_AND_DIE, path], timeout=LIMIT_SECONDS, check=False)
    assert died.returncode == -9


async def test_killed_writer_loses_nothing(path: Path) -> None:
    """What was answered before a kill -9 is there afterwards; what was not is not."""
    await asyncio.to_thread(write_and_die, path)
    async with Database.open(path) as database:
        assert await numbers(database) == list(range(20))


async def refuse(path: Path) -> str:
    """Check that a file is refused and left byte for byte as it is; return what is said."""
    before = path.read_bytes()
    with pytest.raises(StoreError) as refused:
        async with Database.open(path):
            pass
    assert path.read_bytes() == before
    assert str(path) in str(refused.value)
    return str(refused.value)


async def test_foreign_file(path: Path) -> None:
    """A database of another program is not touched."""
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE guests (name TEXT)")
        other.commit()
    assert "is not a state file of Barbossa" in await refuse(path)


async def test_foreign_file_that_is_empty_but_marked(path: Path) -> None:
    """Neither is one that another program has only put its mark on yet."""
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA application_id = 77")
    assert "is not a state file of Barbossa" in await refuse(path)


async def test_no_database_at_all(path: Path) -> None:
    """A file that is no database is not overwritten."""
    path.write_bytes(b"my only copy of the novel\n" * 500)
    assert "is damaged" in await refuse(path)


async def test_newer_file(path: Path) -> None:
    """A file of a newer version is refused, and the message says what to do."""
    async with Database.open(path):
        pass
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA user_version = 9999")
    said = await refuse(path)
    assert "newer Barbossa (schema 9999" in said
    assert "Start the newer version" in said


@pytest.mark.parametrize("is_crashed", [False, True], ids=["closed", "with a log left over"])
async def test_damaged_file(path: Path, is_crashed: bool) -> None:
    """A file with flipped bits in a page is refused, not repaired, not replaced; its log is not run into it either."""
    async with Database.open(path) as database:
        await asyncio.gather(*(database.write(put(number)) for number in range(2000)))
    if is_crashed:
        await asyncio.to_thread(write_and_die, path)
    content = bytearray(path.read_bytes())
    root = _page_of(path, "events")
    content[root * 4096 + 3 : root * 4096 + 40] = b"\xff" * 37
    path.write_bytes(content)
    said = await refuse(path)
    assert "is damaged" in said
    assert "restore a backup" in said
    if is_crashed:
        assert path.with_name(path.name + "-wal").stat().st_size > 0


def _page_of(path: Path, table: str) -> int:
    """Return the number, from 0, of the root page of a table."""
    with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as other:
        (number,) = other.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).fetchone()
    return int(number) - 1


async def test_file_that_may_not_be_opened(tmp_path: Path) -> None:
    """What the file system refuses is told with the path."""
    with pytest.raises(StoreError, match=r"cannot open the state file .*nowhere"):
        async with Database.open(tmp_path / "nowhere" / "barbossa.db"):
            pass


async def test_folder_where_the_file_should_be(path: Path) -> None:
    """What SQLite calls an I/O error is a folder; the message says so, and what to do."""
    path.mkdir()
    with pytest.raises(StoreError, match=r"cannot open the state file .*barbossa.db is a folder: move it away"):
        async with Database.open(path):
            pass


async def test_a_file_that_cannot_be_opened_leaves_no_thread(path: Path) -> None:
    """It would tell of its end to a loop that is closed by then."""
    path.mkdir()
    before = set(threading.enumerate())
    for _ in range(20):
        with pytest.raises(StoreError):
            async with Database.open(path):
                pass
        assert set(threading.enumerate()) == before


@pytest.mark.skipif(os.getuid() != 0, reason="needs another user")
def test_file_of_another_user() -> None:
    """A file that the daemon's user may not change is told with that user and the way to mend it."""
    script = (
        "import asyncio, os, sys, pathlib\n"
        "from barbossad.store.database import Database\n"
        "async def main():\n"
        "    path = pathlib.Path(sys.argv[1])\n"
        "    async with Database.open(path): pass\n"
        "    path.chmod(int(sys.argv[2], 8))\n"
        "    os.setresuid(65534, 65534, 65534)\n"
        "    async with Database.open(path): pass\n"
        "asyncio.run(main())\n"
    )
    for mode in ("000", "444"):
        with tempfile.TemporaryDirectory() as folder:  # below one that everybody may enter
            Path(folder).chmod(0o777)
            command = [sys.executable, "-c", script, f"{folder}/barbossa.db", mode]
            tried = subprocess.run(command, capture_output=True, text=True, check=False)
        assert "may not be read and written by uid 65534: chown it" in tried.stderr


async def test_start_waits_for_a_lock(database: Database, path: Path) -> None:
    """A lock on the file delays a start, which has it to itself then; one that stays is told with the way out."""
    await database.write(put(1))
    with locked(path):
        with pytest.raises(StoreError, match=r"database is locked; another program has locked it: end that"):
            async with Database.open(path, start_busy_seconds=0.05):
                pass
        opening = asyncio.ensure_future(_opened_and_closed(path))
        await asyncio.wait([opening], timeout=0.2)
        assert not opening.done()
    async with asyncio.timeout(LIMIT_SECONDS):
        await opening


async def _opened_and_closed(path: Path) -> None:
    async with Database.open(path, busy_seconds=0.05):
        pass


def test_every_refusal_is_named() -> None:
    """Running out of room or rights is never taken for a fault of the change that met it."""
    for name in ("FULL", "IOERR", "BUSY", "READONLY", "CANTOPEN", "CORRUPT"):
        assert getattr(sqlite3, f"SQLITE_{name}") in batch._REFUSALS
