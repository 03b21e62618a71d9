"""What a state file does when the host fails it in smaller ways: damage, descriptors, room."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import os
import resource
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from barbossad.errors import StoreError
from barbossad.store.database import Database
from barbossad.store.reserve import Reserve
from barbossad.store.writer import MOST_TOGETHER
from tests.helpers import invariants, mounts
from tests.helpers.waiting import eventually_async

LIMIT_SECONDS = 20
RESERVE = 1024 * 1024


@contextlib.asynccontextmanager
async def opened(path: Path) -> AsyncIterator[Database]:
    async with Database.open(path, busy_seconds=0.05, retry_seconds=0.02, reserve_bytes=RESERVE) as database:
        yield database


def put(tx: sqlite3.Connection, size: int = 10) -> None:
    tx.execute("INSERT INTO events (at_ms, kind, data) VALUES (1, 'test', ?)", ("x" * size,))


async def healthy(database: Database) -> None:
    await eventually_async(lambda: database.fault is None, LIMIT_SECONDS, "the state file takes changes again")


@contextlib.contextmanager
def descriptors(more: int) -> Iterator[None]:
    """Let this process open only so many files more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    listed = list(Path("/proc/self/fd").iterdir())
    taken = {int(path.name) for path in listed if path.is_symlink()}  # that of the listing itself is gone
    free = (number for number in itertools.count() if number not in taken)
    resource.setrlimit(resource.RLIMIT_NOFILE, (next(itertools.islice(free, more, None)), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_no_descriptors_at_start(path: Path) -> None:
    """With any number of descriptors too few the file is refused with the reason, and is not hurt by the attempt."""
    async with opened(path) as database:
        await database.write(put)
    refused = 0
    for more in range(40):
        try:
            with descriptors(more):
                async with opened(path):
                    break
        except StoreError as error:
            assert "cannot open the state file" in str(error)  # noqa: PT017 (it may also be accepted)
            refused += 1
        assert invariants.broken(path) == []
    assert 0 < refused < 39


async def test_no_descriptors_while_it_is_open(path: Path) -> None:
    """An open state file needs no descriptor more: it writes and reads on when the last one is taken."""
    async with opened(path) as database:
        with descriptors(0):
            with pytest.raises(OSError, match="Too many open files") as full:
                os.dup(0)
            assert full.value.errno == errno.EMFILE
            for _ in range(20):
                await database.write(put)
            assert await database.read("SELECT count(*) FROM events") == [(20,)]
        assert database.fault is None
    assert invariants.broken(path) == []


async def test_page_that_goes_bad(path: Path) -> None:
    """Damage that is met while the daemon runs is a fault, not a crash; mended, it goes on; left so, no start."""
    async with opened(path) as database:
        for _ in range(50):
            await database.write(lambda tx: put(tx, 3000))
    page = 4096
    whole = path.read_bytes()
    async with opened(path) as database:
        ((root,),) = await database.read("SELECT rootpage FROM sqlite_schema WHERE name = 'events'")
        with path.open("r+b") as file:
            file.seek((root - 1) * page)
            file.write(b"\xa5" * page)
        with pytest.raises(StoreError, match="SQLITE_CORRUPT"):
            await database.write(put)
        assert database.fault is not None
        fact = database.write(put, is_fact=True)
        with path.open("r+b") as file:
            file.seek((root - 1) * page)
            file.write(whole[(root - 1) * page : root * page])
        async with asyncio.timeout(LIMIT_SECONDS):
            await fact
        await healthy(database)
    assert invariants.broken(path) == []


@pytest.mark.parametrize("name", ["barbossa.db", "barbossa.db-wal"])
async def test_replaced_under_its_daemon(path: Path, name: str) -> None:
    """A file that is no longer at its place takes no change that nobody would find again; put back, it goes on."""
    async with opened(path) as database:
        await database.write(put)
        place = path.with_name(name)
        away = place.with_suffix(".away")
        place.rename(away)
        with pytest.raises(StoreError, match="is not there any more"):
            await database.write(put)
        place.write_bytes(b"")
        with pytest.raises(StoreError, match="is not the file that was opened"):
            await database.write(put)
        fact = database.write(put, is_fact=True)
        away.replace(place)
        async with asyncio.timeout(LIMIT_SECONDS):
            await fact
        await healthy(database)
    assert invariants.broken(path) == []


async def test_a_look_finds_what_was_replaced(path: Path) -> None:
    """While nothing is written, it is noticed by who looks, told, and over by itself when the file is back."""
    async with opened(path) as database:
        told: list[str | None] = []
        database.on_fault(told.append)
        database.look()
        assert (database.fault, told) == (None, [])
        away = path.rename(path.with_suffix(".away"))
        database.look()
        assert "is not there any more" in (database.fault or "")
        assert told == [database.fault]
        fact = database.write(put, is_fact=True)
        await asyncio.sleep(0.1)
        assert not fact.done()
        away.rename(path)
        async with asyncio.timeout(LIMIT_SECONDS):
            await fact
        await healthy(database)
        assert await database.read("SELECT count(*) FROM events") == [(1,)]
    assert invariants.broken(path) == []


async def test_a_refusal_is_an_answer(path: Path) -> None:
    """The writer answers while the disk refuses what it writes, however many facts wait, and finds that out itself."""
    async with opened(path) as database, asyncio.timeout(LIMIT_SECONDS):
        away = path.rename(path.with_name("away"))
        await database.answer()
        assert database.fault is not None
        facts = [database.write(put, is_fact=True) for _ in range(3 * MOST_TOGETHER)]
        for _ in range(5):
            await database.answer()
        assert database.fault is not None
        away.replace(path)
        await asyncio.gather(*facts)
        await healthy(database)
        await database.answer()


@pytest.mark.parametrize("has_fault", [False, True])
async def test_a_writer_that_hangs_does_not_answer(path: Path, has_fault: bool) -> None:
    """While the writer's thread does not come back there is no answer, whether or not there was a fault before."""
    go_on, is_inside = threading.Event(), threading.Event()

    def hang(_tx: sqlite3.Connection) -> None:
        is_inside.set()
        assert go_on.wait(LIMIT_SECONDS)

    async with opened(path) as database, asyncio.timeout(LIMIT_SECONDS):
        if has_fault:
            away = path.rename(path.with_name("away"))
            await database.answer()
            away.replace(path)
        hanging = database.write(hang, is_fact=True)
        await asyncio.to_thread(is_inside.wait, LIMIT_SECONDS)
        answer = asyncio.ensure_future(database.answer())
        await asyncio.wait([answer], timeout=0.2)
        assert not answer.done()
        go_on.set()
        await answer
        await hanging


# -- the reserve -------------------------------------------------------------------------------------------


async def test_reserve_is_really_allocated(path: Path) -> None:
    """The reserve occupies its room on the disk, and one with a hole in it is not taken for one."""
    file = path.with_suffix(".reserve")
    async with opened(path) as database:
        assert database.reserve_bytes == RESERVE
        assert file.stat().st_blocks * 512 >= RESERVE
    file.unlink()
    with file.open("wb") as hollow:
        hollow.truncate(RESERVE)
    async with opened(path):
        assert file.stat().st_blocks * 512 >= RESERVE


async def test_full_disk(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """On a disk without a byte left even a DELETE fails; with the reserve given up it works, and facts are recorded."""
    with mounts.tmpfs(tmp_path / "disk", "12m") as folder:
        path = folder / "barbossa.db"
        async with opened(path) as database:
            await database.write(lambda tx: put(tx, 200_000))
            ballast = mounts.fill(folder)
            with pytest.raises(StoreError, match="SQLITE_FULL"):
                await database.write(lambda tx: tx.execute("DELETE FROM events"))
            fact = database.write(put, is_fact=True)
            async with asyncio.timeout(LIMIT_SECONDS):
                await fact
            assert database.reserve_bytes == 0
            assert database.fault is not None, "nothing new is started on the reserve"
            await database.write(lambda tx: tx.execute("DELETE FROM events WHERE length(data) > 100"))
            assert await database.read("SELECT count(*) FROM events") == [(1,)]
            assert database.fault is not None
            ballast.unlink()
            await healthy(database)
            assert database.reserve_bytes == RESERVE
        assert invariants.broken(path) == []
    said = [record.__dict__.get("action") for record in caplog.records if record.name.startswith("barbossad.store")]
    assert said == ["store_refused", "store_reserve_used", "store_reserve_kept", "store_recovered"]


@pytest.mark.parametrize("has_log", [True, False])
async def test_opened_on_a_full_disk(tmp_path: Path, caplog: pytest.LogCaptureFixture, has_log: bool) -> None:
    """The reserve is given up for it, and the file begins with the fault that a disk which fills would have been."""
    with mounts.tmpfs(tmp_path / "disk", "12m") as folder:
        path = folder / "barbossa.db"
        async with opened(path) as database:
            await database.write(lambda tx: put(tx, 200_000))
            copies = [(left, left.read_bytes()) for left in folder.glob("*-wal")]
        for left, content in copies if has_log else ():
            left.write_bytes(content)
        ballast = mounts.fill(folder)
        async with opened(path) as database:
            told: list[str | None] = []
            database.on_fault(told.append)
            assert database.fault is not None
            assert told == [database.fault]
            assert (database.is_out_of_room, database.reserve_bytes) == (True, 0)
            await database.make_room(lambda tx: tx.execute("DELETE FROM events"))
            await database.write(put, is_fact=True)
            assert database.fault is not None
            ballast.unlink()
            await healthy(database)
            assert told[1:] == [None]
            assert database.reserve_bytes == RESERVE
        assert invariants.broken(path) == []
    said = [record.__dict__.get("action") for record in caplog.records if record.name.startswith("barbossad.store")]
    assert said == ["store_reserve_used", "store_reserve_kept", "store_recovered"]


async def test_full_disk_that_somebody_else_found(tmp_path: Path) -> None:
    """Who found no room has the state file look: if it is on that disk, nothing new is recorded from then on."""
    with mounts.tmpfs(tmp_path / "disk", "12m") as folder:
        path = folder / "barbossa.db"
        async with opened(path) as database:
            database.look_for_room()
            await database.write(put)
            assert database.fault is None, "that was another disk"
            ballast = mounts.fill(folder)
            database.look_for_room()
            await eventually_async(lambda: database.fault is not None, LIMIT_SECONDS, "it is at fault")
            assert database.fault == "the disk is full (SQLITE_FULL)"
            assert (database.is_out_of_room, database.reserve_bytes) == (True, 0)
            await database.write(put, is_fact=True)
            assert database.fault is not None
            ballast.unlink()
            await healthy(database)
            assert (database.is_out_of_room, database.reserve_bytes) == (False, RESERVE)


async def test_no_room_for_a_reserve_at_start(tmp_path: Path) -> None:
    """A start does not end the fault of the daemon before it: where there is no room for the reserve it goes on."""
    with mounts.tmpfs(tmp_path / "disk", "12m") as folder:
        path = folder / "barbossa.db"
        async with opened(path) as database:
            await database.write(put)
        path.with_suffix(".reserve").unlink()
        ballast = mounts.fill(folder)
        os.truncate(ballast, ballast.stat().st_size - RESERVE)
        async with opened(path) as database:
            assert "no room for the reserve" in (database.fault or "")
            assert database.is_out_of_room
            await database.write(put, is_fact=True)
            ballast.unlink()
            await healthy(database)
            assert database.reserve_bytes == RESERVE


async def test_full_disk_without_a_reserve(tmp_path: Path) -> None:
    """Where there was none to give up the disk is full all the same, and logs leave it to the state file."""
    with mounts.tmpfs(tmp_path / "disk", "12m") as folder:
        path = folder / "barbossa.db"
        path.with_suffix(".reserve").mkdir()
        async with opened(path) as database:
            assert (database.fault, database.reserve_bytes) == (None, 0)
            ballast = mounts.fill(folder)
            with pytest.raises(StoreError, match="SQLITE_FULL"):
                await database.write(lambda tx: put(tx, 200_000))
            assert database.is_out_of_room
            ballast.unlink()
            await healthy(database)
            assert not database.is_out_of_room


async def test_a_refusal_is_told(path: Path) -> None:
    """Who waits for a fact is told when the disk refuses it, and not if it is taken at once on the reserve."""
    async with opened(path) as database:
        refusal = database.refusal()
        await database.write(put, is_fact=True)
        assert not refusal.done()
        away = path.rename(path.with_name("away"))
        fact = database.write(put, is_fact=True)
        async with asyncio.timeout(LIMIT_SECONDS):
            assert "is not there any more" in await refusal
            assert database.refusal() is not refusal
            assert not fact.done()
            away.rename(path)
            await fact


async def test_no_reserve_on_a_full_disk(tmp_path: Path) -> None:
    """Where nothing is left to give up the file is refused, and it is said that the disk is full."""
    with mounts.tmpfs(tmp_path / "disk", "12m") as folder:
        path = folder / "barbossa.db"
        async with opened(path) as database:
            await database.write(put)
        path.with_suffix(".reserve").unlink()
        mounts.fill(folder)
        with pytest.raises(StoreError, match=r"cannot open .* the disk of .*/disk is full, .*: make room there"):
            async with opened(path):
                pass
        assert not path.with_suffix(".reserve").exists()


async def test_reserve_is_used_up_too(tmp_path: Path) -> None:
    """A disk that stays full when the reserve is eaten up refuses as before, and goes on when there is room."""
    with mounts.tmpfs(tmp_path / "disk", "12m") as folder:
        path = folder / "barbossa.db"
        async with opened(path) as database:
            ballast = mounts.fill(folder)
            large = database.write(lambda tx: put(tx, 3_000_000), is_fact=True)
            await eventually_async(lambda: database.reserve_bytes == 0, LIMIT_SECONDS, "the reserve is given up")
            with pytest.raises(StoreError, match="SQLITE_FULL"):
                await database.write(lambda tx: put(tx, 3_000_000))
            assert not large.done()
            ballast.unlink()
            async with asyncio.timeout(LIMIT_SECONDS):
                await large
            await healthy(database)
            assert database.reserve_bytes == RESERVE
        assert invariants.broken(path) == []


def test_no_room_for_a_reserve(tmp_path: Path) -> None:
    """It is not made where it would take the last room, and nothing of the attempt stays."""
    with mounts.tmpfs(tmp_path / "disk", "1m") as folder:
        reserve = Reserve(folder / "barbossa.reserve", 700 * 1024)
        assert reserve.make() is False
        assert list(folder.iterdir()) == []
        assert reserve.kept_bytes == 0
