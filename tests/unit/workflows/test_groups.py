from __future__ import annotations

import pytest

from barbossad.errors import InvalidWorkflowError
from barbossad.model.flow import Branch, Loop, Section, TaskKind
from barbossad.workflows.compose import HOOK_TIMEOUT_SECONDS
from barbossad.workflows.contract import Unrendered
from barbossad.workflows.loader import Loader

NESTED = """\
name: a
tasks:
  - {id: first, shell: a}
  - id: sides
    parallel:
      max_parallel: 2
      fail_fast: true
      tasks:
        - {id: a, shell: a}
        - id: b
          condition:
            if: "{{ tasks.first.status == 'succeeded' }}"
            then: [{shell: a}, {shell: b}]
            else: [{shell: c}, {id: d, depends_on: [], shell: d}]
        - {id: c, shell: c, depends_on: [a, b]}
  - {id: last, shell: z}
"""


def test_a_group_stands_directly_before_its_members(loader: Loader) -> None:
    """All tasks are one row; each knows its group and how many tasks it is itself, all below it counted."""
    definition = loader.load(NESTED)
    assert [(task.id, task.parent, task.size) for task in definition.tasks] == [
        ("first", None, 1),
        ("sides", None, 8),
        ("sides.a", 1, 1),
        ("sides.b", 1, 5),
        ("sides.b.shell-1", 3, 1),
        ("sides.b.shell-2", 3, 1),
        ("sides.b.shell-3", 3, 1),
        ("sides.b.d", 3, 1),
        ("sides.c", 1, 1),
        ("last", None, 1),
    ]
    assert definition.positions["sides.b.d"] == 7
    assert definition.tasks[7].name == "d"
    assert definition.sections == {Section.MAIN: tuple(range(10))}


def test_members_wait_as_their_group_says(loader: Loader) -> None:
    """Beside each other in parallel, one after the other in a branch; whoever waits for a group waits for it whole."""
    definition = loader.load(NESTED)
    assert [task.depends_on for task in definition.tasks] == [
        *((), ("first",), (), (), (), ("sides.b.shell-1",), (), ()),
        *(("sides.a", "sides.b"), ("sides",)),
    ]
    assert definition.dependency_counts == (0, 1, 0, 0, 0, 1, 0, 0, 2, 1)
    assert definition.dependants[1] == (9,)
    assert definition.dependants[2] == definition.dependants[3] == (8,)


def test_a_group_says_what_it_is(loader: Loader) -> None:
    """Its kind, its bounds, what decides between its branches, and for each member which branch it stands in."""
    tasks = loader.load(NESTED).tasks
    assert (tasks[1].kind, tasks[1].type, tasks[1].params) == (TaskKind.GROUP, "parallel", None)
    assert (tasks[1].max_parallel, tasks[1].fail_fast, tasks[1].condition) == (2, True, None)
    assert tasks[3].condition == "{{ tasks.first.status == 'succeeded' }}"
    branches = [task.branch for task in tasks[4:8]]
    assert branches == [Branch.THEN, Branch.THEN, Branch.ELSE, Branch.ELSE]


def test_members_may_wait_for_tasks_outside(loader: Loader) -> None:
    """A name means the task beside it, then one around it; a whole id means that task from anywhere."""
    text = """\
name: a
tasks:
  - {id: x, shell: a}
  - {id: other, parallel: [{id: x, shell: a}, {id: y, shell: a}]}
  - id: group
    depends_on: []
    parallel:
      - {id: own, shell: a}
      - {id: a, shell: a, depends_on: [own, x, other.y]}
      - {id: inner, parallel: [{id: own, shell: a}, {id: b, shell: a, depends_on: [own, a]}]}
"""
    definition = loader.load(text)
    by_id = {task.id: task.depends_on for task in definition.tasks}
    assert by_id["group.a"] == ("group.own", "x", "other.y")
    assert by_id["group.inner.b"] == ("group.inner.own", "group.a")


def test_a_list_alone_is_a_parallel_group(loader: Loader) -> None:
    """``parallel`` takes its tasks bare."""
    definition = loader.load("name: a\ntasks: [{parallel: [{shell: a}, {shell: b}]}]")
    assert [task.id for task in definition.tasks] == ["parallel-1", "parallel-1.shell-1", "parallel-1.shell-2"]


