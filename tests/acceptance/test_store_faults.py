"""A disk that fails under the real daemon: it says so, starts nothing, lets what runs end, and goes on by itself."""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.helpers import invariants, mounts, powercut
from tests.helpers.daemon import Daemon
from tests.helpers.notify import Manager
from tests.helpers.rpc_client import RpcError

WORKFLOW = """
name: hold
params:
  folder: {type: path}
tasks:
  - id: hold
    shell: read -r answer < "$folder/gate"; echo "$answer"; echo "$BARBOSSA_RUN_ID" >> "$folder/ledger"
  - id: after
    depends_on: [hold]
    shell: echo "$BARBOSSA_RUN_ID" >> "$folder/ledger"
"""


class Host:
    """A daemon whose state has a file system of its own, its systemd, and a task that waits for a word."""

    def __init__(self, folder: Path) -> None:
        self.gate, self.ledger = folder / "gate", folder / "ledger"
        self.manager = Manager(folder / "notify")
        self.daemon = Daemon(folder, environment={"NOTIFY_SOCKET": str(folder / "notify")})
        self.folder = folder
        self.state = folder / "state"
        self.database = self.daemon.state_dir / "barbossa.db"
        os.mkfifo(self.gate)
        self.ledger.touch()

    def start(self) -> str:
        """Start a run, wait until its first task waits, and return its id."""
        run_id: str = self.daemon.call("run.start", workflow="hold", params={"folder": str(self.folder)})["id"]
        self.daemon.eventually(lambda: self.daemon.call("daemon.status")["tasks"]["running"] == 1, "the task runs")
        return run_id

    def let_go(self) -> None:
        """Let the task that waits end."""
        self.gate.write_text("go\n")

    def end_one(self) -> None:
        """Start a run and bring it to its end."""
        run_id = self.start()
        self.let_go()
        assert self.daemon.call("run.wait", run_id=run_id, timeout_seconds=20.0)["state"] == "succeeded"

    def hear_of_status(self, words: str) -> None:
        """Wait until systemd is shown a status that begins so."""
        while not self.manager.hear_of("STATUS")["STATUS"].startswith(words):
            pass


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    made.manager.close()


@dataclass(frozen=True)
class Fault:
    """A way to break the state file's disk: what to mount, how to break and mend it, and what SQLite calls it."""

    mounted: Callable[[Host], AbstractContextManager[Callable[[], Callable[[], None]]]]
    names: tuple[str, ...]
    is_recorded_meanwhile: bool = False


@contextlib.contextmanager
def _filled(host: Host) -> Iterator[Callable[[], Callable[[], None]]]:
    with mounts.tmpfs(host.state, "24m") as folder:

        def break_down() -> Callable[[], None]:
            return mounts.fill(folder).unlink

        yield break_down


@contextlib.contextmanager
def _refusing(host: Host) -> Iterator[Callable[[], Callable[[], None]]]:
    """A disk whose every change of a database fails as on one that turned read-only, under open files.

    The kernel's own way into that state cannot be left again without unmounting (see below), so nobody could see the
    daemon go on.
    """
    switch = host.folder / "errno"
    library = powercut.compiled(host.folder)
    host.daemon.environment.update(powercut.watching(library, host.daemon.state_dir, fault=switch))

    def break_down() -> Callable[[], None]:
        switch.write_text(f"{errno.EROFS}")
        return switch.unlink

    yield break_down


