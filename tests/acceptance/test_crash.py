"""The daemon is killed in the middle of runs, again and again: nothing is lost, nothing is left, nothing is stuck."""

from __future__ import annotations

import os
import random
import secrets
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from benchmarks.daemon import CallError, Client
from tests.helpers import invariants
from tests.helpers.waiting import eventually

ROUNDS = 50
RUNS_A_ROUND = 8
WORKFLOW = """
name: crash
params:
  ledger: {{type: path}}
tasks:
  - id: quick
    depends_on: []
    shell: echo "$BARBOSSA_ATTEMPT_NUMBER" >> "$ledger/$BARBOSSA_RUN_ID-quick"; echo done
  - id: escapes
    depends_on: []
    shell: |
      echo "$BARBOSSA_ATTEMPT_NUMBER" >> "$ledger/$BARBOSSA_RUN_ID-escapes"
      env -i setsid sh -c 'setsid sleep 3600.{token} &' &
      sleep 3599.{token} &
      sleep 0.4
  - id: stubborn
    depends_on: []
    shell: |
      echo "$BARBOSSA_ATTEMPT_NUMBER" >> "$ledger/$BARBOSSA_RUN_ID-stubborn"
      trap '' TERM INT HUP
      sleep 0.3
  - id: after
    depends_on: [quick]
    shell: echo "$BARBOSSA_ATTEMPT_NUMBER" >> "$ledger/$BARBOSSA_RUN_ID-after"
  - id: last
    depends_on: [escapes, stubborn]
    shell: echo "$BARBOSSA_ATTEMPT_NUMBER" >> "$ledger/$BARBOSSA_RUN_ID-last"
"""
TASKS = ("quick", "escapes", "stubborn", "after", "last")


class Host:
    """A daemon of its own that may die, what it acknowledged, and the processes of its tasks."""

    def __init__(self, folder: Path) -> None:
        self.token = str(secrets.randbelow(10**9))
        self.ledger = folder / "ledger"
        self.ledger.mkdir()
        self.state = folder / "state" / "barbossa"
        self.acknowledged: list[str] = []
        self.daemon: subprocess.Popen[bytes] | None = None
        self._log = folder / "log"
        (folder / "run").mkdir(mode=0o700)
        self._socket = folder / "run" / "barbossa" / "barbossad.sock"
        self._environment = {
            **os.environ,
            "XDG_RUNTIME_DIR": str(folder / "run"),
            "XDG_STATE_HOME": str(folder / "state"),
            "XDG_CONFIG_HOME": str(folder / "config"),
        }

    def start(self) -> subprocess.Popen[bytes]:
        """Start the daemon and wait until it answers."""
        with self._log.open("ab") as log:
            self.daemon = daemon = subprocess.Popen(
                [sys.executable, "-m", "barbossad", "--user"], env=self._environment, stdout=log, stderr=log
            )

        def answers() -> bool:
            assert daemon.poll() is None, self._log.read_text()[-3000:]
            try:
                with Client(self._socket) as client:
                    client.call("daemon.ping")
            except (OSError, CallError):
                return False
            return True

        eventually(answers, 30, "the daemon answers")
        return daemon

    def kill(self) -> None:
        """Kill the daemon, and wait until it is gone."""
        if self.daemon is not None:
            self.daemon.kill()
            self.daemon.wait()

    def client(self) -> Client:
        """Connect to the daemon."""
        return Client(self._socket)

    def start_runs(self, enough: threading.Event) -> None:
        """Start runs one after another, as long as the daemon lives; note each that was acknowledged."""
        try:
            with self.client() as client:
                for _ in range(RUNS_A_ROUND):
                    run = client.call("run.start", workflow="crash", params={"ledger": str(self.ledger)})
                    self.acknowledged.append(run["id"])
                    enough.set()
        except (OSError, CallError):
            enough.set()

    def processes(self) -> list[int]:
        """Return what is alive of the tasks, found by an argument that only they have."""
        found = []
        for process in psutil.process_iter(["cmdline", "status"]):
            words = process.info["cmdline"] or []
            if process.info["status"] != psutil.STATUS_ZOMBIE and any(w.endswith(self.token) for w in words):
                found.append(process.pid)
        return found


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """Yield a host whose daemon is gone afterwards, whatever happened."""
    made = Host(tmp_path)
    yield made
    made.kill()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_fifty_kills_in_the_middle_of_runs(host: Host) -> None:
    """No acknowledged run is lost, no process is left, no state is stuck, and no task is started twice."""
    seed = secrets.randbelow(2**32)
    print(f"seed {seed}")  # noqa: T201 (to repeat a failure)
    chance = random.Random(seed)
    interrupted = 0
    for _ in range(ROUNDS):
        host.start()
        with host.client() as client:
            client.call("workflow.apply", yaml=WORKFLOW.format(token=host.token))
        enough = threading.Event()
        caller = threading.Thread(target=host.start_runs, args=(enough,))
        caller.start()
        assert enough.wait(30)
        threading.Event().wait(chance.uniform(0, 0.35))  # the instant of the kill is what varies
        interrupted += bool(host.processes())
        host.kill()
        caller.join(30)
        assert not caller.is_alive()
        eventually(lambda: not host.processes(), 10, "no process of a task outlives the daemon")
    assert interrupted > ROUNDS // 2, "the daemon was not killed in the middle of anything"

    daemon = host.start()
    with host.client() as client:
        for run_id in host.acknowledged:
            client.call("run.wait", run_id=run_id, timeout_seconds=60.0)
        known = {run_id: client.call("run.get", run_id=run_id) for run_id in host.acknowledged}
    eventually(lambda: not host.processes(), 10, "no process of an ended run lives")
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(30) == 0

    assert invariants.broken(host.state / "barbossa.db") == []
    outcomes = Counter()
    for run_id, run in known.items():
        for task in run["tasks"]:
            file = host.ledger / f"{run_id}-{task['id']}"
            lines = file.read_text().splitlines() if file.exists() else []
            outcomes[task["state"]] += 1
            assert len(lines) <= 1, f"task {task['id']} of run {run_id} was started {len(lines)} times"
            assert task["state"] != "succeeded" or len(lines) == 1, f"{run_id} {task}"
            assert task["attempts"] or not lines, f"task {task['id']} of run {run_id} ran without a record of it"
        assert {task["id"] for task in run["tasks"]} == set(TASKS)
    assert outcomes["interrupted"] > ROUNDS, outcomes
    assert outcomes["succeeded"] > ROUNDS, outcomes
