from __future__ import annotations

import hashlib
import random
import string
import time

import pytest

from barbossad.errors import InvalidWorkflowError
from barbossad.workflows.contract import Unrendered
from barbossad.workflows.loader import Loader, version_of
from barbossad.workflows.source import MAX_FAULTS

FULL = """\
name: nightly-backup
description: Dump the shop database
labels: {team: infra, tier: 1}
params:
  target: {type: path, default: /srv/backup, description: Where archives go}
  keep_days: {type: integer, default: 7, minimum: 1, maximum: 365}
env: {PGHOST: localhost, WHERE: "{{ params.target }}/x"}
timeout: 1h
defaults: {timeout: 10m, grace: 5s, env: {A: 1, B: 2}, working_dir: /tmp}
template: {title: Backup, summary: It backs up, category: data, requires: [pg_dump]}
tasks:
  - id: dump
    description: Dump it
    shell: pg_dump shop
    timeout: 20m
    env: {B: 3}
  - shell: [ls, "{{ params.target }}"]
    working_dir: "{{ params.target }}"
    grace: 0
  - id: side
    depends_on: []
    python: print(params)
  - id: last
    depends_on: [shell-2, side]
    shell: {script: make, shell: /bin/bash, stop_on_error: false}
"""

MORE = """\
on_failure: [{parallel: [{shell: x}, {shell: y, depends_on: shell-1}]}]
concurrency: {limit: 2, policy: skip}
outputs: {size: "{{ tasks.dump.outputs.size }}"}
tasks:
  - id: dump
    shell: pg_dump shop
    retry: {attempts: 3, delay: 5s, on: [failed], exit_codes: [1, 75]}
    rollback: [{shell: undo}, {shell: [undo, "{{ tasks.dump.status }}"]}]
  - id: sides
    parallel:
      max_parallel: 2
      tasks:
        - {id: a, shell: [x, "{{ item }}"], for_each: [1, 2], max_parallel: 2}
        - {id: b, condition: {if: "{{ tasks.dump.status == 'failed' }}", then: [{shell: a}], else: [{workflow: other}]}}
  - {approval: {message: "{{ tasks.sides.a.outputs }}?", form: {n: {type: integer}}}, when: "{{ 1 > 0 }}"}
"""


def test_a_whole_file_is_read(loader: Loader) -> None:
    """Every key ends up in the definition; what a task does not say comes from the defaults."""
    definition = loader.load(FULL)
    assert definition.name == "nightly-backup"
    assert definition.version == hashlib.sha256(FULL.encode()).hexdigest()[:16]
    assert definition.text == FULL
    assert definition.labels == {"team": "infra", "tier": "1"}
    assert definition.timeout_seconds == 3600.0
    assert definition.env == {"PGHOST": "localhost", "WHERE": "{{ params.target }}/x"}
    assert [(param.name, param.default, param.maximum) for param in definition.params] == [
        ("target", "/srv/backup", None),
        ("keep_days", 7, 365),
    ]
    assert definition.template is not None
    assert definition.template.requires == ("pg_dump",)
    dump, listing, side, last = definition.tasks
    assert [task.id for task in definition.tasks] == ["dump", "shell-2", "side", "last"]
    assert (dump.timeout_seconds, dump.grace_seconds, dump.env) == (1200.0, 5.0, {"A": "1", "B": "3"})
    assert (listing.timeout_seconds, listing.grace_seconds, listing.working_dir) == (600.0, 0.0, "{{ params.target }}")
    assert isinstance(listing.params, Unrendered)
    assert dump.working_dir == "/tmp"
    assert dump.params.script == "pg_dump shop"
    assert side.type == "python"
    assert last.params.shell == "/bin/bash"
    assert [task.line for task in definition.tasks] == [12, 17, 20, 23]


def test_order_follows_position_unless_it_is_said(loader: Loader) -> None:
    """Without depends_on a task waits for the one before; [] starts at once; a list names what it waits for."""
    definition = loader.load(FULL)
    assert [task.depends_on for task in definition.tasks] == [(), ("dump",), (), ("shell-2", "side")]
    assert definition.dependency_counts == (0, 1, 0, 2)
    assert definition.dependants == ((1,), (3,), (3,), ())