_HOLD = """
import sqlite3, sys
with sqlite3.connect(sys.argv[1], isolation_level=None) as other:
    other.execute("BEGIN EXCLUSIVE")
    print("locked", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def _locked(host: Host) -> Iterator[Callable[[], Callable[[], None]]]:
    def break_down() -> Callable[[], None]:
        other = subprocess.Popen(
            [sys.executable, "-c", _HOLD, host.database], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"

        def mend() -> None:
            other.kill()
            other.communicate()

        return mend

    yield break_down


@contextlib.contextmanager
def _moved_away(host: Host) -> Iterator[Callable[[], Callable[[], None]]]:
    def break_down() -> Callable[[], None]:
        away = host.folder / "away"
        host.daemon.state_dir.rename(away)

        def mend() -> None:
            away.rename(host.daemon.state_dir)

        return mend

    yield break_down


FAULTS = {
    "full": Fault(_filled, ("SQLITE_FULL",), is_recorded_meanwhile=True),
    "read-only": Fault(_refusing, ("SQLITE_READONLY", "SQLITE_IOERR")),
    "locked": Fault(_locked, ("SQLITE_BUSY",)),
    "moved away": Fault(_moved_away, ("SQLITE_READONLY_DBMOVED",)),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_fault_under_a_running_daemon(host: Host, fault: Fault) -> None:
    """Refused starts, a loud status, a task that ends all the same and is on record in the end, and nothing twice."""
    with fault.mounted(host) as break_down, host.daemon as daemon:
        daemon.apply(WORKFLOW)
        run_id = host.start()
        mend = break_down()
        try:
            with pytest.raises(RpcError) as refused:
                daemon.apply(WORKFLOW.replace("hold", "other"))
            assert refused.value.kind == "unavailable"
            assert any(name in refused.value.message for name in fault.names), refused.value.message
            status = daemon.call("daemon.status")
            assert status["state"] == "degraded"
            assert status["store"]["healthy"] is False
            assert any(name in status["store"]["reason"] for name in fault.names)
            host.hear_of_status("DEGRADED: the state file refuses changes: ")
            assert "action=store_refused" in daemon.log
            with pytest.raises(RpcError, match="nothing is started"):
                daemon.call("run.start", workflow="hold", params={"folder": str(host.folder)})

            host.let_go()
            no_task = lambda: daemon.call("daemon.status")["tasks"]["running"] == 0  # noqa: E731
            daemon.eventually(no_task, "the task that ran has ended")
            assert host.ledger.read_text().split() == [run_id]
            if fault.is_recorded_meanwhile:
                ended = lambda: daemon.call("run.get", run_id=run_id)["tasks"][0]["state"] == "succeeded"  # noqa: E731
                daemon.eventually(ended, "its end is recorded on the reserve")
                assert daemon.call("daemon.status")["store"]["reserve_bytes"] == 0
                assert daemon.call("daemon.status")["state"] == "degraded"
        finally:
            mend()
        assert daemon.call("run.wait", run_id=run_id, timeout_seconds=20.0)["state"] == "succeeded"
        host.hear_of_status("running")
        status = daemon.call("daemon.status")
        assert status["state"] == "running"
        assert status["store"]["healthy"] is True
        assert status["store"]["reserve_bytes"] > 0
        assert host.ledger.read_text().split() == [run_id] * 2
        host.end_one()
        assert daemon.stop() == 0
        assert invariants.broken(host.database) == []


NOISY = """
name: noisy
tasks:
  - {id: a, shell: [sh, -c, "while :; do seq 1 2000; sleep 0.02; done"]}
  - {id: b, depends_on: [], shell: [sh, -c, "while :; do seq 1 2000; sleep 0.02; done"]}
