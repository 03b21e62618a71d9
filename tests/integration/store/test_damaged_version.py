"""A version whose text is not the one that it is named by is told, and does not run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from barbossad.errors import InvalidWorkflowError
from barbossad.store.database import Database
from barbossad.store.workflows import WorkflowStore
from barbossad.tasks import _registry as task_registry
from barbossad.workflows.loader import Loader
from barbossad.workflows.reader import Reader
from barbossad.workflows.registry import Registry
from tests.helpers import invariants
from tests.helpers.clock import StillClock

TEXT = "name: backup\ntasks: [{id: one, shell: 'rm -rf /tmp/old'}]\n"
FLIPPED = TEXT.replace("old", "ole")


@pytest.fixture
def reader() -> Iterator[Reader]:
    """What reads the texts; its thread is gone afterwards."""
    with closing(Reader(Loader(task_registry.discover().types))) as made:
        yield made


async def registry(database: Database, reader: Reader) -> Registry:
    """Return the registry of a daemon that was just started."""
    found = Registry(WorkflowStore(database), reader, StillClock())
    await found.open()
    return found


async def test_a_damaged_version(
    path: Path, database: Database, reader: Reader, caplog: pytest.LogCaptureFixture
) -> None:
    """A flipped bit makes another script: it is refused with the reason, until the file is applied again."""
    first = await registry(database, reader)
    applied, _ = await first.apply(TEXT, by="anne")
    await database.write(lambda tx: tx.execute("UPDATE versions SET text = ?", (FLIPPED,)).rowcount)
    started = await registry(database, reader)
    for _ in range(2):
        with pytest.raises(InvalidWorkflowError, match=f"version {applied.version} is damaged .*apply the workflow"):
            await started.runnable(applied.name)
    assert {record.__dict__["action"] for record in caplog.records} == {"version_damaged"}
    _, has_changed = await started.apply(TEXT, by="anne")
    assert not has_changed
    assert (await started.runnable(applied.name)).text == TEXT
    again = await registry(database, reader)
    assert (await again.runnable(applied.name)).text == TEXT


async def test_a_damaged_version_that_comes_back(path: Path, database: Database, reader: Reader) -> None:
    """It is mended too when another version is in force meanwhile."""
    first = await registry(database, reader)
    applied, _ = await first.apply(TEXT, by="anne")
    await first.apply(TEXT + "# more\n", by="anne")
    sql = "UPDATE versions SET text = ? WHERE version = ?"
    await database.write(lambda tx: tx.execute(sql, (FLIPPED, applied.version)).rowcount)
    assert any(f"version {applied.version} of backup" in fault for fault in invariants.broken(path))
    _, has_changed = await first.apply(TEXT, by="anne")
    assert has_changed
    assert invariants.broken(path) == []
