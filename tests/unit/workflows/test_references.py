from __future__ import annotations

import pytest

from barbossad.workflows.expressions import references
from barbossad.workflows.loader import Loader

GROUPS = """\
name: a
tasks:
  - {id: first-one, shell: a}
  - id: g-1
    parallel:
      - {id: a-b, shell: a}
      - {id: error-mail, shell: a}
      - {id: c, depends_on: [a-b], shell: [x, "{{ tasks.a-b.stdout }}", "{{ tasks.g-1.error-mail.status }}"]}
"""


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{{ tasks.a-b.c-d.outputs.e-1 }}", [("tasks", "a-b", "c-d", "outputs", "e")]),
        ("{{ tasks.a.error-mail.status }}", [("tasks", "a", "error-mail", "status")]),
        ("{{ tasks.a.duration-5 }}", [("tasks", "a", "duration")]),
        ("{{ tasks.a.duration-params.duration }}", [("tasks", "a", "duration"), ("params", "duration")]),
        ("{{ tasks.a.duration-tasks.b.duration }}", [("tasks", "a", "duration"), ("tasks", "b", "duration")]),
        ("{{ tasks.a.7b.status }}", [("tasks", "a", "7b", "status")]),
        ("{{ tasks.status.status }}", [("tasks", "status", "status")]),
        ("{{ tasks.status-1.attempts-1 }}", [("tasks", "status-1", "attempts")]),
    ],
)
def test_dashes_in_ids_are_no_minus(text: str, found: list[tuple[str, ...]]) -> None:
    """In front of a task's field a dash belongs to an id; after one it is a minus."""
    assert set(references(text)) == set(found)


def messages(loader: Loader, tasks: str) -> list[str]:
    return [fault.message for fault in loader.check(GROUPS + tasks)]


def test_members_are_seen_from_outside_by_their_whole_name(loader: Loader) -> None:
    """``tasks.outer.inner``; the short name is for the tasks beside it."""
    reference = "  - shell: [x, '{{ tasks.g-1.a-b.stdout }}', '{{ tasks.first-one.exit_code }}']\n"
    assert [message for message in messages(loader, reference) if "error-mail" not in message] == []
    (message,) = [
        message for message in messages(loader, "  - shell: [x, '{{ tasks.a-b.status }}']\n") if "a-b" in message
    ]
    assert message == "there is no task 'a-b'"


def test_members_see_what_comes_before_their_group(loader: Loader) -> None:
    """A group begins after what it waits for, and so do its members; what follows the group they do not see."""
    text = """\
name: a
tasks:
  - {id: x, shell: a}
  - {id: g, parallel: [{id: y, shell: [a, "{{ tasks.x.status }}"]}, {id: z, shell: [a, "{{ tasks.later.status }}"]}]}
  - {id: later, shell: [a, "{{ tasks.g.y.status }}", "{{ tasks.g.status }}", "{{ tasks.x.status }}"]}
"""
    (fault,) = loader.check(text)
    assert fault.message == "task 'later' comes after this one, which looks at it"


def test_a_rollback_sees_what_its_task_sees(loader: Loader) -> None:
    """Its own task and those beside it by their short names, and all tasks of the run."""
    text = """\
name: a
tasks:
  - id: g
    parallel:
      - id: x
        shell: a
        rollback: {shell: [u, "{{ tasks.x.stdout }}", "{{ tasks.y.status }}", "{{ tasks.z.status }}"]}
      - {id: y, shell: a}
  - {id: z, shell: a}
"""
    definition = loader.load(text)
    assert definition.tasks[definition.positions["g.x"]].keeps_stdout


def test_a_rollback_takes_back_one_item(loader: Loader) -> None:
    """In a loop it sees the item that its task had, and what its task printed for that; outside there is no item."""
    text = """\
name: a
tasks:
  - {id: x, shell: a, for_each: [1], rollback: {shell: [u, "{{ item }}", "{{ tasks.x.stdout }}"]}}
  - id: g
    for_each: [1]
    parallel:
      - {id: y, shell: a, rollback: [{shell: [u, "{{ loop.index }}", "{{ tasks.y.stdout }}"]}]}
"""
    definition = loader.load(text)
    assert [task.id for task in definition.tasks if task.keeps_stdout] == ["x", "g.y"]
    alone = "name: a\ntasks: [{id: x, shell: a, rollback: {shell: [u, '{{ item }}']}}]"
    assert [fault.message for fault in loader.check(alone)] == ["there is no 'item' here: this task has no for_each"]


