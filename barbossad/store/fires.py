"""The rows of fires: moved from state to state, and counted."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from barbossad.errors import StateError
from barbossad.model.schedules import FIRE_MOVES, Fire, FireState
from barbossad.store import rows
from barbossad.store.change import allowed

LATENESSES: Final = 10_000
"""Of how many fires at most lateness and duration are looked at, the newest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """What became of the fires of a schedule; ``counts`` counts each fire of a stretch."""

    counts: Mapping[FireState, int]
    latenesses_ms: Sequence[int]
    """Of fires that had a run, the newest first."""

    durations_ms: Sequence[int]
    """Of runs that succeeded, the newest first."""

    reasons: Mapping[str, int]
    """Why fires were let pass, and how many for each reason."""


_MOVE: Final = {
    state: f"""
UPDATE fires SET state = '{state}', reason = ?, retry_at_ms = ?
WHERE schedule = ? AND key = ? AND +state IN ({allowed(state, FIRE_MOVES)})"""
    for state in FireState
}


def move(tx: sqlite3.Connection, fire: Fire, state: FireState, reason: str | None, retry_at_ms: int | None) -> None:
    """Bring a fire into another state. Raise StateError if it is in none that allows it."""
    values = (rows.text(reason), retry_at_ms, fire.schedule, rows.text(fire.key))
    if tx.execute(_MOVE[state], values).rowcount != 1:
        raise StateError(f"the fire {fire.key} of {fire.schedule} could not become {state}")


_END_QUEUED: Final = "UPDATE fires SET state = 'skipped', reason = ? WHERE schedule = ? AND state = 'queued'"
_END_RETRYING: Final = """
UPDATE fires SET state = 'failed', reason = ?, retry_at_ms = NULL WHERE schedule = ? AND state = 'retrying'"""


def end_waiting(tx: sqlite3.Connection, schedules: Sequence[str], reason: str) -> None:
    """End the fires of schedules that wait for a run, or to be tried again."""
    values = [(reason, schedule) for schedule in schedules]
    tx.executemany(_END_QUEUED, values)
    tx.executemany(_END_RETRYING, values)


COUNTS: Final = """
SELECT state, sum(count) FROM fires WHERE schedule = ? AND decided_at_ms >= ? GROUP BY state"""
REASONS: Final = """
SELECT reason, sum(count) FROM fires
WHERE schedule = ? AND state IN ('skipped', 'missed') AND +decided_at_ms >= ? AND reason IS NOT NULL GROUP BY reason"""
LATENESS: Final = """
SELECT max(decided_at_ms - due_ms, 0) FROM fires
WHERE schedule = ? AND decided_at_ms >= ? AND run IS NOT NULL ORDER BY seq DESC LIMIT ?"""
DURATIONS: Final = """
SELECT runs.finished_at_ms - runs.started_at_ms FROM fires CROSS JOIN runs ON runs.id = fires.run
WHERE fires.schedule = ? AND fires.decided_at_ms >= ? AND fires.state = 'succeeded' AND runs.started_at_ms IS NOT NULL
ORDER BY fires.seq DESC LIMIT ?"""
