"""Loops, and what follows upon the main part: rollback, hooks, and the retry of a run by another."""

from __future__ import annotations

from pathlib import Path

import pytest

from barbossad.engine import retrying
from barbossad.model.names import RunId
from barbossad.model.states import RunState, TaskState, TriggerType
from barbossad.process.launcher import Finding, Verdict
from tests.helpers import invariants
from tests.helpers.house import House, load

UNDO = load("""\
name: undo
params: {hosts: {type: list, default: [x, y, z]}}
tasks:
- id: first
  shell: make
  rollback: {shell: [undo, "{{ tasks.first.outputs.written }}"]}
- id: each
  for_each: "{{ params.hosts }}"
  max_parallel: 1
  shell: [add, "{{ item }}", "{{ loop.index }}"]
  rollback: {shell: [remove, "{{ item }}", "{{ tasks.each.outputs.written }}"]}
- {id: last, shell: make, rollback: {shell: never}}
on_failure: [{id: tell, shell: [tell, "{{ run.failed_tasks | join(',') }}"]}]
on_cancel: [{id: mourn, shell: make}]
on_exit: [{id: bye, shell: make}]
""")


# -- loops -------------------------------------------------------------------------------------------------


async def test_items(house: House) -> None:
    """The task runs for each item, knowing it; its outputs are theirs, in the order of the items."""
    run_id = await house.start(UNDO)
    (await house.launched("first")).exit(output=b"1")
    for index, item in enumerate("xyz"):
        process = await house.launched(f"each[{index}]")
        assert list(process.spec.argv) == ["add", item, str(index)]
        assert process.spec.env["BARBOSSA_ITEM"] == item
        process.exit(output=item.upper().encode())
    last = await house.launched("last")
    await house.settle()
    assert (await house.details(run_id)).tasks["each"].outputs == [{"written": "X"}, {"written": "Y"}, {"written": "Z"}]
    last.exit()
    (await house.launched("on_exit.bye")).exit()
    assert (await house.ended(run_id)).run.state is RunState.SUCCEEDED


@pytest.mark.parametrize(
    ("value", "words"), [("none", "nothing"), ("'a b'", "text"), ("3", "a number"), ("1 == 1", "true or false")]
)
async def test_what_has_no_items(house: House, value: str, words: str) -> None:
    """A loop over what is neither a list nor a map fails, and says in the language's terms what it was given."""
    run_id = await house.start(load(f'name: l\ntasks: [{{id: t, for_each: "{{{{ {value} }}}}", shell: make}}]'))
    details = await house.ended(run_id)
    assert details.tasks["t"].reason == f"its 'for_each' cannot be used: it gives {words}, not a list or a map"


async def test_no_items(house: House) -> None:
    """A loop over nothing succeeds with nothing."""
    run_id = await house.start(UNDO, params={"hosts": []})
    (await house.launched("first")).exit()
    (await house.launched("last")).exit()
    (await house.launched("on_exit.bye")).exit()
    details = await house.ended(run_id)
    assert (details.tasks["each"].state, details.tasks["each"].outputs) == (TaskState.SUCCEEDED, [])


async def test_two_thousand_items(path: Path) -> None:
    """A long loop goes through with its limit, and leaves a row for each item."""
    flow = load("name: l\ntasks: [{id: t, for_each: '{{ range(2000) }}', max_parallel: 4, shell: make}]")
    async with House.open(path, limit=8) as house:
        house.launcher.exit_codes = lambda _spec: 0
        details = await house.ended(await house.start(flow))
        assert details.run.state is RunState.SUCCEEDED
        assert house.launcher.most_live == 4
        assert {task.state for task in details.tasks.values()} == {TaskState.SUCCEEDED}
        assert len(details.attempts) == 2000
    assert invariants.broken(path, has_texts=False) == []


async def test_a_loop_over_a_restart(path: Path) -> None:
    """A loop goes on with the items that it began with; those that are done are not done again."""
    async with House.open(path, UNDO) as before:
        run_id = await before.start(UNDO)
        (await before.launched("first")).exit(output=b"1")
        (await before.launched("each[0]")).exit(output=b"X")
        (await before.launched("each[1]")).begin()
        await before.settle()
    async with House.open(path, UNDO) as after:
        after.launcher.otherwise = Finding(Verdict.LIVE)
        await after.recover()
        assert after.launcher.launched == []
        after.launcher.adopted[0].exit(output=b"Y")
        (await after.launched("each[2]")).exit(output=b"Z")
        (await after.launched("last")).exit()
        (await after.launched("on_exit.bye")).exit()
        details = await after.ended(run_id)
        assert details.tasks["each"].outputs == [{"written": "X"}, {"written": "Y"}, {"written": "Z"}]
    assert invariants.broken(path, has_texts=False) == []