def test_a_single_dependency_needs_no_list(loader: Loader) -> None:
    """One name may stand bare."""
    definition = loader.load("name: a\ntasks: [{id: x, shell: a}, {shell: b}, {shell: c, depends_on: x}]")
    assert definition.tasks[2].depends_on == ("x",)


def test_the_version_is_the_content(loader: Loader) -> None:
    """Any change of the text is another version, a comment too."""
    text = "name: a\ntasks: [{shell: make}]\n"
    assert loader.load(text).version == version_of(text) != version_of(text + "# why\n")


def test_go_templates_are_no_expressions(loader: Loader) -> None:
    """``{{.Names}}`` of docker and podman stays as it is in programs."""
    definition = loader.load("name: a\ntasks: [{shell: \"docker ps --format '{{.Names}} {{ .ID }}'\"}]")
    assert definition.tasks[0].params.script == "docker ps --format '{{.Names}} {{ .ID }}'"


def test_expressions_may_look_at_any_task_before(loader: Loader) -> None:
    """Not only direct dependencies, but all that must have ended can be looked at."""
    last = "{shell: [echo, '{{ tasks.x.outputs.a }}', '{{ env.HOME }}']}"
    assert loader.check(f"name: a\ntasks: [{{id: x, shell: a}}, {{id: y, shell: b}}, {last}]") == []


def test_faults_are_counted_past_a_limit(loader: Loader) -> None:
    """A file of ten thousand faults is answered with the first ones and the number of the rest."""
    faults = loader.check("name: a\ntasks:\n" + "  - {shel: x}\n" * 9_000)
    assert len(faults) == MAX_FAULTS + 1
    assert faults[-1].message == f"and {9_000 - MAX_FAULTS} more faults"


def test_many_edges_are_read_in_their_number(loader: Loader) -> None:
    """A fan-out of 10,000 that comes together again, and 100,000 dependencies, take seconds."""
    fan = "name: a\ntasks:\n  - {id: a, shell: x}\n"
    fan += "".join(f"  - {{id: t{n}, shell: x, depends_on: a}}\n" for n in range(9_998))
    fan += "  - {id: z, shell: x, depends_on: [" + ",".join(f"t{n}" for n in range(9_998)) + "]}\n"
    names = [[f"t{other}" for other in range(max(0, number - 10), number)] for number in range(10_000)]
    lines = [f"  - {{id: t{n}, shell: x, depends_on: [{','.join(found)}]}}\n" for n, found in enumerate(names)]
    started = time.process_time()
    assert loader.load(fan).dependency_counts[-1] == 9_998
    assert sum(loader.load("name: a\ntasks:\n" + "".join(lines)).dependency_counts) == 99_945
    assert time.process_time() - started < 20


def test_members_and_rollbacks_are_read_in_their_number(loader: Loader) -> None:
    """Groups and what follows them cost no more than tasks: 15,000 of them take seconds."""
    group = "{parallel: [{id: x, shell: a, rollback: {shell: b}}, {shell: [c, '{{ tasks.x.stdout }}'], depends_on: x}]}"
    text = "name: a\ntasks:\n" + f"  - {group}\n" * 3_750
    started = time.process_time()
    assert len(loader.load(text).tasks) == 15_000
    assert time.process_time() - started < 20


def test_too_many_tasks_are_refused(loader: Loader) -> None:
    """The number of tasks is bounded."""
    (fault,) = loader.check("name: a\ntasks:\n" + "  - shell: x\n" * 10_001)
    assert fault.message == "'tasks' must have at most 10000 items"


def test_a_file_of_200_tasks_is_read_quickly(loader: Loader) -> None:
    """Reading stays far below what a person notices: 13 ms on the slowest machine tried, checked at ten times that."""
    tasks = "".join(
        f"  - {{id: t{number}, shell: echo, timeout: 5m, env: {{A: b}}, depends_on: [t{max(number - 9, 0)}]}}\n"
        for number in range(1, 201)
    )
    text = "name: a\ntasks:\n  - {id: t0, shell: make}\n" + tasks
    seconds = []
    for _ in range(5):  # what comes in between, a collection of garbage say, is not its own
        started = time.process_time()
        loader.load(text)
        seconds.append(time.process_time() - started)
    assert min(seconds) < 0.13


