"""The change that makes a fire of a run: written in one transaction with the run."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from barbossad.errors import ConflictError, StateError
from barbossad.model.names import RunId
from barbossad.model.records import RunRecord
from barbossad.model.schedules import Fire
from barbossad.store import rows, schedule_rows
from barbossad.store.change import Event, Statement

INSERT_FIRES: Final = Statement(f"""
INSERT INTO fires ({schedule_rows.FIRE_COLUMNS})
SELECT $0, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12 $rows
""")
_BEGIN_AGAIN: Final = Statement("""
UPDATE fires SET state = 'started', run = $2, tries = $3, decided_at_ms = $4, reason = NULL, retry_at_ms = NULL $rows
WHERE fires.schedule = $0 AND fires.key = $1 AND +fires.state IN ('queued', 'retrying')
""")
MOVE_WATERMARK: Final = Statement("""
UPDATE schedules SET watermark = $1 $rows WHERE schedules.id = $0
""")


@dataclass(frozen=True, slots=True)
class FireStarted:
    """A fire has a run: it is new, was queued, or is tried again. ``watermark`` is its schedule's from now on."""

    run: RunRecord
    fire: Fire
    watermark: int | None
    is_new: bool
    rank: ClassVar[int] = 8
    weight: ClassVar[int] = 2

    @property
    def run_id(self) -> RunId:
        """See ``Change``."""
        return self.run.id

    @staticmethod
    def write(tx: sqlite3.Connection, steps: Sequence[FireStarted]) -> None:
        """Insert fires, or move those that waited. Raise ConflictError if the only one was made before."""
        inserted = [schedule_rows.fire_values(step.fire) for step in steps if step.is_new]
        moved = [
            (fire.schedule, rows.text(fire.key), rows.number(run_id), fire.tries, fire.decided_at_ms)
            for fire, run_id in ((step.fire, step.run.id) for step in steps if not step.is_new)
        ]
        watermarks = {step.fire.schedule: step.watermark for step in steps if step.watermark is not None}
        fire = steps[0].fire
        try:
            INSERT_FIRES.run(tx, inserted, "a fire could not be inserted")
            _BEGIN_AGAIN.run(tx, moved, "a fire that waited is gone")
            MOVE_WATERMARK.run(tx, list(watermarks.items()), f"schedule {fire.schedule} is gone")
        except (sqlite3.IntegrityError, StateError) as error:
            if len(steps) > 1:
                raise
            raise ConflictError(f"schedule {fire.schedule} has fired for {fire.key} already, or is gone") from error

    def events(self) -> Iterable[Event]:
        """See ``Change``: that the run was made tells it."""
        return ()
