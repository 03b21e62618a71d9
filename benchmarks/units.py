"""units: tasks in units of systemd, by the installed service, over the bare cycle of such a unit."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

from benchmarks.daemon import CallError, Client
from benchmarks.floors import HERE, BenchError
from benchmarks.harness import Bench, Figure, compare
from benchmarks.runs import run_many, run_once
from tests.helpers import nspawn
from tests.helpers.container import Container, booted
from tests.helpers.container_image import ImageError

BAR = 1.5
TOGETHER = 32
IN_FLIGHT = 16
PROFILES = {"none": "none", "standard": "default profile"}
PYTHON = "/opt/barbossa/current/bin/python"
FLOOR = "/root/units_floor.py"
SOCKET = "run/barbossa/barbossad.sock"
INSTALL_SECONDS = 300.0
SAID_CHARACTERS = 1500
ALONE_SECONDS = 8.0
"""How long the daemon is stopped at most before it may feed its watchdog, which waits for 30 s."""

IDLE_SECONDS = 0.03
"""Three ticks of the clock that processor time is counted in."""


class UnitFloor:
    """The program that does the bare cycle, in the container.

    systemd tells everyone of every service, so the daemon would hear of the floor's units and slow it by a tenth, which
    would flatter the ratio: it is stopped (SIGSTOP) while the floor has its turn, and has dealt with what it missed
    before it is measured again. Who calls it ends the turn first.
    """

    def __init__(self, container: Container) -> None:
        self._daemon = _daemon(container)
        self._client = _client(container)
        self._is_alone = False
        self._alone_since = 0.0
        container.write(FLOOR, (HERE / "units_floor.py").read_text(encoding="utf-8"))
        self._process = container.start(f"exec {PYTHON} -I {FLOOR}", stdin=subprocess.PIPE)

    def measure(self, profile: str, *, count: int = 1, in_flight: int = 1) -> float:
        """Run ``count`` units and return the seconds."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if self._is_alone and time.monotonic() - self._alone_since > ALONE_SECONDS:
            self.end_turn()
        if not self._is_alone:
            self._is_alone, self._alone_since = True, time.monotonic()
            self._daemon.suspend()
        print(count, in_flight, profile, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer.strip().isdecimal():
            self._process.terminate()
            raise BenchError(f"the floor of units ended: {answer}{self._process.communicate()[0]}")
        return int(answer) / 1e9

    def end_turn(self) -> None:
        """Let the daemon go on, and return when it has nothing left to do: it sleeps while nobody asks it anything."""
        if not self._is_alone:
            return
        self._is_alone = False
        self._daemon.resume()
        self._client.call("daemon.ping")
        used = -1.0
        while used != (used := sum(self._daemon.cpu_times()[:2])):
            time.sleep(IDLE_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end_turn()
        self._client.close()
        self._process.communicate(timeout=10)


@dataclass(frozen=True, slots=True)
class _Work:
    """The four samples of one profile."""

    client: Client
    floor: UnitFloor
    workflow: str
    profile: str

    def one(self) -> float:
        self.floor.end_turn()
        return run_once(self.client, self.workflow)

    def one_bare(self) -> float:
        return self.floor.measure(self.profile)

    def many(self) -> float:
        self.floor.end_turn()
        return run_many(self.client, self.workflow, TOGETHER)

    def many_bare(self) -> float:
        return self.floor.measure(self.profile, count=TOGETHER, in_flight=IN_FLIGHT)


def run(bench: Bench) -> list[Figure]:
    """Measure from the call to the recorded end, one after another and sixteen at a time, with both profiles."""
    figures: list[Figure] = []
    with _service(bench.folder) as container, UnitFloor(container) as floor, _client(container) as client:
        for profile, words in PROFILES.items():
            name = f"units-{profile}"
            floor.end_turn()
            client.call("workflow.apply", yaml=workflow(name, profile))
            work = _Work(client, floor, name, profile)
            alone = compare(work.one, work.one_bare, bench.samples(200, 40), warm_up=10)
            figures.append(alone.figure("units", f"one, {words}", bar=BAR))
            together = compare(work.many, work.many_bare, bench.samples(20, 6))
            figures.append(together.figure("units", f"{IN_FLIGHT} at a time, {words}", bar=BAR))
    return figures


def workflow(name: str, profile: str) -> str:
    """Return a workflow of one task, the same process as the floor's."""
    return f"name: {name}\ntasks:\n  - id: work\n    shell: [/bin/true]\n    sandbox: {profile}\n"


@contextlib.contextmanager
def _service(folder: Path) -> Iterator[Container]:
    """Boot the tests' container with the service installed and running; its state lies on this host's disk."""
    if reason := nspawn.why_not():
        raise BenchError(reason)
    state = folder / "state"
    state.mkdir()
    try:
        with booted({state: "/var/lib/barbossa"}) as container:
            container.run("make -C /src install", timeout_seconds=INSTALL_SECONDS)
            container.run("systemctl start barbossad")
            try:
                yield container
            except (CallError, OSError) as error:
                said = container.journal("barbossad.service")[-SAID_CHARACTERS:]
                raise BenchError(f"the service does not answer ({error}); its journal ends:\n{said}") from error
    except (ImageError, AssertionError, subprocess.TimeoutExpired) as error:
        raise BenchError(f"the service cannot be measured in the container: {error}") from error


def _daemon(container: Container) -> psutil.Process:
    """Return the service's main process, as this host sees it."""
    for process in psutil.Process(container.leader).children():
        if process.name() == "barbossad":
            return process
    raise BenchError("the service does not run in the container")


def _client(container: Container) -> Client:
    return Client(Path(f"/proc/{container.leader}/root/{SOCKET}"))