"""
OLD = "name: old\ntasks: [{id: x, shell: [sh, -c, seq 1 20000]}]"


def test_logs_leave_the_last_room_to_the_state_file(host: Host) -> None:
    """Tasks that fill the disk with their output lose it, and no more: runs can be cancelled, deleted and pruned."""
    with mounts.tmpfs(host.state, "24m") as folder, host.daemon as daemon:
        daemon.apply(NOISY)
        daemon.apply(OLD)
        old = [daemon.call("run.start", workflow="old")["id"] for _ in range(6)]
        for run_id in old:
            daemon.call("run.wait", run_id=run_id, timeout_seconds=20.0)
        run_id = daemon.call("run.start", workflow="noisy")["id"]
        part = lambda name: daemon.call("daemon.status")[name]  # noqa: E731
        daemon.eventually(lambda: not part("store")["healthy"], "the disk is full", 60)
        daemon.eventually(lambda: not part("logs")["healthy"], "output is lost")
        assert (part("state"), part("store")["reserve_bytes"]) == ("degraded", 0)
        assert " being lost: " in part("logs")["reason"]
        assert mounts.room_bytes(folder) > 3 * 1024**2
        with pytest.raises(RpcError, match="nothing is started"):
            daemon.call("run.start", workflow="old")
        assert daemon.call("run.delete", run_id=old[0])["deleted"] is True
        daemon.write_config("retention: {max_runs: 2}")
        daemon.call("daemon.reload")
        of_old = lambda: [run["id"] for run in daemon.call("run.list", workflow="old")["items"]]  # noqa: E731
        daemon.eventually(lambda: of_old() == [old[5], old[4]], "the past is pruned")
        assert daemon.call("run.get", run_id=run_id)["state"] == "running"
        daemon.call("run.cancel", run_id=run_id)
        assert daemon.call("run.wait", run_id=run_id, timeout_seconds=20.0)["state"] == "cancelled"
        assert part("logs") == {"healthy": True, "reason": None}


def test_output_that_is_lost_is_told(host: Host) -> None:
    """Logs that take nothing are no fault of the state file, and told as loudly, while they take nothing."""
    with host.daemon as daemon:
        (host.daemon.state_dir / "logs").rmdir()
        (host.daemon.state_dir / "logs").write_text("a file where a folder should be\n")
        daemon.apply(NOISY)
        run_id = daemon.call("run.start", workflow="noisy")["id"]
        host.hear_of_status("DEGRADED: output of 1 task is being lost: Not a directory")
        status = daemon.call("daemon.status")
        assert (status["state"], status["store"]["healthy"]) == ("degraded", True)
        assert status["logs"]["reason"].endswith(" being lost: Not a directory")
        daemon.call("run.cancel", run_id=run_id)
        host.hear_of_status("running")
        assert daemon.call("daemon.status")["state"] == "running"


def test_cancelled_where_nothing_can_be_recorded(host: Host) -> None:
    """A run is ended all the same, who asked for that is told what is amiss, and it is on record when that is over."""
    with _moved_away(host) as break_down, host.daemon as daemon:
        daemon.apply(WORKFLOW)
        run_id = host.start()
        mend = break_down()
        try:
            with pytest.raises(RpcError, match="is being ended, but the state file refuses changes") as told:
                daemon.call("run.cancel", run_id=run_id, reason="enough")
            assert told.value.kind == "unavailable"
            no_task = lambda: daemon.call("daemon.status")["tasks"]["running"] == 0  # noqa: E731
            daemon.eventually(no_task, "its task is ended")
        finally:
            mend()
        run = daemon.call("run.wait", run_id=run_id, timeout_seconds=20.0)
        assert (run["state"], run["reason"].endswith(": enough")) == ("cancelled", True)


def test_stop_where_nothing_can_be_recorded(host: Host) -> None:
    """What the disk refuses to the end is told as that, and a stop remains a stop."""
    with _moved_away(host) as break_down:
        with host.daemon as daemon:
            daemon.apply(WORKFLOW)
            run_id = host.start()
            mend = break_down()
            try:
                assert daemon.stop() == 0
            finally:
                mend()
            assert f"what became of run {run_id} is not recorded" in daemon.log
            assert "is not there any more" in daemon.log
            assert " critical " not in daemon.log
        with host.daemon as daemon:
            assert daemon.call("run.wait", run_id=run_id, timeout_seconds=20.0)["state"] == "interrupted"


@pytest.mark.parametrize("kind", ["locked", "moved away"])
def test_the_watchdog_is_fed_during_a_fault(host: Host, kind: str) -> None:
    """A daemon whose state file is refused is healthy: it finds that out, and goes on telling that it lives."""
    host.daemon.environment["WATCHDOG_USEC"] = "400000"
    with FAULTS[kind].mounted(host) as break_down, host.daemon as daemon:
        mend = break_down()
        try:
            host.hear_of_status("DEGRADED")
            for _ in range(3):
                host.manager.hear_of("WATCHDOG")
            assert daemon.call("daemon.status")["state"] == "degraded"
        finally:
            mend()
        host.hear_of_status("running")
        host.manager.hear_of("WATCHDOG")


def test_a_state_folder_that_is_gone_is_told(host: Host) -> None:
    """Who asks how the daemon is hears of it, though nothing had to be written since."""
    with _moved_away(host) as break_down, host.daemon as daemon:
        daemon.apply(WORKFLOW)
        mend = break_down()
        try:
            status = daemon.call("daemon.status")
            assert (status["state"], status["store"]["healthy"]) == ("degraded", False)
            assert "barbossa.db is not there any more" in status["store"]["reason"]
        finally:
            mend()
        daemon.eventually(lambda: daemon.call("daemon.status")["state"] == "running", "it goes on by itself")
        host.end_one()


def test_missing_state_file_is_asked_back_for(host: Host) -> None:
    """A daemon whose state file was taken does not begin anew: it says what to do, and goes on when that is done."""
    with host.daemon as daemon:
        daemon.apply(WORKFLOW)
    away = host.database.rename(host.folder / "away.db")
    said = fails(host.daemon)
    assert "barbossa.db is missing, but barbossa.mark beside it tells of a history" in said
    assert "put barbossa.db back" in said
    assert not host.database.exists()
    away.rename(host.database)
    with host.daemon as daemon:
        assert daemon.call("workflow.get", name="hold")["name"] == "hold"


def fails(daemon: Daemon) -> str:
    """Start a daemon that must refuse; return what it said."""
    daemon.spawn()
    code = daemon.wait()
    assert code == 1, daemon.log
    assert "Traceback" not in daemon.log
    return daemon.log


def test_disk_that_turns_read_only(host: Host) -> None:
    """A file system that its kernel makes read-only: refused, told, a task ends; mended, the next start settles all."""
    with mounts.disk(host.state, host.folder / "image") as disk:
        with host.daemon as daemon:
            daemon.apply(WORKFLOW)
            run_id = host.start()
            disk.break_down()
            with pytest.raises(RpcError, match=r"SQLITE_(IOERR|READONLY)"):
                daemon.apply(WORKFLOW.replace("hold", "other"))
            host.hear_of_status("DEGRADED: the state file refuses changes: ")
            assert daemon.call("daemon.status")["state"] == "degraded"
            host.let_go()
            no_task = lambda: daemon.call("daemon.status")["tasks"]["running"] == 0  # noqa: E731
            daemon.eventually(no_task, "the task that ran has ended")
            assert host.ledger.read_text().split() == [run_id]
        with mounts.seen_by_others():
            disk.repair()
        with host.daemon as daemon:
            assert daemon.call("run.wait", run_id=run_id, timeout_seconds=20.0)["state"] == "interrupted"
            host.end_one()
        assert host.ledger.read_text().split()[0] == run_id
        assert invariants.broken(host.database) == []


def test_start_on_a_read_only_disk(host: Host) -> None:
    """On a disk that cannot be written the daemon does not start, says why, and starts once it can be."""
    with mounts.disk(host.state, host.folder / "image") as disk:
        with host.daemon as daemon:
            daemon.apply(WORKFLOW)
        disk.make_read_only()
        before = host.database.read_bytes()
        with pytest.raises(OSError, match="Read-only"):
            (host.state / "probe").touch()
        assert str(host.daemon.state_dir) in fails(host.daemon)
        assert host.database.read_bytes() == before
        disk.make_writable()
        with host.daemon as daemon:
            assert daemon.call("workflow.get", name="hold")["name"] == "hold"
        assert invariants.broken(host.database) == []


def test_start_where_no_log_can_be_written(host: Host) -> None:
    """A disk of the logs' own that is read-only keeps no daemon from starting, and no task from running; it is told."""
    with mounts.disk(host.daemon.state_dir / "logs", host.folder / "image") as disk:
        disk.make_read_only()
        with host.daemon as daemon:
            daemon.says("no logs can be written, and of what tasks print little is kept: may not write into the folder")
            daemon.apply("name: prints\ntasks: [{id: a, shell: echo few}, {id: b, shell: seq 20000}]\n")
            run_id = daemon.call("run.start", workflow="prints")["id"]
            assert daemon.call("run.wait", run_id=run_id, timeout_seconds=20.0)["state"] == "succeeded"
            assert [item["text"] for item in daemon.call("run.logs", run_id=run_id, task="a")["items"]] == ["few"]
            disk.make_writable()
            run_id = daemon.call("run.start", workflow="prints")["id"]
            daemon.call("run.wait", run_id=run_id, timeout_seconds=20.0)
            (log,) = host.daemon.state_dir.glob("logs/*/*-b-1.log")
            assert log.read_text().endswith(" 20000\n")