# -- rollback and hooks ------------------------------------------------------------------------------------


async def to_the_failure(house: House) -> RunId:
    """Bring the run to the failure of its last task."""
    run_id = await house.start(UNDO)
    (await house.launched("first")).exit(output=b"1")
    for index, item in enumerate("xyz"):
        (await house.launched(f"each[{index}]")).exit(output=item.upper().encode())
    (await house.launched("last")).exit(1)
    return run_id


async def test_rollback(path: Path) -> None:
    """What succeeded is taken back in the reverse order of its end, each item with what it was and made."""
    async with House.open(path, UNDO) as house:
        run_id = await to_the_failure(house)
        for index, item in [(2, "z"), (1, "y"), (0, "x")]:
            process = await house.launched(f"rollback.each[{index}]")
            assert list(process.spec.argv) == ["remove", item, item.upper()]
            process.exit(index)  # that it fails keeps nothing else from being taken back
        process = await house.launched("rollback.first")
        assert list(process.spec.argv) == ["undo", "1"]
        process.exit()
        tell = await house.launched("on_failure.tell")
        assert list(tell.spec.argv) == ["tell", "last"]
        tell.exit(5)
        (await house.launched("on_exit.bye")).exit()
        details = await house.ended(run_id)
        assert (details.run.state, details.run.reason) == (RunState.FAILED, "task last failed")
        assert details.tasks["rollback.each[2]"].state is TaskState.FAILED
    assert invariants.broken(path, has_texts=False) == []


async def test_rollback_over_a_restart(path: Path) -> None:
    """A daemon that finds a run in the middle of its rollback goes on there, and decides nothing anew."""
    async with House.open(path, UNDO) as before:
        run_id = await to_the_failure(before)
        (await before.launched("rollback.each[2]")).exit()
        (await before.launched("rollback.each[1]")).begin()
        await before.settle()
        assert (await before.details(run_id)).run.outcome is RunState.FAILED
    async with House.open(path, UNDO) as after:
        await after.recover()
        assert list((await after.launched("rollback.each[0]")).spec.argv) == ["remove", "x", "X"]
        after.launcher.exit_codes = lambda _spec: 0
        after.launcher.launched[0].exit()
        details = await after.ended(run_id)
        assert [key.task_id for key in after.launcher.keys[1:]] == ["rollback.first", "on_failure.tell", "on_exit.bye"]
        assert details.run.state is RunState.FAILED
        assert details.tasks["rollback.each[1]"].state is TaskState.INTERRUPTED
    assert invariants.broken(path, has_texts=False) == []


async def test_hooks_after_a_cancel(house: House) -> None:
    """A run that is cancelled is taken back and tidied up, and ends only then."""
    run_id = await house.start(UNDO)
    (await house.launched("first")).exit(output=b"1")
    await house.launched("each[0]")
    await house.engine.cancel(run_id, "enough")
    (await house.launched("rollback.first")).exit()
    mourn = await house.launched("on_cancel.mourn")
    await house.settle()
    run = (await house.details(run_id)).run
    assert (run.state, run.outcome, run.finished_at_ms) == (RunState.RUNNING, RunState.CANCELLED, None)
    mourn.exit()
    (await house.launched("on_exit.bye")).exit()
    details = await house.ended(run_id)
    assert (details.run.state, details.run.reason) == (RunState.CANCELLED, "enough")
    assert "on_failure.tell" not in details.tasks


async def test_cancel_twice(house: House) -> None:
    """Cancelled again, a run ends without what was to follow: what runs of that is stopped."""
    run_id = await house.start(UNDO)
    (await house.launched("first")).exit(output=b"1")
    await house.launched("each[0]")
    await house.engine.cancel(run_id, "enough")
    rollback = await house.launched("rollback.first")
    assert await house.engine.cancel(run_id, "now")
    details = await house.ended(run_id)
    assert len(rollback.stops) == 1
    assert (details.run.state, details.run.reason) == (RunState.CANCELLED, "enough")
    assert len(house.launcher.launched) == 3


