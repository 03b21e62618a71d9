"""Every operation keeps one contract: a role and nothing without it, typed parameters, a documented result."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import ConfigDict, TypeAdapter
from typing_extensions import is_typeddict

from barbossad import __version__, wire
from barbossad.errors import InvalidParamsError, PermissionDeniedError
from barbossad.operations import registry
from barbossad.operations.registry import Operation
from barbossad.operations.services import Call, Services
from barbossad.security.access import Caller, Role
from tests.helpers.daemon import Daemon, state_of

OPERATIONS = registry.load()

ROLES = {
    "daemon.backup": Role.ADMIN,
    "daemon.drain": Role.ADMIN,
    "daemon.ping": Role.VIEWER,
    "daemon.reload": Role.ADMIN,
    "daemon.status": Role.VIEWER,
    "import.cron": Role.VIEWER,
    "import.timers": Role.VIEWER,
    "rpc.discover": Role.VIEWER,
    "run.approve": Role.OPERATOR,
    "run.cancel": Role.OPERATOR,
    "run.definition": Role.VIEWER,
    "run.delete": Role.ADMIN,
    "run.diff": Role.VIEWER,
    "run.outputs": Role.VIEWER,
    "run.get": Role.VIEWER,
    "run.list": Role.VIEWER,
    "run.logs": Role.VIEWER,
    "run.pause": Role.OPERATOR,
    "run.resume": Role.OPERATOR,
    "run.retry": Role.OPERATOR,
    "run.start": Role.OPERATOR,
    "run.wait": Role.VIEWER,
    "run.watch": Role.VIEWER,
    "schedule.add": Role.AUTHOR,
    "schedule.disable": Role.OPERATOR,
    "schedule.enable": Role.OPERATOR,
    "schedule.explain": Role.VIEWER,
    "schedule.get": Role.VIEWER,
    "schedule.history": Role.VIEWER,
    "schedule.hold": Role.OPERATOR,
    "schedule.holds": Role.VIEWER,
    "schedule.list": Role.VIEWER,
    "schedule.next": Role.VIEWER,
    "schedule.preview": Role.VIEWER,
    "schedule.release": Role.OPERATOR,
    "schedule.remove": Role.AUTHOR,
    "schedule.statistics": Role.VIEWER,
    "schedule.trigger": Role.OPERATOR,
    "workflow.apply": Role.AUTHOR,
    "workflow.delete": Role.AUTHOR,
    "workflow.diff": Role.VIEWER,
    "workflow.disable": Role.OPERATOR,
    "workflow.enable": Role.OPERATOR,
    "workflow.get": Role.VIEWER,
    "workflow.list": Role.VIEWER,
    "workflow.plan": Role.OPERATOR,
    "workflow.rollback": Role.AUTHOR,
    "workflow.validate": Role.VIEWER,
    "workflow.versions": Role.VIEWER,
}
"""Who may do what. A new operation is written down here too, by somebody who has thought about it."""

NEED_SYSTEMD = {"import.timers"}
"""What has no result where there is no systemd; tests/systemd has theirs."""

RUN_ID = "01m84g5xkc"
GIVEN: dict[str, dict[str, Any]] = {
    "import.cron": {"text": "@daily true"},
    "run.approve": {"run_id": RUN_ID, "task": "one"},
    "run.cancel": {"run_id": RUN_ID, "reason": "why"},
    "run.definition": {"run_id": RUN_ID},
    "run.delete": {"run_id": RUN_ID},
    "run.diff": {"run_id": RUN_ID, "other": RUN_ID},
    "run.outputs": {"run_id": RUN_ID, "task": "one"},
    "run.get": {"run_id": RUN_ID},
    "run.list": {},
    "run.logs": {"run_id": RUN_ID, "task": "one"},
    "run.pause": {"run_id": RUN_ID},
    "run.resume": {"run_id": RUN_ID},
    "run.retry": {"run_id": RUN_ID, "from": "failed"},
    "run.start": {"workflow": "one"},
    "run.wait": {"run_id": RUN_ID},
    "run.watch": {"run_id": RUN_ID},
    "schedule.add": {"workflow": "one", "every": "1h"},
    "schedule.disable": {"name": "one", "reason": "why"},
    "schedule.enable": {"name": "one"},
    "schedule.explain": {"name": "one"},
    "schedule.get": {"name": "one"},
    "schedule.hold": {"label": "team=web", "reason": "why"},
    "schedule.preview": {"cron": "0 2 * * *"},
    "schedule.release": {"label": "team=web"},
    "schedule.remove": {"name": "one"},
    "schedule.statistics": {"name": "one"},
    "schedule.trigger": {"name": "one"},
    "workflow.apply": {"yaml": "name: one\ntasks: [{shell: 'true'}]\n"},
    "workflow.delete": {"name": "one"},
    "workflow.diff": {"name": "one", "from": "0123456789abcdef"},
    "workflow.disable": {"name": "one"},
    "workflow.enable": {"name": "one"},
    "workflow.get": {"name": "one"},
    "workflow.plan": {"name": "one"},
    "workflow.rollback": {"name": "one", "version": "0123456789abcdef"},
    "workflow.validate": {"yaml": ""},
    "workflow.versions": {"name": "one"},
}
"""Parameters that each operation accepts; none where it needs none."""


class Untouchable:
    """Services that must not be looked at."""

    def __getattr__(self, name: str) -> Any:
        pytest.fail(f"the refused call has reached services.{name}")


def call_by(role: Role | None) -> Call:
    return Call(cast("Services", Untouchable()), Caller(uid=4711, name="eve", role=role))


# -- the registry ----------------------------------------------------------------------------------------------


def test_the_table_of_roles_is_the_registry() -> None:
    """Each operation has the role that is written down, and there is no operation that is not."""
    assert {name: known.role for name, known in OPERATIONS.items()} == ROLES


@pytest.mark.parametrize("known", OPERATIONS.values(), ids=OPERATIONS.keys())
def test_each_is_documented_and_typed(known: Operation) -> None:
    """An operation says in a sentence what it does, and its parameters and result are types with docstrings."""
    assert known.summary.endswith(".")
    assert known.params.__doc__
    assert known.params.model_config["extra"] == "forbid"
    assert known.params.model_config["strict"] is True
    assert is_typeddict(known.result)
    assert known.result.__doc__
    assert known.result_schema()["type"] == "object"


def test_an_operation_without_a_role_cannot_be_registered() -> None:
    """The definition needs a role; without documentation, or twice, it is refused as well."""
    with pytest.raises(TypeError):
        registry.define("test.no_role")  # type: ignore[call-arg]

    def undocumented(call: Call, params: registry.NoParams) -> dict[str, Any]:
        return {}

    with pytest.raises(TypeError):
        registry.define("test.undocumented", Role.ADMIN)(undocumented)
    undocumented.__doc__ = "Do nothing."
    with pytest.raises(TypeError):
        registry.define("daemon.ping", Role.ADMIN)(undocumented)
    assert registry.load() == OPERATIONS


# -- without the role ------------------------------------------------------------------------------------------

REFUSED = [(name, role) for name, needed in ROLES.items() for role in (None, *Role) if role is None or role < needed]


@pytest.mark.parametrize(("name", "role"), REFUSED)
def test_refused_without_the_role(name: str, role: Role | None) -> None:
    """Whoever lacks the role is refused before parameters are read and before anything is touched."""
    for given in (GIVEN.get(name, {}), {"nonsense": 1}):
        with pytest.raises(PermissionDeniedError, match="eve"):
            OPERATIONS[name].invoke(call_by(role), given)


@pytest.mark.parametrize("name", ROLES)
def test_the_refusal_says_what_would_help(name: str) -> None:
    """A caller without any role is told who can mend that."""
    with pytest.raises(PermissionDeniedError, match="an administrator can give one"):
        OPERATIONS[name].invoke(call_by(None), GIVEN.get(name, {}))


# -- parameters ------------------------------------------------------------------------------------------------


def faults_of(name: str, given: dict[str, Any] | list[Any]) -> set[str]:
    with pytest.raises(InvalidParamsError) as caught:
        OPERATIONS[name].parse(given)
    assert caught.value.kind == "invalid_params"
    assert all(fault.message for fault in caught.value.faults)
    return {fault.path for fault in caught.value.faults}


@pytest.mark.parametrize("name", ROLES)
def test_unknown_parameters(name: str) -> None:
    """A parameter that an operation does not have is refused, and so is one too many by position."""
    given = GIVEN.get(name, {})
    assert faults_of(name, {**given, "uid": 0}) == {"uid"}
    too_many = [None] * (len(OPERATIONS[name].params.model_fields) + 1)
    assert "" in faults_of(name, too_many)


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("daemon.ping", [1], "at most 0 parameters are taken by position, not 1"),
        ("workflow.get", [1] * 9, "at most 2 parameters are taken by position, not 9 (in this order: name, version)"),
        ("workflow.plan", {}, "the call needs either 'name' or 'yaml'"),
        ("workflow.plan", {"name": "one", "yaml": ""}, "the call has both 'name' and 'yaml'"),
    ],
)
def test_what_is_wrong_with_a_call_as_a_whole(name: str, given: dict[str, Any] | list[Any], words: str) -> None:
    """It is said in words that fit a call: nothing stands in a file, and no key has an empty name."""
    with pytest.raises(InvalidParamsError) as caught:
        OPERATIONS[name].parse(given)
    assert str(caught.value).startswith(f"{name}: {words}")


@pytest.mark.parametrize("name", GIVEN)
def test_parameters_of_another_type(name: str) -> None:
    """Nothing is converted: each parameter that has another type is a fault of its own."""
    fields = OPERATIONS[name].names
    assert faults_of(name, dict.fromkeys(fields, object())) == set(fields)


@pytest.mark.parametrize("name", GIVEN)
def test_parameters_by_position(name: str) -> None:
    """Parameters by position follow the order in which they are documented."""
    fields = OPERATIONS[name].names
    given = {field: value for field, value in GIVEN[name].items() if field in fields}
    count = max((fields.index(field) + 1 for field in given), default=0)
    params = OPERATIONS[name].params
    defaults = {known.alias or field: known.default for field, known in params.model_fields.items()}
    by_position = [given.get(field, defaults[field]) for field in fields[:count]]
    assert OPERATIONS[name].parse(by_position) == OPERATIONS[name].parse(given)


@pytest.mark.parametrize(
    ("name", "given", "paths"),
    [
        (
            "run.list",
            {"workflow": "UPPER", "state": "gone", "active": 1, "cursor": "x", "limit": 0, "more": 1},
            {"workflow", "state", "active", "cursor", "limit", "more"},
        ),
        ("run.list", {"limit": 1001}, {"limit"}),
        ("run.list", {"limit": 10**400}, {"limit"}),
        ("run.list", {"limit": 1.5}, {"limit"}),
        ("run.list", {"limit": True}, {"limit"}),
        (
            "run.start",
            {"workflow": "../../etc", "params": [], "idempotency_key": ""},
            {"workflow", "params", "idempotency_key"},
        ),
        ("run.start", {"workflow": "a\n"}, {"workflow"}),
        ("run.start", {"workflow": "a" * 64}, {"workflow"}),
        ("run.start", {"workflow": "one", "idempotency_key": "k" * 129}, {"idempotency_key"}),
        ("run.start", {"workflow": "one", "idempotency_key": f"call {RUN_ID}/a/1"}, {"idempotency_key"}),
        ("run.retry", {"run_id": RUN_ID, "idempotency_key": f"call {RUN_ID}/a/1"}, {"idempotency_key"}),
        ("run.start", {}, {"workflow"}),
        ("run.wait", {"run_id": RUN_ID, "timeout_seconds": -1}, {"timeout_seconds"}),
        ("run.wait", {"run_id": RUN_ID, "timeout_seconds": 10**400}, {"timeout_seconds"}),
        ("run.wait", {"run_id": "../../etc"}, {"run_id"}),
        ("run.cancel", {"run_id": RUN_ID, "reason": "x" * 501}, {"reason"}),
        ("run.watch", {"run_id": RUN_ID, "after": -1, "wait_seconds": 3601}, {"after", "wait_seconds"}),
        ("run.logs", {"run_id": RUN_ID, "task": "a/b", "attempt": 0}, {"task", "attempt"}),
        ("run.logs", {"run_id": RUN_ID, "task": "a", "attempt": 10**400}, {"attempt"}),
        (
            "run.logs",
            {"run_id": RUN_ID, "task": "a", "cursor": "-1", "limit": 0, "stream": "stdin", "wait_seconds": 301},
            {"cursor", "limit", "stream", "wait_seconds"},
        ),
        ("workflow.get", {"name": "one", "version": "../x"}, {"version"}),
        ("run.start", {"workflow": "one", "plan": "x"}, {"plan"}),
        ("run.watch", {"run_id": RUN_ID, "since": "yesterday"}, {"since"}),
        ("run.watch", {"run_id": RUN_ID, "since": "2026-03-01T12:00:00"}, {"since"}),
        ("run.retry", {"run_id": RUN_ID, "from": "a b", "params": 1}, {"from", "params"}),
        ("run.pause", {"run_id": RUN_ID, "reason": "x" * 501}, {"reason"}),
        ("run.approve", {"run_id": RUN_ID, "task": "a[0].b[1]", "values": []}, {"values"}),
        ("workflow.plan", {}, {""}),
        ("workflow.plan", {"name": "one", "yaml": ""}, {""}),
        ("workflow.plan", {"yaml": "", "version": "0123456789abcdef"}, {""}),
        ("workflow.plan", {"name": "A", "params": [], "version": "x"}, {"name", "params", "version"}),
        ("workflow.list", {"cursor": "x" * 65, "limit": -1}, {"cursor", "limit"}),
        ("workflow.versions", {"name": "one", "cursor": "x"}, {"cursor"}),
        ("workflow.apply", {}, {"yaml"}),
        ("workflow.validate", {"yaml": None}, {"yaml"}),
    ],
)
def test_every_fault_of_the_parameters_is_told(name: str, given: dict[str, Any], paths: set[str]) -> None:
    """What is out of bounds or malformed is told, all of it at once, by the name of the parameter, in our words."""
    assert faults_of(name, given) == paths
    with pytest.raises(InvalidParamsError) as raised:
        OPERATIONS[name].parse(given)
    assert "should" not in str(raised.value)


# -- the interface describes itself ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("d")) as running:
        yield running


@pytest.fixture(scope="module")
def document(daemon: Daemon) -> dict[str, Any]:
    found: dict[str, Any] = daemon.call("rpc.discover")
    return found


def test_the_document_is_openrpc(document: dict[str, Any]) -> None:
    """The document has what the OpenRPC specification requires, and nothing at its top that it does not know."""
    assert document.keys() == {"openrpc", "info", "methods"}
    assert document["openrpc"].startswith("1.")
    assert document["info"]["title"] == "Barbossa"
    assert document["info"]["version"] == __version__


def test_the_document_lists_every_method_once(document: dict[str, Any]) -> None:
    """Each operation is a method with its summary, role and errors."""
    assert [method["name"] for method in document["methods"]] == sorted(ROLES)
    for method in document["methods"]:
        assert method["summary"] == OPERATIONS[method["name"]].summary
        assert method["x-role"] == ROLES[method["name"]].word
        assert method["paramStructure"] == "either"
        assert {error["code"] for error in method["errors"]} == {known.rpc_code for known in wire.ERRORS.values()}
        assert all(isinstance(error["message"], str) for error in method["errors"])


def test_the_document_describes_parameters_and_results(document: dict[str, Any]) -> None:
    """Parameters stand in their order, the required ones first, as by position they must; each has a schema."""
    for method in document["methods"]:
        known = OPERATIONS[method["name"]]
        assert [param["name"] for param in method["params"]] == known.names
        required = [param["required"] for param in method["params"]]
        assert required == sorted(required, reverse=True), f"{method['name']}: a required one stands behind another"
        fields = {field.alias or name: field for name, field in known.params.model_fields.items()}
        for param in method["params"]:
            assert isinstance(param["schema"], dict)
            assert param["required"] is fields[param["name"]].is_required()
        assert method["result"]["name"]
        assert method["result"]["schema"]["type"] == "object"
        assert_resolvable(method["result"]["schema"])
        for param in method["params"]:
            assert_resolvable(param["schema"])


def assert_resolvable(schema: dict[str, Any]) -> None:
    """Every reference in a schema is to a definition that it carries."""

    def walk(value: object) -> None:
        if isinstance(value, dict):
            target = value.get("$ref")
            if isinstance(target, str):
                assert target.removeprefix("#/$defs/") in schema["$defs"]
            for item in value.values():
                walk(item)
        elif isinstance(value, list):
            for item in value:
                walk(item)

    walk(schema)


# -- real results ----------------------------------------------------------------------------------------------

SAMPLE = """
name: sample
description: Something of everything
labels: {team: web}
params:
  who: {type: string, default: world, pattern: "[a-z]+", max_length: 20}
  count: {type: integer, default: 2, minimum: 1, maximum: 9}