def test_a_disk_of_logs_that_turns_read_only(host: Host) -> None:
    """A run ends whose short log lies there and cannot be removed, and what is left of it is no fault of anybody's."""
    with mounts.disk(host.daemon.state_dir / "logs", host.folder / "image") as disk, host.daemon as daemon:
        daemon.apply(
            f"name: prints\ntasks: [{{shell: 'echo few; until [ -e {host.folder}/go ]; do sleep 0.05; done'}}]\n"
        )
        run_id = daemon.call("run.start", workflow="prints")["id"]
        daemon.eventually(lambda: bool(list(host.daemon.state_dir.glob("logs/*/*.log"))), "it has a file")
        disk.break_down()
        (host.folder / "go").touch()
        assert daemon.call("run.wait", run_id=run_id, timeout_seconds=20.0)["state"] == "succeeded"
        task = daemon.call("run.get", run_id=run_id)["tasks"][0]["id"]
        assert [item["text"] for item in daemon.call("run.logs", run_id=run_id, task=task)["items"]] == ["few"]


def test_damaged_state_is_never_replaced(host: Host) -> None:
    """A state file that fails its checks stops the start, time after time, and is left byte for byte as it is."""
    with host.daemon as daemon:
        daemon.apply(WORKFLOW)
    content = bytearray(host.database.read_bytes())
    content[4096 : 4096 + 64] = b"\xa5" * 64
    host.database.write_bytes(content)
    assert invariants_fail(host.database)
    for _ in range(2):
        said = fails(host.daemon)
        assert "is damaged" in said
        assert "restore a backup" in said
        assert host.database.read_bytes() == content
    assert not any(log.stat().st_size for log in host.database.parent.glob("*.db-wal"))


