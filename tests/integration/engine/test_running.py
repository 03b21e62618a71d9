"""The loop around the decisions: it records, launches, hears of ends, and gives slots away."""

from __future__ import annotations

import asyncio
import logging
import random
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from barbossad.clock import rfc3339
from barbossad.errors import ConflictError, NotFoundError, StateError
from barbossad.model.definition import WorkflowDefinition
from barbossad.model.names import run_number
from barbossad.model.records import LogRecord
from barbossad.model.states import RunState, TaskState
from barbossad.process.launcher import OUTPUT_LIMIT, CannotEnforceError, LaunchSpec
from barbossad.security import masking
from tests.helpers.clock import StillClock
from tests.helpers.house import LIMIT_SECONDS, House, load
from tests.helpers.records import NOON_MS, run_id, workflow
from tests.helpers.waiting import eventually_async

ONE = workflow({"a": []})
CHAIN = workflow({"a": [], "b": ["a"], "c": ["b"]})


async def kinds(house: House) -> list[str]:
    return [kind for (kind,) in await house.database.read("SELECT kind FROM events ORDER BY seq")]


async def test_chain(house: House) -> None:
    """Tasks start one after the other as their dependencies succeed, and the run ends with the last."""
    started = await house.start(CHAIN)
    for task_id in "abc":
        process = await house.launcher.next()
        assert process.task == task_id
        assert len(house.launcher.live) == 1
        process.exit(0, output=task_id.encode(), log=LogRecord(text=b"said\n", size_bytes=5))
    details = await house.ended(started)
    assert details.run.state is RunState.SUCCEEDED
    assert {task_id: task.outputs for task_id, task in details.tasks.items()} == {c: {"written": c} for c in "abc"}
    assert house.runs.log(started, "b", 1) == LogRecord(text=b"said\n", size_bytes=5)
    assert house.engine.counts["active"] == house.engine.counts["running"] == house.engine.counts["waiting"] == 0


async def test_long_secrets(house: House) -> None:
    """A task begins when what masks its secrets is made, beside the event loop; one that is cancelled before, never."""
    house._preparation._get_secret = lambda name: f"{name} " * 1000
    one, two = (load(f"name: x\nsecrets: {{T: {name}}}\ntasks: [{{id: a, shell: a}}]") for name in ("one", "two"))
    cancelled = await house.start(one)
    await house.engine.cancel(cancelled, "cancelled by anne")
    assert (await house.ended(cancelled)).run.state is RunState.CANCELLED
    assert house.launcher.launched == []
    started = await house.start(two)
    process = await house.launcher.next()
    assert masking.is_at_hand(process.spec.secrets)
    process.exit()
    assert (await house.ended(started)).run.state is RunState.SUCCEEDED


async def test_failure_stops_what_depends_on_it(house: House) -> None:
    """After a failure nothing that waits for it is launched."""
    started = await house.start(CHAIN)
    (await house.launcher.next()).exit(3)
    details = await house.ended(started)
    assert details.run.state is RunState.FAILED
    assert details.tasks["a"].reason == "exit code 3"
    assert [task.state for task in details.tasks.values()] == ["failed", "upstream_failed", "upstream_failed"]
    assert len(house.launcher.launched) == 1


