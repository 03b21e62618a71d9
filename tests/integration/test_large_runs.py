"""Runs of which one answer cannot tell all: they are told of as far as they fit, and what was done is told as done."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from barbossad import wire
from tests.helpers import cli_process
from tests.helpers.daemon import Daemon
from tests.helpers.rpc_client import RpcError

TASKS = 17
SIZE = 1_000_000
LENGTH = len('{"v":""}') + SIZE
"""Of the outputs of one, as JSON."""

FILL = json.dumps([
    "sh", "-c", "{ printf v=; head -c 1000000 /dev/zero | tr '\\000' x; echo; } >> $BARBOSSA_OUTPUT",
])  # fmt: skip
"""As many tasks with as much output are more than one answer holds, though each is within its cap."""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    filled = "".join(f"  - {{id: t{number}, shell: {FILL}}}\n" for number in range(TASKS))
    small = "  - {id: small, shell: 'echo v=1 >> $BARBOSSA_OUTPUT'}\n"
    with Daemon(tmp_path_factory.mktemp("d"), config="tasks: {limit: 8}\n") as running:
        running.apply(f"name: filled\ntasks:\n{small}{filled}")
        running.apply(f"name: asks\ntasks:\n{filled}  - {{id: ask, approval: go on?}}\n")
        loop = f"{{id: x, for_each: '{{{{ range({TASKS}) | list }}}}', shell: {FILL}}}"
        listed = "outputs: {count: '{{ tasks.x.outputs | length }}', last: '{{ tasks.x.outputs[-1].v | length }}'}"
        running.apply(f"name: handed\ntasks:\n  - {loop}\n{listed}\n")
        yield running


@pytest.fixture(scope="module")
def filled(daemon: Daemon) -> str:
    run_id: str = daemon.call("run.start", workflow="filled")["id"]
    assert daemon.call("run.wait", run_id=run_id)["state"] == "succeeded"
    return run_id


@pytest.fixture(scope="module")
def handed(daemon: Daemon) -> str:
    run_id: str = daemon.call("run.start", workflow="handed")["id"]
    assert daemon.call("run.wait", run_id=run_id)["state"] == "succeeded"
    return run_id


@pytest.mark.parametrize("brief", [False, True])
@pytest.mark.parametrize("method", ["run.get", "run.wait", "run.watch"])
def test_long_outputs_are_left_out_and_told_of(daemon: Daemon, filled: str, method: str, brief: bool) -> None:
    """The shortest are shown as they are; of the others it is said whose they are and how long."""
    asked = {"brief": brief} if method != "run.watch" else {}
    answer = daemon.call(method, run_id=filled, **asked)
    run = answer["run"] if method == "run.watch" else answer
    outputs = {task["id"]: task["outputs"] for task in run["tasks"]}
    left_out = run["left_out"]["outputs"]
    assert outputs["small"] == {"v": "1"}
    assert len(outputs) == TASKS + 1
    assert {name for name, found in outputs.items() if not found} == set(left_out)
    assert set(left_out.values()) == {LENGTH}
    assert [len(found["v"]) for name, found in outputs.items() if found and name != "small"] == [SIZE, SIZE]
    assert run["left_out"]["tasks"] == 0


def test_outputs_of_one_task_are_read_whole(daemon: Daemon, filled: str) -> None:
    """What a run leaves out is there by task; a task that it does not have is named."""
    left_out = next(iter(daemon.call("run.get", run_id=filled)["left_out"]["outputs"]))
    found = daemon.call("run.outputs", run_id=filled, task=left_out)
    assert found == {"run_id": filled, "task": left_out, "outputs": {"v": "x" * SIZE}}
    assert daemon.call("run.outputs", run_id=filled) == {"run_id": filled, "task": None, "outputs": {}}
    with pytest.raises(RpcError, match="t99"):
        daemon.call("run.outputs", run_id=filled, task="t99")


def test_what_was_done_is_answered_as_done(daemon: Daemon) -> None:
    """Pause, resume, approve, retry and cancel of such a run answer with the run."""
    run_id = daemon.call("run.start", workflow="asks")["id"]
    daemon.eventually(lambda: _waits(daemon, run_id), "it asks")
    assert daemon.call("run.pause", run_id=run_id)["state"] == "paused"
    assert daemon.call("run.resume", run_id=run_id)["state"] == "running"
    assert daemon.call("run.approve", run_id=run_id, task="ask", approve=False)["id"] == run_id
    assert daemon.call("run.wait", run_id=run_id)["state"] == "failed"
    retried = daemon.call("run.retry", run_id=run_id)
    assert (retried["retry_of"], len(retried["left_out"]["outputs"])) == (run_id, TASKS - 2)
    daemon.eventually(lambda: _waits(daemon, retried["id"]), "the retry asks")
    assert daemon.call("run.cancel", run_id=retried["id"])["id"] == retried["id"]
    assert daemon.call("run.wait", run_id=retried["id"])["state"] == "cancelled"


def _waits(daemon: Daemon, run_id: str) -> bool:
    return any(task["waits_for"] == "person" for task in daemon.call("run.get", run_id=run_id)["tasks"])


def test_start_tells_by_its_exit_code_how_the_run_ended(daemon: Daemon, filled: str) -> None:
    """So do the other commands that look at such a run."""
    for asked in (["start", "--wait", "filled"], ["start", "filled"], ["run", "wait", filled], ["logs", filled]):
        done = cli_process.run(daemon.socket_path, *asked)
        assert (done.returncode, "too large" in done.stderr) == (0, False), asked
    done = cli_process.run(daemon.socket_path, "run", "outputs", filled, "small")
    assert json.loads(done.stdout) == {"v": "1"}


def test_a_list_of_long_outputs_is_handed_on_whole(daemon: Daemon, handed: str) -> None:
    """Expressions see all of it; what is shown of the loop is its size, and its items are read one by one."""
    run = daemon.call("run.get", run_id=handed)
    assert run["outputs"] == {"count": TASKS, "last": SIZE}
    assert run["left_out"]["outputs"]["x"] > wire.MAX_MESSAGE_BYTES
    assert daemon.call("run.outputs", run_id=handed, task="x[3]")["outputs"] == {"v": "x" * SIZE}
    with pytest.raises(RpcError, match=r"read those of single tasks or items"):
        daemon.call("run.outputs", run_id=handed, task="x")


def test_two_runs_with_long_outputs_are_compared(daemon: Daemon, filled: str, handed: str) -> None:
    """Of long values that differ their size is told."""
    answer = daemon.call("run.diff", run_id=filled, other=handed)
    outputs = {one["name"]: (one["from"], one["to"]) for one in answer["differences"] if one["what"] == "outputs"}
    assert outputs["t0"] == (f"({LENGTH} bytes)", None)
    assert outputs["small"] == ({"v": "1"}, None)
    assert answer["left_out"] == 0
