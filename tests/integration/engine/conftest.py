"""A state file for engines."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.helpers.house import House


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the state file is."""
    return tmp_path / "barbossa.db"


@pytest.fixture
async def house(path: Path) -> AsyncIterator[House]:
    """An engine with eight slots."""
    async with House.open(path) as opened:
        yield opened
