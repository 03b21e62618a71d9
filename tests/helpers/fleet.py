"""Many tasks that each leave a trace of their own, and what must be true of all of them afterwards."""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.helpers import invariants
from tests.helpers.rpc_client import Client
from tests.helpers.service import STATE, WAIT_SECONDS, Service
from tests.helpers.waiting import eventually

TRACES = "/root/traces"
_STEPS = 4
_SCRIPT = """\
echo "$BARBOSSA_RUN_ID $BARBOSSA_TASK_ID" >>{traces}/$BARBOSSA_RUN_ID-$BARBOSSA_TASK_ID
n=0
for step in {steps}; do
  for line in 1 2 3 4 5; do n=$((n + 1)); echo "line $n"; done
  sleep {pause}
done
echo "count=$n" >>"$BARBOSSA_OUTPUT"
exit {code}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """``workflows`` runs of ``lanes`` chains of ``length`` tasks each; some fail, which ends their chain's run only."""

    service: Service
    workflows: int
    lanes: int
    length: int
    random: random.Random
    codes: dict[tuple[str, str], int] = field(default_factory=dict)
    """The exit code of each task, by workflow and task."""

    def start(self) -> list[str]:
        """Apply and start all of them; return the ids of the runs."""
        self.service.container.run(f"rm -rf {TRACES}; mkdir {TRACES}")
        with self.client() as client:
            for number in range(self.workflows):
                client.call("workflow.apply", yaml=self._workflow(f"fleet-{number}"))
            return [client.call("run.start", workflow=f"fleet-{number}")["id"] for number in range(self.workflows)]

    def client(self) -> Client:
        """Connect as root, from outside of the container."""
        path = Path(f"/proc/{self.service.container.leader}/root/run/barbossa/barbossad.sock")
        return Client(path, seconds=WAIT_SECONDS)

    def running(self) -> int:
        """Return how many tasks are in flight; -1 while nobody answers."""
        with suppress(OSError, EOFError), self.client() as client:
            count: int = client.call("daemon.status")["tasks"]["running"]
            return count
        return -1

    def wait(self, runs: list[str], seconds: float) -> None:
        """Wait until all runs have ended."""

        def all_ended() -> bool:
            with suppress(OSError, EOFError), self.client() as client:
                return client.call("daemon.status")["runs"]["active"] == 0
            return False

        eventually(all_ended, seconds, f"{len(runs)} runs have ended")

    def assert_intact(self, runs: list[str]) -> None:
        """Fail if a task ran twice or not at all, lost a line, or ended otherwise than it did."""
        traces = self._traces()
        faults: list[str] = []
        with self.client() as client:
            for run_id in runs:
                run = client.call("run.get", run_id=run_id)
                for task in run["tasks"]:
                    faults += self._faults(client, run, task, traces.pop(f"{run_id}-{task['id']}", None))
        assert not faults, f"{len(faults)} faults: " + "; ".join(faults[:10])
        assert not traces, f"tasks that nobody knows: {list(traces)[:10]}"
        self.assert_nothing_left()

    def assert_nothing_left(self) -> None:
        """Fail if a unit, a process, a file or a kept pipe of a task stays, or the state file contradicts itself."""
        container = self.service.container
        units = "systemctl list-units --all --plain --no-legend 'barbossa-*.service'"
        eventually(lambda: not container.run(units).stdout, WAIT_SECONDS, "no unit of a task is left")
        assert self.service.processes("sleep 0.4") == []
        left = "find /run/barbossa-tasks /run/barbossa/env -mindepth 1"
        eventually(lambda: not container.run(left).stdout, WAIT_SECONDS, "no file of a task is left")
        eventually(lambda: self.service.property("NFileDescriptorStore") == "1", WAIT_SECONDS, "no pipe is kept")
        faults = [line for line in self.service.log().splitlines() if "Traceback" in line]
        assert not faults, faults[:3]
        assert self.broken() == []

    def broken(self) -> list[str]:
        """Return what contradicts itself in a copy of the state file."""
        source = Path(f"/proc/{self.service.container.leader}/root{STATE}")
        with tempfile.TemporaryDirectory() as folder:
            for name in ("barbossa.db", "barbossa.db-wal"):
                with suppress(FileNotFoundError):
                    shutil.copy(source / name, folder)
            return invariants.broken(Path(folder, "barbossa.db"))

    def _workflow(self, name: str) -> str:
        parts = [f"name: {name}\ntasks:\n"]
        for lane in range(self.lanes):
            for place in range(self.length):
                task = f"t{lane}-{place}"
                is_last = place == self.length - 1
                code = self.codes[name, task] = self.random.choice([0, 0, 3, 75]) if is_last else 0
                pause = 0.2 + self.random.random() / 2
                script = _SCRIPT.format(
                    traces=TRACES, steps=" ".join(map(str, range(_STEPS))), pause=f"{pause:.2f}", code=code
                )
                text = "".join(f"      {line}\n" for line in script.splitlines())
                before = f"[t{lane}-{place - 1}]" if place else "[]"
                parts.append(f"  - id: {task}\n    depends_on: {before}\n    shell: |\n{text}")
        return "".join(parts)

    def _traces(self) -> dict[str, str]:
        folder = Path(f"/proc/{self.service.container.leader}/root{TRACES}")
        return {path.name: path.read_text() for path in folder.iterdir()}

    def _faults(self, client: Client, run: dict[str, Any], task: dict[str, Any], trace: str | None) -> list[str]:
        place = f"{run['workflow']}/{task['id']}"
        code = self.codes[run["workflow"], task["id"]]
        wanted = "failed" if code else "succeeded"
        faults = []
        if trace is None or trace.count("\n") != 1:
            faults.append(f"{place} ran {0 if trace is None else trace.count(chr(10))} times")
        if len(task["attempts"]) != 1 or task["state"] != wanted or task["attempts"][-1]["exit_code"] != code:
            faults.append(
                f"{place} is {task['state']} ({task['reason']}), not {wanted} with {code}: {task['attempts']}"
            )
        if not code and task["outputs"] != {"count": str(_STEPS * 5)}:
            faults.append(f"{place} has the outputs {task['outputs']}")
        lines = client.call("run.logs", run_id=run["id"], task=task["id"], limit=1000)
        found = _texts(lines["items"])
        if found != [f"line {number}" for number in range(1, _STEPS * 5 + 1)] or not lines["finished"]:
            faults.append(f"{place} printed {found}")
        return faults


def _texts(items: list[dict[str, Any]]) -> list[str]:
    """Return whole lines, pieces put together."""
    lines, begun = [], ""
    for item in items:
        begun += item["text"]
        if not item["partial"]:
            lines.append(begun)
            begun = ""
    return lines


def random_pause(chance: random.Random, seconds: float) -> None:
    """Let the daemon work for a random while: the moment at which it is then killed is what is tried."""
    time.sleep(chance.random() * seconds)  # a moment is wanted, not an event
