"""Fires of schedules: one transaction with their runs, each key once, let pass by the thousand."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from barbossad.errors import ConflictError, NotFoundError, StateError
from barbossad.model.schedules import FIRE_ACTIVE, FIRE_MOVES, Fire, FireOutcome, FireState
from barbossad.model.states import RunState
from barbossad.store import changes
from barbossad.store.changes import Change, RunCreated
from barbossad.store.database import Database
from barbossad.store.decisions import Decided
from barbossad.store.runs import RunStore
from tests.helpers import invariants
from tests.helpers.records import NOON_MS, moved, run, run_id
from tests.helpers.schedule_records import HOURLY, Stores, fire, hourly, schedule, scheduled, started


@pytest.fixture
async def checked(path: Path) -> AsyncIterator[Database]:
    """An open state file whose invariants hold when the test has done with it."""
    async with Database.open(path, busy_seconds=0.05, retry_seconds=0.02) as opened:
        yield opened
    assert invariants.broken(path, is_idle=False, has_texts=False) == []


@pytest.fixture
async def store(checked: Database) -> Stores:
    """A store with one schedule."""
    found = Stores(checked)
    await found.schedules.add(schedule())
    return found


async def begin(database: Database, number: int = 0, before: Fire | None = None, watermark: int | None = None) -> Fire:
    """Record a run and its fire; return that."""
    record = scheduled(number, nominal=0 if before is None else before.nominal_ms - NOON_MS)
    change = started(record, before, watermark=watermark)
    await record_all(database, [RunCreated(record), change])
    return change.fire


def record_all(database: Database, steps: Sequence[Change]) -> asyncio.Future[None]:
    """Ask for steps of a run to be recorded."""
    return database.record(steps, is_fact=False)


async def count(database: Database, table: str) -> int:
    found: int = (await database.read(f"SELECT count(*) FROM {table}"))[0][0]
    return found


# -- a fire and its run ------------------------------------------------------------------------------------------


async def test_a_fire_and_its_run_are_one(checked: Database, store: Stores) -> None:
    """With the run the fire is there and the watermark has moved; the run knows its schedule and its time."""
    begun = await begin(checked, watermark=NOON_MS + 7)
    assert await store.fires.active() == [begun]
    details = RunStore(checked).get(run_id())
    assert details is not None
    assert (details.run.schedule, details.run.scheduled_for_ms) == (HOURLY, NOON_MS)
    found = await store.schedules.get(HOURLY)
    assert found is not None
    assert found.watermark == NOON_MS + 7


async def test_a_key_fires_once(checked: Database, store: Stores) -> None:
    """A second run for the same instant is refused, and nothing of it is there: no run, no event, no watermark."""
    begun = await begin(checked, watermark=NOON_MS)
    events = await count(checked, "events")
    second = scheduled(5, nominal=0)
    with pytest.raises(ConflictError, match=r"backup/hourly has fired for \d+ already"):
        await record_all(checked, [RunCreated(second), started(second, watermark=NOON_MS + 99)])
    assert await store.fires.active() == [begun]
    assert RunStore(checked).get(second.id) is None
    assert await count(checked, "events") == events
    assert (await store.schedules.all())[0].watermark == NOON_MS


async def test_only_the_run_that_conflicts_is_refused(checked: Database, store: Stores) -> None:
    """Of many that are committed together, the one that has fired already is refused and the others stand."""
    await begin(checked)
    records = [scheduled(number, nominal=0 if number == 6 else number) for number in range(1, 12)]
    asked = [record_all(checked, [RunCreated(record), started(record)]) for record in records]
    plain = record_all(checked, [RunCreated(run(50))])
    done = await asyncio.gather(*asked, plain, return_exceptions=True)
    assert [position for position, result in enumerate(done) if isinstance(result, BaseException)] == [5]
    assert isinstance(done[5], ConflictError)
    there = {row[0] - NOON_MS for row in await checked.read("SELECT id FROM runs")}
    assert there == {0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 50}
    assert len(await store.fires.active()) == 11


async def test_two_of_one_key_in_one_commit(checked: Database, store: Stores) -> None:
    """When two runs want the same fire in the same commit, one of them has it."""
    records = [scheduled(1, nominal=0), scheduled(2, nominal=0)]
    asked = [record_all(checked, [RunCreated(record), started(record)]) for record in records]
    done = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(result) for result in done] == [type(None), ConflictError]
    assert [found.run_id for found in await store.fires.active()] == [run_id(1)]


async def test_a_schedule_that_is_gone(checked: Database, store: Stores) -> None:
    """A fire of a schedule that was removed meanwhile is refused with its run."""
    await store.schedules.remove(HOURLY, at_ms=NOON_MS, by="anne")
    record = scheduled()
    with pytest.raises(ConflictError, match="is gone"):
        await record_all(checked, [RunCreated(record), started(record, watermark=NOON_MS)])
    assert await count(checked, "runs") == await count(checked, "fires") == 0


async def test_with_the_start_of_the_run(checked: Database, store: Stores) -> None:
    """A run that is made, fired and started in one commit is all of it; the same with many at once."""
    for numbers in (range(1), range(1, 71)):
        steps = []
        for number in numbers:
            record = scheduled(number)
            running = replace(record, state=RunState.RUNNING, started_at_ms=NOON_MS)
            steps.append(record_all(checked, [RunCreated(record), started(record), moved(running)]))
        await asyncio.gather(*steps)
    assert await checked.read("SELECT DISTINCT state FROM runs") == [("running",)]
    assert [found.nominal_ms - NOON_MS for found in await store.fires.active()] == list(range(71))


@pytest.mark.parametrize("statement", range(1, 9))
def test_a_failure_between_any_two_statements(connection: sqlite3.Connection, statement: int) -> None:
    """Whichever statement the disk refuses: fire, run, event and watermark are all there, or none is."""
    connection.execute(
        "INSERT INTO schedules (id, workflow, name, source, definition, timing, labels, is_enabled, watermark,"
        " added_at_ms, added_by) VALUES ('backup/hourly', 'backup', 'hourly', 'added', '{}', '', '{}', 1, 1, 0, 'x')"
    )
    done = 0

    class Failing:
        """A connection that fails before one of its statements."""

        def execute(self, sql: str, values: object = ()) -> sqlite3.Cursor:
            nonlocal done
            done += 1
            if done == statement:
                raise sqlite3.OperationalError("disk I/O error")
            return connection.execute(sql, values)  # type: ignore[arg-type]

    record = scheduled()
    connection.execute("BEGIN IMMEDIATE")
    try:
        changes.apply_all(Failing(), [RunCreated(record), started(record, watermark=NOON_MS)])  # type: ignore[arg-type]
        connection.execute("COMMIT")
    except sqlite3.OperationalError:
        connection.execute("ROLLBACK")
    counts = [
        connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("runs", "fires", "events")
    ]
    (watermark,) = connection.execute("SELECT watermark FROM schedules").fetchone()
    assert (counts, watermark) == (([0, 0, 0], 1) if done == statement else ([1, 1, 1], NOON_MS))
    assert (done == statement) == (statement <= 4), "all statements were tried, and no others"


# -- from state to state ---------------------------------------------------------------------------------------


async def test_queued_then_started(checked: Database, store: Stores) -> None:
    """A fire that waited has its run in the same row; it cannot begin twice."""
    queued = fire(0, FireState.QUEUED, params={"a": 1})
    await store.fires.decide([Decided(schedule=HOURLY, passed=[queued])])
    assert await store.fires.active() == [queued]
    begun = await begin(checked, 3, queued)
    assert await store.fires.active() == [replace(begun, params={"a": 1})]
    again = scheduled(4, nominal=0)
    with pytest.raises(ConflictError):
        await record_all(checked, [RunCreated(again), started(again, queued)])
    assert await count(checked, "runs") == 1


async def test_tried_again(checked: Database, store: Stores) -> None:
    """A fire that is tried again has its newest run, and how many it has had."""
    begun = await begin(checked)
    failed = replace(scheduled(), state=RunState.FAILED, finished_at_ms=NOON_MS + 1)
    await record_all(
        checked,
        [moved(replace(failed, state=RunState.RUNNING, started_at_ms=NOON_MS, finished_at_ms=None)), moved(failed)],
    )
    again_at = FireOutcome(state=FireState.RETRYING, reason="it failed", retry_at_ms=NOON_MS + 60, failures=0)
    await store.fires.settle(begun, again_at, at_ms=NOON_MS)
    (waiting,) = await store.fires.active()
    assert (waiting.state, waiting.retry_at_ms, waiting.tries) == (FireState.RETRYING, NOON_MS + 60, 1)
    await begin(checked, 9, waiting)
    (again,) = await store.fires.active()
    assert (again.state, again.run_id, again.tries, again.retry_at_ms) == (FireState.STARTED, run_id(9), 2, None)


@pytest.mark.parametrize("source", sorted(FIRE_ACTIVE))
@pytest.mark.parametrize("target", sorted(set(FireState) - {FireState.STARTED}))
async def test_moves(database: Database, source: FireState, target: FireState) -> None:
    """A fire moves as the model says; any other move is an error that changes nothing."""
    store = Stores(database)
    await store.schedules.add(schedule())
    await database.write(
        lambda tx: tx.execute(
            "INSERT INTO fires (schedule, key, nominal_ms, due_ms, decided_at_ms, state) VALUES (?, ?, 1, 1, 1, ?)",
            (HOURLY, str(NOON_MS), source.value),
        )
    )
    before = await database.read("SELECT * FROM fires, schedules")
    then = FireOutcome(state=target, reason="why", failures=3, disable_reason="too many")
    moving = store.fires.settle(fire(0, source), then, at_ms=NOON_MS)
    if target in FIRE_MOVES[source]:
        await moving
        assert await database.read("SELECT state, reason FROM fires") == [(target.value, "why")]
        found = (await store.schedules.all())[0]
        assert (found.failures, found.is_enabled, found.disabled_reason) == (3, False, "too many")
    else:
        with pytest.raises(StateError):
            await moving
        assert await database.read("SELECT * FROM fires, schedules") == before


async def test_settled_once(checked: Database, store: Stores) -> None:
    """What became of a fire is said once."""
    begun = await begin(checked)
    failed = FireOutcome(state=FireState.FAILED, reason="it failed", failures=1)
    await store.fires.settle(begun, failed, at_ms=NOON_MS)
    with pytest.raises(StateError, match="could not become succeeded"):
        await store.fires.settle(begun, replace(failed, state=FireState.SUCCEEDED), at_ms=NOON_MS)
    assert (await store.schedules.all())[0].failures == 1
    assert await store.fires.active() == []


# -- let pass ----------------------------------------------------------------------------------------------------


async def test_a_stretch_is_one_row(checked: Database, store: Stores) -> None:
    """Fires let pass one after the other for one reason are one row and one event; another reason is another row."""
    for number, reason in enumerate(["held", "held", "held", "holiday", "held"]):
        await store.fires.decide(
            [Decided(schedule=HOURLY, passed=[fire(number, reason=reason)], watermark=NOON_MS + number)]
        )
    page = await store.fires.page(schedule=HOURLY)
    assert [(one.reason, one.count, one.nominal_ms - NOON_MS, one.until_ms) for one in page.items] == [
        ("held", 1, 4, None),
        ("holiday", 1, 3, None),
        ("held", 3, 0, NOON_MS + 2),
    ]
    told = await checked.read("SELECT data ->> 'reason' FROM events WHERE kind = 'schedule_skipped' ORDER BY seq")
    assert [row[0] for row in told] == ["held", "holiday", "held"]
    assert (await store.schedules.all())[0].watermark == NOON_MS + 4


async def test_one_tick_and_many_are_the_same(checked: Database, store: Stores) -> None:
    """What is decided at once is recorded as what is decided bit by bit."""
    other = "backup/other"
    await store.schedules.add(schedule(definition=hourly("other")))
    passed = [fire(number, reason="abbcaab"[number]) for number in range(7)]
    for one in passed:
        await store.fires.decide([Decided(schedule=HOURLY, passed=[one])])
    await store.fires.decide([Decided(schedule=other, passed=[replace(passed[0], schedule=other)])])
    await store.fires.decide([Decided(schedule=other, passed=[replace(one, schedule=other) for one in passed[1:]])])
    one_by_one = (await store.fires.page(schedule=HOURLY)).items
    at_once = (await store.fires.page(schedule=other)).items
    assert [replace(one, schedule=other) for one in one_by_one] == list(at_once)
    assert [one.count for one in at_once] == [1, 2, 1, 2, 1]


async def test_decided_again(checked: Database, store: Stores) -> None:
    """After a clock was set back nothing is told or counted a second time, be it a row or in a stretch."""
    passed = [fire(number, reason="held") for number in range(5)]
    passed += [fire(9, FireState.MISSED, reason="late"), fire(10, FireState.QUEUED)]
    await store.fires.decide([Decided(schedule=HOURLY, passed=passed)])
    before = await checked.read("SELECT * FROM fires ORDER BY seq")
    events = await count(checked, "events")
    await store.fires.decide([Decided(schedule=HOURLY, passed=[passed[5], passed[6]], watermark=NOON_MS - 50)])
    assert await checked.read("SELECT * FROM fires ORDER BY seq") == before
    assert await count(checked, "events") == events
    assert (await store.schedules.all())[0].watermark == NOON_MS - 50


async def test_decided_again_within_a_stretch(checked: Database, store: Stores) -> None:
    """An instant that the newest stretch counts is not counted again."""
    passed = [fire(number, reason="held") for number in range(5)]
    await store.fires.decide([Decided(schedule=HOURLY, passed=passed)])
    await store.fires.decide([Decided(schedule=HOURLY, passed=[*passed[2:], fire(5, reason="held")])])
    (one,) = (await store.fires.page()).items
    assert (one.count, one.until_ms) == (6, NOON_MS + 5)


async def test_a_stretch_that_begins_within_one(checked: Database, store: Stores) -> None:
    """Its beginning was counted before, which is said: what is left of it is decided anew and adds to the row."""
    await store.fires.decide([Decided(schedule=HOURLY, passed=[fire(number, reason="held") for number in range(5)])])
    late = replace(fire(3, reason="held"), count=4, until_ms=NOON_MS + 6)
    assert await store.fires.decide([Decided(schedule=HOURLY, passed=[late])]) == {(HOURLY, late.key)}
    rest = replace(fire(5, reason="held"), count=2, until_ms=NOON_MS + 6)
    assert await store.fires.decide([Decided(schedule=HOURLY, passed=[rest])]) == frozenset()
    (one,) = (await store.fires.page()).items
    assert (one.count, one.until_ms) == (7, NOON_MS + 6)


async def test_a_stretch_grows_forward_alone(checked: Database, store: Stores) -> None:
    """One from before the newest stretch, to which a clock comes that was set back, is a row of its own."""
    await store.fires.decide([Decided(schedule=HOURLY, passed=[fire(number, reason="held") for number in (7, 8)])])
    await store.fires.decide([Decided(schedule=HOURLY, passed=[fire(number, reason="held") for number in (3, 4)])])
    found = [(one.nominal_ms - NOON_MS, one.count, one.until_ms) for one in (await store.fires.page()).items]
    assert found == [(3, 2, NOON_MS + 4), (7, 2, NOON_MS + 8)]


async def test_what_was_known_is_told(checked: Database, store: Stores) -> None:
    """Who decides hears which fires were known: they go on as they did."""
    assert await store.fires.decide([Decided(schedule=HOURLY, passed=[fire(1, FireState.QUEUED)])]) == frozenset()
    again = [fire(1, FireState.MISSED, reason="late"), fire(2, FireState.MISSED, reason="late")]
    assert await store.fires.decide([Decided(schedule=HOURLY, passed=again)]) == {(HOURLY, again[0].key)}


async def test_events_are_no_stretch(checked: Database, store: Stores) -> None:
    """Fires that come of events are told one by one: their keys say which event."""
    for key in ("manual:1", "manual:2"):
        await store.fires.decide([Decided(schedule=HOURLY, passed=[fire(0, key=key, reason="held")])])
    assert [one.key for one in (await store.fires.page()).items] == ["manual:2", "manual:1"]


async def test_a_thousand(checked: Database, store: Stores) -> None:
    """A tick of a thousand schedules is one commit; one that is gone keeps none of the others from it."""
    records = [schedule(f"w{number}") for number in range(1000)]
    await asyncio.gather(*(store.schedules.add(record) for record in records))
    gone = Decided(schedule="gone/hourly", passed=[fire(schedule="gone/hourly", state=FireState.QUEUED)], watermark=5)
    decisions = [
        Decided(schedule=one.id, passed=[fire(1, schedule=one.id, reason="held")], watermark=NOON_MS + 1)
        for one in records
    ]
    await store.fires.decide([*decisions[:500], gone, *decisions[500:]])
    assert await checked.read("SELECT count(*), count(DISTINCT schedule) FROM fires") == [(1000, 1000)]
    assert await checked.read("SELECT count(*) FROM schedules WHERE watermark = ?", (NOON_MS + 1,)) == [(1000,)]
    assert await checked.read("SELECT count(*) FROM events WHERE kind = 'schedule_skipped'") == [(1000,)]
    newest = await store.fires.last_of_each([one.id for one in records])
    assert len(newest) == 1000


async def test_moved_twice_in_one_tick(checked: Database, store: Stores) -> None:
    """Of two decisions on one schedule the later one counts, in each of what it says."""
    first = Decided(schedule=HOURLY, watermark=NOON_MS + 1, mark="boot")
    await store.fires.decide([first, Decided(schedule=HOURLY, watermark=NOON_MS + 2)])
    found = (await store.schedules.all())[0]
    assert (found.watermark, found.mark) == (NOON_MS + 2, "boot")


# -- looking back ------------------------------------------------------------------------------------------------


async def test_pages(checked: Database, store: Stores) -> None:
    """Fires are listed newest first, of a schedule, a workflow or all, in a state, page by page, each once."""
    names = ["backup/hourly", "backup/other", "backups/hourly"]
    await store.schedules.add(schedule(definition=hourly("other")))
    await store.schedules.add(schedule("backups"))
    states = [FireState.SKIPPED, FireState.MISSED]
    wanted = [fire(n, states[n % 2], names[n % 3], reason=str(n)) for n in range(12)]
    await store.fires.decide([Decided(schedule=one.schedule, passed=[one]) for one in wanted])
    for filters, right in (
        ({}, lambda one: True),
        ({"schedule": "backup/other"}, lambda one: one.schedule == "backup/other"),
        ({"workflow": "backup"}, lambda one: one.schedule.startswith("backup/")),
        ({"state": FireState.MISSED}, lambda one: one.state is FireState.MISSED),
        ({"schedule": "backup/other", "state": FireState.MISSED},
         lambda one: one.schedule == "backup/other" and one.state is FireState.MISSED),
        ({"workflow": "backup", "state": FireState.MISSED},
         lambda one: one.schedule.startswith("backup/") and one.state is FireState.MISSED),
    ):  # fmt: skip
        found: list[Fire] = []
        before = None
        while True:
            page = await store.fires.page(**filters, before=before, limit=2)  # type: ignore[arg-type]
            found += page.items
            if page.next_cursor is None:
                break
            before = int(page.next_cursor)
        assert found == [one for one in reversed(wanted) if right(one)]  # type: ignore[no-untyped-call]
        assert found


async def test_statistics(checked: Database, store: Stores) -> None:
    """Fires are counted by state and reason, those of a stretch each; lateness is that of fires with a run."""
    await store.fires.decide([Decided(schedule=HOURLY, passed=[fire(number, reason="held") for number in range(4)])])
    record = scheduled(10)
    change = started(record)
    late = replace(change.fire, decided_at_ms=NOON_MS + 250)
    await record_all(checked, [RunCreated(record), replace(change, fire=late)])
    running = replace(record, state=RunState.RUNNING, started_at_ms=NOON_MS + 300)
    ended = replace(running, state=RunState.SUCCEEDED, finished_at_ms=NOON_MS + 1300)
    await record_all(checked, [moved(running), moved(ended)])
    await store.fires.settle(late, FireOutcome(state=FireState.SUCCEEDED, failures=0), at_ms=NOON_MS)
    found = await store.fires.statistics(HOURLY, NOON_MS)
    assert found.counts == {FireState.SKIPPED: 4, FireState.SUCCEEDED: 1}
    assert (found.latenesses_ms, found.durations_ms) == ((240,), (1000,))
    assert found.reasons == {"held": 4}
    later = await store.fires.statistics(HOURLY, NOON_MS + 251)
    assert (later.counts, later.reasons) == ({}, {})


async def test_ends_of_runs(checked: Database, store: Stores) -> None:
    """Ends are found behind an event, of one workflow, in their order."""
    for number, workflow in enumerate(["one", "two", "one"]):
        record = run(number, workflow)
        running = replace(record, state=RunState.RUNNING, started_at_ms=NOON_MS)
        ended = replace(running, state=RunState.FAILED, finished_at_ms=NOON_MS + 1)
        await record_all(checked, [RunCreated(record), moved(running), moved(ended)])
    found = await store.events.ended_runs(0, "one")
    assert [run for _, run in found] == [run_id(0), run_id(2)]
    assert await store.events.ended_runs(found[0][0], "one") == found[1:]
    assert await store.events.ended_runs(await store.events.newest(), "one") == []


async def test_told_once_of_a_run(checked: Database, store: Stores) -> None:
    """A run is late once, however often that is noticed; it is an event of its schedule."""
    await begin(checked)
    for expected in (True, False):
        is_new = await store.events.tell(
            "schedule_late", at_ms=NOON_MS, run_id=run_id(), facts={"schedule": HOURLY, "by_seconds": 3}
        )
        assert is_new is expected
    told = await checked.read("SELECT data FROM events WHERE kind = 'schedule_late'")
    assert [json.loads(row[0]) for row in told] == [{"schedule": HOURLY, "by_seconds": 3}]


async def test_removed_while_it_waits(checked: Database, store: Stores) -> None:
    """With a schedule end the fires that wait, with the reason; the history and the run that goes on stay."""
    await begin(checked)
    await store.fires.decide([Decided(schedule=HOURLY, passed=[fire(5, FireState.QUEUED)])])
    await store.schedules.remove(HOURLY, at_ms=NOON_MS, by="anne")
    assert [(one.state, one.reason) for one in (await store.fires.page()).items] == [
        (FireState.SKIPPED, "the schedule was removed"),
        (FireState.STARTED, None),
    ]
    with pytest.raises(NotFoundError):
        await store.schedules.remove(HOURLY, at_ms=NOON_MS, by="anne")
