"""Make runs, tasks and attempts of the rows that the queries about them give."""

from __future__ import annotations

from typing import Final

from barbossad.model.names import run_id_from_number
from barbossad.model.records import AttemptRecord, LogRecord, RunRecord, TaskRecord
from barbossad.model.states import AttemptState, RunState, StopCause, TaskState, TriggerType, WaitsFor
from barbossad.store import rows
from barbossad.store.rows import Row

_RUN_STATES: Final = {state.value: state for state in RunState}
_TRIGGERS: Final = {trigger.value: trigger for trigger in TriggerType}
_TASK_STATES: Final = {state.value: state for state in TaskState}
_ATTEMPT_STATES: Final = {state.value: state for state in AttemptState}
"""Looked up a thousand times a listing: a call of the enum takes ten times as long."""


def run_of(row: Row) -> RunRecord:
    """Return a row of runs as the run that it is."""
    return RunRecord(
        id=run_id_from_number(row[0]),
        workflow=row[1],
        version=row[2],
        state=_RUN_STATES[row[3]],
        trigger=_TRIGGERS[row[4]],
        params=rows.from_json(row[5]) or {},
        requested_by=row[6],
        idempotency_key=row[7],
        reason=row[8],
        stop_cause=StopCause(row[9]) if row[9] else None,
        stop_reason=row[10],
        created_at_ms=row[11],
        started_at_ms=row[12],
        finished_at_ms=row[13],
        outcome=_RUN_STATES[row[14]] if row[14] else None,
        outcome_reason=row[15],
        priority=row[16],
        parent_run=run_id_from_number(row[17]) if row[17] else None,
        parent_task=row[18],
        retry_of=run_id_from_number(row[19]) if row[19] else None,
        warnings=row[20],
        outputs=rows.from_json(row[21]),
        paused_at_ms=row[22],
        paused_ms=row[23],
        late_at_ms=row[24],
        schedule=row[25],
        scheduled_for_ms=row[26],
        chain=row[27],
    )


def task_of(row: Row) -> TaskRecord:
    """Return a row of tasks as the task that it is."""
    return TaskRecord(
        run_id=run_id_from_number(row[0]),
        task_id=row[1],
        state=_TASK_STATES[row[2]],
        reason=row[3],
        outputs=rows.from_json(row[4]),
        started_at_ms=row[5],
        finished_at_ms=row[6],
        waits_for=WaitsFor(row[7]) if row[7] else None,
        waits_until_ms=row[8],
        stdout=row[9],
        items=tuple(rows.from_json(row[10])) if row[10] else None,
        late_at_ms=row[11],
        kept_attempts=row[12],
        kept_exit_code=row[13],
    )


def attempt_of(row: Row) -> AttemptRecord:
    """Return a row of attempts as the attempt that it is."""
    return AttemptRecord(
        run_id=run_id_from_number(row[0]),
        task_id=row[1],
        number=row[2],
        state=_ATTEMPT_STATES[row[3]],
        launcher=row[4],
        unit=row[5],
        boot_id=row[6],
        pid=row[7],
        pid_started_ticks=row[8],
        exit_code=row[9],
        signal=row[10],
        reason=row[11],
        started_at_ms=row[12],
        finished_at_ms=row[13],
        cpu_seconds=row[14],
        peak_memory_bytes=row[15],
        log=LogRecord(path=row[16], size_bytes=row[17], dropped_bytes=row[18], dropped_at=row[19]),
        invocation_id=row[20],
        io_read_bytes=row[21],
        io_write_bytes=row[22],
        in_force=rows.from_json(row[23]),
    )
