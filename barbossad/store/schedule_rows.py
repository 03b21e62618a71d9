"""Turn schedules and fires into what SQLite keeps and back."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, fields
from enum import Enum
from functools import cache
from types import UnionType
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

from barbossad.model.holds import Hold
from barbossad.model.names import WorkflowName, run_id_from_number
from barbossad.model.schedules import (
    Fire,
    FireState,
    ScheduleDefinition,
    ScheduleRecord,
    ScheduleSource,
)
from barbossad.store import rows
from barbossad.store.rows import Row

SCHEDULE_COLUMNS: Final = """id, workflow, definition, source, labels, is_enabled, disabled_reason, watermark, mark,
    failures, added_at_ms, added_by"""
FIRE_COLUMNS: Final = """schedule, key, nominal_ms, due_ms, decided_at_ms, state, reason, run, tries, retry_at_ms,
    count, until_ms, params"""

_STATES: Final = {state.value: state for state in FireState}


def schedule(row: Row) -> ScheduleRecord:
    """Return a row of ``SCHEDULE_COLUMNS``."""
    return ScheduleRecord(
        id=row[0],
        workflow=WorkflowName(row[1]),
        definition=definition(row[2]),
        source=ScheduleSource(row[3]),
        labels=rows.from_json(row[4]),
        is_enabled=bool(row[5]),
        disabled_reason=row[6],
        watermark=row[7],
        mark=row[8],
        failures=row[9],
        added_at_ms=row[10],
        added_by=row[11],
    )


def schedule_values(record: ScheduleRecord) -> tuple[Any, ...]:
    """Return what is inserted of a schedule: ``SCHEDULE_COLUMNS``, then its name and its digest."""
    return (
        record.id,
        record.workflow,
        definition_text(record.definition),
        record.source,
        rows.to_json(record.labels),
        int(record.is_enabled),
        rows.text(record.disabled_reason),
        record.watermark,
        record.mark,
        record.failures,
        record.added_at_ms,
        rows.text(record.added_by),
        record.definition.name,
        digest(record.definition),
    )


def fire(row: Row) -> Fire:
    """Return a row of ``FIRE_COLUMNS``."""
    return Fire(
        schedule=row[0],
        key=row[1],
        nominal_ms=row[2],
        due_ms=row[3],
        decided_at_ms=row[4],
        state=_STATES[row[5]],
        reason=row[6],
        run_id=run_id_from_number(row[7]) if row[7] else None,
        tries=row[8],
        retry_at_ms=row[9],
        count=row[10],
        until_ms=row[11],
        params=rows.from_json(row[12]),
    )


def fire_values(fire: Fire) -> tuple[Any, ...]:
    """Return what is inserted of a fire: ``FIRE_COLUMNS``."""
    return (
        fire.schedule,
        rows.text(fire.key),
        fire.nominal_ms,
        fire.due_ms,
        fire.decided_at_ms,
        fire.state,
        rows.text(fire.reason),
        rows.number(fire.run_id) if fire.run_id else None,
        fire.tries,
        fire.retry_at_ms,
        fire.count,
        fire.until_ms,
        None if fire.params is None else rows.to_json(fire.params),
    )


def hold(row: Row) -> Hold:
    """Return a row of ``holds``."""
    return Hold(label=row[0], reason=row[1], until_ms=row[2], at_ms=row[3], by=row[4])


# -- definitions ---------------------------------------------------------------------------------------------


def definition_text(schedule: ScheduleDefinition) -> str:
    """Return a definition as JSON text; what is as it is by default is left out."""
    return rows.to_json(_plain(schedule))


def definition(text: str) -> ScheduleDefinition:
    """Return JSON text as the definition that it is; members that this program does not know are passed over."""
    found: ScheduleDefinition = _made(ScheduleDefinition, rows.from_json(text))
    return found


def digest(schedule: ScheduleDefinition) -> str:
    """Return a name for what makes a schedule fire: if that changes, the schedule begins anew."""
    deciding = {
        "kind": schedule.kind.value,
        "delay": schedule.delay_seconds,
        **{name: asdict(value) for name, value in _sources(schedule).items() if value is not None},
    }
    return hashlib.sha256(rows.to_json(deciding).encode()).hexdigest()[:16]


def _sources(schedule: ScheduleDefinition) -> Mapping[str, Any]:
    return {name: getattr(schedule, name) for name in ("timing", "file", "workflow", "unit")}


def _plain(record: Any) -> dict[str, Any]:
    """Return the members of a record that differ from their defaults, as JSON can have them."""
    found = {}
    for member in fields(record):
        value = getattr(record, member.name)
        if value != member.default:
            found[member.name] = _plain(value) if hasattr(value, "__dataclass_fields__") else value
    return found


def _made(kind: type, value: Mapping[str, Any]) -> Any:
    """Return the record of a kind that plain members stand for."""
    hints = _members(kind)
    return kind(**{name: _typed(hints[name], item) for name, item in value.items() if name in hints})


@cache
def _members(kind: type) -> Mapping[str, Any]:
    """Return the members of a kind of record and their types; it takes long, and a daemon has thousands to read."""
    hints = get_type_hints(kind)
    return {member.name: hints[member.name] for member in fields(kind)}


def _typed(hint: Any, value: Any) -> Any:
    """Return a plain value as the member that it was."""
    if get_origin(hint) in (UnionType, Union):
        hint = next(option for option in get_args(hint) if option is not type(None))
        return None if value is None else _typed(hint, value)
    if get_origin(hint) is tuple:
        return tuple(_typed(get_args(hint)[0], item) for item in value)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(value)
    return _made(hint, value) if hasattr(hint, "__dataclass_fields__") else value
