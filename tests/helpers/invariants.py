"""What must hold of a state file whatever happened to its daemon, checked from the outside with plain SQL."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import Any

from barbossad.model import states
from barbossad.model.schedules import TIME_KINDS, FireState
from barbossad.model.states import AttemptState, RunState, TaskState
from barbossad.store import schema

_KEYS = {"runs": "id", "tasks": "run, task", "attempts": "run, task, number"}
_STATES: dict[str, type[StrEnum]] = {"runs": RunState, "tasks": TaskState, "attempts": AttemptState}
_ENDED: dict[str, frozenset[Any]] = {
    "runs": states.RUN_ENDED,
    "tasks": states.TASK_ENDED,
    "attempts": states.ATTEMPT_ENDED,
}


def broken(database: Path, *, is_idle: bool = True, is_pruned: bool = False, has_texts: bool = True) -> list[str]:
    """Return every invariant that does not hold in a state file that no daemon has open.

    ``is_idle``: nothing was under way when its daemon stopped. ``is_pruned``: runs and events may have been deleted.
    ``has_texts``: versions were applied as the daemon does it, so that each is named by its content.
    """
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return [
            *_damage(connection),
            *_unknown_states(connection),
            *(_unended(connection) if is_idle else ()),
            *_contradictions(connection, is_pruned=is_pruned),
            *_misfired(connection, is_idle=is_idle, is_pruned=is_pruned),
            *_untold(connection, is_pruned=is_pruned),
            *_misplaced(connection, is_pruned=is_pruned),
            *(_misnamed(connection) if has_texts else ()),
        ]


def _damage(connection: sqlite3.Connection) -> Iterator[str]:
    """The file is whole, is ours, and no row refers to one that is not there."""
    for (verdict,) in connection.execute("PRAGMA integrity_check"):
        if verdict != "ok":
            yield f"integrity_check: {verdict}"
    for row in connection.execute("PRAGMA foreign_key_check"):
        yield f"foreign_key_check: {row}"
    marks = {"application_id": schema.APPLICATION_ID, "user_version": max(schema.scripts())}
    for pragma, expected in marks.items():
        (found,) = connection.execute(f"PRAGMA {pragma}").fetchone()
        if found != expected:
            yield f"{pragma} is {found}, not {expected}"


def _unknown_states(connection: sqlite3.Connection) -> Iterator[str]:
    """Every state is one of the model's."""
    for table, known in _STATES.items():
        for (state,) in connection.execute(f"SELECT DISTINCT state FROM {table}"):
            if state not in set(known):
                yield f"{table}: there is no state {state!r}"


def _unended(connection: sqlite3.Connection) -> Iterator[str]:
    """Nothing stays running for ever (I4)."""
    for table, key in _KEYS.items():
        for row in connection.execute(f"SELECT {key}, state FROM {table}"):
            if row[-1] not in _ENDED[table]:
                yield f"{table}: {row} is still {row[-1]}"


def _among(found: frozenset[Any]) -> str:
    return "(" + ", ".join(f"'{state}'" for state in sorted(found)) + ")"


