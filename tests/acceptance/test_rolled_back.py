"""A state file from a backup is told, whatever else is in its folder."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.helpers import invariants
from tests.helpers.daemon import Daemon

LOUD = "name: loud\ntasks: [{id: talk, shell: 'seq 1 5000'}]\n"


def run_loud(daemon: Daemon) -> str:
    run_id: str = daemon.call("run.start", workflow="loud")["id"]
    assert daemon.call("run.wait", run_id=run_id)["state"] == "succeeded"
    return run_id


def test_an_older_state_file(tmp_path: Path) -> None:
    """It is told in the log and in the status, the daemon works, no id is given again, and what is left is kept."""
    daemon = Daemon(tmp_path)
    database, copy = daemon.state_dir / "barbossa.db", tmp_path / "copy.db"
    with daemon:
        daemon.apply(LOUD)
        assert daemon.call("daemon.status")["store"]["rolled_back"] is None
        first = run_loud(daemon)
    shutil.copy(database, copy)
    with daemon:
        lost = run_loud(daemon)
    shutil.copy(copy, database)
    with daemon:
        assert "it is an older one" in daemon.call("daemon.status")["store"]["rolled_back"]
        assert "it is an older one" in daemon.log
        assert [item["id"] for item in daemon.call("run.list")["items"]] == [first]
        new = run_loud(daemon)
        assert new > lost
        daemon.write_config("retention: {max_runs: 1}\n")
        daemon.call("daemon.reload")
        daemon.says("pruned 1 runs")
        left = {path.name.partition("-")[0] for path in (daemon.state_dir / "logs").rglob("*.log")}
        assert left == {lost, new}, "the logs of runs that were lost are all that is left of them"
    with daemon:
        assert daemon.call("daemon.status")["store"]["rolled_back"] is None
    assert invariants.broken(database) == []
