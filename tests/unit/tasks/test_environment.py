from __future__ import annotations

import os
import pwd
from typing import Any

import pytest

from barbossad.errors import BarbossaError
from barbossad.model.definition import WorkflowDefinition
from barbossad.tasks import _environment as environments
from barbossad.tasks._types import TaskType
from barbossad.workflows import params, scope
from barbossad.workflows.loader import Loader

USER = pwd.struct_passwd(("bob", "x", 1000, 1000, "", "/home/bob", "/bin/bash"))
FACTS = environments.AttemptFacts(run_id="r1", task_id="shell-2", number=2)

TEXT = """\
name: a
params: {target: {type: path}, n: {type: integer, default: 3}}
env: {WHERE: "{{ params.target }}/x", COPY: "{{ env.HOME }}", BOTH: workflow}
tasks:
  - id: first
    shell: make
    working_dir: "{{ env.WHERE }}/{{ params.n }}"
    env: {BOTH: task, LATER: "{{ env.WHERE }}y", PATH: "/opt/bin:{{ env.PATH }}", N: "{{ params.n + 1 }}"}
  - shell: make
"""


@pytest.fixture
def definition(types: dict[str, TaskType]) -> WorkflowDefinition:
    return Loader(types).load(TEXT)


def built(definition: WorkflowDefinition, position: int, **given: Any) -> tuple[dict[str, str], str]:
    bound = params.bind(definition, {"target": "/srv", **given})
    facts = scope.RunFacts(id="r1", trigger="manual", started_at=None)
    seen = scope.make(definition, params=bound, tasks={}, run=facts, host_name="host")
    start = {**environments.base(USER, {"TZ": "UTC"}), **params.environment(bound)}
    task = definition.tasks[position]
    environment = environments.build(start, definition, task.env, FACTS, seen)
    return environment, environments.working_dir(task, environment, seen)


def test_the_environment_is_made_from_nothing(definition: WorkflowDefinition, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the daemon's own environment reaches a task."""
    monkeypatch.setitem(os.environ, "NOTIFY_SOCKET", "/run/x")
    environment, folder = built(definition, 1)
    assert environment == {
        "PATH": environments.DEFAULT_PATH,
        "HOME": "/home/bob",
        "USER": "bob",
        "LOGNAME": "bob",
        "SHELL": "/bin/bash",
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "target": "/srv",
        "n": "3",
        "WHERE": "/srv/x",
        "COPY": "/home/bob",
        "BOTH": "workflow",
        "BARBOSSA_RUN_ID": "r1",
        "BARBOSSA_TASK_ID": "shell-2",
        "BARBOSSA_ATTEMPT_NUMBER": "2",
        "BARBOSSA_WORKFLOW": "a",
    }
    assert folder == "/home/bob"


def test_a_tasks_own_env_wins_and_sees_what_was_before(definition: WorkflowDefinition) -> None:
    """Workflow, then task; expressions see the variables below them; numbers become text."""
    environment, folder = built(definition, 0)
    assert environment["BOTH"] == "task"
    assert environment["LATER"] == "/srv/xy"
    assert environment["PATH"] == f"/opt/bin:{environments.DEFAULT_PATH}"
    assert environment["N"] == "4"
    assert folder == "/srv/x/3"


def test_the_settings_may_change_the_base() -> None:
    """``tasks.environment`` of the settings wins over the built-in base."""
    assert environments.base(USER, {"PATH": "/bin"})["PATH"] == "/bin"


def test_an_expression_without_a_value_fails_the_task(types: dict[str, TaskType]) -> None:
    """The reason names the expression and what there is."""
    definition = Loader(types).load("name: a\nenv: {A: '{{ env.NOPE }}'}\ntasks: [{shell: make}]")
    with pytest.raises(BarbossaError, match=r"\{\{ env.NOPE \}\} has no value: there is no 'NOPE' here"):
        environments.build(environments.base(USER, {}), definition, definition.tasks[0].env, FACTS, {"env": {}})


@pytest.mark.parametrize(("value", "reason"), [("x\0", "'A' holds a NUL"), ("x" * 140_000, "'A' is 140003 bytes long")])
def test_what_no_variable_can_hold_fails_the_task(types: dict[str, TaskType], value: str, reason: str) -> None:
    """A rendered value is held to the same limits as a param."""
    definition = Loader(types).load("name: a\ntasks: [{shell: make, env: {A: '{{ run.id }}'}}]")
    with pytest.raises(BarbossaError, match=reason):
        environments.build({}, definition, definition.tasks[0].env, FACTS, {"run": {"id": value}})


def test_a_rendered_folder_must_be_absolute(types: dict[str, TaskType]) -> None:
    """A relative folder would depend on where the daemon stands."""
    definition = Loader(types).load("name: a\ntasks: [{shell: make, working_dir: '{{ run.id }}'}]")
    with pytest.raises(BarbossaError, match="must be an absolute path, not 'r1'"):
        environments.working_dir(definition.tasks[0], {"HOME": "/"}, {"run": {"id": "r1"}})