def _contradictions(connection: sqlite3.Connection, *, is_pruned: bool) -> list[str]:
    """Success stands on a seen exit code 0 (I8), a task ends as its attempt did, a run as its tasks."""
    runs, tasks, attempts = (_among(_ENDED[table]) for table in _KEYS)
    rules = {
        "succeeded without exit code 0": """
            SELECT run, task FROM attempts
            WHERE state = 'succeeded' AND exit_code IS NOT 0 AND launcher != 'workflow'""",
        "a call that succeeded though the run that it called did not": f"""
            SELECT run, task FROM attempts AS a WHERE state = 'succeeded' AND launcher = 'workflow' AND NOT EXISTS
                (SELECT 1 FROM runs AS r WHERE parent_run = a.run AND parent_task = a.task AND r.state = 'succeeded')
                AND ({not is_pruned} OR EXISTS
                    (SELECT 1 FROM runs WHERE parent_run = a.run AND parent_task = a.task))""",
        "a task that is not what its last attempt is": """
            SELECT run, task, state FROM tasks AS t
            WHERE state NOT IN ('failed', 'cancelled', 'waiting') AND EXISTS
                (SELECT 1 FROM attempts AS a WHERE a.run = t.run AND a.task = t.task) AND state !=
                (SELECT state FROM attempts AS a WHERE a.run = t.run AND a.task = t.task
                 ORDER BY number DESC LIMIT 1)""",
        "a run that ended otherwise than was decided": """
            SELECT id, outcome, state FROM runs WHERE finished_at_ms IS NOT NULL AND outcome IS NOT NULL
                AND outcome != state""",
        "a succeeded run without a warning of a task that failed": """
            SELECT run, task FROM tasks JOIN runs ON runs.id = run
            WHERE runs.state = 'succeeded' AND runs.warnings = 0
                AND tasks.state IN ('failed', 'timed_out', 'interrupted') AND task NOT GLOB 'on_*'""",
        "a task that was tried again though it had been cancelled": """
            SELECT run, task FROM attempts AS a WHERE state = 'cancelled' AND EXISTS
                (SELECT 1 FROM attempts AS b WHERE b.run = a.run AND b.task = a.task AND b.number > a.number)""",
        "attempts that are not numbered through": """
            SELECT run, task, max(number), count(*) FROM attempts GROUP BY run, task HAVING max(number) != count(*)""",
        "an ended run with a task that has not": f"""
            SELECT run, task, tasks.state FROM tasks JOIN runs ON runs.id = run
            WHERE runs.state IN {runs} AND tasks.state NOT IN {tasks}""",
        "an ended task with a live attempt": f"""
            SELECT run, task, number FROM attempts JOIN tasks USING (run, task)
            WHERE tasks.state IN {tasks} AND attempts.state NOT IN {attempts}""",
        "a live task without a live attempt": f"""
            SELECT run, task FROM tasks WHERE state IN ('starting', 'running') AND (run, task) NOT IN
                (SELECT run, task FROM attempts WHERE state NOT IN {attempts})
                AND (state = 'starting' OR (run, task) IN (SELECT run, task FROM attempts))""",
        "two live attempts of a task (I3)": f"""
            SELECT run, task FROM attempts WHERE state NOT IN {attempts} GROUP BY run, task HAVING count(*) > 1""",
        "a queued run with a task that has begun": f"""
            SELECT run, task, tasks.state FROM tasks JOIN runs ON runs.id = run
            WHERE runs.state = 'queued' AND (tasks.state NOT IN {tasks} OR (runs.retry_of IS NULL AND EXISTS
                (SELECT 1 FROM attempts AS a WHERE a.run = tasks.run AND a.task = tasks.task)))""",
        **{
            f"{table}: an end without its instant, or an instant without an end": f"""
            SELECT {key}, state, finished_at_ms FROM {table}
            WHERE (finished_at_ms IS NOT NULL) != (state IN {_among(_ENDED[table])})"""
            for table, key in _KEYS.items()
        },
        "a log both in the store and in a file": """
            SELECT run, task, number, log_path FROM logs JOIN attempts USING (run, task, number)
            WHERE log_path IS NOT NULL""",
    }
    return [f"{rule}: {row}" for rule, sql in rules.items() for row in connection.execute(sql)]


