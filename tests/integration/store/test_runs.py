"""Listings of runs: page by page, each run once, newest first, whatever is asked for."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Sequence
from typing import Any

import pytest

from barbossad.model.records import RunRecord
from barbossad.model.states import RUN_ENDED, RunState
from barbossad.store import changes
from barbossad.store.database import Database
from barbossad.store.runs import RunStore
from tests.helpers.records import NOON_MS, moved, run, run_id

WORKFLOWS = ("backup", "report", "rotate")


async def add(database: Database, records: Sequence[RunRecord]) -> None:
    """Put runs on record, in whatever state."""

    def change(tx: sqlite3.Connection) -> None:
        changes.apply_all(tx, [changes.RunCreated(record) for record in records])

    await database.write(change)


async def many(database: Database, count: int = 137) -> list[RunRecord]:
    """Put runs of several workflows in all states on record; return them newest first."""
    instants = random.sample(range(100_000), count)  # the seed stands at the head of the report
    records = [run(at, random.choice(WORKFLOWS), state=random.choice(list(RunState))) for at in instants]
    await add(database, records)
    return sorted(records, key=lambda record: record.id, reverse=True)


async def walk(store: RunStore, limit: int, **filters: Any) -> list[RunRecord]:
    """Return what all pages of a listing have."""
    found: list[RunRecord] = []
    before = None
    while True:
        page = await store.page(**filters, before=before, limit=limit)
        assert len(page.items) <= limit
        found += page.items
        if page.next_cursor is None:
            return found
        assert len(page.items) == limit
        assert page.next_cursor == page.items[-1].id
        before = page.items[-1].id


FILTERS: list[dict[str, Any]] = [
    {},
    *({"workflow": name} for name in (*WORKFLOWS, "nobody")),
    *({"state": state} for state in RunState),
    *({"workflow": "report", "state": state} for state in RunState),
    {"is_active": True},
    {"is_active": True, "workflow": "rotate"},
]


@pytest.mark.parametrize("filters", FILTERS, ids=str)
async def test_pages(database: Database, filters: dict[str, Any]) -> None:
    """Walking the pages gives each run that is asked for once, the newest first, for every size of page."""
    everything = await many(database)
    wanted = [
        record
        for record in everything
        if filters.get("workflow") in (None, record.workflow)
        and filters.get("state") in (None, record.state)
        and not (filters.get("is_active") and record.state in RUN_ENDED)
    ]
    for limit in (1, 7, len(wanted) or 1, 1000):
        assert await walk(RunStore(database), limit, **filters) == wanted


async def test_runs_that_come_meanwhile(database: Database) -> None:
    """A run that is made while somebody walks the pages neither shows up late nor pushes another out."""
    await add(database, [run(number) for number in range(10)])
    store = RunStore(database)
    seen: list[RunRecord] = []
    before = None
    for step in range(5):
        page = await store.page(before=before, limit=2)
        seen += page.items
        before = page.items[-1].id
        await add(database, [run(100 + step)])
    assert page.next_cursor is None
    assert [record.id for record in seen] == [run_id(number) for number in reversed(range(10))]


async def test_last_of_each(database: Database) -> None:
    """Of each workflow that is asked for and has runs, the newest."""
    everything = await many(database)
    newest = {name: next(record for record in everything if record.workflow == name) for name in WORKFLOWS}
    store = RunStore(database)
    assert await store.last_of_each([*WORKFLOWS, "nobody", 'x"; DROP TABLE runs; --']) == newest
    assert await store.last_of_each(WORKFLOWS[:1]) == {WORKFLOWS[0]: newest[WORKFLOWS[0]]}
    assert await store.last_of_each([]) == {}


async def test_find_by_key(database: Database) -> None:
    """A key finds the run of its own workflow that was made with it."""
    made = [
        run(0),
        run(1, idempotency_key="monday"),
        run(2, "report", idempotency_key="monday"),
        run(3, idempotency_key="Monday "),
    ]
    await add(database, made)
    store = RunStore(database)
    assert store.find_by_key("backup", "monday") == made[1]
    assert store.find_by_key("report", "monday") == made[2]
    assert store.find_by_key("backup", "Monday ") == made[3]
    assert store.find_by_key("backup", "tuesday") is None
    assert store.find_by_key("rotate", "monday") is None


async def test_unended(database: Database) -> None:
    """What a new daemon has to see to: every run that has not ended, oldest first."""
    everything = await many(database)
    assert await RunStore(database).unended() == [run for run in reversed(everything) if run.state not in RUN_ENDED]


async def test_newest_number(database: Database) -> None:
    """The number that a new id must be above."""
    store = RunStore(database)
    assert await store.newest_number() == 0
    await add(database, [run(5), run(3)])
    assert await store.newest_number() == NOON_MS + 5


async def test_unknown_run(database: Database) -> None:
    """A run that is not on record is none; something that is no run id is an error of the caller."""
    store = RunStore(database)
    assert store.get(run_id()) is None
    assert await store.revision(run_id()) == 0
    with pytest.raises(ValueError, match="is not a run id"):
        store.get("../../etc")  # type: ignore[arg-type]


async def test_revision(database: Database) -> None:
    """Every change of a run, and no other run's, makes its revision grow."""
    store = RunStore(database)
    await database.record([changes.RunCreated(run(0))], is_fact=True)
    await database.record([changes.RunCreated(run(1))], is_fact=True)
    first, other = await store.revision(run_id(0)), await store.revision(run_id(1))
    await database.record([moved(run(0, state=RunState.RUNNING, started_at_ms=NOON_MS))], is_fact=True)
    assert await store.revision(run_id(0)) > other > first
    assert await store.revision(run_id(1)) == other