tasks:
  - id: greet
    description: Say hello
    shell: |
      echo "hello $who"
      echo "trouble" >&2
      echo "greeted=$who" >> "$BARBOSSA_OUTPUT"
  - id: fail
    depends_on: []
    shell: exit 3
  - id: never
    depends_on: [fail]
    shell: "true"
"""


@pytest.fixture(scope="module")
def results(daemon: Daemon) -> dict[str, list[Any]]:
    """Call every operation at least once, in all the ways that change the shape of its result."""
    found: dict[str, list[Any]] = {}

    def call(name: str, /, **params: Any) -> Any:
        result = client.call(name, **params)
        found.setdefault(name, []).append(result)
        return result

    with daemon.client() as client:
        for name in ("daemon.ping", "daemon.status", "daemon.reload", "rpc.discover", "workflow.list", "run.list"):
            call(name)
        call("workflow.validate", yaml=SAMPLE)
        call("import.cron", text="A=1\n@daily true\n61 * * * * never\n#0 1 * * * no\n")
        call("workflow.validate", yaml="name: 7\n")
        call("workflow.apply", yaml=SAMPLE)
        call("workflow.apply", yaml=SAMPLE)
        call("workflow.apply", yaml="name: asleep\ntasks: [{shell: exec sleep 600}, {shell: 'true'}]\n")
        first = call("workflow.get", name="sample")["version"]
        second = call("workflow.apply", yaml=SAMPLE + "# changed\n")["version"]
        call("workflow.diff", name="sample")
        call("workflow.diff", **{"name": "sample", "from": second, "to": second})
        call("workflow.rollback", name="sample", version=first)
        call("workflow.versions", name="sample")
        planned = call("workflow.plan", name="sample", params={"who": "ada"})["hash"]
        call("workflow.plan", yaml=SAMPLE)
        run_id = call("run.start", workflow="sample", params={"who": "ada"}, plan=planned)["id"]
        call("run.watch", run_id=run_id, wait_seconds=5)
        call("run.wait", run_id=run_id)
        call("run.watch", run_id=run_id, since=call("run.watch", run_id=run_id)["told_at"])
        call("run.get", run_id=run_id)
        for task in ("greet", "fail", "never"):
            call("run.logs", run_id=run_id, task=task)
        asleep = call("run.start", workflow="asleep")["id"]
        call("run.get", run_id=asleep)
        call("run.logs", run_id=asleep, task="shell-1")
        call("daemon.status")
        call("run.pause", run_id=asleep, reason="wait")
        call("run.list", active=True)
        call("run.get", run_id=asleep)
        call("run.resume", run_id=asleep)
        call("run.cancel", run_id=asleep, reason="enough")
        call("run.wait", run_id=asleep)
        for name in ("workflow.list", "run.list"):
            call(name)
        call_schedules(call)
        call("daemon.backup")
        call("daemon.drain")
        call("daemon.drain", end=True)
        call("run.approve", run_id=interrupted_run(daemon), task="asks")
        call("workflow.disable", name="sample")
        call("workflow.enable", name="sample")
        call("workflow.delete", name="asleep")
        call("run.get", run_id=asleep)
        call("run.retry", run_id=run_id)
        call("run.definition", run_id=run_id)
        call("run.diff", run_id=run_id, other=asleep)
        call("run.outputs", run_id=run_id)
        call("run.delete", run_id=asleep)
    return found


def call_schedules(call: Callable[..., Any]) -> None:
    """Call every operation on schedules."""
    at_two = {"cron": "0 2 * * *", "timezone": "Europe/London"}
    call("schedule.preview", **at_two, count=3, blackout=["Sat-Sun"])
    call("schedule.add", workflow="sample", **at_two, params={"count": 3}, expect={"start_within": "10m"})
    call("schedule.add", workflow="sample", name="drop", file="/srv/nowhere")
    for name in ("schedule.list", "schedule.next"):
        call(name)
    call("schedule.get", name="sample/drop")
    call("schedule.explain", name="sample/added-1")
    call("schedule.explain", name="sample/drop")
    call("schedule.hold", label="team=web", reason="a move", until="2100-01-01T00:00:00Z")
    for name in ("schedule.holds", "schedule.list", "schedule.next"):
        call(name)
    call("schedule.release", label="team=web")
    call("schedule.disable", name="sample/added-1", reason="not now")
    call("schedule.enable", name="sample/added-1")
    run_id = call("schedule.trigger", name="sample/added-1")["run"]["id"]
    call("run.wait", run_id=run_id)
    call("schedule.list")
    call("schedule.history", name="sample/added-1")
    call("schedule.statistics", name="sample/added-1")
    call("schedule.remove", name="sample/drop")


def interrupted_run(daemon: Daemon) -> str:
    """Return a run whose task waits for a person, because what watched over its process was killed."""
    daemon.apply("name: asking\ntasks: [{id: asks, shell: exec sleep 600, on_interrupt: ask}]\n")
    run_id: str = daemon.call("run.start", workflow="asking")["id"]
    daemon.eventually(lambda: state_of(daemon, run_id) == "running", "its task runs")
    for child in Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children").read_text().split():
        with contextlib.suppress(ProcessLookupError):  # one that was ending anyway
            os.kill(int(child), signal.SIGKILL)
    daemon.eventually(lambda: state_of(daemon, run_id) == "waiting", "it asks")
    return run_id


def test_every_operation_was_called(results: dict[str, list[Any]]) -> None:
    """There is a real result of every operation, so the next test is about all of them."""
    assert results.keys() | NEED_SYSTEMD == OPERATIONS.keys()


@pytest.mark.parametrize("name", ROLES)
def test_real_results_are_of_the_declared_type(results: dict[str, list[Any]], name: str) -> None:
    """What an operation answers is exactly what it declares: nothing missing, nothing undeclared, no other type."""
    declared: Any = types.GenericAlias(list, OPERATIONS[name].result)
    found = results[name] if name not in NEED_SYSTEMD else results.get(name, [])
    TypeAdapter(declared, config=ConfigDict(extra="forbid", strict=True)).validate_python(found)
    hints = typing.get_type_hints(OPERATIONS[name].result)
    assert all(result.keys() == hints.keys() for result in found)


# -- shapes that clients rely on (INTERFACES.md), literally ----------------------------------------------------

RUN_KEYS = {
    "id", "workflow", "version", "state", "trigger", "params", "reason", "created_at", "started_at", "finished_at",
    "tasks",
}  # fmt: skip
TASK_KEYS = {"id", "type", "state", "reason", "outputs", "attempts"}
ATTEMPT_KEYS = {
    "number", "state", "exit_code", "signal", "reason", "started_at", "finished_at", "launcher", "unit",
    "cpu_seconds", "peak_memory_bytes", "io_read_bytes", "io_write_bytes", "in_force",
}  # fmt: skip
KEYS = {
    "daemon.ping": {"version", "pid", "uptime_seconds"},
    "workflow.apply": {"name", "version", "changed"},
    "workflow.validate": {"valid", "faults"},
    "workflow.list": {"items", "next_cursor"},
    "workflow.versions": {"items", "next_cursor"},
    "run.list": {"items", "next_cursor"},
    "run.logs": {"items", "next_cursor", "finished"},
    "run.start": RUN_KEYS,
    "run.get": RUN_KEYS,
    "run.wait": RUN_KEYS,
    "run.cancel": RUN_KEYS,
}


@pytest.mark.parametrize("name", KEYS)
def test_the_keys_that_clients_rely_on(results: dict[str, list[Any]], name: str) -> None:
    """More keys may be added, none of these is ever missing."""
    assert all(result.keys() >= KEYS[name] for result in results[name])


def test_the_keys_within_runs(results: dict[str, list[Any]]) -> None:
    """Tasks and attempts have their keys, in every state that they were seen in."""
    runs = [run for name in ("run.start", "run.get", "run.wait", "run.cancel") for run in results[name]]
    tasks = [task for run in runs for task in run["tasks"]]
    assert {"succeeded", "failed", "upstream_failed", "cancelled"} <= {task["state"] for task in tasks}
    assert all(task.keys() >= TASK_KEYS for task in tasks)
    attempts = [attempt for task in tasks for attempt in task["attempts"]]
    assert attempts
    assert all(attempt.keys() >= ATTEMPT_KEYS for attempt in attempts)


def test_the_keys_of_items(results: dict[str, list[Any]]) -> None:
    """Faults and lines of output have their keys."""
    (faults,) = [result["faults"] for result in results["workflow.validate"] if not result["valid"]]
    assert all(fault.keys() >= {"line", "column", "path", "message", "hint"} for fault in faults)
    lines = [line for page in results["run.logs"] for line in page["items"]]
    assert {line["stream"] for line in lines} == {"stdout", "stderr"}
    assert all(line.keys() >= {"at", "stream", "text"} for line in lines)


def test_instants_and_durations(results: dict[str, list[Any]]) -> None:
    """What ends in _at is RFC 3339 in UTC or null, what ends in _seconds is a number or null, an identity is id."""
    pattern = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"
    seen = set()

    def walk(value: object) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                if key.endswith("_at") and item is not None:
                    seen.add(key)
                    assert re.fullmatch(pattern, item), (key, item)
                if key.endswith("_seconds") and item is not None:
                    seen.add(key)
                    assert isinstance(item, int | float), (key, item)
                walk(item)
        elif isinstance(value, list):
            for item in value:
                walk(item)

    walk({name: found for name, found in results.items() if name != "rpc.discover"})
    assert {"created_at", "started_at", "finished_at", "applied_at", "uptime_seconds", "cpu_seconds"} <= seen
