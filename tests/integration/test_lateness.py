"""Tasks that take longer than their ``warn_after``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.daemon import Daemon

TASKS = {
    "a task": "{id: t, warn_after: 0.1, shell: 'until [ -e \"$go\" ]; do sleep 0.02; done'}",
    "an item": "{id: t, for_each: [1], warn_after: 0.1, shell: 'until [ -e \"$go\" ]; do sleep 0.02; done'}",
    "a group": "{id: t, warn_after: 0.1, parallel: [{shell: 'until [ -e \"$go\" ]; do sleep 0.02; done'}]}",
}


def late(daemon: Daemon, run_id: str) -> list[str]:
    """Return the tasks of a run that are marked as late."""
    return [item["id"] for item in daemon.call("run.get", run_id=run_id)["tasks"] if item["late"]]


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_what_is_late_is_told_and_goes_on(tmp_path: Path, task: str) -> None:
    """It is marked and the log warns of it, once; nothing is ended."""
    go = tmp_path / "go"
    with Daemon(tmp_path / "house") as daemon:
        daemon.apply(f"name: x\nparams: {{go: {{type: path}}}}\ntasks: [{task}]\n")
        run_id = daemon.call("run.start", workflow="x", params={"go": str(go)})["id"]
        daemon.says("takes longer than its warn_after of 100ms")
        daemon.eventually(lambda: late(daemon, run_id) in (["t"], ["t[0]"]), "it is recorded")
        go.touch()
        assert daemon.call("run.wait", run_id=run_id)["state"] == "succeeded"
        assert daemon.log.count("takes longer") == 1
