"""What is old goes, in pieces, and the disk has its room again; what has not ended stays."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from barbossad.config import Retention
from barbossad.errors import StoreError
from barbossad.model.names import run_id_from_number
from barbossad.model.schedules import Fire, FireOutcome, FireState
from barbossad.process.output.logs import LogFolder
from barbossad.retention import pruner as pruning
from barbossad.retention import rules
from barbossad.retention.loop import RetentionLoop
from barbossad.retention.pruner import Pruner
from barbossad.store.changes import RunCreated
from barbossad.store.database import Database
from barbossad.store.decisions import Decided
from barbossad.store.retention import History
from barbossad.store.runs import RunStore
from tests.helpers import history, invariants, mounts
from tests.helpers.clock import StillClock
from tests.helpers.history import DAY_MS, past, present, record, write_log
from tests.helpers.records import NOON_MS
from tests.helpers.schedule_records import HOURLY, Stores, fire, schedule, scheduled, started
from tests.helpers.waiting import eventually_async

LIMIT_SECONDS = 20
OFF: dict[str, Any] = {"max_age": None, "max_runs": None, "max_log_size": None, "max_event_age": None}


@pytest.fixture
def logs(tmp_path: Path) -> LogFolder:
    return LogFolder(root=tmp_path / "logs")


@pytest.fixture
def clock() -> StillClock:
    return StillClock(NOON_MS + 10 * DAY_MS)


def pruner(database: Database, logs: LogFolder, clock: StillClock, **settings: Any) -> Pruner:
    return Pruner(clock, database, logs, Retention.model_validate({**OFF, **settings}))


@pytest.fixture
async def checked(path: Path) -> AsyncIterator[Database]:
    """An open state file whose invariants hold when the test has done with it."""
    async with Database.open(path, busy_seconds=0.05, retry_seconds=0.02) as opened:
        yield opened
    assert invariants.broken(path, is_idle=False, is_pruned=True, has_texts=False) == []


# -- the rules -------------------------------------------------------------------------------------------------


async def test_nothing_is_pruned_without_a_rule(checked: Database, logs: LogFolder, clock: StillClock) -> None:
    """With every rule switched off all is kept, however old."""
    await record(checked, map(past, range(5)))
    done = await pruner(checked, logs, clock).prune()
    assert (done.runs, done.events, done.log_bytes) == (0, 0, 0)
    assert await history.numbers(checked) == [0, 1, 2, 3, 4]


async def test_age(checked: Database, logs: LogFolder, clock: StillClock) -> None:
    """Runs that ended longer ago go with their tasks, attempts, logs and events; their end counts, not their start."""
    nine_days = 9 * DAY_MS
    await record(checked, [past(0, text=b"old"), past(1), past(nine_days, text=b"new")])
    done = await pruner(checked, logs, clock, max_age="5d").prune()
    assert done.runs == 2
    assert await history.numbers(checked) == [nine_days]
    for table in ("tasks", "attempts", "logs"):
        assert await checked.read(f"SELECT DISTINCT run FROM {table}") == [(NOON_MS + nine_days,)]
    assert await checked.read("SELECT DISTINCT run FROM events WHERE run IS NOT NULL") == [(NOON_MS + nine_days,)]


async def test_what_has_not_ended_is_kept(checked: Database, logs: LogFolder, clock: StillClock) -> None:
    """A run that is under way is touched by no rule, nor are its file and its events."""
    await record(checked, [present(0), past(1)])
    path = write_log(logs, 0, 100_000)
    strictest = {"max_age": 1, "max_runs": 1, "max_log_size": 0, "max_event_age": 1}
    await pruner(checked, logs, clock, **strictest).prune()
    assert await history.numbers(checked) == [0]
    assert (logs.root / path).exists()
    assert len(await checked.read("SELECT 1 FROM events WHERE run = ?", (NOON_MS,))) == 3


async def test_count(checked: Database, logs: LogFolder, clock: StillClock) -> None:
    """The newest of each workflow are kept; one with few runs loses none to one with many."""
    await record(checked, [past(number, "often") for number in range(8)])
    await record(checked, [past(100 + number, "seldom") for number in range(2)])
    await record(checked, [present(200, "often")])
    await pruner(checked, logs, clock, max_runs=3).prune()
    assert await history.numbers(checked) == [6, 7, 100, 101, 200]


async def test_log_size(checked: Database, logs: LogFolder, clock: StillClock) -> None:
    """When files of logs are too large together, the oldest runs that have some go; those without stay."""
    paths = {number: write_log(logs, number, 100_000) for number in (1, 3, DAY_MS)}
    await record(checked, [past(number, path=paths.get(number)) for number in (0, 1, 2, 3, DAY_MS)])
    await pruner(checked, logs, clock, max_log_size="150K").prune()
    assert await history.numbers(checked) == [0, 2, DAY_MS]
    assert [name for name in history.files(logs.root) if name.endswith(".log")] == [paths[DAY_MS]]


async def test_event_age(checked: Database, logs: LogFolder, clock: StillClock) -> None:
    """Old events go although their runs are kept; a young one that stands amid old ones stays."""
    await record(checked, [past(0)])
    await checked.write(lambda tx: _event(tx, clock.now_ms()))
    await record(checked, [past(1)])
    await checked.write(lambda tx: _event(tx, NOON_MS))
    done = await pruner(checked, logs, clock, max_event_age="5d").prune()
    assert done.events == 11
    assert await history.numbers(checked) == [0, 1]
    assert await checked.read("SELECT at_ms FROM events") == [(clock.now_ms(),)]


def _event(tx: sqlite3.Connection, at_ms: int) -> None:
    tx.execute("INSERT INTO events (at_ms, kind, data) VALUES (?, 'test', '{}')", (at_ms,))


# -- files -----------------------------------------------------------------------------------------------------


async def test_a_deleted_run_leaves_no_file(checked: Database, logs: LogFolder, clock: StillClock) -> None:
    """Files go with their runs, also those of which the store has the text and those in parts; so do empty days."""
    paths = [write_log(logs, number) for number in (0, 1, DAY_MS)]
    tail = (logs.root / paths[0]).with_suffix(".tail")
    tail.mkdir()
    (tail / "head-100").touch()
    await record(checked, [past(0, path=paths[0]), past(1, text=b"it was not discarded"), past(DAY_MS, path=paths[2])])
    done = await pruner(checked, logs, clock, max_age="9d12h").prune()
    assert done.log_bytes > 0
    assert history.files(logs.root) == ["2026-02-01", paths[2]]


async def test_files_without_a_run_are_swept(checked: Database, logs: LogFolder, clock: StillClock) -> None:
    """What a crash between the commit and the removal left is found after the next start, and nothing else."""
    await record(checked, [past(1), present(2)])
    kept = [write_log(logs, number) for number in (1, 2)]
    write_log(logs, 0)
    write_log(logs, DAY_MS)
    (logs.root / "notes").mkdir()
    (logs.root / "notes" / "mine.log").touch()
    one = pruner(checked, logs, clock)
    await one.prune()
    assert history.files(logs.root) == ["2026-01-31", *kept, "notes", "notes/mine.log"]
    left = write_log(logs, 0)
    await one.prune()
    assert (logs.root / left).exists(), "only the first pass looks: later ones would find nothing"


async def test_logs_of_lost_runs(checked: Database, logs: LogFolder, clock: StillClock) -> None:
    """What an older state file forgot is no rubbish: its logs stay, as long as its runs would have."""
    lost = [write_log(logs, number) for number in (2, 9 * DAY_MS)]
    write_log(logs, 1)
    write_log(logs, 9 * DAY_MS + 1)
    settings = Retention.model_validate(OFF)
    bounds = (NOON_MS + 1, NOON_MS + 9 * DAY_MS)
    await Pruner(clock, checked, logs, settings, lost_runs=bounds).prune()
    assert [name for name in history.files(logs.root) if name.endswith(".log")] == lost
    settings = Retention.model_validate({**OFF, "max_age": "5d"})
    await Pruner(clock, checked, logs, settings, lost_runs=bounds).prune()
    assert [name for name in history.files(logs.root) if name.endswith(".log")] == lost[1:]


async def test_log_size_and_lost_runs(checked: Database, logs: LogFolder, clock: StillClock) -> None:
    """Logs of lost runs go before any run does, the oldest first: they count, and could not go otherwise."""
    new = DAY_MS + 1
    paths = {number: write_log(logs, number, 100_000) for number in (1, 2, 3, DAY_MS, new)}
    await record(checked, [past(number, path=paths[number]) for number in (1, new)])
    bounds = (NOON_MS + 1, NOON_MS + DAY_MS)
    for most, kept in (("350K", (1, DAY_MS, new)), ("250K", (1, new)), ("150K", (new,))):
        settings = Retention.model_validate({**OFF, "max_log_size": most})
        await Pruner(clock, checked, logs, settings, lost_runs=bounds).prune()
        assert [name for name in history.files(logs.root) if name.endswith(".log")] == [paths[one] for one in kept]
    assert await history.numbers(checked) == [new]


async def test_files_are_looked_for_again(
    checked: Database, logs: LogFolder, clock: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that could not be removed are swept by the next pass."""
    await record(checked, [past(0, path=write_log(logs, 0))])
    one = pruner(checked, logs, clock, max_age=1)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", _refuse)
        with pytest.raises(PermissionError):
            await one.prune()
    assert await history.numbers(checked) == []
    assert history.files(logs.root)
    await one.prune()
    assert history.files(logs.root) == []


