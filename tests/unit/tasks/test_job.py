from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from barbossad.process.launcher import OUTPUT_LIMIT, SCRIPT
from barbossad.tasks._api import Command, TaskContext, TaskError, TaskParams, WorkerContext
from barbossad.tasks._job import PROTOCOL, Job
from barbossad.tasks._types import TaskType
from barbossad.tasks._worker import command_of
from barbossad.workflows.loader import Loader

CONTEXT = WorkerContext(run_id="r1", task_id="wait-1", attempt=1)


def job(**params: Any) -> Job:
    return Job(module="m", params=params, context=CONTEXT, search_path=("/a", "/b"), report_limit_bytes=99)


def test_a_job_survives_the_way() -> None:
    """What the daemon wrote the worker reads."""
    made = job(a=[1, {"b": None}], text="é{{")
    assert Job.decode(made.encode()) == made


def test_a_worker_of_another_version_says_so() -> None:
    """A daemon that was not restarted after an upgrade is told of, not misunderstood."""
    fields = json.loads(job().encode())
    with pytest.raises(TaskError, match=rf"protocol 7\).*protocol {PROTOCOL}\).*restart the daemon"):
        Job.decode(json.dumps({**fields, "protocol": 7, "more": 1}).encode())


def test_params_that_json_cannot_hold_fail_the_task() -> None:
    """They are not handed on as something else."""
    with pytest.raises(TaskError, match="its params cannot be written as JSON"):
        job(a=float("nan")).encode()


def test_the_command_is_our_own_interpreter_isolated(command_of: Any) -> None:
    """The job is in a file, not in argv, and nothing of the task's environment steers the interpreter."""
    made: Command = command_of("wait: {duration: '{{ params.d }}'}", {"d": "1m"})
    assert made.argv == (sys.executable, "-I", "-m", "barbossad.worker", SCRIPT)
    assert made.env == {}
    assert made.script is not None
    told = Job.decode(made.script)
    assert (told.module, told.context, told.report_limit_bytes) == ("barbossad.tasks.wait", CONTEXT, OUTPUT_LIMIT)
    assert told.params == {"duration": 60.0}
    assert all(folder.startswith("/") for folder in told.search_path)


def test_only_what_was_written_is_handed_on() -> None:
    """Defaults are the worker's own; a key is called as in the file; nothing of the run's params goes along."""

    class Params(TaskParams):
        a: int = 1
        b: int = 2

    scope = {"params": {"secret": "hush"}}
    ctx = TaskContext(run_id="r", task_id="t", attempt=2, params=scope["params"], scope=scope)
    made = command_of_params(Params(b=2), ctx)
    assert json.loads(made)["params"] == {"b": 2}
    assert b"hush" not in made


def command_of_params(params: TaskParams, ctx: TaskContext) -> bytes:
    script = command_of("m")(ctx, params).script
    assert script is not None
    return script


def test_params_of_every_type_are_what_they_were_after_the_way(types: dict[str, TaskType]) -> None:
    """The worker validates what the daemon made of the params; each type takes its own values back."""
    head = "name: a\nparams: {target: {type: path}, keep_days: {type: integer}}\ntasks:\n"
    seen = 0
    for task_type in types.values():
        if not task_type.is_worker:
            continue
        for task in Loader(types).load(head + task_type.example).tasks:
            ctx = TaskContext(run_id="r", task_id=task.id, attempt=1, params={}, scope={"params": {"target": "/x"}})
            script = task_type.command(ctx, task.params).script
            assert script is not None
            again = task_type.Params.model_validate(Job.decode(script).params)
            if isinstance(task.params, task_type.Params):
                assert (again, again.model_fields_set) == (task.params, task.params.model_fields_set)
            seen += 1
    assert seen >= 3
