"""Values that cannot be recorded: they fail the task or the run that made them, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from barbossad.engine import recordable
from barbossad.model.states import RunState, TaskState
from barbossad.process.launcher import OUTPUT_LIMIT, Finding, Verdict
from tests.helpers.house import House, load

HUGE = "{{ ('f' * 4000) | int(0, 16) }}"
"""A number that Python writes no digits of."""


async def test_params_of_a_call(path: Path) -> None:
    """A number beyond all bounds fails the task that would hand it on, and the daemon goes on."""
    inner = load("name: inner\nparams: {x: {type: number}}\ntasks: [{shell: make}]")
    outer = load(f'name: outer\ntasks: [{{id: call, workflow: {{name: inner, params: {{x: "{HUGE}"}}}}}}]')
    async with House.open(path, inner, outer) as house:
        run_id = await house.start(outer)
        details = await house.ended(run_id)
        assert (details.run.state, details.tasks["call"].state) == (RunState.FAILED, TaskState.FAILED)
        assert "a whole number of more than 4096 bits" in (details.tasks["call"].reason or "")
        assert not house.engine.crash.done()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (HUGE, "a whole number of more than 4096 bits"),
        ("{{ ['x' * 100000] * 11 }}", f"its outputs cannot be used: they are larger than {OUTPUT_LIMIT} bytes"),
    ],
)
async def test_outputs_of_a_run(path: Path, given: str, words: str) -> None:
    """The run fails for its outputs; that its last task succeeded is recorded all the same."""
    flow = load(
        f'name: flow\noutputs: {{x: "{given}"}}\ntasks: [{{id: a, shell: make}}]\non_failure: [{{shell: make}}]'
    )
    async with House.open(path, flow) as house:
        run_id = await house.start(flow)
        (await house.launched("a")).exit()
        (await house.launched("on_failure.shell-1")).exit()
        details = await house.ended(run_id)
        assert (details.run.state, details.tasks["a"].state) == (RunState.FAILED, TaskState.SUCCEEDED)
        assert words in (details.run.reason or "")
        assert details.run.outputs is None


async def test_outputs_of_a_run_of_many_parts(path: Path) -> None:
    """All outputs together have one bound, as those of a task have; what is within it is handed on."""
    parts = ", ".join(f"p{number}: \"{{{{ 'x' * 100000 }}}}\"" for number in range(10))
    flow = load(f"name: flow\noutputs: {{{parts}}}\ntasks: [{{id: a, shell: make}}]")
    more = load(f"name: more\noutputs: {{{parts}, p10: \"{{{{ 'x' * 50000 }}}}\"}}\ntasks: [{{id: a, shell: make}}]")
    async with House.open(path, flow, more) as house:
        states = []
        for one in (flow, more):
            run_id = await house.start(one)
            (await house.launched("a")).exit()
            states.append((await house.ended(run_id)).run.state)
        assert states == [RunState.SUCCEEDED, RunState.FAILED]


@pytest.mark.parametrize("is_first", [True, False])
async def test_items_of_a_loop(path: Path, is_first: bool) -> None:
    """Data is enough to make such a number: its loop fails, also where that is what a run begins with."""
    before = "" if is_first else "{id: a, shell: make}, "
    loop = """{id: b, for_each: ["{{ params.n[0] + 1 }}"], shell: make}"""
    flow = load(f"name: flow\nparams: {{n: {{type: list}}}}\ntasks: [{before}{loop}]")
    async with House.open(path, flow) as house:
        run_id = await house.start(flow, params={"n": [10**4299 * 9]})
        if not is_first:
            (await house.launched("a")).exit()
        details = await house.ended(run_id)
        assert details.tasks["b"].state is TaskState.FAILED
        assert "a whole number of more than 4096 bits" in (details.tasks["b"].reason or "")


async def test_outputs_of_many_items(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The outputs of a loop's items are kept as one list: where that is too long, the loop fails and says so."""
    monkeypatch.setattr(recordable, "LIST_LIMIT", 2 * OUTPUT_LIMIT)
    flow = load("name: flow\ntasks: [{id: a, for_each: [1, 2, 3], shell: make}]")
    async with House.open(path, flow) as house:
        for size, state in ((OUTPUT_LIMIT // 2, "succeeded"), (OUTPUT_LIMIT - 100, "failed")):
            run_id = await house.start(flow)
            for _ in range(3):
                (await house.launcher.next()).exit(output=b"x" * size)
            task = (await house.ended(run_id)).tasks["a"]
            assert task.state.value == state
        assert (task.outputs, (await house.details(run_id)).tasks["a[2]"].state) == (None, TaskState.SUCCEEDED)
        assert task.reason == (
            "the outputs of its items cannot be kept: they are larger than 2097152 bytes;"
            " put large data into a file and hand its path on"
        )


async def test_outputs_of_items_are_measured_as_they_come(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them at the end of a loop would hold everybody up; those of before a restart are measured then."""
    measured: list[object] = []
    measure = recordable.size_bytes

    def size_bytes(part: object) -> int:
        measured.append(part)
        return measure(part)

    monkeypatch.setattr(recordable, "LIST_LIMIT", 2 * OUTPUT_LIMIT)
    monkeypatch.setattr(recordable, "size_bytes", size_bytes)
    flow = load("name: flow\ntasks: [{id: a, for_each: [1, 2, 3, 4], max_parallel: 1, shell: make}]")
    async with House.open(path, flow) as house:
        run_id = await house.start(flow)
        await house.settle()
        measured.clear()
        for count in (1, 2):
            (await house.launcher.next()).exit(output=b"x" * count)
            await house.settle()
            assert measured[-1] == {"written": "x" * count}
            assert len(measured) == count
        await house.launcher.next()
    async with House.open(path, flow) as after:
        after.launcher.otherwise = Finding(Verdict.NEVER_STARTED)
        await after.recover()
        (await after.launcher.next()).exit(output=b"xxx")
        process = await after.launcher.next()
        await after.settle()
        measured.clear()
        process.exit(output=b"xxxx")
        details = await after.ended(run_id)
        assert sorted(len(one["written"]) for one in measured) == [1, 2, 4]  # type: ignore[index]
        assert [one["written"] for one in details.tasks["a"].outputs or ()] == ["x", "xx", "xxx", "xxxx"]  # type: ignore[index]


async def test_a_fault_in_the_params_of_a_call(path: Path) -> None:
    """What nobody foresaw costs that task and nothing else, and nothing is called."""
    inner = load("name: inner\nparams: {x: {type: number}}\ntasks: [{shell: make}]")
    broken = replace(inner, params=(replace(inner.params[0], type="from another time"),))
    outer = load("name: outer\ntasks: [{id: call, workflow: {name: inner, params: {x: 1}}}]")
    async with House.open(path, broken, outer) as house:
        details = await house.ended(await house.start(outer))
        assert details.tasks["call"].state is TaskState.FAILED
        assert "a fault of Barbossa itself: KeyError('from another time')" in (details.tasks["call"].reason or "")
        house.workflows["inner"] = inner
        run_id = await house.start(outer)
        (await house.launched("shell-1")).exit()
        assert (await house.ended(run_id)).run.state is RunState.SUCCEEDED


async def test_a_fault_in_a_call_that_is_found_again(path: Path) -> None:
    """What nobody foresaw in a call of an earlier daemon ends that call; it keeps no daemon from starting."""
    inner = load("name: inner\ntasks: [{id: a, shell: make}]")
    outer = load("name: outer\ntasks: [{id: call, workflow: inner}]")
    broken = replace(outer, tasks=(replace(outer.tasks[0], params=None),))
    async with House.open(path, inner, outer) as before:
        run_id = await before.start(outer)
        (await before.launched("a")).begin()
        await before.crash()
    async with House.open(path, inner, broken) as after:
        after.launcher.otherwise = Finding(Verdict.LIVE)
        await after.recover()
        details = await after.ended(run_id)
        assert details.tasks["call"].state is TaskState.INTERRUPTED
        assert "a fault of Barbossa itself" in (details.tasks["call"].reason or "")
        after.launcher.adopted[0].exit()
        assert not after.engine.crash.done()