def _misfired(connection: sqlite3.Connection, *, is_idle: bool, is_pruned: bool) -> Iterator[str]:
    """A fire and its run are one transaction: neither is without the other, and nothing fires twice."""
    for (state,) in connection.execute("SELECT DISTINCT state FROM fires"):
        if state not in set(FireState):
            yield f"fires: there is no state {state!r}"
    rules = {
        "a fire that goes on without a run of its schedule": """
            SELECT schedule, key, run FROM fires AS f WHERE state = 'started' AND NOT EXISTS
                (SELECT 1 FROM runs WHERE id = f.run AND runs.schedule = f.schedule)""",
        "a fire that has the run of another schedule": """
            SELECT f.schedule, f.key, f.run, r.schedule FROM fires AS f JOIN runs AS r ON r.id = f.run
            WHERE r.schedule IS NOT f.schedule""",
        "a run of two fires": "SELECT run, count(*) FROM fires WHERE run IS NOT NULL GROUP BY run HAVING count(*) > 1",
        "a fire with tries and no run, or a run and no tries": """
            SELECT schedule, key, run, tries FROM fires WHERE (run IS NOT NULL) != (tries > 0)""",
        "two fires of one instant, the first not let pass by a clock that was ahead": f"""
            SELECT f.schedule, nominal_ms, count(*) FROM fires AS f JOIN schedules AS s ON s.id = f.schedule
            WHERE s.definition ->> 'kind' IN {_among(TIME_KINDS)} AND f.key NOT LIKE 'manual:%'
                AND NOT (f.key LIKE '%~%' AND f.state IN ('missed', 'skipped'))
            GROUP BY f.schedule, nominal_ms HAVING count(*) > 1""",
        "a fire that succeeded with a run that did not": """
            SELECT schedule, key, run FROM fires AS f WHERE state = 'succeeded' AND EXISTS
                (SELECT 1 FROM runs WHERE id = f.run AND state != 'succeeded')""",
        "a fire that failed, or is tried again, with a run that succeeded": """
            SELECT schedule, key, run FROM fires AS f WHERE state IN ('failed', 'retrying') AND EXISTS
                (SELECT 1 FROM runs WHERE id = f.run AND state = 'succeeded')""",
        "a fire that is tried again at no instant, or has an instant and is not": """
            SELECT schedule, key, state FROM fires WHERE (retry_at_ms IS NOT NULL) != (state = 'retrying')""",
        "a fire that waits, of a schedule that is gone": """
            SELECT schedule, key, state FROM fires WHERE state IN ('queued', 'retrying')
                AND schedule NOT IN (SELECT id FROM schedules)""",
    }
    if is_idle:
        rules["a fire that goes on though its run has ended"] = f"""
            SELECT schedule, key, run FROM fires AS f WHERE state = 'started'
                AND EXISTS (SELECT 1 FROM runs WHERE id = f.run AND runs.state IN {_among(_ENDED["runs"])})"""
    if not is_pruned:  # one of several tries has a fire whose run is a later one
        rules["a run of a schedule without its fire"] = """
            SELECT id, schedule FROM runs AS r WHERE schedule IS NOT NULL AND NOT EXISTS
                (SELECT 1 FROM fires AS f WHERE f.schedule = r.schedule
                 AND (f.run = r.id OR (f.tries > 1 AND f.run > r.id))
                 AND (r.scheduled_for_ms IS NULL OR r.scheduled_for_ms = f.nominal_ms))"""
    for rule, sql in rules.items():
        yield from (f"{rule}: {row}" for row in connection.execute(sql))


def _untold(connection: sqlite3.Connection, *, is_pruned: bool) -> Iterator[str]:
    """A change and its event are one transaction (I2): the events of a row lead, move by legal move, to its state."""
    told: defaultdict[tuple[int, str | None], list[str]] = defaultdict(list)
    for run, task, data in connection.execute(
        """SELECT run, task, data FROM events
        WHERE kind NOT IN ('run_stopping', 'run_decided', 'run_late', 'task_released', 'task_late', 'task_stopping')
            AND kind NOT GLOB 'schedule_*' AND run IS NOT NULL ORDER BY seq"""
    ):
        told[run, task].append(json.loads(data)["state"])
    for (run, task), path in told.items():
        begin = path[:1] if is_pruned else ["queued" if task is None else "pending"]
        moves: Mapping[Any, frozenset[Any]] = states.RUN_MOVES if task is None else states.TASK_MOVES
        steps = path[1:] if is_pruned or task is None else path
        if task is None and not is_pruned and path[0] != begin[0]:
            yield f"the first event of run {run} says {path[0]}"
        for before, after in zip([*begin, *steps], steps, strict=False):
            if after not in moves[before]:
                yield f"the events of {run, task} lead from {before} to {after}"
    found = [((run, None), state) for run, state in connection.execute("SELECT id, state FROM runs")]
    found += [((run, task), state) for run, task, state in connection.execute("SELECT run, task, state FROM tasks")]
    for key, state in found:
        last = told[key][-1] if key in told else None
        if last != state and not (is_pruned and last is None):
            yield f"{key} is {state}, the last event says {last}"


def _misplaced(connection: sqlite3.Connection, *, is_pruned: bool) -> Iterator[str]:
    """A value stands in the row of its task or beside it, whole, as the row says; that of a deleted run may be cut."""
    for name in ("outputs", "stdout", "items"):
        found = connection.execute(f"""
            SELECT t.run, t.task, t.{name} IS NOT NULL, t.{name}_bytes,
                (SELECT sum(length(text)) FROM long_values AS v
                 WHERE v.run = t.run AND v.task = t.task AND v.name = '{name}')
            FROM tasks AS t""")
        for run, task, is_in_row, told, there in found:
            is_cut = is_pruned and told is not None and (there or 0) < told
            if (is_in_row and told is not None) or (told != there and not is_cut):
                yield f"the {name} of {run, task} have {there} bytes beside the row, which says {told}"


def _misnamed(connection: sqlite3.Connection) -> Iterator[str]:
    """A version is named by its content."""
    for workflow, version, text in connection.execute("SELECT workflow, version, text FROM versions"):
        digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
        if not digest.startswith(version):
            yield f"version {version} of {workflow} has a text that is {digest[:16]}"