def test_a_loop_over_a_group_bounds_items_and_members_apart(loader: Loader) -> None:
    """Beside ``for_each`` stands how many items there are at once, within ``parallel`` how many members."""
    text = """\
name: a
tasks:
  - id: each
    for_each: "{{ [1, 2] }}"
    max_parallel: 3
    fail_fast: true
    parallel: {max_parallel: 2, tasks: [{shell: [a, "{{ item }}", "{{ loop.index }}"]}]}
  - {id: one, shell: a, for_each: [a, "{{ run.id }}"], max_parallel: 4, fail_fast: true}
"""
    each, _, one = loader.load(text).tasks
    assert each.for_each == Loop(items="{{ [1, 2] }}", max_parallel=3, fail_fast=True)
    assert (each.max_parallel, each.fail_fast) == (2, False)
    assert one.for_each == Loop(items=("a", "{{ run.id }}"), max_parallel=4, fail_fast=True)
    assert (one.max_parallel, one.fail_fast) == (4, True)


AFTER = """\
name: a
defaults: {retry: {attempts: 2}}
tasks:
  - id: one
    shell: a
    rollback: {shell: [undo, "{{ tasks.one.outputs.x }}"]}
  - id: group
    parallel:
      - id: two
        shell: a
        rollback:
          - {shell: u}
          - {id: v, shell: [v, "{{ tasks.two.stdout }}", "{{ run.state }}"]}
          - {shell: w, timeout: 1m}
on_success: [{shell: s}]
on_failure:
  - {id: tell, shell: [f, "{{ run.failed_tasks }}", "{{ run.reason }}", "{{ tasks.group.two.status }}"]}
  - {parallel: [{shell: g}, {shell: h}]}
on_cancel: [{approval: Go on?}, {approval: {message: Go on?, deadline: 1h}}, {workflow: other}]
on_exit: [{shell: e, for_each: [1]}]
"""


def test_what_follows_a_run_comes_after_its_tasks(loader: Loader) -> None:
    """Rollbacks first, then what follows each end; ids say what they belong to, and each list has its own order."""
    definition = loader.load(AFTER)
    rows = [(task.id, task.rolls_back, task.depends_on) for task in definition.tasks[3:]]
    assert rows == [
        ("rollback.one", 0, ()),
        ("rollback.group.two.shell-1", 2, ()),
        ("rollback.group.two.v", 2, ("rollback.group.two.shell-1",)),
        ("rollback.group.two.shell-3", 2, ("rollback.group.two.v",)),
        ("on_success.shell-1", None, ()),
        ("on_failure.tell", None, ()),
        ("on_failure.parallel-2", None, ("on_failure.tell",)),
        ("on_failure.parallel-2.shell-1", None, ()),
        ("on_failure.parallel-2.shell-2", None, ()),
        ("on_cancel.approval-1", None, ()),
        ("on_cancel.approval-2", None, ("on_cancel.approval-1",)),
        ("on_cancel.workflow-3", None, ("on_cancel.approval-2",)),
        ("on_exit.shell-1", None, ()),
    ]
    assert {name: len(found) for name, found in definition.sections.items()} == {
        Section.MAIN: 3,
        Section.ROLLBACK: 4,
        Section.ON_SUCCESS: 1,
        Section.ON_FAILURE: 4,
        Section.ON_CANCEL: 3,
        Section.ON_EXIT: 1,
    }


def test_what_follows_a_run_has_time_of_its_own(loader: Loader) -> None:
    """Without a timeout it gets one; a group's tasks have theirs, and a question its deadline."""
    tasks = {task.id: task for task in loader.load(AFTER).tasks}
    assert tasks["one"].timeout_seconds is None
    for name in ("rollback.one", "on_success.shell-1", "on_failure.parallel-2.shell-1", "on_cancel.approval-1"):
        assert tasks[name].timeout_seconds == HOOK_TIMEOUT_SECONDS
    assert tasks["on_cancel.workflow-3"].timeout_seconds == HOOK_TIMEOUT_SECONDS
    assert tasks["on_failure.parallel-2"].timeout_seconds is None
    assert tasks["on_cancel.approval-2"].timeout_seconds is None
    assert tasks["rollback.group.two.shell-3"].timeout_seconds == 60
    assert tasks["on_exit.shell-1"].retry.attempts == 2