def test_reading_is_linear_in_the_tasks(loader: Loader) -> None:
    """A chain of 10,000 tasks whose expressions look at the first one takes seconds, not minutes."""
    first = "name: a\ntasks:\n  - {id: t0, shell: make}\n"
    text = first + "".join(f"  - {{id: t{n}, shell: [echo, '{{{{ tasks.t0.status }}}}']}}\n" for n in range(1, 10_000))
    started = time.process_time()
    assert len(loader.load(text).tasks) == 10_000
    assert time.process_time() - started < 15


HOSTILE = {
    "unknown dependencies": "".join(f"  - {{id: t-{n}, shell: x, depends_on: [u-{n}]}}\n" for n in range(9_000)),
    "near dependencies": "".join(f"  - {{id: task-{n}, shell: x, depends_on: [tsak-{n}]}}\n" for n in range(9_000)),
    "unknown keys": "  - {shell: x, " + ", ".join(f"k{n}: 1" for n in range(50_000)) + "}\n",
    "unknown params": "".join(f"  - shell: [a, '{{{{ params.p{n} }}}}']\n" for n in range(9_000)),
    "wrong items": "  - {shell: x, depends_on: [" + "1," * 100_000 + "]}\n",
    "wrong names": "  - {shell: x, env: {" + "".join(f"A-{n}: 1, " for n in range(50_000)) + "}}\n",
    "open braces in code": "  - shell: |\n" + "     {{ x\n" * 50_000,
    "braces in code": "  - shell: '" + "{{" * 200_000 + "'\n",
    "go templates in code": "  - shell: '" + "{{." * 200_000 + "}}'\n",
    "open braces": "  - shell: ['" + "{{" * 30_000 + "']\n",
    "circles": "".join(f"  - {{id: t{n}, shell: x, depends_on: [t{n ^ 1}]}}\n" for n in range(9_000)),
    "nesting": "  - " + "[" * 300_000,
    "taken names": "  - parallel: [" + "{id: x, shell: a}," * 9_000 + "]\n",
    "names of both branches": "  - condition: {if: true, then: ["
    + "{id: x, shell: a}," * 4_000
    + "], else: ["
    + "{id: x, shell: a}," * 4_000
    + "]}\n",
    "circles in groups": "".join(
        f"  - {{id: t{n}, parallel: [{{shell: x}}], depends_on: [t{n ^ 1}]}}\n" for n in range(9_000)
    ),
    "unknown members": "".join(f"  - shell: [a, '{{{{ tasks.t.m{n} }}}}']\n" for n in range(9_000)),
    "dashes": "  - shell: ['{{ tasks" + ".a-b" * 900 + " }}']\n",
    "dots": "  - shell: ['{{ tasks." + "a" * 3_900 + " }}']\n" * 20,
    "braces in conditions": "  - {shell: a, when: '" + "{{ }} == " * 7_000 + "'}\n",
    "secrets": "  - {shell: a, env: {" + "".join(f"A{n}: '{{{{ secrets.a }}}}', " for n in range(20_000)) + "}}\n",
    "names twice": "  - {shell: a, depends_on: [" + "a," * 100_000 + "]}\n",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_no_text_takes_long(loader: Loader, kind: str) -> None:
    """However many faults a text has, telling them takes no more time than reading it: nothing is quadratic."""
    started = time.process_time()
    loader.check("name: a\ntasks:\n" + HOSTILE[kind])
    assert time.process_time() - started < 12


PIECES = (
    *("name: a\n", "tasks:\n", "  - shell: make\n", "  - {id: a, depends_on: [a, b], python: x}\n", "params:\n"),
    *("  p: {type: integer, default: x}\n", "{{ params.p }}", "{{", "}}", "[", "]", "{", "}", "- ", ": ", "\n", "  "),
    *("!!python/object:os.system", "&a", "*a", "<<", "null", "~", "1e999", "0x", "'", '"', "|", ">", "\t", "\0", "#"),
    *(
        "parallel: [",
        "condition: {if: true, then: [",
        "on_exit: [",
        "rollback: {shell: x}",
        "for_each: [1]",
        "tasks.a.b",
    ),
    *("defaults: {env: {A: [1]}}\n", "env: ", "timeout: ", "labels: ", "template: ", "? ", "é", "\ud800", "%", "---\n"),
)


@pytest.mark.by_chance
def test_garbage_is_answered_with_faults_never_with_a_crash(loader: Loader) -> None:
    """Whatever text comes, the answer is a definition or faults."""
    for _ in range(3_000):
        text = "".join(random.choices(PIECES, k=random.randint(1, 14)))
        _answered(loader, text)


@pytest.mark.by_chance
def test_a_damaged_file_is_answered_with_faults_never_with_a_crash(loader: Loader) -> None:
    """A good file with characters changed, lost or doubled is a definition or faults."""
    for _ in range(1_000):
        text = random.choice((FULL, FULL.partition("tasks:")[0] + MORE))
        for _ in range(random.randint(1, 4)):
            place = random.randrange(len(text))
            piece = random.choice((*PIECES, *string.punctuation, ""))
            text = text[:place] + piece + text[place + random.randint(0, 3) :]
        _answered(loader, text)


def _answered(loader: Loader, text: str) -> None:
    faults = loader.check(text)
    assert all(fault.message and "\n" not in str(fault) for fault in faults), [str(fault) for fault in faults]
    if faults:
        with pytest.raises(InvalidWorkflowError):
            loader.load(text)
    else:
        loader.load(text)


@pytest.mark.parametrize(
    "values", ["[]", "{}", "5", "x", "null", "true", "[[]]", "[{}]", "{a: {}}", "{5: 5}", "[null]"]
)
def test_any_shape_under_any_key_is_answered(loader: Loader, values: str) -> None:
    """A wrong shape under each key of the language is told, not stumbled over."""
    for key in ("name", "labels", "params", "env", "timeout", "defaults", "template", "tasks", "description"):
        lines = {"name": "a", "tasks": "[{shell: make}]", key: values}
        _answered(loader, "".join(f"{name}: {value}\n" for name, value in lines.items()))
    confined = ("run_as", "limits", "sandbox", "on_interrupt", "on_reboot", "detach")
    common = ("id", "depends_on", "env", "timeout", "grace", "working_dir", "shell", "python", "description")
    for key in (*common, *confined):
        _answered(loader, f"name: a\ntasks: [{{{'' if key == 'shell' else 'shell: make, '}{key}: {values}}}]")
    flow = ("trigger", "when", "for_each", "max_parallel", "fail_fast", "creates", "unless", "warn_after", "retry")
    more = ("repeat", "expect", "continue_on_error", "lock", "priority", "output", "rollback")
    types = ("parallel", "condition", "workflow", "approval")
    for key in (*flow, *more):
        _answered(loader, f"name: a\ntasks: [{{shell: make, {key}: {values}}}]")
    for key in types:
        _answered(loader, f"name: a\ntasks: [{{{key}: {values}}}]")
    for key in ("concurrency", "lock", "priority", "warn_after", "outputs", "on_success", "on_failure", "on_cancel"):
        _answered(loader, f"name: a\ntasks: [{{shell: make}}]\n{key}: {values}")
    for whole, keys in {
        "retry": ("attempts", "delay", "backoff", "max_delay", "jitter", "on", "exit_codes", "max_elapsed"),
        "repeat": ("until", "while", "max", "interval"),
        "parallel": ("tasks", "max_parallel", "fail_fast"),
        "condition": ("if", "then", "else"),
        "workflow": ("name", "params"),
        "approval": ("message", "users", "groups", "deadline", "form"),
    }.items():
        for key in keys:
            rest = "" if whole in types else "shell: make, "
            _answered(loader, f"name: a\ntasks: [{{{rest}{whole}: {{{key}: {values}}}}}]")
    for key in ("type", "default", "choices", "pattern", "minimum", "min_length"):
        _answered(loader, f"name: a\nparams: {{p: {{type: string, {key}: {values}}}}}\ntasks: [{{shell: make}}]")
        _answered(loader, f"name: a\nparams: {{p: {values}}}\ntasks: [{{shell: make}}]")
    for key in ("profile", "writable", "network", "best_effort", "systemd", "user", "memory", "cpu", "open_files"):
        for whole in ("sandbox", "run_as", "limits"):
            _answered(loader, f"name: a\ntasks: [{{shell: make, {whole}: {{{key}: {values}}}}}]")
            _answered(loader, f"name: a\ndefaults: {{{whole}: {{{key}: {values}}}}}\ntasks: [{{shell: make}}]")
