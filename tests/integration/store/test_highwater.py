"""A state file that is older than history is told, and the numbers of what it forgot are not given again."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest

from barbossad.errors import StoreError
from barbossad.store import backup
from barbossad.store import mark as marks
from barbossad.store.database import Database
from barbossad.store.highwater import LEAP, HighWater
from barbossad.store.mark import Mark
from barbossad.store.runs import RunStore
from tests.helpers import invariants
from tests.helpers.clock import StillClock
from tests.helpers.history import past, record
from tests.helpers.records import NOON_MS


@pytest.fixture
def mark_path(tmp_path: Path) -> Path:
    return tmp_path / "barbossa.mark"


async def session(path: Path, mark_path: Path, *numbers: int) -> HighWater:
    """Be a daemon for a while, to which these runs happen."""
    async with Database.open(path) as database:
        mark = HighWater(database, StillClock(), mark_path)
        await mark.check()
        await record(database, map(past, numbers))
        await mark.settled()
    return mark


async def test_an_ordinary_life(path: Path, mark_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file that goes on where it stopped is not reported, also when a daemon died between two marks."""
    assert (await session(path, mark_path)).rolled_back is None
    assert (await session(path, mark_path, 1, 2)).rolled_back is None
    async with Database.open(path) as database:
        await record(database, [past(3)])
    assert (await session(path, mark_path)).rolled_back is None
    assert marks.read(mark_path) == Mark(run=NOON_MS + 3, event=15)
    assert stat.S_IMODE(mark_path.stat().st_mode) == 0o600
    assert caplog.records == []


@pytest.mark.parametrize("kind", ["older", "new"])
async def test_rolled_back(
    path: Path, mark_path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    """An older file, or a new one put in its place, is told once; it goes on above all numbers that were given."""
    copy = tmp_path / kind / "barbossa.db"
    copy.parent.mkdir()
    if kind == "new":
        async with Database.open(copy):
            pass
    await session(path, mark_path, 1)
    if kind == "older":
        shutil.copy(path, copy)
    await session(path, mark_path, 2, 3)
    copy.replace(path)
    mark = await session(path, mark_path)
    assert mark.rolled_back is not None
    assert f"ends at event {5 if kind == 'older' else 0}, but history had reached event 15" in mark.rolled_back
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert mark.lost_runs == (NOON_MS + 1 if kind == "older" else 0, NOON_MS + 3 + LEAP)
    async with Database.open(path) as database:
        assert await RunStore(database).newest_number() == NOON_MS + 3 + LEAP
        await record(database, [past(LEAP + 5)])
        assert await database.read("SELECT min(seq) FROM events WHERE kind != 'store_rolled_back' AND seq > 15") == [
            (15 + LEAP + 1,)
        ]
    again = await session(path, mark_path)
    assert again.rolled_back is None
    assert again.lost_runs == mark.lost_runs
    assert invariants.broken(path, has_texts=False) == []


@pytest.mark.parametrize("kind", ["missing", "empty"])
async def test_no_new_file_where_there_was_a_history(path: Path, mark_path: Path, kind: str) -> None:
    """A file that is missing, or empty, though its mark tells of a history is asked back for, not made anew."""
    await session(path, mark_path, 1)
    away = path.rename(path.with_name("away"))
    if kind == "empty":
        path.touch()
    before = sorted(entry.name for entry in path.parent.iterdir())
    for _ in range(2):
        with pytest.raises(StoreError, match=rf"db is {kind}, but barbossa.mark .* up to event 5: put .* back"):
            await session(path, mark_path)
    assert sorted(entry.name for entry in path.parent.iterdir()) == before
    away.replace(path)
    assert (await session(path, mark_path)).rolled_back is None
    path.unlink()
    mark_path.unlink()
    assert (await session(path, mark_path)).rolled_back is None


async def test_no_new_file_beside_a_log(path: Path, mark_path: Path) -> None:
    """A log without its file is not deleted, as SQLite would: what was committed last may be in it alone."""
    log = path.with_name("barbossa.db-wal")
    log.write_bytes(b"changes")
    with pytest.raises(StoreError, match=r"missing, but barbossa\.db-wal .* to begin anew.* remove barbossa.db-wal$"):
        await session(path, mark_path)
    assert log.read_bytes() == b"changes"
    log.write_bytes(b"")
    await session(path, mark_path, 1)


async def test_a_history_of_nothing(path: Path, mark_path: Path) -> None:
    """Where nothing had happened yet, nothing is lost with the file."""
    await session(path, mark_path)
    path.unlink()
    assert (await session(path, mark_path)).rolled_back is None


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"run": 1}', '{"run": "x", "event": 1, "lost_after": 0, "lost_up_to": 0}']
)
async def test_a_broken_mark(path: Path, mark_path: Path, caplog: pytest.LogCaptureFixture, text: str) -> None:
    """A mark that cannot be read is a warning, and is written anew."""
    await session(path, mark_path)
    mark_path.write_text(text)
    assert (await session(path, mark_path, 1)).rolled_back is None
    assert marks.read(mark_path) == Mark(run=NOON_MS + 1, event=5)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


