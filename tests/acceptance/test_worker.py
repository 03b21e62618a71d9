"""Types that run in the worker, on the real daemon: ours, and one that somebody installed beside it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import daemon as daemons
from tests.helpers import foreign
from tests.helpers.daemon import Daemon, processes_with
from tests.helpers.waiting import eventually


@pytest.fixture(scope="module")
def interpreter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment of its own, in which pip would have put Barbossa and a package with a task type."""
    return foreign.make_venv(tmp_path_factory.mktemp("venv"))


@pytest.fixture
def daemon(tmp_path: Path, interpreter: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    """A daemon that runs from that environment, and from nothing that the tests' own provides."""
    monkeypatch.setattr(daemons, "COMMAND", (str(interpreter), "-W", "error", "-m", "barbossad"))
    with Daemon(tmp_path, environment={"PYTHONPATH": "/nonexistent"}) as running:
        yield running


def run(daemon: Daemon, tasks: str, **params: Any) -> dict[str, Any]:
    """Run a workflow to its end and return the run."""
    name = daemon.apply(f"name: odd\nparams: {{pause: {{type: duration, default: 0}}}}\ntasks: {tasks}\n")
    run_id = daemon.call("run.start", workflow=name, params=params)["id"]
    ended: dict[str, Any] = daemon.call("run.wait", run_id=run_id)
    return ended


def started(daemon: Daemon, tasks: str) -> str:
    """Start a workflow; return the run's id when its first task has said that it waits."""
    name = daemon.apply(f"name: odd\ntasks: {tasks}\n")
    run_id: str = daemon.call("run.start", workflow=name)["id"]
    daemon.eventually(lambda: "waiting" in printed(daemon, run_id), "its task waits")
    return run_id


def printed(daemon: Daemon, run_id: str) -> list[str]:
    """Return the lines of the first task's log."""
    task = daemon.call("run.get", run_id=run_id)["tasks"][0]
    if not task["attempts"]:
        return []
    return [item["text"] for item in daemon.call("run.logs", run_id=run_id, task=task["id"])["items"]]


def test_outputs_of_an_installed_type_keep_their_types(daemon: Daemon) -> None:
    """A later task's expressions see numbers as numbers and lists as lists."""
    text = "{{ tasks.probe.outputs.count + 1 }} {{ tasks.probe.outputs.list[1] }} {{ tasks.probe.outputs.yes }}"
    ended = run(daemon, f"[{{id: probe, probe: typed}}, {{id: tell, shell: [echo, '{text}']}}]")
    assert ended["state"] == "succeeded"
    outputs = ended["tasks"][0]["outputs"]
    assert (outputs["number"], outputs["count"], outputs["map"]) == (1.5, 3, {"a": {"b": [True]}})
    page = daemon.call("run.logs", run_id=ended["id"], task="tell")
    assert [item["text"] for item in page["items"]] == ["4 a true"]


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        ("{do: fail, value: the disk is full}", "the disk is full"),
        ("{do: crash, value: gone}", "ValueError: gone"),
        ("{do: exit, value: 0}", "it exited with 0 but its report cannot be read: there is none"),
        ("{do: exit, value: 3}", "exit code 3"),
        ("{do: returned, value: much}", "its outputs are larger than 1048576 bytes"),
    ],
)
def test_the_reason_of_a_failure_is_the_attempts(daemon: Daemon, task: str, reason: str) -> None:
    """Who looks at the run reads why, not that a worker exited with 1."""
    ended = run(daemon, f"[{{probe: {task}}}]")
    assert ended["state"] == "failed"
    (task_view,) = ended["tasks"]
    assert task_view["reason"].startswith(reason)
    assert task_view["attempts"][0]["reason"].startswith(reason)


def test_a_cancelled_run_lets_its_task_tidy_up(daemon: Daemon) -> None:
    """Its finally blocks run within the grace, and the attempt is cancelled, not failed."""
    run_id = started(daemon, "[{probe: tidy, grace: 30s}]")
    daemon.call("run.cancel", run_id=run_id)
    ended = daemon.call("run.wait", run_id=run_id)
    assert (ended["state"], ended["tasks"][0]["state"]) == ("cancelled", "cancelled")
    assert printed(daemon, run_id) == ["waiting", "tidied up"]


def test_a_timeout_lets_its_task_tidy_up(daemon: Daemon) -> None:
    """As cancelling does."""
    ended = run(daemon, "[{probe: tidy, timeout: 1s, grace: 30s}]")
    assert (ended["state"], ended["tasks"][0]["state"]) == ("failed", "timed_out")
    assert "timeout of 1s" in ended["tasks"][0]["reason"]
    assert printed(daemon, ended["id"]) in ([], ["waiting", "tidied up"])  # a busy host may not have started it by then


def test_wait_waits(daemon: Daemon) -> None:
    """The built-in type takes the same road; its duration may come from the run's params."""
    tasks = "[{id: nap, wait: '{{ params.pause }}'}, {wait: {until: '2020-01-01T00:00:00Z'}}]"
    ended = run(daemon, tasks, pause="50ms")
    assert ended["state"] == "succeeded"
    assert 0.05 <= ended["tasks"][0]["outputs"]["waited_seconds"] < 20
    assert ended["tasks"][1]["outputs"]["waited_seconds"] < 20


def test_a_worker_ends_with_the_daemon(daemon: Daemon) -> None:
    """Without systemd nothing outlives the daemon, a worker neither."""
    run_id = started(daemon, "[{probe: stubborn}]")
    word = f"BARBOSSA_RUN_ID={run_id}"
    assert processes_with(word)
    daemon.kill()
    eventually(lambda: not processes_with(word), 30, "nothing of it is left")
