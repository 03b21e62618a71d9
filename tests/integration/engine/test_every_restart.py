"""A run with all of the language comes to the same, wherever in it the daemon goes down and comes back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from barbossad.model.names import RunId
from barbossad.process.launcher import Finding, Verdict
from tests.helpers import invariants
from tests.helpers.house import LIMIT_SECONDS, House, load
from tests.helpers.scripted import ScriptedProcess

INNER = load("""\
name: inner
params: {n: {type: integer}}
outputs: {made: "{{ params.n * 2 }}"}
tasks: [{id: x, shell: make, lock: tape}, {id: y, shell: make}]
on_exit: [{id: bye, shell: make}]
""")
ALL = load("""\
name: all
concurrency: {limit: 1}
tasks:
- {id: first, shell: make, rollback: {shell: undo}}
- id: wide
  parallel:
    max_parallel: 2
    tasks:
    - {id: a, shell: make, lock: tape, rollback: {shell: undo}}
    - {id: b, shell: make, retry: {attempts: 3}, depends_on: [a]}
    - {id: c, shell: make, continue_on_error: true}
    - {id: d, shell: make, depends_on: [c], lock: tape}
    - id: deep
      condition:
        if: "{{ tasks.c.status == 'failed' }}"
        then: [{id: e, shell: make, rollback: {shell: undo}}, {id: f, shell: make}]
        else: [{id: g, shell: make}]
      depends_on: [c]
- {id: each, for_each: "{{ range(5) }}", max_parallel: 2, workflow: {name: inner, params: {n: "{{ item }}"}}}
- {id: sum, for_each: "{{ tasks.each.outputs }}", shell: [add, "{{ item.made }}"], rollback: {shell: [take, "{{ item.made }}"]}}
- {id: end, shell: make}
- {id: never, shell: make}
- {id: tidy, trigger: always, shell: make}
- {id: mend, trigger: one_failed, depends_on: [end], shell: make}
on_failure: [{parallel: [{id: p, shell: make}, {id: q, shell: make}]}, {id: r, when: "{{ run.failed_tasks == ['end'] }}", shell: make}]
on_exit: [{id: bye, shell: make}]
""")  # noqa: E501 (a workflow reads better so)
CODES = {("wide.b", 1): 1, ("wide.b", 2): 75, ("wide.c", 1): 3, ("end", 1): 1, ("rollback.sum[3]", 1): 9}
"""With which code attempts exit, where that is not 0."""


async def end_one(house: House, run_id: RunId, *, is_newest: bool) -> bool:
    """End one of the live processes; return False if the run has ended."""
    await house.settle()
    async with asyncio.timeout(LIMIT_SECONDS):
        while not house.launcher.live:
            change = house.engine.next_change(run_id)
            if change is None:
                return False
            await change
            await house.settle()
    live = sorted(house.launcher.live, key=lambda process: process.spec.key)
    process: ScriptedProcess = live[-1 if is_newest else 0]
    process.begin()
    process.exit(CODES.get((process.task, process.spec.key.number), 0), output=process.task.encode())
    return True


async def finished(path: Path, *, every: int, is_newest: bool, cancel_after: int = -1) -> dict[str, str]:
    """Bring a run to its end with a crash after every so many ends; return the states of its tasks, and its own.

    It is cancelled after so many ends; what runs then does not mind, and ends as it would have.
    """
    run_id: RunId | None = None
    count = 0
    while True:
        async with House.open(path, ALL, INNER) as house:
            house.launcher.otherwise = Finding(Verdict.LIVE)
            house.launcher.now_ms = house.clock.now_ms
            await house.recover()
            if run_id is None:
                run_id = await house.start(ALL)
            for _ in range(every):
                if count == cancel_after:
                    await house.settle()
                    for process in house.launcher.live:
                        process.is_stubborn = True
                    await house.engine.cancel(run_id, "enough")
                count += 1
                if not await end_one(house, run_id, is_newest=is_newest):
                    await house.ended(run_id)
                    return await house.states(run_id)
            await house.crash()


@pytest.mark.parametrize("is_newest", [False, True], ids=["oldest", "newest"])
async def test_every_restart(tmp_path: Path, is_newest: bool) -> None:
    """No task is lost, done twice or decided otherwise, however often the daemon crashes."""
    expected = await finished(tmp_path / "whole.db", every=1000, is_newest=is_newest)
    assert expected[""] == "failed"
    assert len(expected) == 40
    assert "pending" not in expected.values()
    for every in (1, 2, 3, 5, 7, 11, 16):
        path = tmp_path / f"{every}.db"
        assert await finished(path, every=every, is_newest=is_newest) == expected
        assert invariants.broken(path, has_texts=False) == []


@pytest.mark.parametrize("cancel_after", [0, 1, 3, 6, 9, 14, 20, 24])
async def test_every_restart_after_a_cancel(tmp_path: Path, cancel_after: int) -> None:
    """A run that is cancelled is ended and taken back in the same way, however often the daemon crashes meanwhile."""
    expected = await finished(tmp_path / "whole.db", every=1000, is_newest=False, cancel_after=cancel_after)
    assert expected[""] == "cancelled"
    for every in (1, 2, 5):
        path = tmp_path / f"{every}.db"
        assert await finished(path, every=every, is_newest=False, cancel_after=cancel_after) == expected
        assert invariants.broken(path, has_texts=False) == []
