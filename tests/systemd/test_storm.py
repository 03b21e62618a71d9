"""The same storm over the service: its tasks outlive the daemon, and the next one adopts them."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers import storm_checks
from tests.helpers.service import Service
from tests.helpers.storm import Storm
from tests.helpers.storm_hosts import ServiceHost

ROUNDS = 1


@pytest.fixture
def storm(service: Service, tmp_path: Path) -> Iterator[Storm]:
    """Yield a storm; its story is told if it ends badly."""
    made = Storm(ServiceHost(service, tmp_path), random.Random(random.getrandbits(64)))
    yield made
    made.hang_up()
    made.host.database()
    made.host.close()
    logging.getLogger(__name__).warning("the story:\n%s", "\n".join(made.story))


@pytest.mark.by_chance
@pytest.mark.slow
@pytest.mark.parametrize("number", range(ROUNDS))
def test_storm(storm: Storm, number: int) -> None:
    """Nothing runs twice, is lost or left, everything ends, and all that was acknowledged is so."""
    storm_checks.go_through(storm)