def _refuse(_path: Path, *, missing_ok: bool = False) -> None:
    raise PermissionError


async def test_what_was_deleted_is_not_in_the_log(
    path: Path, checked: Database, logs: LogFolder, clock: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log of the state file is emptied after a deletion; where somebody reads it, by the pass after that."""
    monkeypatch.setattr(pruning, "WIPE_TRIES", 2)
    log = path.with_name("barbossa.db-wal")
    one = pruner(checked, logs, clock)
    await record(checked, [past(number, text=b"marker") for number in range(2)])
    assert b"marker" in log.read_bytes()
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM runs").fetchone()
        for number in range(2):
            assert await one.delete_run(NOON_MS + number, by="anne")
        assert b"marker" in log.read_bytes()
    await one.prune()
    assert log.stat().st_size == 0
    assert b"marker" not in path.read_bytes()


# -- pieces ----------------------------------------------------------------------------------------------------


async def test_transactions_are_bounded(
    checked: Database, logs: LogFolder, clock: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No transaction deletes more rows, or writes more, than it may; a run too large for one goes in parts."""
    await record(checked, [past(number, text=b"x" * 8000) for number in range(40)])
    await checked.write(_grow)
    monkeypatch.setattr(rules, "MOST_BYTES", 128 * 1024)
    written: list[int] = []
    write = checked.make_room

    def counted(change: Any, **more: Any) -> asyncio.Future[Any]:
        def counting(tx: sqlite3.Connection) -> Any:
            before = tx.total_changes
            result = change(tx)
            written.append(tx.total_changes - before)
            return result

        return write(counting, **more)

    monkeypatch.setattr(checked, "make_room", counted)
    done = await pruner(checked, logs, clock, max_age=1).prune()
    assert done.runs == 40
    assert max(written) < 100
    assert len(written) > 40
    assert await checked.read("SELECT count(*) FROM logs") == [(0,)]
    told = await checked.read("SELECT sum(data ->> 'runs') FROM events WHERE kind = 'runs_deleted'")
    assert told == [(40,)]


async def test_files_of_a_run_that_is_half_deleted(
    checked: Database, logs: LogFolder, clock: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the store refuses to go on after the attempts of a large run, no file is left that nobody names."""
    await record(checked, [past(7, path=write_log(logs, 7))])
    await checked.write(_grow)
    monkeypatch.setattr(rules, "MOST_BYTES", 128 * 1024)
    write = checked.make_room
    one = pruner(checked, logs, clock, max_age=1)
    assert await checked.read("SELECT count(*) FROM attempts") != [(0,)]

    async def refusing(change: Any, **more: Any) -> Any:
        if await checked.read("SELECT count(*) FROM attempts") == [(0,)]:
            raise StoreError("the disk is full")
        return await write(change, **more)

    monkeypatch.setattr(checked, "make_room", refusing)
    with pytest.raises(StoreError):
        await one.prune()
    monkeypatch.setattr(checked, "make_room", write)
    await one.prune()
    assert await history.numbers(checked) == []
    assert history.files(logs.root) == []


def _grow(tx: sqlite3.Connection) -> None:
    """Give a run 300 more tasks, each with output: more than one transaction may delete."""
    for number in range(300):
        key = (NOON_MS + 7, f"more{number}")
        tx.execute("INSERT INTO tasks (run, task, state, finished_at_ms) VALUES (?, ?, 'succeeded', 1)", key)
        tx.execute(
            "INSERT INTO attempts (run, task, number, state, launcher, boot_id, exit_code, finished_at_ms)"
            " VALUES (?, ?, 1, 'succeeded', 'x', 'x', 0, 1)",
            key,
        )
        tx.execute("INSERT INTO logs VALUES (?, ?, 1, ?)", (*key, b"x" * 8000))
        tx.execute("INSERT INTO events (at_ms, kind, run, data) VALUES (1, 'run_stopping', ?, '{}')", key[:1])
        data = '{"state":"succeeded"}'
        tx.execute(
            "INSERT INTO events (at_ms, kind, run, task, data) VALUES (1, 'task_finished', ?, ?, ?)", (*key, data)
        )


async def test_others_are_let_in(checked: Database, logs: LogFolder, clock: StillClock) -> None:
    """While a long past is deleted, another change waits for one piece of it, not for all."""
    await record(checked, map(past, range(300)))
    pruning = asyncio.create_task(pruner(checked, logs, clock, max_age=1).prune())
    between = []
    while not pruning.done():
        await checked.write(lambda _tx: None)
        between.append(len(await history.numbers(checked)))
    await pruning
    assert len(set(between)) > 3


async def test_numbers_are_not_given_again(path: Path, logs: LogFolder, clock: StillClock) -> None:
    """The newest run may be deleted: what is numbered next is above it all the same, after a restart too."""
    async with Database.open(path) as database:
        await record(database, map(past, range(3)))
        await pruner(database, logs, clock, max_age=1).prune()
    async with Database.open(path) as database:
        assert await database.read("SELECT count(*) FROM runs") == [(0,)]
        assert await RunStore(database).newest_number() == NOON_MS + 2
        await record(database, [past(1)])
        await pruner(database, logs, clock, max_age=1).prune()
        assert await RunStore(database).newest_number() == NOON_MS + 2


async def test_one_run(checked: Database, logs: LogFolder, clock: StillClock) -> None:
    """One run is deleted by its number, if it is there and has ended."""
    await record(checked, [past(0, path=write_log(logs, 0)), present(1)])
    one = pruner(checked, logs, clock)
    assert await one.delete_run(NOON_MS, by="anne")
    assert not await one.delete_run(NOON_MS, by="anne")
    assert not await one.delete_run(NOON_MS + 1, by="anne")
    assert await history.numbers(checked) == [1]
    assert history.files(logs.root) == []
    assert RunStore(checked).get(run_id_from_number(NOON_MS)) is None
    assert await checked.read("SELECT data ->> 'by' FROM events WHERE kind = 'runs_deleted'") == [("anne",)]


# -- room ------------------------------------------------------------------------------------------------------


def blocks(path: Path) -> int:
    """Return what the state file and its log take of the disk."""
    wal = path.with_name(path.name + "-wal")
    return sum(file.stat().st_blocks * 512 for file in (path, wal) if file.exists())


async def test_the_file_shrinks(path: Path, checked: Database, logs: LogFolder, clock: StillClock) -> None:
    """What is deleted is room on the disk, not only in the file."""
    await record(checked, [past(number, text=os.urandom(4000).hex().encode()) for number in range(600)])
    before = blocks(path)
    assert before > 5_000_000
    done = await pruner(checked, logs, clock, max_age=1).prune()
    assert done.pages > 1000
    assert blocks(path) < (rules.FREE_PAGES_KEPT + 100) * 4096
    assert await History(checked).free_pages() <= rules.FREE_PAGES_KEPT


async def test_a_reader_is_not_waited_for(path: Path, logs: LogFolder, clock: StillClock) -> None:
    """A reader that keeps the log from being cut off makes nobody wait."""
    async with Database.open(path, busy_seconds=LIMIT_SECONDS) as database:
        await record(database, map(past, range(10)))
        reader = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM runs").fetchone()
        async with asyncio.timeout(LIMIT_SECONDS / 4):
            await pruner(database, logs, clock, max_age=1).prune()
            await History(database).checkpoint()
            await database.write(lambda _tx: None)
        reader.close()


async def test_old_files_learn_to_shrink(path: Path) -> None:
    """A file that was made before is rebuilt once at its start, with all that is in it."""
    async with Database.open(path) as database:
        await record(database, map(past, range(20)))
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA auto_vacuum = NONE")
        connection.execute("VACUUM")
        assert connection.execute("PRAGMA auto_vacuum").fetchone() == (0,)
    connection.close()
    async with Database.open(path) as database:
        assert await database.read("PRAGMA auto_vacuum") == [(2,)]
        assert len(await history.numbers(database)) == 20
    assert invariants.broken(path, has_texts=False) == []


@pytest.mark.parametrize("fact_bytes", [12_000_000])  # more than the log has within it and the reserve together
async def test_full_disk_recovers(tmp_path: Path, clock: StillClock, fact_bytes: int) -> None:
    """On a disk without a byte left the past is deleted on the reserve, a loop that is woken does it, and all is well.

    Nobody else makes room: the ballast stays. A fact that is larger than the reserve keeps nobody from it.
    """
    with mounts.tmpfs(tmp_path / "disk", "64m") as folder:
        path, logs = folder / "barbossa.db", LogFolder(root=folder / "logs")
        async with Database.open(path, retry_seconds=0.02) as database:
            for first in range(0, 2400, 40):
                text = os.urandom(3000).hex().encode()
                await asyncio.gather(*(database.record(past(first + n, text=text), is_fact=True) for n in range(40)))
            loop = RetentionLoop(
                pruner(database, logs, clock, max_age=1), first_seconds=3600, every_seconds=0.2, rest_seconds=0.05
            )
            told: list[str | None] = []

            def on_fault(fault: str | None) -> None:
                told.append(fault)
                if database.is_out_of_room:
                    loop.wake()

            database.on_fault(on_fault)
            mounts.fill(folder)
            running = asyncio.create_task(loop.run())
            large = "x" * fact_bytes
            fact = database.write(
                lambda tx: tx.execute("UPDATE runs SET reason = ? WHERE id = ?", (large, NOON_MS + 3)).rowcount,
                is_fact=True,
            )
            await eventually_async(lambda: told != [] and database.fault is None, LIMIT_SECONDS, "it is well again")
            assert database.reserve_bytes > 0
            await fact
            is_empty = lambda: database.look_up(("SELECT 1 FROM runs LIMIT 1", ())) == [[]]  # noqa: E731
            await eventually_async(is_empty, LIMIT_SECONDS, "all is deleted, which goes on when the reserve is kept")
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        assert invariants.broken(path, is_pruned=True, has_texts=False) == []


async def test_files_go_first_where_nothing_is_left(tmp_path: Path, clock: StillClock) -> None:
    """On a disk whose reserve is used up too, what is due loses its files first, which makes the room for the rest."""
    with mounts.tmpfs(tmp_path / "disk", "24m") as folder:
        path, logs = folder / "barbossa.db", LogFolder(root=folder / "logs")
        async with Database.open(path, retry_seconds=0.02) as database:
            kept = write_log(logs, 1, 500_000)
            await record(database, [past(0, path=write_log(logs, 0, 500_000)), past(1, path=kept)])
            mounts.fill(folder).rename(folder / "first")
            database.look_for_room()
            await eventually_async(lambda: database.reserve_bytes == 0, LIMIT_SECONDS, "the reserve is given up")
            await database.make_room(lambda tx: tx.execute("PRAGMA user_version").fetchone())
            mounts.fill(folder)
            with pytest.raises(StoreError, match="SQLITE_FULL"):
                await database.make_room(lambda tx: tx.execute("DELETE FROM events"))
            done = await pruner(database, logs, clock, max_runs=1).prune()
            assert (done.runs, done.log_bytes >= 500_000) == (1, True)
            assert await history.numbers(database) == [1]
            assert history.files(logs.root)[1:] == [kept]
        assert invariants.broken(path, is_idle=False, is_pruned=True, has_texts=False) == []


# -- fires of schedules ----------------------------------------------------------------------------------------


async def fires(database: Database) -> list[tuple[str, int]]:
    """Return which fires there are: schedule, and milliseconds after noon."""
    found = await database.read("SELECT schedule, nominal_ms FROM fires ORDER BY seq")
    return [(schedule, nominal_ms - NOON_MS) for schedule, nominal_ms in found]


async def fired(database: Database, *passed: Fire) -> None:
    """Record fires of a schedule that have no run."""
    store = Stores(database)
    if await store.schedules.get(HOURLY) is None:
        await store.schedules.add(schedule())
    for one in passed:
        await store.fires.decide([Decided(schedule=one.schedule, passed=[one])])


def let_pass(at_ms: int) -> Fire:
    """Return a fire that is a row of its own."""
    return fire(at_ms, FireState.MISSED, reason=str(at_ms))


async def test_old_fires(checked: Database, logs: LogFolder, clock: StillClock) -> None:
    """Fires go by the age of runs, but none that more is to come of."""
    await fired(checked, fire(0, FireState.QUEUED), *(let_pass(day * DAY_MS) for day in (1, 2, 6, 9)))
    done = await pruner(checked, logs, clock, max_age="5d").prune()
    assert done.fires == 2
    assert await fires(checked) == [(HOURLY, 0), (HOURLY, 6 * DAY_MS), (HOURLY, 9 * DAY_MS)]


async def test_many_fires(
    checked: Database, logs: LogFolder, clock: StillClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each schedule the newest are kept, also of one that is gone, and of one with few all; in small pieces."""
    monkeypatch.setattr(pruning, "FIRES_AT_A_TIME", 2)
    other = "gone/hourly"
    await fired(checked, fire(0, FireState.QUEUED), *map(let_pass, range(1, 8)))
    await Stores(checked).schedules.add(schedule("gone"))
    await fired(checked, replace(let_pass(1), schedule=other))
    await Stores(checked).schedules.remove(other, at_ms=NOON_MS, by="anne")
    done = await pruner(checked, logs, clock, max_runs=3).prune()
    assert done.fires == 4
    assert await fires(checked) == [(HOURLY, 0), *((HOURLY, number) for number in (5, 6, 7)), (other, 1)]


@pytest.mark.parametrize("settings", [{"max_runs": 1}, {"max_age": 1}])
async def test_young_fires(checked: Database, logs: LogFolder, clock: StillClock, settings: dict[str, Any]) -> None:
    """What was decided within a day stays whatever the settings: its key keeps it from being made again."""
    young = [9 * DAY_MS + number for number in range(5)]
    await fired(checked, let_pass(0), *map(let_pass, young))
    await pruner(checked, logs, clock, **settings).prune()
    assert await fires(checked) == [(HOURLY, number) for number in young]


async def test_what_is_needed_is_not_counted_as_gone(checked: Database, logs: LogFolder, clock: StillClock) -> None:
    """Where the log of a run that more is to come of is too much, the next run goes in its stead."""
    store = Stores(checked)
    await store.schedules.add(schedule())
    record_of_it = scheduled(0)
    begun = started(record_of_it)
    paths = [write_log(logs, number, 100_000) for number in range(3)]
    await checked.record([RunCreated(record_of_it), begun, *past(0, path=paths[0])[1:]], is_fact=True)
    await record(checked, [past(number, path=paths[number]) for number in (1, 2)])
    assert (await pruner(checked, logs, clock, max_log_size="250K").prune()).runs == 1
    assert [(logs.root / path).exists() for path in paths] == [True, False, True]
    await store.fires.settle(begun.fire, FireOutcome(state=FireState.SUCCEEDED, failures=0), at_ms=NOON_MS)
    assert (await pruner(checked, logs, clock, max_log_size=0).prune()).runs == 2


async def test_a_fire_outlives_its_run(checked: Database, logs: LogFolder, clock: StillClock) -> None:
    """A run that is pruned leaves its fire; while more is to come of that, no rule prunes the run or its log."""
    store = Stores(checked)
    await store.schedules.add(schedule())
    record_of_it = scheduled(0)
    begun = started(record_of_it)
    await checked.record([RunCreated(record_of_it), begun, *past(0)[1:]], is_fact=True)
    path = write_log(logs, 0)
    for settings in ({"max_age": 1}, {"max_log_size": 0}):
        assert (await pruner(checked, logs, clock, **settings).prune()).runs == 0
        assert (logs.root / path).exists()
    await store.fires.settle(begun.fire, FireOutcome(state=FireState.SUCCEEDED, failures=0), at_ms=NOON_MS)
    assert (await pruner(checked, logs, clock, max_log_size=0).prune()).runs == 1
    assert not (logs.root / path).exists()
    (kept,) = (await store.fires.page()).items
    assert (kept.state, kept.run_id) == (FireState.SUCCEEDED, record_of_it.id)