def test_a_whole_group_may_roll_back(loader: Loader) -> None:
    """All of it takes the same task back."""
    text = "name: a\ntasks: [{id: x, shell: a, rollback: {parallel: [{id: y, shell: b}]}}]"
    _, group, member = loader.load(text).tasks
    assert (group.id, group.rolls_back, group.size) == ("rollback.x", 0, 2)
    assert (member.id, member.rolls_back, member.parent) == ("rollback.x.y", 0, 1)


def test_calls_and_approvals_have_requests(loader: Loader) -> None:
    """They have no environment, no secrets and no confinement, and their params are kept with their expressions."""
    text = """\
name: a
env: {A: b}
secrets: {S: s}
defaults: {run_as: shop, env: {C: d}, on_interrupt: retry, retry: 3, timeout: 5m, detach: true, working_dir: /tmp}
tasks: [{workflow: other}, {approval: "{{ run.id }}?"}, {parallel: [{wait: 1s}]}]
"""
    call, approval, group, wait = loader.load(text).tasks
    assert (call.kind, approval.kind, group.kind, wait.kind) == (
        *(TaskKind.CALL, TaskKind.APPROVAL, TaskKind.GROUP),
        TaskKind.PROCESS,
    )
    assert call.params.request().workflow == "other"
    assert approval.params == Unrendered({"message": "{{ run.id }}?"})
    assert [task.retry.attempts for task in (call, approval, group, wait)] == [3, 1, 1, 3]
    assert [task.timeout_seconds for task in (call, approval, group, wait)] == [300, None, None, 300]
    for task in (call, approval, group):
        assert (task.env, task.secrets, task.isolation.run_as.user, task.detach) == ({}, {}, None, False)
        assert (task.on_interrupt.value, task.working_dir) == ("fail", None)
    assert (wait.env, wait.secrets, wait.isolation.run_as.user) == ({"C": "d"}, {"S": "s"}, "shop")


def test_too_many_tasks_in_all_are_refused_once(loader: Loader) -> None:
    """Members count too."""
    group = "  - parallel: [" + "{shell: x}," * 2500 + "]\n"
    (fault,) = loader.check("name: a\ntasks:\n" + group * 8)
    assert "more than 20000 tasks" in fault.message


def test_an_id_has_an_end(loader: Loader) -> None:
    """Ids of members are bounded with all that stands before them."""
    name = "x" * 60
    text = "name: a\ntasks: [{ID parallel: [{ID parallel: [{ID parallel: [{ID shell: a}]}]}]}]"
    (fault,) = loader.check(text.replace("ID", f"id: {name},"))
    assert "its full id has more than 200 characters" in fault.message


@pytest.mark.parametrize("depth", [1, 8])
def test_groups_nest(loader: Loader, depth: int) -> None:
    """As deep as the limit, and no deeper (see the broken files)."""
    tasks = "{shell: a}"
    for _ in range(depth):
        tasks = f"{{parallel: [{tasks}]}}"
    assert len(loader.load(f"name: a\ntasks: [{tasks}]").tasks) == depth + 1


HELD = """\
name: a
tasks:
  - id: sides
    parallel:
      max_parallel: {limit}
      tasks:
        - {{id: a, {keys}parallel: [{{id: inner, shell: a, depends_on: [{other}]}}]}}
        - {{id: b, shell: b}}
        - {{id: c, parallel: [{{id: inner, shell: c}}]}}
"""


@pytest.mark.parametrize(("limit", "other"), [(1, "b"), (2, "b"), (1, "c"), (1, "c.inner")])
def test_a_place_is_not_held_for_who_needs_one(loader: Loader, limit: int, other: str) -> None:
    """In a group with few places no member waits, from within, for another: that might never get a place."""
    member = other[0]
    with pytest.raises(InvalidWorkflowError) as caught:
        loader.load(HELD.format(limit=limit, keys="", other=other))
    (fault,) = caught.value.faults
    assert "'sides.a' holds one of the places of 'sides'" in fault.message
    assert f"depends_on: [{member}]" in fault.hint
    waiting = loader.load(HELD.format(limit=limit, keys=f"depends_on: [{member}], ", other=other))
    assert waiting.tasks[1].depends_on == (f"sides.{member}",)


def test_who_has_a_place_of_their_own_may_wait(loader: Loader) -> None:
    """With places for all nobody keeps another from one."""
    assert len(loader.load(HELD.format(limit=3, keys="", other="b")).tasks) == 6