async def test_one_line_an_attempt_and_a_run(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """Each attempt and each run has one line at its end, by whose facts it is found."""
    caplog.set_level(logging.INFO)
    started = await house.start(CHAIN)
    (await house.launcher.next()).exit(0)
    (await house.launcher.next()).exit(3)
    await house.ended(started)
    await eventually_async(
        lambda: len(caplog.records) == 3, LIMIT_SECONDS, "the run's line, which keeps nobody waiting"
    )
    ends = [record for record in caplog.records if record.levelno == logging.INFO]
    facts = [
        {
            name: vars(record).get(name)
            for name in ("action", "run_id", "workflow", "task", "attempt", "state", "exit_code")
        }
        for record in ends
    ]
    about: dict[str, object] = {"run_id": started, "workflow": CHAIN.name}
    assert facts == [
        {**about, "action": "attempt_finished", "task": "a", "attempt": 1, "state": "succeeded", "exit_code": 0},
        {**about, "action": "attempt_finished", "task": "b", "attempt": 1, "state": "failed", "exit_code": 3},
        {**about, "action": "run_finished", "task": None, "attempt": None, "state": "failed", "exit_code": None},
    ]
    assert re.fullmatch(rf"task b of run {started} failed after \d\.\d{{3}} s: exit code 3", ends[1].getMessage())


async def test_said_once_it_is_recorded(house: House, path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Who reads that an attempt or a run has ended, finds that in the store; an end that is not as expected says so."""
    caplog.set_level(logging.INFO)
    seen: list[tuple[str, str]] = []

    def look(record: logging.LogRecord) -> bool:
        table = "attempts" if record.__dict__["action"] == "attempt_finished" else "runs"
        with closing(sqlite3.connect(path)) as other:
            ((state,),) = other.execute(f"SELECT state FROM {table}").fetchall()
        seen.append((state, record.getMessage()))
        return True

    logger = logging.getLogger("barbossad.engine.active")
    logger.addFilter(look)
    try:
        expecting = load(
            "name: expecting\ntasks: [{id: a, shell: 'true', expect: '{{ tasks.a.outputs.written == \"good\" }}'}]\n"
        )
        started = await house.start(expecting)
        (await house.launcher.next()).exit(0, output=b"bad")
        await house.ended(started)
        await eventually_async(lambda: len(seen) == 2, LIMIT_SECONDS, "both lines")
    finally:
        logger.removeFilter(look)
    assert [state for state, _ in seen] == ["failed", "failed"]
    assert re.match(rf"task a of run {started} failed after .*: .*expect", seen[0][1])


async def test_recorded_before_it_is_launched(house: House, path: Path) -> None:
    """Whenever something is launched, every reader can see its attempt as starting (I1)."""
    seen = []

    def look(spec: LaunchSpec) -> None:
        with closing(sqlite3.connect(path)) as other:
            sql = "SELECT a.state, t.state FROM attempts a JOIN tasks t USING (run, task) WHERE task = ?"
            seen.append(other.execute(sql, (spec.key.task_id,)).fetchall())

    house.launcher.on_launch = look
    house.launcher.exit_codes = lambda _spec: 0
    await house.ended(await house.start(CHAIN))
    assert seen == [[("starting", "starting")]] * 3


async def test_what_is_in_force_is_recorded_with_the_start(house: House, path: Path) -> None:
    """When an attempt is launched, its record says what it is confined to."""
    in_force = {"user": "shop", "limits": {"memory": "512M"}, "not_enforced": ["limits.cpu"]}
    house.launcher.in_force = in_force
    started = await house.start(ONE)
    process = await house.launcher.next()
    assert (await house.details(started)).attempts["a"][0].in_force == in_force
    process.exit(0)
    assert (await house.ended(started)).attempts["a"][0].in_force == in_force


async def test_what_cannot_be_enforced_is_not_launched(house: House) -> None:
    """The task fails with the launcher's sentence before anything of it runs."""
    house.launcher.in_force = CannotEnforceError("scripted", ["limits.memory"])
    details = await house.ended(await house.start(ONE))
    assert details.tasks["a"].state is TaskState.FAILED
    assert "the scripted launcher cannot enforce limits.memory" in (details.tasks["a"].reason or "")
    assert house.launcher.launched == []


async def test_answered_when_it_is_on_record(house: House, path: Path) -> None:
    """When a start is answered, every reader can see the run."""
    with closing(sqlite3.connect(path)) as other:
        for _ in range(10):
            number = run_number(await house.start(ONE))
            assert other.execute("SELECT workflow FROM runs WHERE id = ?", (number,)).fetchone() == ("backup",)


async def test_short_processes_take_no_commit_for_running(house: House) -> None:
    """What ends at once is recorded as ended; what lives a while is recorded as running, with its process."""
    started = await house.start(workflow({"short": [], "long": []}))
    short, long = await house.launcher.next(), await house.launcher.next()
    short.begin()
    long.begin()
    short.exit()
    await house.running(started, 1)
    attempts = (await house.details(started)).attempts
    assert (attempts["short"][0].state, attempts["short"][0].pid) == ("succeeded", 40_001)
    assert (attempts["long"][0].state, attempts["long"][0].pid) == ("running", 40_002)
    assert attempts["long"][0].pid_started_ticks == long.pid_started_ticks
    long.exit()
    await house.ended(started)
    assert (await kinds(house)).count("task_running") == 1


async def test_process_that_could_not_be_made(house: House) -> None:
    """That a process could not be started is a failure with the reason, not a crash."""
    started = await house.start(ONE)
    (await house.launcher.next()).fail_to_start("no such file: /bin/nothing")
    details = await house.ended(started)
    assert details.run.state is RunState.FAILED
    assert details.tasks["a"].reason == "could not be started: no such file: /bin/nothing"


async def test_outputs_that_cannot_be_read(house: House) -> None:
    """A task whose outputs make no sense has failed."""
    started = await house.start(ONE)
    (await house.launcher.next()).exit(0, output=b"nonsense")
    assert (await house.ended(started)).tasks["a"].reason == "its outputs cannot be read: line 1 is no output"


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (NotFoundError("output", "size"), "there is no output 'size'"),
        (ZeroDivisionError("by zero"), "it could not be prepared: ZeroDivisionError('by zero')"),
    ],
)
async def test_task_that_cannot_be_prepared(house: House, fault: Exception, reason: str) -> None:
    """A task of which no attempt can be made fails with the reason; other runs do not notice, whatever was raised."""
    house.unprepared["b"] = fault
    house.launcher.exit_codes = lambda _spec: 0
    broken, fine = await asyncio.gather(house.start(CHAIN), house.start(ONE))
    assert (await house.ended(fine)).run.state is RunState.SUCCEEDED
    details = await house.ended(broken)
    assert details.run.state is RunState.FAILED
    assert (details.tasks["b"].reason or "").startswith(reason)
    assert details.tasks["c"].state is TaskState.UPSTREAM_FAILED
    assert house.engine.counts["running"] == 0


