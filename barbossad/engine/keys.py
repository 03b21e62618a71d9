"""Idempotency keys: those of clients, and those of runs that tasks of other runs call, which no client can name."""

from __future__ import annotations

from typing import Final

from barbossad.errors import ConflictError
from barbossad.model.names import RunId, TaskId
from barbossad.store.runs import RunStore

OF_CALLS: Final = "call "
"""How the keys of called runs begin; a client may give none that does."""

Parent = tuple[RunId, TaskId]
"""The run and the task of it that call another."""


def of_call(parent: Parent, attempt: int) -> str:
    """Return the key of the run that an attempt of a task calls."""
    return f"{OF_CALLS}{parent[0]}/{parent[1]}/{attempt}"


async def earlier(
    runs: RunStore, workflow: str, key: str, parent: Parent | None = None, retry_of: RunId | None = None
) -> RunId | None:
    """Return the run that the same task, or the retry of the same run, asked for with this key before.

    Raise ConflictError if the key names a run that was asked for otherwise.
    """
    found = await runs.find_by_key(workflow, key)
    if found is None:
        return None
    if (found.parent_run, found.parent_task) != (parent or (None, None)) or found.retry_of != retry_of:
        raise ConflictError(
            f"the idempotency key {key!r} names run {found.id} of {workflow!r}, which was asked for otherwise: "
            "starts, and the retries of each run, need keys of their own"
        )
    return found.id
