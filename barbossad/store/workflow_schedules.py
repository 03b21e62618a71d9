"""The schedules that stand in the file of a workflow: written in one transaction with its version."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Final

from barbossad.model.records import VersionRecord
from barbossad.model.schedules import (
    ScheduleDefinition,
    ScheduleKind,
    ScheduleRecord,
    ScheduleSource,
    schedule_id,
)
from barbossad.store import fire_moves, rows, schedule_rows
from barbossad.store.schedule_rows import SCHEDULE_COLUMNS

_NEWEST_EVENT: Final = "SELECT ifnull(max(seq), 0) FROM events"
_KNOWN: Final = f"SELECT {SCHEDULE_COLUMNS}, timing FROM schedules WHERE workflow = ?"
_PUT: Final = f"""
INSERT OR REPLACE INTO schedules ({SCHEDULE_COLUMNS}, name, timing) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_DELETE: Final = "DELETE FROM schedules WHERE id = ?"
_LABEL: Final = "UPDATE schedules SET labels = ? WHERE workflow = ?"

GONE: Final = "the schedule is no longer in the file of its workflow"


def replace(
    tx: sqlite3.Connection,
    version: VersionRecord,
    schedules: Sequence[ScheduleDefinition],
    labels: Mapping[str, str],
) -> None:
    """Make the schedules of a file those of its workflow; those that were added beside them stay.

    One whose times are as before goes on where it stands: it was disabled by a person, or for its failures, and
    stays so unless the file itself says otherwise than before. Any other begins anew.
    """
    known = {row[0]: (schedule_rows.schedule(row), row[-1]) for row in tx.execute(_KNOWN, (version.workflow,))}
    wanted = [_record(tx, version, schedule, labels) for schedule in schedules]
    for record in wanted:
        before, digest = known.pop(record.id, (None, ""))
        if before is not None and digest == schedule_rows.digest(record.definition):
            tx.execute(_PUT, schedule_rows.schedule_values(_continued(before, record)))
        else:
            tx.execute(_PUT, schedule_rows.schedule_values(record))
    gone = [record.id for record, _ in known.values() if record.source is ScheduleSource.FILE]
    _forget(tx, gone, GONE)
    tx.execute(_LABEL, (rows.to_json(labels), version.workflow))


def delete(tx: sqlite3.Connection, workflow: str) -> None:
    """Delete all schedules of a workflow that is deleted."""
    _forget(tx, [row[0] for row in tx.execute(_KNOWN, (workflow,))], "its workflow was deleted")


def _forget(tx: sqlite3.Connection, schedules: Sequence[str], reason: str) -> None:
    tx.executemany(_DELETE, [(schedule,) for schedule in schedules])
    fire_moves.end_waiting(tx, schedules, reason)


def _record(
    tx: sqlite3.Connection, version: VersionRecord, schedule: ScheduleDefinition, labels: Mapping[str, str]
) -> ScheduleRecord:
    at_ms = version.applied_at_ms
    (newest,) = tx.execute(_NEWEST_EVENT).fetchone()
    return ScheduleRecord(
        id=schedule_id(version.workflow, schedule.name),
        workflow=version.workflow,
        definition=schedule,
        source=ScheduleSource.FILE,
        labels=labels,
        is_enabled=schedule.is_enabled,
        watermark=newest if schedule.kind is ScheduleKind.WORKFLOW else at_ms,
        added_at_ms=at_ms,
        added_by=version.applied_by,
    )


def _continued(before: ScheduleRecord, record: ScheduleRecord) -> ScheduleRecord:
    is_same = before.definition.is_enabled == record.definition.is_enabled
    return ScheduleRecord(
        id=record.id,
        workflow=record.workflow,
        definition=record.definition,
        source=record.source,
        labels=record.labels,
        is_enabled=before.is_enabled if is_same else record.is_enabled,
        disabled_reason=before.disabled_reason if is_same else None,
        watermark=before.watermark if before.is_enabled or is_same else record.watermark,
        mark=before.mark,
        failures=before.failures if is_same else 0,
        added_at_ms=before.added_at_ms,
        added_by=before.added_by,
    )
