from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from barbossad.model.flow import ApprovalRequest, CallRequest, TaskKind
from barbossad.model.names import WorkflowName
from barbossad.tasks import _registry
from barbossad.tasks._api import TaskContext, TaskError
from barbossad.tasks._job import Job
from barbossad.tasks._registry import TaskTypeError, type_of
from barbossad.tasks._types import TaskType
from barbossad.workflows.loader import Loader

NEW_TYPE = '''\
"""Greet somebody."""

from pydantic import Field

from barbossad.tasks._api import Argument, Command, TaskContext, TaskParams

SUMMARY = "Greet somebody"
EXAMPLE = "- greet: world"
BARE = {str: "name"}


class Params(TaskParams):
    """Whom to greet."""

    name: Argument = Field(description="Who is greeted")
    times: int = Field(1, ge=1, description="How often")


def command(ctx: TaskContext, params: Params) -> Command:
    """Return echo."""
    return Command(argv=("echo", f"hello {params.name}" * params.times))
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed package of somebody else's, with entry points."""
    folder = tmp_path / "site"
    info = folder / "elsewhere-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "elsewhere.py").write_text(NEW_TYPE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[barbossa.tasks]\ngreet = elsewhere\n")
    monkeypatch.syspath_prepend(str(folder))
    importlib.invalidate_caches()
    yield folder
    for name in [name for name in sys.modules if name.startswith("elsewhere")]:
        del sys.modules[name]


def entry_points(package: Path, *lines: str) -> None:
    text = "\n".join(("[barbossa.tasks]", *lines, ""))
    (package / "elsewhere-1.0.dist-info/entry_points.txt").write_text(text)
    importlib.invalidate_caches()


def context(task_type: TaskType) -> TaskContext:
    params = {"who": "you", "n": 2}
    return TaskContext(run_id="r", task_id="t", attempt=1, params=params, scope={"params": params})


HEAD = "name: a\nparams: {who: {type: string}, n: {type: integer}}\n"


def test_a_type_of_another_package_is_found_and_used(package: Path) -> None:
    """A type is one file: its entry point is all it takes to load and prepare a workflow that uses it."""
    types_ = _registry.load()
    loader = Loader(types_)
    definition = loader.load(
        HEAD + "tasks: [{greet: world}, {greet: {name: '{{ params.who }}', times: '{{ params.n }}'}}]"
    )
    greet = types_["greet"]
    assert [task.id for task in definition.tasks] == ["greet-1", "greet-2"]
    commands = [greet.command(context(greet), task.params) for task in definition.tasks]
    assert [command.argv for command in commands] == [("echo", "hello world"), ("echo", "hello youhello you")]
    assert [str(fault) for fault in loader.check(HEAD + "tasks: [{greet: {name: x, tims: 2}}, {gret: x}]")] == [
        "line 3, column 27: unknown key 'tims' (did you mean 'times'?)",
        "line 3, column 39: unknown key 'gret' (did you mean 'greet'?)",
    ]


def test_what_an_expression_gives_is_validated_like_what_is_written(package: Path) -> None:
    """A typed field takes an expression; its value is held against the type when the task starts."""
    greet = _registry.load()["greet"]
    definition = Loader({"greet": greet}).load(HEAD + "tasks: [{greet: {name: x, times: '{{ params.who }}'}}]")
    with pytest.raises(Exception, match="'times' must be a whole number, not text"):
        greet.command(context(greet), definition.tasks[0].params)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("gone = elsewhere_gone", "No module named"),
        ("shell = elsewhere", "the name is taken by barbossad.tasks.shell"),
        ("timeout = elsewhere", "cannot be the name of a type"),
        ("Greet = elsewhere", "cannot be the name of a type"),
        ("other = json", "has no class Params"),
        ("raises = elsewhere_raises", "boom"),
        ("exits = elsewhere_exits", "it ended the program"),
        ("inner = elsewhere_inner:Inner", "it is no module, which the worker could import"),
    ],
)
def test_a_broken_type_of_another_package_is_reported_and_left_out(package: Path, line: str, reason: str) -> None:
    """Somebody else's fault never keeps the daemon from starting, nor the other types from working."""
    (package / "elsewhere_raises.py").write_text("raise RuntimeError('boom')")
    (package / "elsewhere_exits.py").write_text("raise SystemExit(1)")
    inner = "from elsewhere import Params\nclass Inner:\n    Params = Params\n    async def run(ctx, params): pass\n"
    (package / "elsewhere_inner.py").write_text(inner)
    entry_points(package, line, "greet = elsewhere")
    found = _registry.discover()
    assert set(found.types) == {*_registry.own_names(), "greet"}
    (problem,) = found.problems
    assert reason in problem
    assert repr(line.split(maxsplit=1)[0]) in problem


def test_every_public_file_of_the_folder_is_a_type(types: dict[str, TaskType]) -> None:
    """A new file in the folder needs no list anywhere; each has what the reference pages show."""
    names = {path.stem for path in Path(_registry.__file__).parent.glob("[!_]*.py")}
    assert names == set(_registry.own_names()) <= set(types)
    loader = Loader(types)
    for task_type in types.values():
        assert task_type.summary
        text = HEAD + "  # the params that examples use\ntasks:\n" + task_type.example
        text = text.replace("{who:", "{target: {type: path}, keep_days: {type: integer}, who:")
        assert loader.check(text) == [], task_type.name


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("SUMMARY = ''", "it has no SUMMARY"),
        ("del EXAMPLE", "it has no EXAMPLE"),
        ("del command", "neither of the functions"),
        ("async def run(ctx, params): pass", "both functions"),
        ("del command\ndef run(ctx, params): pass", "write async def run"),
        ("class Outputs(TaskParams):\n    x: int = 1", "its output 'x' has no description"),
        ("BARE = {str: 'nam'}", "BARE names a param"),
        ("REPEATABLE = 'yes'", "neither True nor False"),
        ("from pydantic import BaseModel\nclass Params(BaseModel): pass", "allow unknown keys"),
        ("KIND = 'group'", "its KIND is no TaskKind"),
        ("from barbossad.model.flow import TaskKind\nKIND = TaskKind.GROUP", "which only types of Barbossa's own"),
        ("from barbossad.model.flow import TaskKind\nKIND = TaskKind.CALL", "which only types of Barbossa's own"),
        ("class Params(TaskParams):\n    x: int = 1", "'x' has no description"),
    ],
)
def test_what_a_type_lacks_is_said(change: str, reason: str) -> None:
    """The author of a type is told what to add."""
    module = types.ModuleType("elsewhere")
    exec(NEW_TYPE + change, module.__dict__)
    with pytest.raises(TaskTypeError, match=reason):
        type_of(module, "greet")


def test_a_type_says_that_it_is_repeatable() -> None:
    """Unless a type says so, a task that was interrupted is never simply begun again."""
    module = types.ModuleType("elsewhere")
    exec(NEW_TYPE, module.__dict__)
    assert not type_of(module, "greet").is_repeatable
    module.__dict__["REPEATABLE"] = True
    assert type_of(module, "greet").is_repeatable


def test_a_type_may_be_a_coroutine(package: Path) -> None:
    """``run`` in place of ``command``: its command is the worker, told which module it is; what it is, is known."""
    text = NEW_TYPE.partition("def command")[0] + "REPEATABLE = True\nasync def run(ctx, params):\n    return None\n"
    (package / "elsewhere_run.py").write_text(text)
    entry_points(package, "greet = elsewhere_run")
    types_ = _registry.load()
    greet = types_["greet"]
    assert (greet.is_worker, greet.is_repeatable, greet.Outputs) == (True, True, None)
    assert (types_["shell"].is_worker, types_["shell"].is_repeatable) == (False, False)
    script = greet.command(context(greet), greet.Params.model_validate({"name": "x"})).script
    assert script is not None
    job = Job.decode(script)
    assert (job.module, job.params) == ("elsewhere_run", {"name": "x"})
    assert str(package) in job.search_path


def test_what_is_no_process_has_no_command() -> None:
    """Groups, calls and approvals are the engine's own; their params are what it needs."""
    types_ = _registry.load()
    kinds = {name: found.kind.value for name, found in types_.items() if found.kind is not TaskKind.PROCESS}
    assert kinds == {"parallel": "group", "condition": "group", "workflow": "call", "approval": "approval"}
    for name in kinds:
        with pytest.raises(TypeError, match="is no process"):
            types_[name].command(context(types_[name]), None)


def test_requests_are_rendered() -> None:
    """What is asked of a person, and of another workflow, is known once expressions are rendered."""
    types_ = _registry.load()
    text = (
        HEAD
        + """tasks:
  - workflow: {name: other, params: {who: "{{ params.who }}", n: "{{ params.n }}"}}
  - approval: {message: "Greet {{ params.who }}?", users: "{{ params.who }}", deadline: "{{ params.n }}m",
               form: {minutes: {type: integer, default: 5, maximum: 9}}}
  - approval: Sure?
"""
    )
    call, approval, plain = Loader(types_).load(text).tasks
    request = types_["workflow"].resolve(context(types_["workflow"]), call.params).request()
    assert request == CallRequest(workflow=WorkflowName("other"), params={"who": "you", "n": 2})
    asked = types_["approval"].resolve(context(types_["approval"]), approval.params).request()
    assert (asked.message, asked.users, asked.groups, asked.deadline_seconds) == ("Greet you?", ("you",), (), 120.0)
    ((field,),) = [asked.form]
    assert (field.name, field.type, field.default, field.maximum) == ("minutes", "integer", 5, 9)
    simple = types_["approval"].resolve(context(types_["approval"]), plain.params).request()
    assert simple == ApprovalRequest(message="Sure?")


def test_a_request_is_validated_when_it_is_rendered() -> None:
    """A name that an expression gives is held against what names are."""
    types_ = _registry.load()
    task = Loader(types_).load(HEAD + "tasks: [{workflow: 'x {{ params.who }}'}]").tasks[0]
    with pytest.raises(TaskError, match="is no name of a workflow: 'x you'"):
        types_["workflow"].resolve(context(types_["workflow"]), task.params)