async def test_the_first_task_sees_when_its_run_began(path: Path) -> None:
    """What looks at the run as it begins finds the instant that its record has."""
    flow = load("""
name: f
tasks:
  - {id: a, shell: [echo, "{{ run.started_at }}"], when: "{{ run.started_at[:2] == '20' }}"}
""")
    async with House.open(path, flow) as house:
        run_id = await house.start(flow)
        process = await house.launched("a")
        process.exit(0)
        run = (await house.ended(run_id)).run
        assert process.spec.argv == ("echo", rfc3339(run.started_at_ms))


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        (LogRecord(text=b"x" * (OUTPUT_LIMIT + 1), size_bytes=OUTPUT_LIMIT + 1), "longer than 1048576 characters"),
        (LogRecord(text=b"x", size_bytes=1, dropped_bytes=9, dropped_at=1), "a part of its output was dropped"),
    ],
)
@pytest.mark.parametrize("code", [0, 1])
async def test_output_that_expressions_cannot_look_at_whole(path: Path, log: LogRecord, reason: str, code: int) -> None:
    """Half of what a task printed gives no verdict: it fails with the reason, and whoever reads it sees the cut."""
    flow = load("""
name: f
tasks:
  - {id: a, shell: make, expect: "{{ 'warning' not in tasks.a.stdout }}"}
  - {id: b, shell: [echo, "{{ tasks.a.stdout[-20:] }}"], trigger: always}
""")
    async with House.open(path, flow) as house:
        run_id = await house.start(flow)
        (await house.launched("a")).exit(code, log=log)
        process = await house.launched("b")
        process.exit(0)
        details = await house.ended(run_id)
        assert (reason if code == 0 else "exit code 1") in str(details.tasks["a"].reason)
        assert details.tasks["a"].state is TaskState.FAILED
        assert process.spec.argv[1].endswith("and is not here]")


async def test_first_task_that_cannot_be_prepared(house: House) -> None:
    """A run that ends before anything is launched is created, ended and answered as any other."""
    house.unprepared["a"] = NotFoundError("output", "size")
    started = await house.start(ONE)
    assert (await house.ended(started)).run.state is RunState.FAILED


async def test_small_logs_are_discarded_after_the_commit(house: House) -> None:
    """The file of a log goes when its text is on record, not before; a file that is the log stays."""
    small = LogRecord(text=b"x", path="day/small.log", size_bytes=1)
    started = await house.start(ONE)
    (await house.launcher.next()).exit(log=small)
    assert house.discarded == []
    assert (await house.ended(started)).run.state is RunState.SUCCEEDED
    assert house.discarded == [small]


