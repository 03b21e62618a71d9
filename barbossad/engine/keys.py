"""Idempotency keys: those of clients, and those of runs that tasks of other runs call, which no client can name."""

from __future__ import annotations

import asyncio
from functools import partial
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


class Keys:
    """Which runs were asked for with a key, those included that are being recorded: whoever gives one again waits."""

    def __init__(self, runs: RunStore) -> None:
        self._runs = runs
        self._being_made: dict[tuple[str, str], asyncio.Future[None]] = {}

    async def earlier(
        self, workflow: str, key: str, parent: Parent | None = None, retry_of: RunId | None = None
    ) -> RunId | None:
        """Return the run that the same task, or the retry of the same run, asked for with this key before.

        If there is none, nobody has asked by the time this returns. Raise ConflictError if the key names a run that was
        asked for otherwise.
        """
        while (found := self._runs.find_by_key(workflow, key)) is None:
            being_made = self._being_made.get((workflow, key))
            if being_made is None:
                return None
            await asyncio.wait([being_made])
        if (found.parent_run, found.parent_task) != (parent or (None, None)) or found.retry_of != retry_of:
            raise ConflictError(
                f"the idempotency key {key!r} names run {found.id} of {workflow!r}, which was asked for otherwise: "
                "starts, and the retries of each run, need keys of their own"
            )
        return found.id

    def ask(self, workflow: str, key: str, created: asyncio.Future[None]) -> None:
        """Note that a run is being recorded with a key; ``created`` is done when it is, or fails if it cannot be."""
        self._being_made[workflow, key] = created
        created.add_done_callback(partial(self._made, workflow, key))

    def _made(self, workflow: str, key: str, created: asyncio.Future[None]) -> None:
        del self._being_made[workflow, key]
        if not created.cancelled():
            created.exception()  # who asked is told of it by another way
