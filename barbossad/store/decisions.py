"""What is decided of many schedules at once: a tick may let a thousand fires pass, and that is one transaction.

Each step takes any number of rows, as those of runs do (see ``changes``): what is known of all is looked up
first, what is to become of them is worked out here, and then it is written.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from barbossad.model.schedules import Fire, FireState
from barbossad.store import rows, schedule_rows
from barbossad.store.change import Statement
from barbossad.store.fire_changes import INSERT_FIRES

_SCHEDULES: Final = """
SELECT json_group_array(schedules.id) FROM json_each(?) AS wanted CROSS JOIN schedules
WHERE schedules.id = wanted.value"""
_FIRES: Final = """
SELECT json_group_array(json_array(fires.schedule, fires.key)) FROM json_each(?) AS wanted CROSS JOIN fires
WHERE fires.schedule = json_extract(wanted.value, '$[0]') AND fires.key = json_extract(wanted.value, '$[1]')"""
_NEWEST: Final = """
SELECT json_group_array(json_array(fires.seq, fires.schedule, fires.state, fires.reason, fires.nominal_ms,
    ifnull(fires.until_ms, fires.nominal_ms)))
FROM json_each(?) AS wanted CROSS JOIN fires
WHERE fires.seq = (SELECT max(seq) FROM fires WHERE schedule = wanted.value)"""
_LENGTHEN: Final = Statement("""
UPDATE fires SET count = count + $1, until_ms = $2, decided_at_ms = $3 $rows WHERE fires.seq = $0
""")
_MOVE: Final = Statement("""
UPDATE schedules SET watermark = ifnull($1, watermark), mark = ifnull($2, mark) $rows WHERE schedules.id = $0
""")
_TELL: Final = Statement("INSERT INTO events (at_ms, kind, run, task, data) SELECT $0, $1, $2, $3, $4 $rows")


FireName = tuple[str, str]
"""The id of a schedule, and the key of a fire of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What was decided of a schedule without a run: fires that are let pass or wait, and where it stands."""

    schedule: str
    passed: Sequence[Fire] = field(default=())
    watermark: int | None = None
    mark: str | None = None


@dataclass(slots=True)
class _Stretch:
    """The newest row of a schedule, to which what is let pass for the same reason is added."""

    state: str
    reason: str | None
    first_ms: int
    last_ms: int
    seq: int | None
    """Its number, None if it is new: then it is at ``place`` among those."""

    place: int = 0
    more: int = 0
    decided_at_ms: int = 0

    def takes(self, fire: Fire) -> bool:
        """Say whether a fire is told by this row: it is of a schedule by time, and is let pass for the same reason.

        One from before it, to which a clock comes that was set back, has a row of its own.
        """
        is_same = (self.state, self.reason) == (fire.state, rows.text(fire.reason))
        return is_same and fire.state is FireState.SKIPPED and fire.key.isdecimal() and fire.nominal_ms >= self.first_ms


def record(tx: sqlite3.Connection, decisions: Sequence[Decided]) -> frozenset[FireName]:
    """Write decisions, with an event for each new row; return which of the fires were known before.

    Those stay as they are: a clock that is set back comes to the same instants again. What is decided of a schedule
    that is gone is moot: it must not keep the decisions on the others from being written, and a fire that it queued
    would wait for ever.
    """
    there = frozenset(_found(tx, _SCHEDULES, rows.to_json_list([one.schedule for one in decisions])))
    wanted = [decided for decided in decisions if decided.schedule in there]
    fires = [fire for decided in wanted for fire in decided.passed]
    known = _enter(tx, fires) if fires else frozenset()
    moves: dict[str, tuple[int | None, str | None]] = {}  # two moves of a row in one statement would be one
    for decided in wanted:
        watermark, mark = moves.get(decided.schedule, (None, None))
        moves[decided.schedule] = (
            watermark if decided.watermark is None else decided.watermark,
            mark if decided.mark is None else decided.mark,
        )
    values = [(schedule, *move) for schedule, move in moves.items() if move != (None, None)]
    _MOVE.run(tx, values, "a schedule is gone")
    return known


def _enter(tx: sqlite3.Connection, fires: Sequence[Fire]) -> frozenset[FireName]:
    """Insert fires, or add them to the stretches that they go on with; return those that were known.

    Of a stretch that begins within one that is there the beginning is known, too: what is left of it comes again.
    """
    known = _known(tx, fires)
    names = {(fire.schedule, fire.key): (fire.schedule, rows.text(fire.key)) for fire in fires}
    known_before = {name for name, stored in names.items() if stored in known}
    newest = _newest(tx, fires)
    recorded = list(newest.values())
    new: list[Fire] = []
    for fire in fires:
        name = (fire.schedule, rows.text(fire.key))
        if name in known:
            continue
        known.add(name)
        stretch = newest.get(fire.schedule)
        if stretch is None or not stretch.takes(fire):
            newest[fire.schedule] = _Stretch(
                fire.state, rows.text(fire.reason), fire.nominal_ms, _end(fire), None, place=len(new)
            )
            new.append(fire)
        elif fire.nominal_ms <= stretch.last_ms:  # it is counted: the clock was set back
            if _end(fire) > stretch.last_ms:
                known_before.add((fire.schedule, fire.key))
        else:
            stretch.last_ms, stretch.decided_at_ms = _end(fire), fire.decided_at_ms
            stretch.more += fire.count
            if stretch.seq is None:
                before = new[stretch.place]
                new[stretch.place] = replace(
                    before, count=before.count + fire.count, until_ms=_end(fire), decided_at_ms=fire.decided_at_ms
                )
    INSERT_FIRES.run(tx, [schedule_rows.fire_values(fire) for fire in new], "a fire could not be inserted")
    longer = [one for one in recorded if one.more]
    _LENGTHEN.run(tx, [(one.seq, one.more, one.last_ms, one.decided_at_ms) for one in longer], "a stretch is gone")
    _TELL.run(tx, [_told(fire) for fire in new], "an event could not be inserted")
    return frozenset(known_before)


def _known(tx: sqlite3.Connection, fires: Sequence[Fire]) -> set[tuple[str, str | None]]:
    """Return schedule and key of those that are recorded already."""
    pairs = rows.to_json([[fire.schedule, rows.text(fire.key)] for fire in fires])
    return {(schedule, key) for schedule, key in _found(tx, _FIRES, pairs)}


def _newest(tx: sqlite3.Connection, fires: Sequence[Fire]) -> dict[str, _Stretch]:
    """Return the newest row of each schedule that has one."""
    found = _found(tx, _NEWEST, rows.to_json_list(sorted({fire.schedule for fire in fires})))
    return {
        schedule: _Stretch(state, reason, first_ms, last_ms, seq)
        for seq, schedule, state, reason, first_ms, last_ms in found
    }


def _told(fire: Fire) -> tuple[int, str, None, None, str]:
    facts = {"schedule": fire.schedule, "reason": fire.reason, "nominal_ms": fire.nominal_ms, "count": fire.count}
    text = rows.to_json({name: value for name, value in facts.items() if value is not None})
    return fire.decided_at_ms, f"schedule_{fire.state}", None, None, text


def _end(fire: Fire) -> int:
    return fire.nominal_ms if fire.until_ms is None else fire.until_ms


def _found(tx: sqlite3.Connection, sql: str, wanted: str) -> list[Any]:
    """Return what a query finds, all in one row: for each row that is fetched the interpreter is given away."""
    (text,) = tx.execute(sql, (wanted,)).fetchone()
    found: list[Any] = rows.from_json(text)
    return found