async def test_a_mark_that_cannot_be_written(path: Path, mark_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The daemon lives on without a mark, and says so once."""
    mark_path.mkdir()
    async with Database.open(path) as database:
        mark = HighWater(database, StillClock(), mark_path)
        await mark.check()
        await mark.keep()
        said = [record.__dict__["action"] for record in caplog.records]
        assert said == ["store_mark_unreadable", "store_mark_not_kept"]
        mark_path.rmdir()
        await mark.keep()
    assert marks.read(mark_path) == Mark(run=0, event=0)
    assert sorted(entry.name for entry in mark_path.parent.iterdir() if "mark" in entry.name) == ["barbossa.mark"]


async def test_a_mark_that_is_right_is_left_alone(path: Path, mark_path: Path) -> None:
    """While nothing happens nothing is written."""
    await session(path, mark_path, 1)
    os.utime(mark_path, (1, 1))
    await session(path, mark_path)
    assert mark_path.stat().st_mtime == 1


@pytest.mark.parametrize("has_mark", [True, False])
async def test_a_backup_says_that_it_is_one(
    path: Path, mark_path: Path, caplog: pytest.LogCaptureFixture, has_mark: bool
) -> None:
    """A backup that is put back is told, also where nothing marks how far history went, as on another host."""
    await session(path, mark_path, 1)
    copy = path.with_name("copy.db")
    backup.make(path, copy)
    copy.replace(path)
    if not has_mark:
        mark_path.unlink()
    mark = await session(path, mark_path)
    assert mark.rolled_back is not None
    assert "is a backup that was put back, and ends at event 6" in mark.rolled_back
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert mark.lost_runs == (NOON_MS + 1, NOON_MS + 1 + LEAP)
    assert (await session(path, mark_path)).rolled_back is None


async def test_a_start_that_was_cut_off(path: Path, mark_path: Path, tmp_path: Path) -> None:
    """Until what an older file had under way is settled, each start finds that it was put back."""
    await session(path, mark_path, 1)
    shutil.copy(path, tmp_path / "copy.db")
    await session(path, mark_path, 2)
    (tmp_path / "copy.db").replace(path)
    lost = []
    for number in (3, 4):
        async with Database.open(path) as database:
            mark = HighWater(database, StillClock(), mark_path)
            await mark.check()
            assert mark.rolled_back is not None
            lost.append(mark.lost_runs)
            await record(database, [past(LEAP + 2 + number)])
    assert lost == [(NOON_MS + 1, NOON_MS + 2 + LEAP)] * 2
    assert "the start after that was cut off" in ((await session(path, mark_path)).rolled_back or "")
    assert (await session(path, mark_path)).rolled_back is None