def invariants_fail(database: Path) -> bool:
    """Whether the damage is there at all."""
    try:
        return bool(invariants.broken(database))
    except Exception:  # noqa: BLE001 (SQLite has many words for damage)
        return True


def test_start_on_a_full_disk(host: Host) -> None:
    """On a full disk the daemon starts on the room of its reserve, starts nothing, and goes on when there is room."""
    with mounts.tmpfs(host.state, "24m") as folder:
        with host.daemon as daemon:
            daemon.apply(WORKFLOW)
        ballast = mounts.fill(folder)
        with host.daemon as daemon:
            assert "the disk is full: the reserve" in daemon.log
            host.hear_of_status("DEGRADED: the state file refuses changes: ")
            status = daemon.call("daemon.status")
            assert (status["state"], status["store"]["reserve_bytes"]) == ("degraded", 0)
            with pytest.raises(RpcError, match="nothing is started"):
                daemon.call("run.start", workflow="hold", params={"folder": str(host.folder)})
            ballast.unlink()
            host.hear_of_status("running")
            assert daemon.call("daemon.status")["store"]["reserve_bytes"] > 0
            host.end_one()
        assert invariants.broken(host.database) == []


def test_missing_state_folder_is_made(host: Host) -> None:
    """A state folder that is not there is a fresh start; one that cannot be made is told with its path."""
    with host.daemon as daemon:
        daemon.apply(WORKFLOW)
    for path in sorted(host.state.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    assert not host.daemon.state_dir.exists()
    with host.daemon as daemon:
        assert daemon.call("workflow.list")["items"] == []
    assert invariants.broken(host.database) == []
    for path in sorted(host.state.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    host.state.rmdir()
    host.state.write_text("a file where a folder should be\n")
    assert str(host.daemon.state_dir) in fails(host.daemon)
