"""A state file that is open, as the daemon has it and as a bare connection."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from barbossad.store import schema
from barbossad.store.database import Database


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the state file is."""
    return tmp_path / "barbossa.db"


@pytest.fixture
async def database(path: Path) -> AsyncIterator[Database]:
    """An open state file, impatient with locks and quick to try again."""
    async with Database.open(path, busy_seconds=0.05, retry_seconds=0.02) as opened:
        yield opened


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    """A fresh state file under a connection of the test's own, in autocommit as the writer is."""
    with closing(sqlite3.connect(path, isolation_level=None)) as opened:
        opened.execute("PRAGMA foreign_keys = ON")
        opened.execute("PRAGMA synchronous = OFF")  # power cuts are not what is tested with it
        schema.migrate(opened)
        yield opened
