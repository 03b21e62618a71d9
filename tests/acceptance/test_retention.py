"""The daemon forgets by itself what it is not told to keep, and a person can have it forget a run."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from tests.helpers import invariants
from tests.helpers.daemon import Daemon, started
from tests.helpers.rpc_client import RpcError

LOUD = "name: loud\ntasks: [{id: talk, shell: 'seq 1 5000'}]\n"


def log_files(daemon: Daemon) -> list[Path]:
    return sorted((daemon.state_dir / "logs").rglob("*.log"))


def run_loud(daemon: Daemon) -> str:
    run_id: str = daemon.call("run.start", workflow="loud")["id"]
    assert daemon.call("run.wait", run_id=run_id)["state"] == "succeeded"
    return run_id


def runs(daemon: Daemon) -> list[str]:
    return [item["id"] for item in daemon.call("run.list")["items"]]


def test_the_daemon_prunes_by_itself(tmp_path: Path) -> None:
    """What a reload or a start finds to be too much goes, with its files; a run under way stays."""
    with Daemon(tmp_path) as daemon:
        daemon.apply(LOUD)
        ids = [run_loud(daemon) for _ in range(4)]
        live = started(daemon)
        assert len(log_files(daemon)) == 4
        daemon.write_config("retention: {max_runs: 2}\n")
        assert daemon.call("daemon.reload")["changed"] == ["retention"]
        daemon.eventually(lambda: len(runs(daemon)) == 3, "two runs of each workflow are left")
        daemon.eventually(lambda: len(log_files(daemon)) == 2, "their files are gone")
        assert runs(daemon) == [live, ids[3], ids[2]]
        daemon.call("run.cancel", run_id=live)
        daemon.call("run.wait", run_id=live)
        daemon.says("pruned 2 runs")
    daemon.write_config("retention: {max_age: 1ms}\n")
    day = log_files(daemon)[0].parent
    (day / "0000000000-lost-1.log").write_text("its run was deleted just before a crash")
    with daemon:
        daemon.eventually(lambda: runs(daemon) == [], "the first pass after the start deletes all")
        daemon.eventually(lambda: not day.exists(), "no file is left")
    assert invariants.broken(daemon.state_dir / "barbossa.db", is_pruned=True) == []


@pytest.mark.parametrize("by", ["person", "rule"])
def test_nothing_of_a_deleted_run_can_be_found(tmp_path: Path, by: str) -> None:
    """Its params and its output are in no file of the state folder any more, while the daemon goes on."""
    marker = b"4111-1111-1111-1111"
    with Daemon(tmp_path) as daemon:
        daemon.apply("name: quiet\nparams: {card: {type: string}}\ntasks: [{id: talk, shell: 'echo $card'}]\n")
        run_id = daemon.call("run.start", workflow="quiet", params={"card": marker.decode()})["id"]
        assert daemon.call("run.wait", run_id=run_id)["state"] == "succeeded"
        assert holding(daemon, marker)
        if by == "person":
            daemon.call("run.delete", run_id=run_id)
        else:
            daemon.write_config("retention: {max_age: 1ms}\n")
            daemon.call("daemon.reload")
            daemon.says("pruned 1 runs")
        assert holding(daemon, marker) == []


def holding(daemon: Daemon, marker: bytes) -> list[str]:
    """Return the names of the files of the state folder in which something can be read."""
    found = []
    for path in daemon.state_dir.rglob("*"):
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):  # the daemon may have removed it meanwhile
            found += [path.name] if marker in path.read_bytes() else []
    return found


def test_a_person_deletes_a_run(tmp_path: Path) -> None:
    """A run that has ended is deleted with its files; one that has not is refused, and one that is not there too."""
    with Daemon(tmp_path) as daemon:
        daemon.apply(LOUD)
        gone, kept = run_loud(daemon), run_loud(daemon)
        live = started(daemon)
        assert daemon.call("run.delete", run_id=gone) == {"id": gone, "deleted": True}
        assert runs(daemon) == [live, kept]
        assert len(log_files(daemon)) == 1
        with pytest.raises(RpcError, match="there is no run"):
            daemon.call("run.delete", run_id=gone)
        with pytest.raises(RpcError, match="is running; cancel it"):
            daemon.call("run.delete", run_id=live)
        daemon.call("run.cancel", run_id=live)
        daemon.call("run.wait", run_id=live)
        daemon.call("run.delete", run_id=live)
        assert runs(daemon) == [kept]
    assert invariants.broken(daemon.state_dir / "barbossa.db") == []