async def test_cancelled_during_its_hooks(house: House) -> None:
    """A run whose outcome is decided keeps it, and is rid of its hooks at once."""
    run_id = await house.start(load("name: h\ntasks: [{id: a, shell: make}]\non_success: [{id: t, shell: make}]"))
    (await house.launched("a")).exit()
    hook = await house.launched("on_success.t")
    assert await house.engine.cancel(run_id, "enough")
    details = await house.ended(run_id)
    assert len(hook.stops) == 1
    assert details.run.state is RunState.SUCCEEDED
    assert details.tasks["on_success.t"].state is TaskState.CANCELLED


# -- retries of runs ---------------------------------------------------------------------------------------


async def test_a_retry_keeps_what_is_done(path: Path) -> None:
    """A run that goes on from a failed one does not do again what that did, sees its outputs, and can take it back."""
    flow = load("""\
name: keep
tasks:
- {id: a, shell: make, rollback: {shell: [undo, "{{ tasks.a.outputs.written }}"]}}
- {id: b, for_each: [x, y], shell: make}
- {id: c, shell: [use, "{{ tasks.a.outputs.written }}", "{{ tasks.b.outputs | length }}"]}
- {id: d, shell: make}
""")
    async with House.open(path, flow) as before:
        failed = await before.start(flow)
        (await before.launched("a")).exit(output=b"A")
        (await before.launched("b[0]")).exit()
        (await before.launched("b[1]")).exit()
        (await before.launched("c")).exit(1)
        (await before.launched("rollback.a")).exit(1)
        rows = dict((await before.ended(failed)).tasks)
        del rows["rollback.a"]  # as if it had not been taken back
        kept = retrying.kept(flow, failed, rows, "failed")
        run_id = await before.start(flow, retry_of=failed, kept=kept, trigger=TriggerType.RETRY)
        c = await before.launched("c")
        assert list(c.spec.argv) == ["use", "A", "2"]
        c.exit()
        (await before.launched("d")).begin()
        await before.settle()
    async with House.open(path, flow) as after:
        after.launcher.otherwise = Finding(Verdict.LIVE)
        await after.recover()
        after.launcher.adopted[0].exit(1)
        undo = await after.launched("rollback.a")
        assert list(undo.spec.argv) == ["undo", "A"]
        undo.exit()
        details = await after.ended(run_id)
        assert details.run.retry_of == failed
        assert details.tasks["a"].state is details.tasks["b[1]"].state is TaskState.SUCCEEDED
        assert list(details.attempts) == ["c", "d", "rollback.a"]
    assert invariants.broken(path, has_texts=False) == []


# -- why ---------------------------------------------------------------------------------------------------


async def test_why(path: Path) -> None:
    """Every task that waits says for what."""
    flow = load("""\
name: why
tasks:
- {id: runs, shell: make, depends_on: []}
- {id: slot, shell: make, depends_on: []}
- {id: after, shell: make, depends_on: [runs, slot]}
- {id: wide, depends_on: [], max_parallel: 1, for_each: [x, y], shell: make}
- {id: group, depends_on: [after], parallel: [{id: m, shell: make}]}
""")
    async with House.open(path, flow, limit=1) as house:
        run_id = await house.start(flow)
        assert house.engine.why(run_id) == {
            "slot": "waiting for a slot: 1 of 1 taken",
            "after": "waiting for runs, slot",
            "wide[0]": "waiting for a slot: 1 of 1 taken",
            "wide[1]": "waiting for its turn: 1 of 1 in wide",
            "group": "waiting for after",
            "group.m": "waiting for group",
        }
        assert house.engine.why(RunId("01zzzzzzzz")) == {}


@pytest.mark.parametrize(
    ("item", "reason"), [("x" * 140_000, "is 140015 bytes long"), ("a\0b", "holds a NUL character")]
)
async def test_an_item_that_no_variable_can_carry(path: Path, item: str, reason: str) -> None:
    """It fails with the reason: a script that finds no BARBOSSA_ITEM would take it for empty. The others run."""
    flow = load("""
name: f
tasks:
  - {id: list, shell: make}
  - {id: each, shell: make, for_each: "{{ [tasks.list.outputs.written, 'ok'] }}"}
""")
    async with House.open(path, flow) as house:
        run_id = await house.start(flow)
        (await house.launched("list")).exit(output=item.encode())
        (await house.launched("each[1]")).exit(0)
        details = await house.ended(run_id)
        assert details.tasks["each[1]"].state is TaskState.SUCCEEDED
        assert reason in str(details.tasks["each[0]"].reason)
