"""Schedules: of a workflow's file and beside it, as they come, change, are disabled and go; and what is held."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from barbossad.errors import ConflictError, NotFoundError
from barbossad.model.flow import Backoff
from barbossad.model.holds import Hold
from barbossad.model.names import WorkflowName
from barbossad.model.schedules import (
    CatchUp,
    Dst,
    Expectation,
    FileChange,
    FileTrigger,
    FireOutcome,
    FireState,
    Holidays,
    OnHoliday,
    Overlap,
    ScheduleDefinition,
    ScheduleKind,
    ScheduleRecord,
    ScheduleRetry,
    ScheduleSource,
    Timing,
    UnitTrigger,
    WorkflowTrigger,
)
from barbossad.model.states import RunState
from barbossad.store import backup, rows, schedule_rows
from barbossad.store.changes import RunCreated
from barbossad.store.database import Database
from barbossad.store.decisions import Decided
from barbossad.store.workflows import WorkflowStore
from tests.helpers import invariants
from tests.helpers.records import NOON_MS, version
from tests.helpers.schedule_records import HOURLY, Stores, failed, fire, hourly, schedule, scheduled, started

FULL = ScheduleDefinition(
    name="all",
    kind=ScheduleKind.CRON,
    timing=Timing(
        cron="0 2 * * *", every_ms=5, anchor_ms=7, at_ms=(1, 2), timezone="Europe/London", dst=Dst.LAST, start_ms=3,
        end_ms=4, within=("Mon-Fri",), blackout=("Sat", "Sun"), on_holiday=OnHoliday.BEFORE,
        holidays=Holidays(country="GB", subdivision="SCT", file="/etc/x.ics"),
    ),
    file=FileTrigger(path="/in", pattern="*.csv", changes=(FileChange.DELETED,), is_recursive=True, debounce_seconds=9),
    workflow=WorkflowTrigger(name=WorkflowName("other"), states=(RunState.FAILED, RunState.TIMED_OUT)),
    unit=UnitTrigger(name="nginx.service", states=("failed", "active")),
    delay_seconds=1.5, description="Ä ☠", params={"a": [1, {"b": None}], "c": "x"}, is_enabled=False,
    jitter_seconds=2.5, overlap=Overlap.QUEUE, queue_depth=3, catch_up=CatchUp.ALL, catch_up_window_seconds=60.0,
    catch_up_limit=5, expect=Expectation(start_within_seconds=1, max_duration_seconds=2, min_duration_seconds=3),
    disable_after=4,
    retry=ScheduleRetry(attempts=3, delay_seconds=5, backoff=Backoff.EXPONENTIAL, max_delay_seconds=50),
)  # fmt: skip


# -- definitions -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("definition", [FULL, hourly(), ScheduleDefinition(name="b", kind=ScheduleKind.BOOT)])
def test_definitions_are_read_as_they_were(definition: ScheduleDefinition) -> None:
    """Every member of a definition comes back as what it was."""
    assert schedule_rows.definition(schedule_rows.definition_text(definition)) == definition


def test_unknown_members_are_passed_over() -> None:
    """A definition that a later program wrote is read for what is known of it."""
    text = json.loads(schedule_rows.definition_text(FULL))
    text["colour"] = text["timing"]["moon"] = text["retry"]["mood"] = "blue"
    assert schedule_rows.definition(rows.to_json(text)) == FULL


TIMES: list[dict[str, Any]] = [
    {"timing": replace(FULL.timing or Timing(), timezone="Europe/Paris")},
    {"timing": replace(FULL.timing or Timing(), blackout=())},
    {"timing": replace(FULL.timing or Timing(), holidays=None)},
    {"kind": ScheduleKind.EVERY},
    {"delay_seconds": 2.0},
    {"file": None},
    {"workflow": WorkflowTrigger(name=WorkflowName("other"), states=(RunState.FAILED,))},
    {"unit": UnitTrigger(name="other.service")},
]
OTHERS: list[dict[str, Any]] = [
    {"params": {}},
    {"description": ""},
    {"is_enabled": True},
    {"jitter_seconds": 0.0},
    {"overlap": Overlap.SKIP},
    {"catch_up": CatchUp.NONE},
    {"retry": None},
    {"disable_after": None},
]


@pytest.mark.parametrize(("change", "is_other"), [*((one, True) for one in TIMES), *((one, False) for one in OTHERS)])
def test_what_begins_anew(change: dict[str, Any], is_other: bool) -> None:
    """What decides the instants names the digest, and nothing else does."""
    assert (schedule_rows.digest(replace(FULL, **change)) != schedule_rows.digest(FULL)) is is_other


# -- added schedules -----------------------------------------------------------------------------------------------


async def test_added(database: Database) -> None:
    """A schedule is found by its id, with its workflow and among all; it is told, and is there once."""
    store = Stores(database)
    records = [schedule(definition=FULL, labels={"team": "infra"}, mark="boot"), schedule(), schedule("zebra")]
    for record in records:
        await store.schedules.add(record)
    assert await store.schedules.all() == records
    assert await store.schedules.of("backup") == records[:2]
    assert await store.schedules.get("zebra/hourly") == records[2]
    assert await store.schedules.get("zebra/other") is None
    with pytest.raises(ConflictError, match="schedule backup/hourly exists"):
        await store.schedules.add(schedule())
    assert await database.read("SELECT count(*) FROM events WHERE kind = 'schedule_added'") == [(3,)]


async def test_disabled_and_enabled(database: Database) -> None:
    """It is disabled with a reason; enabled it begins where it is told to, its failures forgiven."""
    store = Stores(database)
    await store.schedules.add(schedule(failures=4))
    await store.schedules.enable(HOURLY, is_enabled=False, reason="quiet", at_ms=NOON_MS, by="anne")
    found = await store.schedules.get(HOURLY)
    assert found == schedule(failures=4, is_enabled=False, disabled_reason="quiet")
    await store.schedules.enable(HOURLY, is_enabled=True, reason=None, at_ms=NOON_MS, by="anne", watermark=NOON_MS + 9)
    assert await store.schedules.get(HOURLY) == schedule(watermark=NOON_MS + 9)
    with pytest.raises(NotFoundError):
        await store.schedules.enable("no/such", is_enabled=True, reason=None, at_ms=NOON_MS, by="anne")
    kinds = [row[0] for row in await database.read("SELECT kind FROM events ORDER BY seq")]
    assert kinds == ["schedule_added", "schedule_disabled", "schedule_enabled"]


async def test_holds(database: Database) -> None:
    """A label is held once, newest words first, until it is released."""
    store = Stores(database)
    hold = Hold(label="team=infra", reason="move", until_ms=NOON_MS + 5, at_ms=NOON_MS, by="anne")
    await store.holds.hold(hold)
    await store.holds.hold(replace(hold, reason="the move takes longer", until_ms=None))
    await store.holds.hold(replace(hold, label=""))
    assert await store.holds.all() == [
        replace(hold, label=""),
        replace(hold, reason="the move takes longer", until_ms=None),
    ]
    await store.holds.release("team=infra", at_ms=NOON_MS, by="bob")
    assert [one.label for one in await store.holds.all()] == [""]
    with pytest.raises(NotFoundError):
        await store.holds.release("team=infra", at_ms=NOON_MS, by="bob")


# -- those of a file ---------------------------------------------------------------------------------------------


async def apply(database: Database, number: int, schedules: Sequence[ScheduleDefinition], **more: Any) -> bool:
    return await WorkflowStore(database).apply(version(number=number), schedules=schedules, **more)


async def only(database: Database) -> ScheduleRecord:
    (found,) = await Stores(database).schedules.all()
    return found


async def test_with_the_version(database: Database) -> None:
    """With a version come its schedules and the labels of its workflow, from now on."""
    assert await apply(database, 1, [hourly(), hourly("two", is_enabled=False)], labels={"team": "infra"})
    found = await Stores(database).schedules.all()
    assert [(one.id, one.is_enabled, one.watermark) for one in found] == [
        (HOURLY, True, NOON_MS + 1),
        ("backup/two", False, NOON_MS + 1),
    ]
    assert {(one.source, one.added_by, one.labels["team"]) for one in found} == {(ScheduleSource.FILE, "anne", "infra")}


async def test_a_trigger_by_workflow_begins_with_what_ends_now(database: Database) -> None:
    """Its watermark is an event's number: what ended before it came does not fire."""
    trigger = WorkflowTrigger(name=WorkflowName("other"), states=(RunState.FAILED,))
    for number in range(3):
        await apply(database, number, [])
    await apply(database, 9, [ScheduleDefinition(name="after", kind=ScheduleKind.WORKFLOW, workflow=trigger)])
    assert (await only(database)).watermark == await Stores(database).events.newest()


