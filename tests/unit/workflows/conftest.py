from __future__ import annotations

import pytest

from barbossad.tasks import _registry
from barbossad.workflows.loader import Loader


@pytest.fixture(scope="session")
def loader() -> Loader:
    return Loader(_registry.load())
