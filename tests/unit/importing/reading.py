"""Read what an import writes, as the daemon does."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from barbossad.importing import compose
from barbossad.importing.draft import Draft
from barbossad.model.definition import WorkflowDefinition
from barbossad.model.schedules import ScheduleDefinition
from barbossad.tasks import _registry as tasks
from barbossad.workflows.loader import Loader


@cache
def loader() -> Loader:
    """Return a loader that knows the task types."""
    return Loader(tasks.discover().types)


def loaded(draft: Draft) -> WorkflowDefinition:
    """Return what the file of a draft says."""
    return loader().load(compose.text_of(draft))


def definitions(entries: Sequence[dict[str, Any]]) -> tuple[ScheduleDefinition, ...]:
    """Return what entries of ``schedules`` say, by way of a file."""
    return loaded(Draft(name="any", source="a test", schedules=tuple(entries), task={"shell": "true"})).schedules