# -- slots -------------------------------------------------------------------------------------------------


@pytest.mark.by_chance
async def test_never_more_than_the_limit(path: Path) -> None:
    """However many runs there are, no more tasks are in flight than there are slots, and all get their turn."""
    async with House.open(path, limit=3) as house:
        house.launcher.exit_codes = lambda _spec: 0 if random.random() < 0.9 else 1
        runs = await asyncio.gather(*(house.start(_random_workflow(), trigger="manual") for _ in range(40)))
        for details in await asyncio.gather(*map(house.ended, runs)):
            assert details.run.state in (RunState.SUCCEEDED, RunState.FAILED)
        assert house.launcher.most_live == 3
        assert len(set(house.launcher.keys)) == len(house.launcher.keys)


def _random_workflow() -> WorkflowDefinition:
    ids = [f"t{number}" for number in range(random.randint(1, 6))]
    return workflow({one: [other for other in ids[:place] if random.random() < 0.4] for place, one in enumerate(ids)})


async def test_limit_is_changed(path: Path) -> None:
    """More slots are used at once; fewer take effect as tasks end."""
    wide = workflow({f"t{number}": [] for number in range(10)})
    async with House.open(path, limit=2) as house:
        started = await house.start(wide)
        assert len(house.launcher.live) == 2
        assert house.engine.counts == {"active": 1, "queued": 0, "running": 2, "waiting": 8, "limit": 2}
        assert house.engine.why(started)["t2"] == "waiting for a slot: 2 of 2 taken"
        house.engine.set_limit(5)
        await house.settle()
        assert len(house.launcher.live) == 5
        house.engine.set_limit(1)
        for left in (4, 3, 2, 1, 1, 1):
            next(iter(house.launcher.live)).exit()
            await house.settle()
            await house.settle()
            assert len(house.launcher.live) == left
        house.launcher.exit_codes = lambda _spec: 0
        next(iter(house.launcher.live)).exit()
        assert (await house.ended(started)).run.state is RunState.SUCCEEDED


async def test_cancelled_tasks_leave_the_queue(path: Path) -> None:
    """A task that was cancelled while it waited for a slot does not use one."""
    async with House.open(path, limit=1) as house:
        first = await house.start(ONE)
        waiting = await house.start(ONE)
        last = await house.start(ONE)
        assert (await house.details(waiting)).run.state is RunState.QUEUED
        await house.engine.cancel(waiting, "enough")
        (await house.launcher.next()).exit()
        process = await house.launcher.next()
        assert process.spec.key.run_id == last
        process.exit()
        states = [(await house.ended(one)).run.state for one in (first, waiting, last)]
        assert states == [RunState.SUCCEEDED, RunState.CANCELLED, RunState.SUCCEEDED]


# -- identity ----------------------------------------------------------------------------------------------


async def test_ids_rise(path: Path) -> None:
    """Ids rise with every run, in one millisecond too, and when the clock is set back; after a start as well."""
    clock = StillClock()
    async with House.open(path, clock=clock) as house:
        first = [await house.start(ONE) for _ in range(3)]
        assert first == [run_id(0), run_id(1), run_id(2)]
        clock.at_ms = NOON_MS - 3_600_000
        assert await house.start(ONE) == run_id(3)
    async with House.open(path, clock=clock) as house:
        await house.recover()
        assert await house.start(ONE) == run_id(4)


async def test_key_names_one_run(house: House) -> None:
    """A second start with the same key starts nothing and tells of the first run, while it runs and after it."""
    started = await house.start(ONE, idempotency_key="monday")
    assert await house.start(ONE, idempotency_key="monday") == started
    (await house.launcher.next()).exit()
    await house.ended(started)
    assert await house.start(ONE, idempotency_key="monday") == started
    assert await house.start(ONE, idempotency_key="tuesday") != started
    assert len(house.launcher.launched) == 2


async def test_key_given_at_once(path: Path) -> None:
    """Of many starts with one key at once exactly one run comes; all others are told of it, and slots stay free."""
    async with House.open(path, limit=4) as house:
        runs = await asyncio.gather(*(house.start(ONE, idempotency_key="monday") for _ in range(20)))
        assert len(set(runs)) == 1
        process = await house.launcher.next()
        await house.settle()
        assert house.engine.counts == {"active": 1, "queued": 0, "running": 1, "waiting": 0, "limit": 4}
        process.exit()
        assert (await house.ended(runs[0])).run.state is RunState.SUCCEEDED
        assert len(house.launcher.launched) == 1
        assert await house.database.read("SELECT count(*) FROM runs") == [(1,)]


