"""Workflows and their history: every text that was ever applied is kept."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from barbossad.errors import NotFoundError
from barbossad.model.names import VersionId, WorkflowName
from barbossad.model.records import VersionRecord, WorkflowRecord
from barbossad.store.database import Database
from barbossad.store.workflows import WorkflowStore
from tests.helpers.records import NOON_MS, version

NAME = WorkflowName("backup")


async def history(store: WorkflowStore, limit: int = 2) -> list[VersionRecord]:
    """Return all versions of the workflow, page by page."""
    found: list[VersionRecord] = []
    cursor = None
    while True:
        page = await store.versions(NAME, cursor=cursor, limit=limit)
        assert len(page.items) <= limit
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            return found


async def test_apply(database: Database) -> None:
    """A new text becomes the version in force and joins the history; both are told once."""
    store = WorkflowStore(database)
    first, second = version(number=1, text="name: backup # Ä\n"), version(number=2)
    assert await store.apply(first) is True
    assert await store.apply(second) is True
    (current,) = await store.all()
    assert current == WorkflowRecord(
        name=NAME, version=second.version, is_enabled=True, applied_at_ms=NOON_MS + 2, applied_by="anne"
    )
    assert await store.version(NAME, first.version) == first
    assert await history(store) == [second, first]
    told = await database.read("SELECT kind, data FROM events ORDER BY seq")
    assert [(kind, json.loads(data)["version"]) for kind, data in told] == [
        ("workflow_applied", first.version),
        ("workflow_applied", second.version),
    ]


async def test_apply_the_same_again(database: Database) -> None:
    """Applying what is in force changes nothing and tells nothing."""
    store = WorkflowStore(database)
    assert await store.apply(version(number=1)) is True
    before = await database.read("SELECT * FROM workflows, versions, events")
    assert await store.apply(replace(version(number=1), applied_at_ms=NOON_MS + 500, applied_by="bob")) is False
    assert await database.read("SELECT * FROM workflows, versions, events") == before


async def test_go_back_to_an_earlier_text(database: Database) -> None:
    """An earlier text that is applied again is in force, and is the newest of the history, once."""
    store = WorkflowStore(database)
    for number in (1, 2, 3):
        await store.apply(version(number=number))
    again = replace(version(number=1), applied_at_ms=NOON_MS + 10, applied_by="bob")
    assert await store.apply(again) is True
    assert (await store.all())[0].version == again.version
    assert await history(store) == [again, version(number=3), version(number=2)]


async def test_history_of_one_instant(database: Database) -> None:
    """Versions that were applied in the same millisecond are each listed once, whatever the size of the page."""
    store = WorkflowStore(database)
    versions = [replace(version(number=number), applied_at_ms=NOON_MS) for number in range(7)]
    for one in versions:
        await store.apply(one)
    await store.apply(version("other", number=99))
    for limit in (1, 2, 3, 7, 100):
        assert await history(store, limit) == versions[::-1]


async def test_delete(database: Database) -> None:
    """A deleted workflow is out of force; its texts stay, and it may come back, enabled."""
    store = WorkflowStore(database)
    await store.apply(version(number=1))
    await store.enable(NAME, is_enabled=False, at_ms=NOON_MS, by="anne")
    await store.delete(NAME, at_ms=NOON_MS, by="anne")
    assert await store.all() == []
    assert await history(store) == [version(number=1)]
    with pytest.raises(NotFoundError):
        await store.delete(NAME, at_ms=NOON_MS, by="anne")
    assert await store.apply(version(number=1)) is True
    assert (await store.all())[0].is_enabled
    kinds = [kind for (kind,) in await database.read("SELECT kind FROM events ORDER BY seq")]
    assert kinds == ["workflow_applied", "workflow_disabled", "workflow_deleted", "workflow_applied"]


async def test_disable(database: Database) -> None:
    """Whether new runs are allowed outlives a new version."""
    store = WorkflowStore(database)
    await store.apply(version(number=1))
    await store.enable(NAME, is_enabled=False, at_ms=NOON_MS, by="anne")
    await store.apply(version(number=2))
    assert not (await store.all())[0].is_enabled
    await store.enable(NAME, is_enabled=True, at_ms=NOON_MS, by="anne")
    assert (await store.all())[0].is_enabled


async def test_unknown_version(database: Database) -> None:
    """A version that was never applied is named in the refusal."""
    store = WorkflowStore(database)
    await store.apply(version(number=1))
    with pytest.raises(NotFoundError, match="ffff"):
        await store.version(NAME, VersionId("ffff"))
    assert await history(WorkflowStore(database), 1) == [version(number=1)]
    assert (await store.versions(WorkflowName("nobody"), cursor=None, limit=5)).items == ()


async def test_all_by_name(database: Database) -> None:
    """Workflows are listed by name."""
    store = WorkflowStore(database)
    for name in ("b", "c", "a-1", "a"):
        await store.apply(version(name))
    assert [record.name for record in await store.all()] == ["a", "a-1", "b", "c"]
