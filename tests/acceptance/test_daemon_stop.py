"""How the real daemon ends: in stages, forced, or killed."""

from __future__ import annotations

import contextlib
import re
import secrets
import signal
from pathlib import Path

import pytest

from barbossad import daemon as stages
from tests.helpers.daemon import ROOT, Daemon, processes_with, started
from tests.helpers.rpc_client import RpcError


def test_a_stop_ends_tasks_and_records_them(tmp_path: Path) -> None:
    """SIGTERM ends a running task within the grace, recorded as interrupted; nothing is left, and it exits with 0."""
    word = f"barbossa-test-{secrets.token_hex(8)}"
    with Daemon(tmp_path, config="shutdown_grace: 500ms\n") as daemon:
        run_id = started(
            daemon,
            f"name: deaf\ntasks:\n  - id: nap\n    grace: 1m\n    env: {{WORD: {word}}}\n"
            "    shell: trap '' TERM; (setsid sleep 600 &) ; while :; do sleep 0.05; done\n",
        )
        children = processes_with(word)
        assert len(children) >= 2
        assert daemon.stop() == 0
        assert processes_with(word) == []
        assert not daemon.socket_path.exists()
        assert "stopping; 1 tasks are being ended" in daemon.log
        assert daemon.log.splitlines()[-1].endswith("action=stopped")
        daemon.start()
        run = daemon.call("run.get", run_id=run_id)
        assert (run["state"], run["tasks"][0]["state"]) == ("interrupted", "interrupted")
        assert run["tasks"][0]["attempts"][0]["reason"] == "the daemon was stopped while it ran"


def test_a_stop_answers_who_waits(daemon: Daemon) -> None:
    """Calls that wait for a run are answered or hung up on; new runs are refused, and nobody waits for ever."""
    run_id = started(daemon)
    with daemon.client() as waiting, daemon.client() as asking:
        waiting.begin("run.wait", run_id=run_id)
        asking.call("daemon.ping")
        daemon.signal(signal.SIGTERM)
        with contextlib.suppress(EOFError):
            assert waiting.receive()["result"]["state"] == "interrupted"
    assert daemon.wait() == 0


def test_new_runs_are_refused_while_stopping(unstarted: Daemon) -> None:
    """While tasks are being ended the daemon answers, and refuses to start anything."""
    unstarted.write_config("shutdown_grace: 20s\n")
    unstarted.start()
    started(unstarted, "name: deaf\ntasks: [{shell: 'trap \"\" TERM; while :; do sleep 0.05; done', grace: 1m}]\n")
    with unstarted.client() as client:
        client.call("daemon.ping")
        unstarted.signal(signal.SIGTERM)
        unstarted.says("action=stopping")
        assert client.call("daemon.status")["state"] == "stopping"
        with pytest.raises(RpcError) as caught:
            client.call("run.start", workflow="deaf")
        assert caught.value.kind == "unavailable"
        unstarted.signal(signal.SIGTERM)
    assert unstarted.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_forces(tmp_path: Path, number: signal.Signals) -> None:
    """A second SIGTERM or Ctrl-C kills the tasks at once, recorded all the same."""
    with Daemon(tmp_path, config="shutdown_grace: 1m\n") as daemon:
        run_id = started(
            daemon, "name: deaf\ntasks: [{shell: 'trap \"\" TERM; while :; do sleep 0.05; done', grace: 1m}]\n"
        )
        daemon.signal(number)
        daemon.says("action=stopping")
        daemon.signal(number)
        assert daemon.wait(20) == 0
        assert "asked again: the tasks are killed now" in daemon.log
        daemon.start()
        assert daemon.call("run.get", run_id=run_id)["state"] == "interrupted"


def test_the_stages_of_a_stop_fit_into_the_units_limit() -> None:
    """The longest stop is shorter than systemd waits before it kills."""
    unit = (ROOT / "packaging" / "systemd" / "barbossad.service").read_text()
    (limit,) = re.findall(r"^TimeoutStopSec=(\d+)s$", unit, re.MULTILINE)
    assert stages.longest_stop_seconds() < int(limit)


def test_a_kill_leaves_nothing_that_runs(daemon: Daemon) -> None:
    """After kill -9 the tasks of the daemon are gone, and the next one records them as interrupted."""
    word = f"barbossa-test-{secrets.token_hex(8)}"
    run_id = started(
        daemon, f"name: left\ntasks: [{{shell: exec sleep 600, env: {{WORD: {word}}}}}, {{shell: 'true'}}]\n"
    )
    daemon.kill()
    daemon.start()
    assert processes_with(word) == []
    run = daemon.call("run.wait", run_id=run_id, timeout_seconds=20)
    assert [task["state"] for task in run["tasks"]] == ["interrupted", "upstream_failed"]