async def test_the_same_times_go_on(database: Database) -> None:
    """What changes neither times nor ``enabled`` leaves it where it stands, also disabled by a person."""
    store = Stores(database)
    await apply(database, 1, [hourly()])
    await store.fires.decide([Decided(schedule=HOURLY, watermark=NOON_MS + 500, mark="m")])
    await store.schedules.count_failures(HOURLY, failed(2, "2 failures in a row"), at_ms=NOON_MS)
    await apply(database, 2, [hourly(params={"a": 1}, overlap=Overlap.ALLOW)], labels={"new": "label"})
    found = await only(database)
    assert found.definition == hourly(params={"a": 1}, overlap=Overlap.ALLOW)
    assert (found.watermark, found.mark, found.failures) == (NOON_MS + 500, "m", 2)
    assert (found.is_enabled, found.disabled_reason) == (False, "2 failures in a row")
    assert (found.labels, found.added_at_ms) == ({"new": "label"}, NOON_MS + 1)


async def test_other_times_begin_anew(database: Database) -> None:
    """With other times it begins now: what the old ones missed is not caught up, their failures are forgotten."""
    await apply(database, 1, [hourly()])
    await Stores(database).schedules.count_failures(HOURLY, failed(2, "failed"), at_ms=NOON_MS)
    await apply(database, 2, [hourly(timing=Timing(every_ms=5))])
    found = await only(database)
    assert (found.watermark, found.failures, found.is_enabled, found.disabled_reason) == (NOON_MS + 2, 0, True, None)


