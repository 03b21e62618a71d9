"""Changes of a run's own row: it is made, it is to end, it starts or ends."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from barbossad.errors import ConflictError
from barbossad.model import states
from barbossad.model.names import RunId
from barbossad.model.records import RunRecord
from barbossad.store import rows
from barbossad.store.change import Event, Statement, allowed, by_state, event, named

_INSERT_RUNS: Final = Statement("""
INSERT INTO runs (id, workflow, version, state, trigger, params, requested_by, idempotency_key, reason,
                  created_at_ms, started_at_ms, finished_at_ms, priority, parent_run, parent_task, retry_of,
                  schedule, scheduled_for_ms, chain)
SELECT $0, $1, $2, $3, $4, $5, $6, $7,
       $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18
$rows
""")


RunNews = Literal["run_started", "run_finished", "run_paused", "run_resumed", "run_decided", "run_late"]
"""What may be told of a run that there is: ``run_decided`` is its outcome, before its rollback and hooks have run."""


@dataclass(frozen=True, slots=True)
class RunCreated:
    """A run was asked for and accepted."""

    run: RunRecord
    rank: ClassVar[int] = 0
    weight: ClassVar[int] = 1

    @property
    def run_id(self) -> RunId:
        """See ``Change``."""
        return self.run.id

    @staticmethod
    def write(tx: sqlite3.Connection, steps: Sequence[RunCreated]) -> None:
        """Insert runs. Raise ConflictError if the idempotency key of the only one was used before."""
        values = [
            (
                rows.number(run.id),
                run.workflow,
                run.version,
                run.state,
                run.trigger,
                rows.to_json(run.params),
                rows.text(run.requested_by),
                rows.text(run.idempotency_key),
                rows.text(run.reason),
                run.created_at_ms,
                run.started_at_ms,
                run.finished_at_ms,
                run.priority,
                rows.number(run.parent_run) if run.parent_run else None,
                run.parent_task,
                rows.number(run.retry_of) if run.retry_of else None,
                run.schedule,
                run.scheduled_for_ms,
                run.chain,
            )
            for run in (step.run for step in steps)
        ]
        try:
            _INSERT_RUNS.run(tx, values, "a run could not be inserted")
        except sqlite3.IntegrityError as error:
            run = steps[0].run
            if error.sqlite_errorname != "SQLITE_CONSTRAINT_UNIQUE" or len(steps) > 1:
                raise
            raise ConflictError(
                f"a run of {run.workflow!r} with the idempotency key {run.idempotency_key!r} exists"
            ) from error

    def events(self) -> Iterable[Event]:
        """See ``Change``."""
        run = self.run
        yield event(
            run.created_at_ms,
            "run_created",
            run.id,
            None,
            workflow=run.workflow,
            version=run.version,
            state=run.state,
            trigger=run.trigger,
            requested_by=run.requested_by,
            parent=run.parent_run,
            retry_of=run.retry_of,
            schedule=run.schedule,
        )


_STOP_RUNS: Final = Statement(f"""
UPDATE runs SET stop_cause = $1, stop_reason = $2 $rows
WHERE runs.id = $0 AND runs.stop_cause IS NULL
  AND runs.state NOT IN ({", ".join(f"'{state}'" for state in sorted(states.RUN_ENDED))})
""")


@dataclass(frozen=True, slots=True)
class RunStopping:
    """A run is to end before its time; recorded, so that a crash meanwhile does not forget it."""

    run: RunRecord
    at_ms: int
    rank: ClassVar[int] = 1
    weight: ClassVar[int] = 1

    @property
    def run_id(self) -> RunId:
        """See ``Change``."""
        return self.run.id

    @staticmethod
    def write(tx: sqlite3.Connection, steps: Sequence[RunStopping]) -> None:
        """Set why, once."""
        values = [(rows.number(s.run.id), s.run.stop_cause, rows.text(s.run.stop_reason)) for s in steps]
        _STOP_RUNS.run(tx, values, f"{named(steps)} is being ended already, or has ended")

    def events(self) -> Iterable[Event]:
        """See ``Change``."""
        run = self.run
        yield event(self.at_ms, "run_stopping", run.id, None, cause=run.stop_cause, reason=run.stop_reason)


# The plus keeps the planner from walking all runs of a state (in the index on it) instead of finding each by its id.
_MOVE_RUNS: Final = {
    target: Statement(f"""
UPDATE runs SET state = '{target}', reason = $1, started_at_ms = $2,
    finished_at_ms = $3, outcome = $4, outcome_reason = $5, warnings = $6, outputs = $7,
    paused_at_ms = $8, paused_ms = $9, late_at_ms = $10
$rows
WHERE runs.id = $0 AND +runs.state IN ({allowed(target, states.RUN_MOVES, itself=target not in states.RUN_ENDED)})
""")
    for target in states.RunState
}


@dataclass(frozen=True, slots=True)
class RunMoved:
    """A run started, ended, or changed otherwise; ``run`` is what it is now, ``kind`` says what it was."""

    run: RunRecord
    kind: RunNews
    at_ms: int | None
    words: str | None = None
    """Why, where that is no part of the run's row: who paused it, or let it go on."""

    rank: ClassVar[int] = 7
    weight: ClassVar[int] = 1

    @property
    def run_id(self) -> RunId:
        """See ``Change``."""
        return self.run.id

    @staticmethod
    def write(tx: sqlite3.Connection, steps: Sequence[RunMoved]) -> None:
        """Compare and set the states of runs."""
        for state, some in by_state(steps, "run").items():
            values = [
                (
                    rows.number(run.id),
                    rows.text(run.reason),
                    run.started_at_ms,
                    run.finished_at_ms,
                    run.outcome,
                    rows.text(run.outcome_reason),
                    run.warnings,
                    None if run.outputs is None else rows.to_json(run.outputs),
                    run.paused_at_ms,
                    run.paused_ms,
                    run.late_at_ms,
                )
                for run in (step.run for step in some)
            ]
            otherwise = f"{named(some)} could not become {state}: it is in no state that allows it"
            _MOVE_RUNS[state].run(tx, values, otherwise)

    def events(self) -> Iterable[Event]:
        """See ``Change``."""
        run = self.run
        is_decided = self.kind == "run_decided"
        reason = self.words or (run.outcome_reason if is_decided else run.reason)
        state = run.outcome if is_decided else run.state
        yield event(self.at_ms, self.kind, run.id, None, state=state, reason=reason)
