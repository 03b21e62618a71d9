"""What systemd hears of the real daemon, and what it may hand over."""

from __future__ import annotations

import re
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.daemon import Daemon
from tests.helpers.notify import Manager
from tests.helpers.rpc_client import Client


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path / "notify")
    yield made
    made.close()


def test_what_systemd_hears(tmp_path: Path, manager: Manager) -> None:
    """READY with a status, RELOADING with the time, READY again, STOPPING, in this order; also for a broken config."""
    with Daemon(tmp_path, environment={"NOTIFY_SOCKET": str(manager.path)}) as daemon:
        first = manager.hear()
        assert first["READY"] == "1"
        assert first["STATUS"].startswith("running, 0 workflows")
        for config, status in (("", "running"), ("tasks: {limit: x\n", "config not reloaded"), ("", "running")):
            daemon.write_config(config)
            daemon.signal(signal.SIGHUP)
            reloading = manager.hear()
            assert reloading["RELOADING"] == "1"
            assert int(reloading["MONOTONIC_USEC"]) > 0
            ready = manager.hear()
            assert ready["READY"] == "1"
            assert ready["STATUS"].startswith(status)
        daemon.signal(signal.SIGTERM)
        stopping = manager.hear()
        assert stopping["STOPPING"] == "1"
        assert "0 tasks" in stopping["STATUS"]
        assert daemon.wait() == 0


def test_the_status_is_kept_up_to_date(tmp_path: Path, manager: Manager) -> None:
    """It counts the workflows, knows of a drain, and goes back to a reload that failed when that is over."""
    with Daemon(tmp_path, environment={"NOTIFY_SOCKET": str(manager.path)}) as daemon:
        assert manager.hear()["STATUS"].startswith("running, 0 workflows")
        daemon.apply("name: one\ntasks: [{shell: 'true'}]\n")
        assert manager.hear()["STATUS"].startswith("running, 1 workflows")
        daemon.apply("name: one\ntasks: [{shell: 'false'}]\n")
        daemon.apply("name: two\ntasks: [{shell: 'true'}]\n")
        assert manager.hear()["STATUS"].startswith("running, 2 workflows")
        daemon.write_config("tasks: {limit: x\n")
        daemon.signal(signal.SIGHUP)
        assert manager.hear_of("READY")["STATUS"].startswith("config not reloaded")
        daemon.call("daemon.drain")
        assert manager.hear()["STATUS"].startswith("draining")
        daemon.call("workflow.delete", name="one")
        assert "1 workflows" in manager.hear()["STATUS"]
        daemon.call("daemon.drain", end=True)
        assert manager.hear()["STATUS"].startswith("config not reloaded")
        daemon.write_config("")
        daemon.signal(signal.SIGHUP)
        assert manager.hear_of("READY")["STATUS"].startswith("running, 1 workflows")


def test_the_watchdog_is_fed(tmp_path: Path, manager: Manager) -> None:
    """With WATCHDOG_USEC set the daemon says that it lives, twice in that time and more."""
    told = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "200000"}
    with Daemon(tmp_path, environment=told):
        for _ in range(5):
            assert manager.hear_of("WATCHDOG")["WATCHDOG"] == "1"


def test_a_watchdog_of_another_process(tmp_path: Path, manager: Manager) -> None:
    """A watchdog that is meant for another process is not fed."""
    told = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}
    with Daemon(tmp_path, environment=told) as daemon:
        assert "READY" in manager.hear()
        daemon.signal(signal.SIGTERM)
        assert "STOPPING" in manager.hear()
        daemon.wait()


def test_a_hung_daemon_does_not_feed_the_watchdog(tmp_path: Path, manager: Manager) -> None:
    """A daemon that is stopped in its tracks says nothing, so systemd would see it."""
    told = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "100000"}
    with Daemon(tmp_path, environment=told) as daemon:
        manager.hear_of("WATCHDOG")
        daemon.signal(signal.SIGSTOP)
        manager._socket.settimeout(0.5)
        with pytest.raises(TimeoutError):
            for _ in range(20):
                manager.hear()
        manager._socket.settimeout(20)
        daemon.signal(signal.SIGCONT)
        manager.hear_of("WATCHDOG")


def test_tasks_hear_nothing_of_systemd(tmp_path: Path, manager: Manager) -> None:
    """A task finds no word of the manager in its environment, and no socket that was handed over."""
    told = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "60000000", "INVOCATION_ID": "abc"}
    with Daemon(tmp_path, environment=told) as daemon:
        daemon.apply("name: env\ntasks: [{shell: 'env; ls -l /proc/self/fd'}]\n")
        run = daemon.call("run.wait", run_id=daemon.call("run.start", workflow="env")["id"])
        lines = daemon.call("run.logs", run_id=run["id"], task="shell-1")["items"]
        text = "\n".join(line["text"] for line in lines)
        assert not re.search("NOTIFY|WATCHDOG|LISTEN|INVOCATION|socket", text)


LISTEN = """
import os, sys
os.environ["LISTEN_PID"] = str(os.getpid())
os.dup2(int(sys.argv[1]), 3)
os.execv(sys.argv[2], sys.argv[2:])
"""


def test_socket_activation(tmp_path: Path) -> None:
    """A socket that was handed over is served, never removed, and who connected before the daemon came is answered."""
    path = tmp_path / "handed.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen(64)
        listening.set_inheritable(True)
        early = Client(path)
        early.begin("daemon.ping")
        daemon = Daemon(
            tmp_path,
            environment={"LISTEN_FDS": "1"},
            wrapper=[sys.executable, "-c", LISTEN, str(listening.fileno())],
            pass_fds=[listening.fileno()],
        )
        daemon.spawn()
        try:
            assert early.receive()["result"]["pid"] == daemon.pid
            assert not daemon.socket_path.exists()
            early.begin("daemon.status")
            assert early.receive()["result"]["socket"] == str(path)
            daemon.says(f"listening at {path}")
            daemon.says(
                f"the config has the socket at {daemon.socket_path}, but systemd listens at {path}: to move it, "
            )
            early.begin("daemon.reload")
            assert early.receive()["result"]["needing_restart"] == []
            assert daemon.stop() == 0
            assert path.is_socket()
            daemon.write_config(f"socket: {path}\n")
            daemon.log_path.write_text("")
            early.close()
            early = Client(path)
            early.begin("daemon.ping")
            daemon.spawn()
            assert early.receive()["result"]["pid"] == daemon.pid
            assert daemon.stop() == 0
            assert "the config has the socket" not in daemon.log
        finally:
            early.close()
            if daemon.process is not None and daemon.process.poll() is None:
                daemon.kill()
        assert "Traceback" not in daemon.log


@pytest.mark.parametrize("told", [{"LISTEN_FDS": "1", "LISTEN_PID": "1"}, {"LISTEN_FDS": "x"}, {"WATCHDOG_USEC": "-1"}])
def test_words_that_are_not_for_us(tmp_path: Path, told: dict[str, str]) -> None:
    """Variables that are meant for another process, or make no sense, are ignored."""
    with Daemon(tmp_path, environment=told) as daemon:
        assert daemon.socket_path.is_socket()
        environment = Path(f"/proc/{daemon.pid}/environ").read_bytes()
        assert b"LISTEN_FDS" in environment or b"WATCHDOG" in environment
