"""What several modules of this ring share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.helpers.launching import Bench, make_local


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """A started local launcher."""
    bench = make_local(tmp_path)
    await bench.launcher.start()
    yield bench
    await bench.launcher.close()
