"""The daemon is killed in the middle of runs, again and again: nothing is lost, nothing is left, nothing is stuck."""

from __future__ import annotations

import random
import secrets
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers import invariants
from tests.helpers.daemon import Daemon, processes_with
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
    """A daemon that may die at any moment, what it acknowledged, and the processes of its tasks."""

    def __init__(self, folder: Path) -> None:
        self.token = str(secrets.randbelow(10**9))
        self.ledger = folder / "ledger"
        self.ledger.mkdir()
        self.acknowledged: list[str] = []
        self.daemon = Daemon(folder)

    def start_runs(self, enough: threading.Event) -> None:
        """Start runs one after another, as long as the daemon lives; note each that was acknowledged."""
        try:
            with self.daemon.client() as client:
                for _ in range(RUNS_A_ROUND):
                    run = client.call("run.start", workflow="crash", params={"ledger": str(self.ledger)})
                    self.acknowledged.append(run["id"])
                    enough.set()
        except (OSError, EOFError):
            enough.set()

    def processes(self) -> list[int]:
        """Return what is alive of the tasks, found by an argument that only they have."""
        return processes_with(self.token)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """Yield a host whose daemon is gone afterwards, whatever happened."""
    made = Host(tmp_path)
    yield made
    process = made.daemon.process
    if process is not None and process.poll() is None:
        made.daemon.kill()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_fifty_kills_in_the_middle_of_runs(host: Host) -> None:
    """No acknowledged run is lost, no process is left, no state is stuck, and no task is started twice."""
    seed = secrets.randbelow(2**32)
    print(f"seed {seed}")  # noqa: T201 (to repeat a failure)
    chance = random.Random(seed)
    interrupted = 0
    for _ in range(ROUNDS):
        host.daemon.start()
        host.daemon.apply(WORKFLOW.format(token=host.token))
        enough = threading.Event()
        caller = threading.Thread(target=host.start_runs, args=(enough,))
        caller.start()
        assert enough.wait(30)
        threading.Event().wait(chance.uniform(0, 0.35))  # the instant of the kill is what varies
        interrupted += bool(host.processes())
        host.daemon.kill()
        caller.join(30)
        assert not caller.is_alive()
        eventually(lambda: not host.processes(), 30, "no process of a task outlives the daemon")
    assert interrupted > ROUNDS // 2, "the daemon was not killed in the middle of anything"

    host.daemon.start()
    with host.daemon.client() as client:
        for run_id in host.acknowledged:
            client.call("run.wait", run_id=run_id, timeout_seconds=60.0)
        known = {run_id: client.call("run.get", run_id=run_id) for run_id in host.acknowledged}
    eventually(lambda: not host.processes(), 30, "no process of an ended run lives")
    assert host.daemon.stop() == 0

    assert invariants.broken(host.daemon.state_dir / "barbossa.db") == []
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


ASKING = """
name: ask
PLACE
tasks: [{id: ask, approval: go on?}]
"""


@pytest.mark.parametrize(
    ("point", "place", "method", "named"),
    [
        ("replacing-recorded", "concurrency: {limit: 1, policy: replace}", "run.start", "workflow"),
        ("replacing-fire-recorded", "schedules: [{every: 999d, overlap: replace}]", "schedule.trigger", "name"),
    ],
)
def test_killed_before_a_run_makes_room(tmp_path: Path, point: str, place: str, method: str, named: str) -> None:
    """What was recorded to take the place of a run that waits for a person has it after the restart."""
    daemon, flag = Daemon(tmp_path), tmp_path / "crash"
    daemon.environment["BARBOSSA_CRASH_AT"] = f"{point}:{flag}"
    daemon.start()
    daemon.apply(ASKING.replace("PLACE", place))
    daemon.call(method, **{named: "ask"})
    flag.touch()
    with pytest.raises((EOFError, ConnectionError)):
        daemon.call(method, **{named: "ask"})
    daemon.wait()
    with daemon:
        daemon.eventually(lambda: state_of(daemon, 0) == "running", "the newer run has its place")
        assert state_of(daemon, -1) == "cancelled"
        assert len(daemon.call("run.list")["items"]) == 2


def state_of(daemon: Daemon, position: int) -> str | None:
    """Return the state of a run by its position, the newest first."""
    runs = daemon.call("run.list")["items"]
    return str(runs[position]["state"]) if runs else None
