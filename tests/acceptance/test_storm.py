"""Clients do whatever clients do, to a real daemon that dies at any moment: all that is promised holds."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers import storm_checks
from tests.helpers.storm import Storm
from tests.helpers.storm_hosts import OwnHost

ROUNDS = 3


@pytest.fixture
def storm(tmp_path: Path) -> Iterator[Storm]:
    """Yield a storm; its story is told if it ends badly, and its daemon is gone afterwards."""
    made = Storm(OwnHost(tmp_path), random.Random(random.getrandbits(64)))
    yield made
    made.hang_up()
    made.host.close()
    logging.getLogger(__name__).warning("the story:\n%s", "\n".join(made.story))


@pytest.mark.by_chance
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("number", range(ROUNDS))
def test_storm(storm: Storm, number: int) -> None:
    """Nothing runs twice, is lost or left, everything ends, and all that was acknowledged is so."""
    storm_checks.go_through(storm)
