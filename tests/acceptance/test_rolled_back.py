"""A state file from a backup is told, whatever else is in its folder."""

from __future__ import annotations

import shutil
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from barbossad.store.highwater import UNKNOWN
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


ONE_AT_A_TIME = """
name: one
concurrency: {limit: 1, policy: queue}
params: {folder: {type: path}}
tasks:
  - id: note
    shell: echo "$BARBOSSA_RUN_ID" >> "$folder/ledger"; until [ -e "$folder/gate" ]; do sleep 0.05; done
"""


def restore(daemon: Daemon, copy: str) -> None:
    """Put a backup in the place of the state file, as docs/store.md says."""
    database = daemon.state_dir / "barbossa.db"
    for left in ("-wal", "-shm"):
        database.with_name(database.name + left).unlink(missing_ok=True)
    shutil.copy(copy, database)


@pytest.mark.parametrize("has_mark", [True, False])
def test_a_restored_backup_runs_nothing_twice(tmp_path: Path, has_mark: bool) -> None:
    """What has run since the backup, by its time or from a queue, does not run again by itself; a person may retry."""
    daemon = Daemon(tmp_path)
    ledger = tmp_path / "ledger"
    with daemon:
        daemon.apply(ONE_AT_A_TIME)
        params = {"folder": str(tmp_path)}
        first, second = (daemon.call("run.start", workflow="one", params=params)["id"] for _ in range(2))
        daemon.eventually(ledger.exists, "the first run has begun")
        due = datetime.fromtimestamp(time.time() + 6, UTC)  # the backup is made before
        daemon.apply(
            f"name: timed\nschedules: [{{at: '{due:%Y-%m-%dT%H:%M:%S}Z'}}]\n"
            f"tasks: [{{id: note, shell: 'echo timed >> {ledger}'}}]\n"
        )
        copy = daemon.call("daemon.backup")["path"]
        daemon.eventually(lambda: "timed" in ledger.read_text(), "the fire has run")
        (tmp_path / "gate").touch()
        assert daemon.call("run.wait", run_id=second)["state"] == "succeeded"
    before = ledger.read_text().split()
    assert sorted(before) == sorted([first, second, "timed"])
    restore(daemon, copy)
    if not has_mark:
        (daemon.state_dir / "barbossa.mark").unlink()
    with daemon:
        assert "action=store_rolled_back" in daemon.log
        assert daemon.call("daemon.status")["store"]["rolled_back"]
        for run_id in (first, second):
            run = daemon.call("run.get", run_id=run_id)
            assert (run["state"], run["reason"]) == ("interrupted", UNKNOWN)
        (fire,) = daemon.call("schedule.history", name="timed")["items"]
        assert (fire["state"], fire["reason"]) == ("missed", UNKNOWN)
        assert ledger.read_text().split() == before
        again = daemon.call("run.retry", run_id=second)["id"]
        assert daemon.call("run.wait", run_id=again)["state"] == "succeeded"
        assert ledger.read_text().split() == [*before, again]
    with daemon:
        assert daemon.call("daemon.status")["store"]["rolled_back"] is None
    assert ledger.read_text().split() == [*before, again]
    assert invariants.broken(daemon.state_dir / "barbossa.db") == []
