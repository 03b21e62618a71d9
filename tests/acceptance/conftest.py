"""A daemon for each test, running or not yet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.daemon import Daemon


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with Daemon(tmp_path) as running:
        yield running


@pytest.fixture
def unstarted(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon that the test starts itself; whatever becomes of it, it does not outlive the test."""
    made = Daemon(tmp_path)
    yield made
    if made.process is not None and made.process.poll() is None:
        made.kill()
