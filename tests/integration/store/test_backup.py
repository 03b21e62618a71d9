"""A backup is made while the daemon works on: whole, checked, and nothing under its name until then."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from barbossad.errors import StoreError
from barbossad.store import backup
from barbossad.store.database import Database
from tests.helpers import history, invariants, mounts
from tests.helpers.history import past, record


def runs_in(path: Path) -> int:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        count: int = connection.execute("SELECT count(*) FROM runs").fetchone()[0]
    return count


async def test_while_it_is_written(
    path: Path, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy has what was committed when it began, whatever is committed meanwhile, and is one private file."""
    monkeypatch.setattr(backup, "PAGES_AT_A_TIME", 1)
    await record(database, [past(number, text=b"x" * 3000) for number in range(100)])
    target = tmp_path / "backups" / "one.db"
    making = asyncio.create_task(asyncio.to_thread(backup.make, path, target))
    number = 100
    while not making.done():
        await record(database, [past(number)])
        number += 1
    made = await making
    assert number > 105
    assert (made.path, made.size_bytes) == (target, target.stat().st_size)
    assert 100 <= runs_in(target) < number
    assert invariants.broken(target, has_texts=False) == []
    assert [entry.name for entry in target.parent.iterdir()] == ["one.db"]
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert stat.S_IMODE(target.parent.stat().st_mode) == 0o700


async def test_it_can_be_restored(path: Path, tmp_path: Path) -> None:
    """In the place of the state file it is one."""
    async with Database.open(path) as database:
        await record(database, map(past, range(3)))
        made = await asyncio.to_thread(backup.make, path, tmp_path / "backups" / "one.db")
        await record(database, map(past, range(3, 6)))
    made.path.rename(path)
    async with Database.open(path) as database:
        assert await history.numbers(database) == [0, 1, 2]
        await record(database, [past(9)])
    assert invariants.broken(path, has_texts=False) == []


def test_what_cannot_be_copied(tmp_path: Path) -> None:
    """A file that is missing, damaged, or no state file gives an error and leaves nothing."""
    target = tmp_path / "backups" / "one.db"
    source = tmp_path / "barbossa.db"
    with pytest.raises(StoreError, match="could not be copied"):
        backup.make(source, target)
    source.write_bytes(b"no database " * 1000)
    with pytest.raises(StoreError, match="could not be copied"):
        backup.make(source, target)
    source.unlink()
    with closing(sqlite3.connect(source)) as other:
        other.execute("CREATE TABLE theirs (one)")
    with pytest.raises(StoreError, match="is not a state file"):
        backup.make(source, target)
    assert list(target.parent.iterdir()) == []


async def test_leftovers_and_names(path: Path, database: Database, tmp_path: Path) -> None:
    """What a crash left unfinished goes with the next backup; one that is there already is not touched."""
    target = tmp_path / "backups" / "one.db"
    target.parent.mkdir()
    (target.parent / "old.db.unfinished").write_bytes(b"half")
    await record(database, [past(1)])
    await asyncio.to_thread(backup.make, path, target)
    before = target.read_bytes()
    with pytest.raises(StoreError, match="already"):
        await asyncio.to_thread(backup.make, path, target)
    assert target.read_bytes() == before
    assert list(target.parent.iterdir()) == [target]


async def test_a_stop_is_not_kept_waiting(path: Path, database: Database, tmp_path: Path) -> None:
    """A daemon that stops gives the copy up, and leaves nothing of it."""
    await record(database, [past(1)])
    with pytest.raises(StoreError, match="the daemon stops"):
        await asyncio.to_thread(backup.make, path, tmp_path / "backups" / "one.db", lambda: True)
    assert list((tmp_path / "backups").iterdir()) == []


async def test_no_room(path: Path, database: Database, tmp_path: Path) -> None:
    """A copy that would leave the daemon no room is refused before it is begun."""
    await record(database, [past(1)])
    with mounts.tmpfs(tmp_path / "disk", "8m") as folder:
        with pytest.raises(StoreError, match="bytes left, a backup needs"):
            await asyncio.to_thread(backup.make, path, folder / "backups" / "one.db")
        assert list((folder / "backups").iterdir()) == []
