"""Why things wait: in words, for every kind of waiting, at a price that grows with the run and not with its square."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from barbossad.model.states import RunState
from tests.helpers.clock import StillClock
from tests.helpers.house import House, load

KINDS = load("""\
name: kinds
tasks:
- {id: runs, depends_on: [], shell: make}
- {id: after, depends_on: [runs], shell: make}
- {id: slot, depends_on: [], shell: make}
- {id: asks, depends_on: [], approval: {message: "Is the tape in?"}}
- {id: narrow, depends_on: [], parallel: {max_parallel: 1, tasks: [{id: a, shell: make}, {id: b, depends_on: [], shell: make}]}}
- {id: inside, depends_on: [after], parallel: {tasks: [{id: c, shell: make}]}}
- {id: each, depends_on: [], for_each: [x, y], max_parallel: 1, shell: make}
- {id: locked, depends_on: [], lock: tape, shell: make}
- {id: again, depends_on: [], retry: {attempts: 3, delay: 90}, shell: make}
""")  # noqa: E501 (a workflow reads better so)
TAPE = load("name: tape\ntasks: [{id: t, lock: tape, shell: make}]")
ONE = load("name: one\nconcurrency: {limit: 1}\ntasks: [{id: a, shell: make}]")
UNDO = load("""\
name: undo
tasks:
- id: a
  shell: make
  rollback:
  - {id: one, shell: make}
  - {id: two, depends_on: [], shell: make}
  - {id: three, depends_on: [one], shell: make}
- {id: b, shell: make}
""")


async def test_every_kind(path: Path) -> None:
    """Whatever does not go on names what it waits for; what runs, and what has ended, is not among it."""
    async with House.open(path, KINDS, TAPE, limit=4, clock=StillClock()) as house:
        holder = await house.start(TAPE)
        run_id = await house.start(KINDS)
        started = {process.task: process for process in house.launcher.launched}
        assert sorted(started) == ["again", "runs", "slot", "t"]
        assert house.engine.why(run_id)["narrow.a"] == "waiting for a slot: 4 of 4 taken"
        started["again"].exit(1)
        started["slot"].exit()
        await house.settle()
        assert [process.task for process in house.launcher.launched[4:]] == ["narrow.a", "each[0]"]
        why = house.engine.why(run_id)
        held = f"waiting for lock 'tape', held by task t of run {holder}"
        assert {name: words for name, words in why.items() if name not in ("asks", "again")} == {
            "after": "waiting for runs",
            "narrow.b": "waiting for its turn: 1 of 1 in narrow",
            "inside": "waiting for after",
            "inside.c": "waiting for inside",
            "each[1]": "waiting for its turn: 1 of 1 in each",
            "locked": held,
        }
        assert why["asks"] == "Is the tape in?"
        assert why["again"] == "exit code 1; attempt 2 of 3 in 1m30s"
        assert house.engine.counts["running"] == 4


async def test_what_is_taken_back_waits_for_its_turn(path: Path) -> None:
    """Tasks of a rollback are done one after another; each says what comes before it."""
    async with House.open(path, UNDO) as house:
        run_id = await house.start(UNDO)
        (await house.launched("a")).exit()
        (await house.launched("b")).exit(1)
        (await house.launched("rollback.a.one")).exit()
        two = await house.launched("rollback.a.two")
        assert house.engine.why(run_id) == {"rollback.a.three": "waiting for its turn in the rollback"}
        two.exit()
        (await house.launched("rollback.a.three")).exit()
        assert (await house.ended(run_id)).run.state is RunState.FAILED


async def test_long_loops_are_asked_at_a_low_price(path: Path) -> None:
    """Ten times as many items that wait cost ten times as much to ask about, not a hundred times."""
    seconds = []
    async with House.open(path) as house:
        for count in (1_000, 10_000):
            text = f"[{{id: a, for_each: '{{{{ range({count}) | list }}}}', max_parallel: 2, shell: make}}]"
            run_id = await house.start(load(f"name: w{count}\ntasks: {text}"))
            times = []
            for _ in range(7):
                start = time.thread_time()  # what others do on this host meanwhile does not count
                assert len(house.engine.why(run_id)) == count - 2
                times.append(time.thread_time() - start)
            seconds.append(min(times))
    assert seconds[1] < 40 * seconds[0]


@pytest.mark.timeout(900)
async def test_ten_thousand_items(path: Path) -> None:
    """Nor does a loop of ten thousand items take more than ten times what one of a thousand takes."""
    seconds = []
    async with House.open(path) as house:
        house.launcher.exit_codes = lambda _spec: 0
        for count in (1_000, 10_000):
            text = f"[{{id: a, for_each: '{{{{ range({count}) | list }}}}', max_parallel: 4, shell: make}}]"
            start = time.process_time()
            run_id = await house.start(load(f"name: w{count}\ntasks: {text}"))
            async with asyncio.timeout(100):  # of a host that has much else to do
                details = await house.engine.wait(run_id) or await house.details(run_id)
            seconds.append(time.process_time() - start)
            assert details.run.state is RunState.SUCCEEDED
            assert len(details.tasks) == count + 1
        assert len(set(house.launcher.keys)) == len(house.launcher.keys) == 11_000
    assert seconds[1] < 30 * seconds[0]


async def test_nobody_is_kept_who_was_cancelled_while_paused_in_the_queue(house: House) -> None:
    """A run that is paused when its turn comes, and then cancelled, is forgotten like any other."""
    first, second = await house.start(ONE), await house.start(ONE)
    await house.engine.pause(second, "said anne")
    (await house.launcher.next()).exit()
    await house.ended(first)
    await house.settle()
    await house.engine.cancel(second, "enough")
    assert (await house.ended(second)).run.state is RunState.CANCELLED
    assert not house.engine._queue._paused
    assert not house.engine._queue._parked
