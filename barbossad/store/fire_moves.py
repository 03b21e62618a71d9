"""The rows of fires on their way from state to state."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from barbossad.errors import StateError
from barbossad.model.schedules import FIRE_MOVES, Fire, FireOutcome, FireState
from barbossad.store import rows
from barbossad.store.change import allowed

_MOVE: Final = {
    state: f"""
UPDATE fires SET state = '{state}', reason = ?, retry_at_ms = ?
WHERE schedule = ? AND key = ? AND +state IN ({allowed(state, FIRE_MOVES)})"""
    for state in FireState
}


_IS_THERE: Final = "SELECT 1 FROM fires WHERE schedule = ? AND key = ? AND +state NOT IN ('skipped', 'failed')"


def move(tx: sqlite3.Connection, fire: Fire, then: FireOutcome) -> bool:
    """Bring a fire into another state. Raise StateError if it is in none that allows it.

    Return False if it was to wait and has ended with its schedule (``end_waiting``), or that was gone before it came.
    """
    values = (rows.text(then.reason), then.retry_at_ms, fire.schedule, rows.text(fire.key))
    if tx.execute(_MOVE[then.state], values).rowcount == 1:
        return True
    has_waited = fire.state in {FireState.QUEUED, FireState.RETRYING}
    if has_waited and not tx.execute(_IS_THERE, values[2:]).fetchone():
        return False
    raise StateError(f"the fire {fire.key} of {fire.schedule} could not become {then.state}")


_END_QUEUED: Final = "UPDATE fires SET state = 'skipped', reason = ? WHERE schedule = ? AND state = 'queued'"
_END_RETRYING: Final = """
UPDATE fires SET state = 'failed', reason = ?, retry_at_ms = NULL WHERE schedule = ? AND state = 'retrying'"""


def end_waiting(tx: sqlite3.Connection, schedules: Sequence[str], reason: str) -> None:
    """End the fires of schedules that wait for a run, or to be tried again."""
    values = [(reason, schedule) for schedule in schedules]
    tx.executemany(_END_QUEUED, values)
    tx.executemany(_END_RETRYING, values)
