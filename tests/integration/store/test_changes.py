"""Steps of a run's life: each with its event, by compare-and-set, wholly or not at all."""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from barbossad.errors import ConflictError, NotFoundError, StateError
from barbossad.model import states
from barbossad.model.names import WorkflowName
from barbossad.model.records import LogRecord, TaskRecord
from barbossad.model.states import (
    ATTEMPT_ENDED,
    ATTEMPT_MOVES,
    RUN_ENDED,
    RUN_MOVES,
    TASK_ENDED,
    AttemptState,
    RunState,
    StopCause,
    TaskState,
)
from barbossad.store import changes, task_changes
from barbossad.store.change import SIZES
from barbossad.store.changes import Change
from barbossad.store.database import Database
from barbossad.store.long_values import Parting
from barbossad.store.run_details import RunDetails
from barbossad.store.runs import RunStore
from barbossad.store.workflows import WorkflowStore
from tests.helpers.records import NOON_MS, attempt, moved, run, run_id, task, version


def do(connection: sqlite3.Connection, *steps: Change) -> None:
    """Write steps in a transaction of their own."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        changes.apply_all(connection, steps)
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def dump(connection: sqlite3.Connection) -> dict[str, list[tuple[object, ...]]]:
    """Return all rows of all tables."""
    tables = ("runs", "tasks", "attempts", "logs", "events", "workflows", "versions")
    return {table: connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall() for table in tables}


def refuse(connection: sqlite3.Connection, *steps: Change) -> None:
    """Check that steps raise StateError and that nothing of them happened."""
    before = dump(connection)
    with pytest.raises(StateError):
        do(connection, *steps)
    assert dump(connection) == before


def started(number: int = 0) -> list[Change]:
    """Return the steps that lead to a run with one task that is starting."""
    running = run(number, state=RunState.RUNNING, started_at_ms=NOON_MS)
    return [
        changes.RunCreated(run(number)),
        moved(running),
        changes.AttemptStarting(task(number=number, started_at_ms=NOON_MS), attempt(number=number)),
    ]


def running() -> Change:
    return changes.AttemptRunning(
        task(TaskState.RUNNING, started_at_ms=NOON_MS + 1),
        attempt(AttemptState.RUNNING, started_at_ms=NOON_MS + 1, pid=77, pid_started_ticks=12345),
    )


def ended(state: AttemptState, log: LogRecord | None = None) -> Change:
    return changes.AttemptEnded(
        task(TaskState(state.value), reason="so it went", started_at_ms=NOON_MS + 1, finished_at_ms=NOON_MS + 2),
        attempt(state, reason="so it went", started_at_ms=NOON_MS + 1, finished_at_ms=NOON_MS + 2, log=log),
    )


def unstarted(state: TaskState) -> Change:
    return changes.TasksEndedUnstarted([task(state, finished_at_ms=NOON_MS + 2)])


# -- compare and set ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("source", "target"), list(itertools.product(RunState, RunState)))
def test_moves_of_runs(connection: sqlite3.Connection, source: RunState, target: RunState) -> None:
    """A run moves as the model says; any other move is an error that changes nothing."""
    do(connection, changes.RunCreated(run()))
    if source is not RunState.QUEUED:
        do(connection, moved(run(state=RunState.RUNNING, started_at_ms=NOON_MS)))
    if source is RunState.PAUSED:
        do(connection, moved(run(state=source, started_at_ms=NOON_MS)))
    if source in RUN_ENDED:
        do(connection, moved(run(state=source, finished_at_ms=NOON_MS)))
    move = moved(run(state=target, started_at_ms=NOON_MS + 5, finished_at_ms=NOON_MS + 5, reason="why"))
    if target in RUN_MOVES[source] or (target is source and source not in RUN_ENDED):  # it may change otherwise
        do(connection, move)
        assert connection.execute("SELECT state, reason FROM runs").fetchall() == [(target.value, "why")]
    else:
        refuse(connection, move)


_ATTEMPT_SOURCES = [None, *AttemptState]


@pytest.mark.parametrize(("source", "target"), list(itertools.product(_ATTEMPT_SOURCES, AttemptState)))
def test_moves_of_attempts(connection: sqlite3.Connection, source: AttemptState | None, target: AttemptState) -> None:
    """An attempt, and its task with it, moves as the model says, and never from an end."""
    do(connection, *started()[:2])
    if source is not None:
        do(connection, started()[2])
    if source is AttemptState.RUNNING:
        do(connection, running())
    if source in ATTEMPT_ENDED:
        assert source is not None
        do(connection, ended(source))
    if target is AttemptState.STARTING:
        move, is_legal = started()[2], source is None
    elif target is AttemptState.RUNNING:
        move, is_legal = running(), source is AttemptState.STARTING
    else:
        move, is_legal = ended(target), source is not None and target in ATTEMPT_MOVES[source]
    if is_legal:
        do(connection, move)
        assert connection.execute("SELECT state FROM attempts").fetchall() == [(target.value,)]
        assert connection.execute("SELECT state FROM tasks").fetchall() == [(target.value,)]
    else:
        refuse(connection, move)


@pytest.mark.parametrize("count", [1, 3, 2 * SIZES[0] + 1])
def test_together_as_apart(connection: sqlite3.Connection, count: int) -> None:
    """However many steps are one commit, rows and events are those of one commit a step."""
    steps = [step for number in range(count) for step in started(number)]
    connection.execute("SAVEPOINT apart")
    for step in steps:
        changes.apply_all(connection, [step])
    apart = dump(connection)
    connection.execute("ROLLBACK TO apart")
    connection.execute("RELEASE apart")
    do(connection, *steps)
    assert dump(connection) == apart


@pytest.mark.parametrize("state", TaskState)
def test_ends_without_a_start(connection: sqlite3.Connection, state: TaskState) -> None:
    """A pending task may fail, be cancelled, interrupted or unreachable; it cannot succeed without an attempt."""
    do(connection, *started()[:2])
    if state in states.TASK_MOVES[TaskState.PENDING] & TASK_ENDED:
        do(connection, unstarted(state))
        assert connection.execute("SELECT state FROM tasks").fetchall() == [(state.value,)]
        for later in (unstarted(state), unstarted(TaskState.CANCELLED), started()[2]):
            refuse(connection, later)
    else:
        refuse(connection, unstarted(state))


@pytest.mark.parametrize("source", [AttemptState.STARTING, AttemptState.RUNNING, *sorted(ATTEMPT_ENDED)])
def test_what_started_does_not_end_unstarted(connection: sqlite3.Connection, source: AttemptState) -> None:
    """A task that has an attempt ends with it, not beside it."""
    do(connection, *started())
    if source is AttemptState.RUNNING:
        do(connection, running())
    elif source in ATTEMPT_ENDED:
        do(connection, ended(source))
    refuse(connection, unstarted(TaskState.CANCELLED))


def test_a_run_is_stopped_once(connection: sqlite3.Connection) -> None:
    """The first reason to end a run stays; a run that has ended gets none."""
    stopping = changes.RunStopping(run(stop_cause=StopCause.CANCEL, stop_reason="enough"), NOON_MS)
    do(connection, *started(), stopping)
    refuse(connection, changes.RunStopping(run(stop_cause=StopCause.RUN_TIMEOUT, stop_reason="late"), NOON_MS))
    assert connection.execute("SELECT stop_cause, stop_reason FROM runs").fetchall() == [("cancel", "enough")]
    do(connection, changes.RunCreated(run(1)), moved(run(1, state=RunState.CANCELLED, finished_at_ms=0)))
    refuse(connection, changes.RunStopping(run(1, stop_cause=StopCause.CANCEL), NOON_MS))


def test_unknown_run(connection: sqlite3.Connection) -> None:
    """Steps of a run that there is not are errors."""
    refuse(connection, moved(run(state=RunState.RUNNING)))
    refuse(connection, running())
    refuse(connection, ended(AttemptState.FAILED))
    refuse(connection, started()[2])
    refuse(connection, unstarted(TaskState.CANCELLED))


def test_a_key_is_used_once(connection: sqlite3.Connection) -> None:
    """An idempotency key names one run of a workflow; other workflows, and runs without one, are free."""
    do(connection, changes.RunCreated(run(0, idempotency_key="monday")))
    before = dump(connection)
    with pytest.raises(ConflictError, match="'backup' with the idempotency key 'monday' exists"):
        do(connection, changes.RunCreated(run(1, idempotency_key="monday")))
    assert dump(connection) == before
    do(connection, changes.RunCreated(run(2, "other", idempotency_key="monday")))
    do(connection, changes.RunCreated(run(3)), changes.RunCreated(run(4)))


def test_an_id_is_used_once(connection: sqlite3.Connection) -> None:
    """Two runs with one id are a fault of Barbossa, not a conflict that a caller could mend."""
    do(connection, changes.RunCreated(run()))
    with pytest.raises(sqlite3.IntegrityError):
        do(connection, changes.RunCreated(run()))


# -- wholly or not at all ----------------------------------------------------------------------------------

EVERY_STEP: list[tuple[str, Sequence[Change], Change]] = [
    ("run created", [], changes.RunCreated(run())),
    ("run moved", started()[:1], started()[1]),
    ("run stopping", started(), changes.RunStopping(run(stop_cause=StopCause.CANCEL), NOON_MS)),
    ("attempt starting", started()[:2], started()[2]),
    ("attempt running", started(), running()),
    ("attempt ended", started(), ended(AttemptState.FAILED, LogRecord(text=b"words\n", size_bytes=6))),
    ("tasks ended unstarted", started()[:2], unstarted(TaskState.CANCELLED)),
]


@pytest.mark.parametrize(("before", "step"), [case[1:] for case in EVERY_STEP], ids=[case[0] for case in EVERY_STEP])
def test_no_change_without_its_event(connection: sqlite3.Connection, before: Sequence[Change], step: Change) -> None:
    """If the event cannot be written, the change does not happen; if it can, there is exactly one."""
    if before:
        do(connection, *before)
    rows = dump(connection)
    connection.execute("CREATE TEMP TRIGGER deaf BEFORE INSERT ON main.events BEGIN SELECT RAISE(ABORT, 'deaf'); END")
    with pytest.raises(sqlite3.IntegrityError, match="deaf"):
        do(connection, step)
    assert dump(connection) == rows
    connection.execute("DROP TRIGGER deaf")
    do(connection, step)
    assert len(dump(connection)["events"]) == len(rows["events"]) + 1


async def test_no_change_of_workflows_without_its_event(database: Database) -> None:
    """The same holds for workflows."""
    store = WorkflowStore(database)
    await store.apply(version(number=1))
    deaf = "CREATE TEMP TRIGGER deaf BEFORE INSERT ON main.events BEGIN SELECT RAISE(ABORT, 'deaf'); END"
    await database.write(lambda tx: tx.execute(deaf).rowcount)
    before = await database.write(dump)
    name = WorkflowName("backup")
    for change in (
        partial(store.apply, version(number=2)),
        partial(store.delete, name, at_ms=0, by="x"),
        partial(store.enable, name, is_enabled=False, at_ms=0, by="x"),
    ):
        with pytest.raises(sqlite3.IntegrityError, match="deaf"):
            await change()
    assert await database.write(dump) == before


def test_steps_are_one(connection: sqlite3.Connection) -> None:
    """When a later step of several may not be, the earlier ones are not either."""
    do(connection, changes.RunCreated(run()))
    refuse(connection, *started()[1:], running(), running())


def test_events_tell_the_story(connection: sqlite3.Connection) -> None:
    """The events of a run say in order what happened, with the facts and without what is not known."""
    do(connection, *started())
    do(connection, running())
    do(connection, ended(AttemptState.FAILED))
    do(connection, changes.TasksEndedUnstarted([task(TaskState.UPSTREAM_FAILED, "two", finished_at_ms=NOON_MS + 3)]))
    do(connection, moved(run(state=RunState.FAILED, reason="task one failed", finished_at_ms=NOON_MS + 3)))
    told = connection.execute("SELECT seq, at_ms, kind, task, data FROM events ORDER BY seq").fetchall()
    assert [row[0] for row in told] == list(range(1, 8))
    assert [(kind, task_id) for _, _, kind, task_id, _ in told] == [
        ("run_created", None),
        ("run_started", None),
        ("task_starting", "one"),
        ("task_running", "one"),
        ("task_finished", "one"),
        ("task_finished", "two"),
        ("run_finished", None),
    ]
    facts = [json.loads(row[4]) for row in told]
    assert facts[4] == {"state": "failed", "reason": "so it went", "attempt": 1}
    assert facts[6] == {"state": "failed", "reason": "task one failed"}


# -- what is written is what is read -----------------------------------------------------------------------


WORDS = ["NUL \0 inside", "\0", 'newline \n, "quotes", back\\slash \\u0000', "☠ 𝄞 \u202e \u2028", "", "{}", "null", "1"]


def life(number: int, words: str) -> tuple[list[Change], RunDetails]:
    """Return all steps of a run that is full of words, and how a reader sees it at the end."""
    whole = run(
        number,
        params={"text": words, words: [1, 2.5, None, True], "map": {"b": 1, "a": 2}, "large": 10**40},
        idempotency_key=f"{words}{number}",
        requested_by=words,
    )
    begun_run = replace(whole, state=RunState.RUNNING, started_at_ms=NOON_MS + 1)
    stopping = replace(begun_run, stop_cause=StopCause.CANCEL, stop_reason=words)
    last = replace(stopping, state=RunState.CANCELLED, reason=words, finished_at_ms=NOON_MS + 9)
    begun = attempt(number=number, unit="barbossa-x.service")
    lives = replace(begun, state=AttemptState.RUNNING, started_at_ms=NOON_MS + 2, pid=1, pid_started_ticks=2**60)
    log = LogRecord(
        text=b"\xff\0 not text\n" + words.encode(), path="x.log", size_bytes=12, dropped_bytes=3, dropped_at=4
    )
    ends = {"exit_code": 0, "signal": 15, "reason": words, "cpu_seconds": 0.1 + 0.2, "peak_memory_bytes": 1 << 40}
    over = replace(lives, state=AttemptState.SUCCEEDED, finished_at_ms=NOON_MS + 3, log=log, **ends)  # type: ignore[arg-type]
    times: dict[str, Any] = {"started_at_ms": NOON_MS + 2, "finished_at_ms": NOON_MS + 3}
    done = task(TaskState.SUCCEEDED, number=number, outputs={"path": words}, **times)
    never = task(TaskState.CANCELLED, "two", number, reason=words, finished_at_ms=NOON_MS + 4)
    steps: list[Change] = [
        changes.RunCreated(whole),
        moved(begun_run),
        changes.AttemptStarting(task(number=number, started_at_ms=NOON_MS + 1), begun),
        changes.AttemptRunning(task(TaskState.RUNNING, number=number, started_at_ms=NOON_MS + 2), lives),
        changes.RunStopping(stopping, NOON_MS),
        changes.AttemptEnded(done, over),
        changes.TasksEndedUnstarted([never]),
        moved(last),
    ]
    told = words.replace("\0", "\ufffd")  # plain text ends at a NUL; in JSON it is an escape
    read = replace(over, log=replace(log, text=None, path=None), reason=told)
    last = replace(last, requested_by=told, reason=told, stop_reason=told, idempotency_key=f"{told}{number}")
    return steps, RunDetails(
        run=last, tasks={"one": done, "two": replace(never, reason=told)}, attempts={"one": (read,)}
    )


@pytest.mark.parametrize("is_group", [False, True], ids=["alone", "together"])
async def test_records_come_back_as_they_were(database: Database, is_group: bool) -> None:
    """Runs, tasks, attempts and logs are read as they were written, whatever their words, alone and in a group."""
    lives = [life(number, words) for number, words in enumerate(WORDS)]
    group = [step for steps, _ in lives for step in steps]
    for steps in [group] if is_group else [steps for steps, _ in lives]:
        await database.record(steps, is_fact=True)
    store = RunStore(database)
    for number, (_, expected) in enumerate(lives):
        assert store.get(run_id(number)) == expected
        log = store.log(run_id(number), "one", 1)
        assert log is not None
        assert log.text == b"\xff\0 not text\n" + WORDS[number].encode()
        assert store.find_by_key("backup", f"{WORDS[number]}{number}") == expected.run
        assert await store.revision(run_id(number)) > 0


async def test_no_words_keep_a_fact_from_the_record(database: Database) -> None:
    """Half a surrogate pair, as Python makes of paths that are not UTF-8, becomes a question mark."""
    words = "no such file: caf\udce9"
    failed = task(TaskState.FAILED, reason=words, outputs={"path": words}, finished_at_ms=NOON_MS)
    await database.record(
        [
            *started(),
            changes.AttemptEnded(failed, attempt(AttemptState.FAILED, reason=words, finished_at_ms=NOON_MS)),
            changes.RunStopping(run(stop_cause=StopCause.CANCEL, stop_reason=words), NOON_MS),
            moved(run(state=RunState.FAILED, reason=words, finished_at_ms=NOON_MS)),
        ],
        is_fact=True,
    )
    found = RunStore(database).get(run_id())
    assert found is not None
    assert found.run.reason == found.run.stop_reason == found.tasks["one"].reason == "no such file: caf?"
    assert found.tasks["one"].outputs == {"path": "no such file: caf?"}


@pytest.mark.parametrize("size", [0, 1, 8192])
async def test_small_logs_are_in_the_store(database: Database, size: int) -> None:
    """The output of an attempt that printed little comes with the same commit; none takes no row."""
    text = b"x" * size
    await database.record([*started(), ended(AttemptState.FAILED, LogRecord(text=text, size_bytes=size))], is_fact=True)
    assert RunStore(database).log(run_id(), "one", 1) == LogRecord(text=text, size_bytes=size)
    assert await database.read("SELECT count(*) FROM logs") == [(min(size, 1),)]


async def test_large_logs_are_in_their_file(database: Database) -> None:
    """Of a large log the store knows the file, its size and what was dropped of it."""
    log = LogRecord(path="2026-01-31/x.log", size_bytes=1000, dropped_bytes=500, dropped_at=300)
    await database.record([*started(), ended(AttemptState.FAILED, log)], is_fact=True)
    store = RunStore(database)
    assert store.log(run_id(), "one", 1) == log
    assert store.log(run_id(), "one", 2) is None
    assert store.log(run_id(9), "one", 1) is None


async def test_units_are_known_by_their_run(database: Database) -> None:
    """Whether a unit was that of an attempt is known as long as its run is."""
    made = changes.AttemptStarting(task(started_at_ms=NOON_MS), attempt(unit="barbossa-x.service"))
    await database.record([*started()[:-1], made], is_fact=True)
    store = RunStore(database)
    assert store.had_unit(run_id(), "barbossa-x.service")
    assert not store.had_unit(run_id(), "barbossa-y.service")
    assert not store.had_unit(run_id(9), "barbossa-x.service")


def test_rows_go_with_their_run(connection: sqlite3.Connection) -> None:
    """Deleting a run takes its tasks, attempts and logs with it; what happened stays told."""
    do(connection, *started(), ended(AttemptState.FAILED, LogRecord(text=b"x", size_bytes=1)))
    connection.execute("DELETE FROM runs")
    assert [table for table, rows in dump(connection).items() if rows] == ["events"]


async def test_unknown_workflow(database: Database) -> None:
    """What is not in force cannot be deleted or switched."""
    store = WorkflowStore(database)
    with pytest.raises(NotFoundError):
        await store.delete(WorkflowName("nobody"), at_ms=0, by="x")
    with pytest.raises(NotFoundError):
        await store.enable(WorkflowName("nobody"), is_enabled=True, at_ms=0, by="x")
    assert await database.read("SELECT * FROM events") == []


def test_task_records_are_whole() -> None:
    """A task's row has a column for each of its facts; for what it waits is set on its own."""
    sizes = 3  # of what may stand elsewhere
    assert len(task_changes._task_values(task(), Parting())) == len(TaskRecord.__slots__) - 1 + sizes