@pytest.mark.parametrize(
    ("expression", "kept"),
    [
        ("{{ tasks.x.stdout }}", ["x"]),
        ("{{ tasks.x.status }}", []),
        ("{{ tasks.x | tojson }}", ["x"]),
        ("{{ tasks.g }}", ["g.y"]),
        ("{{ tasks[run.id].stdout }}", ["x", "g.y", "last"]),
        ("{{ tasks['x']['stdout'] }}", ["x"]),
    ],
)
def test_stdout_is_kept_where_an_expression_may_look_at_it(loader: Loader, expression: str, kept: list[str]) -> None:
    """Of the tasks that are named, and where it cannot be told which, of all."""
    text = "name: a\ntasks: [{id: x, shell: a}, {id: g, parallel: [{id: y, shell: a}]}, {id: last, shell: [e, '%s']}]"
    definition = loader.load(text % expression.replace("'", "''"))
    assert [task.id for task in definition.tasks if task.keeps_stdout] == kept


def test_a_task_looks_at_itself_only_when_it_has_run(loader: Loader) -> None:
    """In ``expect`` and ``repeat``, and its stdout is kept for that."""
    text = "name: a\ntasks: [{id: x, shell: a, expect: \"{{ 'ok' in tasks.x.stdout }}\"}]"
    assert loader.load(text).tasks[0].keeps_stdout
    assert len(loader.check("name: a\ntasks: [{id: x, shell: a, when: '{{ tasks.x.stdout }}'}]")) == 1


def test_maps_may_be_asked(loader: Loader) -> None:
    """``get`` and the like are no names of params and outputs."""
    calls = "'{{ tasks.x.outputs.get(1) }}', '{{ params.get(1) }}'"
    text = f"name: a\ntasks: [{{id: x, wait: 1s}}, {{shell: [a, {calls}]}}]"
    assert loader.check(text) == []


def test_items_are_seen_in_the_whole_loop(loader: Loader) -> None:
    """In every key of the task but ``for_each`` itself, and in all members of a group."""
    text = """\
name: a
tasks:
  - id: x
    shell: [a, "{{ item }}"]
    for_each: [1]
    when: "{{ loop.first }}"
    env: {A: "{{ item }}"}
    expect: "{{ tasks.x.exit_code == item }}"
  - id: g
    for_each: [1]
    condition: {if: "{{ item }}", then: [{parallel: [{shell: [a, "{{ item }} {{ loop.length }} {{ loop.last }}"]}]}]}
"""
    assert loader.check(text) == []


def test_a_circle_hides_no_other_fault_and_makes_none(loader: Loader) -> None:
    """Who stands in a circle is told of it once, not of every task that it looks at."""
    text = """\
name: a
tasks:
  - {id: x, shell: [a, "{{ tasks.y.status }}"], depends_on: [y]}
  - {id: y, shell: [a, "{{ tasks.z.status }}"], depends_on: [x]}
  - {id: z, shell: [a, "{{ tasks.x.status }}", "{{ tasks.w.status }}"]}
"""
    assert [fault.message for fault in loader.check(text)] == [
        "tasks wait for each other: x -> y -> x",
        "there is no task 'w'",
    ]


def test_a_secret_alone_in_env_is_a_secret(loader: Loader) -> None:
    """Of the workflow, the defaults and a task; no expression ever sees its value."""
    text = """\
name: a
env: {A: "{{ secrets.one-a }}", B: b}
defaults: {env: {C: "{{ secrets['two'] }}", D: d}}
tasks:
  - {shell: a, env: {E: "{{secrets.three}}", F: "{{ env.B }}"}, secrets: {G: four}}
on_exit: [{shell: a, env: {H: "{{ secrets.five }}"}}]
"""
    definition = loader.load(text)
    first, second = definition.tasks
    assert definition.env == {"B": "b"}
    assert (first.env, second.env) == ({"D": "d", "F": "{{ env.B }}"}, {"D": "d"})
    assert first.secrets == {"A": "one-a", "C": "two", "E": "three", "G": "four"}
    assert second.secrets == {"A": "one-a", "C": "two", "H": "five"}


def test_a_rollback_sees_its_task_and_its_item(loader: Loader) -> None:
    """Under its task's name it finds that task, also within a loop, whose item and members are its own."""
    text = """\
name: a
tasks:
  - id: x
    for_each: [1, 2]
    shell: a
    rollback: {shell: [a, "{{ item }}", "{{ tasks.x.exit_code }}"]}
  - id: g
    for_each: [1, 2]
    parallel:
      - {id: y, shell: a}
      - {id: z, shell: a, rollback: [{id: r, shell: [a, "{{ item }}", "{{ tasks.y.stdout }}", "{{ tasks.z.stdout }}"]}]}
"""
    assert loader.check(text) == []