async def test_enabled_in_the_file(database: Database) -> None:
    """Where the file says ``enabled`` otherwise than before, it wins; what was off meanwhile is not caught up."""
    store = Stores(database)
    await apply(database, 1, [hourly()])
    await apply(database, 2, [hourly(is_enabled=False)])
    assert not (await only(database)).is_enabled
    await store.schedules.count_failures(HOURLY, failed(3, "failed"), at_ms=NOON_MS)
    await apply(database, 3, [hourly()])
    found = await only(database)
    assert (found.is_enabled, found.disabled_reason, found.failures) == (True, None, 0)
    assert found.watermark == NOON_MS + 3


async def test_gone_from_the_file(database: Database, path: Path) -> None:
    """What the file no longer has goes, its waiting fires end; added ones and the history stay."""
    store = Stores(database)
    await apply(database, 1, [hourly(), hourly("two")])
    await store.schedules.add(schedule(definition=hourly("added-1")))
    record = scheduled()
    begun = started(record)
    await database.record([RunCreated(record), begun], is_fact=False)
    await store.fires.settle(
        begun.fire, FireOutcome(state=FireState.RETRYING, reason="x", retry_at_ms=5, failures=0), at_ms=NOON_MS
    )
    await store.fires.decide([Decided(schedule=HOURLY, passed=[fire(7, FireState.QUEUED)])])
    await apply(database, 2, [hourly("two")])
    assert [one.id for one in await store.schedules.all()] == ["backup/added-1", "backup/two"]
    reason = "the schedule is no longer in the file of its workflow"
    assert [(one.state, one.reason) for one in (await store.fires.page()).items] == [
        (FireState.SKIPPED, reason),
        (FireState.FAILED, reason),
    ]
    assert invariants.broken(path, is_idle=False, has_texts=False) == []


async def test_the_file_takes_over(database: Database) -> None:
    """A schedule of the file replaces an added one of its name, and goes on where that stood."""
    await apply(database, 1, [])
    await Stores(database).schedules.add(schedule())
    await apply(database, 2, [hourly()])
    found = await only(database)
    assert (found.source, found.watermark) == (ScheduleSource.FILE, NOON_MS)
    await apply(database, 3, [])
    assert await Stores(database).schedules.all() == []


async def test_deleted_with_the_workflow(database: Database) -> None:
    """A deleted workflow has no schedules, and those of others stay; it comes back with those of its file."""
    store = Stores(database)
    await apply(database, 1, [hourly()])
    await store.schedules.add(schedule(definition=hourly("added-1")))
    await store.schedules.add(schedule("backups"))
    await store.fires.decide([Decided(schedule=HOURLY, passed=[fire(7, FireState.QUEUED)])])
    await WorkflowStore(database).delete(WorkflowName("backup"), at_ms=NOON_MS, by="anne")
    assert [one.id for one in await store.schedules.all()] == ["backups/hourly"]
    assert [one.reason for one in (await store.fires.page()).items] == ["its workflow was deleted"]
    assert await apply(database, 1, [hourly()])
    assert [one.id for one in await store.schedules.all()] == [HOURLY, "backups/hourly"]


async def test_a_refused_version_brings_no_schedules(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Version and schedules are one transaction: if those cannot be written, neither is there."""

    def fails(_record: ScheduleRecord) -> None:
        raise RuntimeError("in the middle")

    with monkeypatch.context() as patch:
        patch.setattr(schedule_rows, "schedule_values", fails)
        with pytest.raises(RuntimeError):
            await apply(database, 1, [hourly()])
    assert await WorkflowStore(database).all() == []
    assert await database.read("SELECT count(*) FROM events") == [(0,)]
    assert await apply(database, 1, [hourly()])


async def test_backups_have_them(path: Path, tmp_path: Path) -> None:
    """A backup that takes the place of the state file has schedules, fires and holds."""
    async with Database.open(path) as database:
        store = Stores(database)
        await store.schedules.add(schedule())
        record = scheduled()
        await database.record([RunCreated(record), started(record)], is_fact=False)
        await store.holds.hold(Hold(label="", reason="all", at_ms=NOON_MS, by="anne"))
        kept = (await store.schedules.all(), await store.fires.active(), await store.holds.all())
        made = await asyncio.to_thread(backup.make, path, tmp_path / "backups" / "one.db")
    made.path.rename(path)
    async with Database.open(path) as database:
        store = Stores(database)
        assert (await store.schedules.all(), await store.fires.active(), await store.holds.all()) == kept
    assert all(kept)
    assert invariants.broken(path, is_idle=False, has_texts=False) == []