async def test_key_belongs_to_its_workflow(house: House) -> None:
    """Another workflow's key is another key."""
    first = await house.start(ONE, idempotency_key="monday")
    assert await house.start(workflow({"a": []}, name="other"), idempotency_key="monday") != first


async def test_key_belongs_to_what_was_asked_for(house: House) -> None:
    """A key of a start does not stand for a retry too, nor that of one run's retry for another's."""
    first = await house.start(ONE, idempotency_key="monday")
    second = await house.start(ONE)
    with pytest.raises(ConflictError, match=f"'monday' names run {first} of .* asked for otherwise"):
        await house.start(ONE, idempotency_key="monday", retry_of=first)
    again = await house.start(ONE, idempotency_key="tuesday", retry_of=first)
    assert await house.start(ONE, idempotency_key="tuesday", retry_of=first) == again
    with pytest.raises(ConflictError, match="asked for otherwise"):
        await house.start(ONE, idempotency_key="tuesday", retry_of=second)


# -- waiting -----------------------------------------------------------------------------------------------


async def test_waiting_for_a_change(house: House) -> None:
    """Whoever waits for a change is woken by each that is recorded, the last one too."""
    started = await house.start(CHAIN)
    woken = 0
    while (change := house.engine.next_change(started)) is not None:
        for process in list(house.launcher.live):
            process.exit()
        async with asyncio.timeout(LIMIT_SECONDS):
            await change
        woken += 1
    assert woken == 3
    assert await house.engine.wait(started) is None


async def test_waiters_may_leave(house: House) -> None:
    """One who stops waiting takes nothing from those who stay."""
    started = await house.start(ONE)
    leaving = [asyncio.create_task(house.engine.wait(started)) for _ in range(3)]
    staying = asyncio.create_task(house.engine.wait(started))
    await asyncio.sleep(0)
    for task in leaving:
        task.cancel()
    await asyncio.gather(*leaving, return_exceptions=True)
    (await house.launcher.next()).exit()
    async with asyncio.timeout(LIMIT_SECONDS):
        told = await staying
    assert told is not None
    assert told.run.state is RunState.SUCCEEDED


async def test_caller_who_leaves_while_the_run_is_created(house: House) -> None:
    """A run whose caller is gone before the answer goes on: it may have been recorded already."""
    starting = asyncio.create_task(house.start(ONE))
    await asyncio.sleep(0)
    starting.cancel()
    process = await house.launcher.next()
    process.exit()
    assert (await house.ended(process.spec.key.run_id)).run.state is RunState.SUCCEEDED


async def test_live_process(house: House) -> None:
    """A task's process is known as long as it lives."""
    started = await house.start(CHAIN)
    process = await house.launcher.next()
    assert house.engine.process(started, "a") is process
    assert house.engine.process(started, "b") is None
    assert house.engine.process(run_id(), "a") is None
    process.exit()
    assert house.engine.process(started, "a") is None


# -- faults of Barbossa ------------------------------------------------------------------------------------


async def test_contradiction_ends_the_daemon(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """If a decision contradicts the record, nothing is glossed over: the daemon is to end and recover."""
    await house.start(ONE)
    process = await house.launcher.next()
    sql = "UPDATE tasks SET state = 'failed'"
    await house.database.write(lambda tx: tx.execute(sql).rowcount)
    process.exit()
    async with asyncio.timeout(LIMIT_SECONDS):
        with pytest.raises(StateError):
            await house.engine.crash
    assert caplog.records[-1].levelno == logging.CRITICAL


async def test_an_end_that_cannot_be_dealt_with_ends_the_daemon(house: House) -> None:
    """An end that is told twice is a fault of the launcher: no run may stay live over it, so the engine crashes."""
    await house.start(ONE)
    process = await house.launcher.next()
    process.exit(0)
    process.has_ended = False
    with pytest.raises(KeyError):
        process.exit(0)
    with pytest.raises(KeyError):
        await house.engine.crash
