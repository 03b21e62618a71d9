"""Read runs as they are shown: without what is never shown, and of their outputs as much as may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Final

from barbossad.model.names import RunId
from barbossad.store import long_values, rows
from barbossad.store.database import Database, Fetch, Row
from barbossad.store.run_details import (
    ATTEMPTS,
    ITEMS,
    OUTPUTS,
    QUICK_TASKS,
    RUN_COLUMNS,
    RunDetails,
    details,
    is_long,
    sizes_of,
    with_long,
    with_texts,
)

_OUTPUTS_BYTES: Final = "length(CAST(outputs AS BLOB))"
_SMALL_OUTPUTS: Final = f"CASE WHEN {_OUTPUTS_BYTES} <= ? THEN outputs END"

SHOWN_BYTES: Final = 2 * 1024 * 1024
"""How much of the outputs of a run is read to be shown, as JSON: twice what one task may have."""

SMALL_BYTES: Final = 16 * 1024
"""Outputs up to this are read together, longer ones one by one if they are to be shown."""

_RETRY_OF: Final = 19
_RUN_OUTPUTS: Final = 21
"""Where these stand in a row of a run."""


class Long(Enum):
    """What is returned in the place of a run that is to be read beside the event loop."""

    LONG = "long"


class ShownRuns:
    """What of runs is shown, and the outputs that are too long for that."""

    def __init__(self, database: Database) -> None:
        self._database = database

    SHOWN: Final = f"""
SELECT {RUN_COLUMNS.replace(" outputs,", f" {_SMALL_OUTPUTS},")}, {_OUTPUTS_BYTES} FROM runs WHERE id = ?"""
    SHOWN_TASKS: Final = f"""
SELECT run, task, state, reason, {_SMALL_OUTPUTS}, started_at_ms, finished_at_ms, waits_for, waits_until_ms, NULL,
    items, late_at_ms, kept_attempts, kept_exit_code, outputs_bytes, NULL, items_bytes, {_OUTPUTS_BYTES}
FROM tasks WHERE run = ?"""

    SHOWN_ATTEMPTS: Final = f"{ATTEMPTS} LIMIT ?"

    def get(self, run_id: RunId) -> RunDetails | Long | None:
        """Return a run as ``RunStore.get`` does, but without what is never shown, and of its outputs as much as may be.

        The longest are left out first. ``LONG`` is what ``read`` is for.
        """
        return self._database.look_up_by(lambda fetch: self._quickly(fetch, run_id))

    def _quickly(self, fetch: Fetch, run_id: RunId) -> RunDetails | Long | None:
        number = rows.number(run_id)
        attempt_rows = fetch(self.SHOWN_ATTEMPTS, (number, QUICK_TASKS + 1))
        if len(attempt_rows) > QUICK_TASKS:
            return Long.LONG
        found = fetch(self.SHOWN, (SMALL_BYTES, number))
        if not found:
            return None
        if found[0][_RETRY_OF] is not None and is_long(fetch, number):
            return Long.LONG
        return self._as_shown(fetch, found[0], attempt_rows)

    async def read(self, run_id: RunId) -> RunDetails | None:
        """Return what ``get`` does, read beside the event loop."""
        number = rows.number(run_id)

        def read(fetch: Fetch) -> RunDetails | None:
            found = fetch(self.SHOWN, (SMALL_BYTES, number))
            return self._as_shown(fetch, found[0], fetch(ATTEMPTS, (number,))) if found else None

        return await self._database.read_by(read)

    def _as_shown(self, fetch: Fetch, run: Row, attempt_rows: Sequence[Row]) -> RunDetails:
        number = run[0]
        task_rows = with_long(fetch, ITEMS, fetch(self.SHOWN_TASKS, (SMALL_BYTES, number)))
        elsewhere = sizes_of(task_rows, OUTPUTS)
        sizes = {row[1]: row[-1] for row in task_rows if row[-1]} | elsewhere
        if run[-1]:
            sizes[""] = run[-1]
        left_out = _longest(sizes) if sum(sizes.values()) > SHOWN_BYTES else {}
        shown = [task for task in sizes if task not in left_out]
        texts: dict[str, str | None] = {
            task: self._outputs(fetch, number, task)
            for task in shown
            if sizes[task] > SMALL_BYTES and task not in elsewhere
        }
        texts |= long_values.read(fetch, number, "outputs", {t: elsewhere[t] for t in shown if t in elsewhere})
        if texts or left_out:
            dropped = dict.fromkeys(left_out)
            run = with_texts(run, _RUN_OUTPUTS, {**texts, **dropped}, "")
            task_rows = [with_texts(row, OUTPUTS.column, {**texts, **dropped}, row[1]) for row in task_rows]
        return details(run, task_rows, attempt_rows, left_out)

    RUN_OUTPUTS: Final = "SELECT outputs FROM runs WHERE id = ?"
    TASK_OUTPUTS: Final = "SELECT outputs, outputs_bytes FROM tasks WHERE run = ? AND task = ?"

    def _outputs(self, fetch: Fetch, number: int, task: str) -> str | None:
        found = fetch(self.TASK_OUTPUTS, (number, task)) if task else fetch(self.RUN_OUTPUTS, (number,))
        if found and task and found[0][1] is not None:
            return long_values.read(fetch, number, "outputs", {task: found[0][1]}).get(task)
        return found[0][0] if found else None

    async def outputs(self, run_id: RunId, task: str) -> str | None:
        """Return the outputs of a task as JSON, those of the run for an empty one; None: there are none."""
        return await self._database.read_by(lambda fetch: self._outputs(fetch, rows.number(run_id), task))


def _longest(sizes: Mapping[str, int]) -> dict[str, int]:
    """Return those that are not read: the shortest are, as many as fit."""
    left, left_out = SHOWN_BYTES, {}
    for task, size in sorted(sizes.items(), key=lambda item: item[1]):
        left -= size
        if left < 0:
            left_out[task] = size
    return left_out
