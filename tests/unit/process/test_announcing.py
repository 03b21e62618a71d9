"""How often systemd is asked whether a unit has begun, and how a process is looked after that has."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest

from barbossad.clock import SystemClock
from barbossad.model.names import RunId, TaskId
from barbossad.process import cgroups
from barbossad.process.launcher import AttemptKey, LaunchSpec, Process, ProcessEnd
from barbossad.process.output.logs import LogFolder
from barbossad.process.systemd import launcher as module
from barbossad.process.systemd.bus import UNIT, Bus
from barbossad.process.systemd.launcher import SystemdLauncher
from barbossad.process.systemd.unit_process import FACTS, UnitProcess
from barbossad.systemd import Manager

ASKED = 6
SPEC = LaunchSpec(key=AttemptKey(RunId("01m89c39k4"), TaskId("t"), 1), argv=("true",), env={}, working_dir="/")


class Watcher:
    """Hears nothing."""

    def started(self, process: Process, started_at_ms: int) -> None:
        raise AssertionError("it has not begun")

    def ended(self, process: Process, end: ProcessEnd) -> None:
        raise AssertionError("it has not ended")


class Systemd:
    """Has a unit that does not begin; notes when it is asked about it."""

    def __init__(self) -> None:
        self.asked_at: list[float] = []
        self.is_asked_often = asyncio.Event()

    async def answers(self, _path: str, names: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], Any]:
        self.asked_at.append(asyncio.get_running_loop().time())
        if len(self.asked_at) == ASKED:
            self.is_asked_often.set()
        found: dict[tuple[str, str], Any] = dict.fromkeys(names, 0)
        return found | {(UNIT, "InvocationID"): b"", (module.SERVICE, "Result"): "success"}


async def test_it_is_asked_ever_more_seldom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not begin at once has a systemd that is busy: it would be kept so by a question in each 50 ms."""
    monkeypatch.setattr(module, "LONGEST_ANNOUNCE_SECONDS", 0.2)
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    launcher = SystemdLauncher(SystemClock(), LogFolder(tmp_path), Manager(), tmp_path, tmp_path)
    systemd = Systemd()
    launcher._bus = cast("Bus", systemd)
    process = UnitProcess(SPEC, Watcher(), launcher)
    launcher._live[process.path] = process
    launcher._announce_later(process)
    async with asyncio.timeout(20):
        await systemd.is_asked_often.wait()
    launcher._is_closing = True
    waited = [after - before for before, after in zip(systemd.asked_at, systemd.asked_at[1:], strict=False)]
    for seconds, least in zip(waited, [0.1, 0.2, 0.2, 0.2, 0.2], strict=True):
        assert seconds >= least * 0.9


class Heard(Watcher):
    """Hears of starts."""

    def started(self, process: Process, started_at_ms: int) -> None:
        assert started_at_ms == 5


async def test_the_most_memory_is_looked_up_in_one_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often it is asked anew how a unit stands, as after each return of the bus."""
    looked_up: list[str] = []
    monkeypatch.setattr(module, "SAMPLE_SECONDS", 0.0)
    monkeypatch.setattr(cgroups, "peak_memory_bytes", lambda unit: looked_up.append(unit) or 4711)
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    launcher = SystemdLauncher(SystemClock(), LogFolder(tmp_path), Manager(), tmp_path, tmp_path)
    process = UnitProcess(SPEC, Heard(), launcher)
    launcher._live[process.path] = process
    standing = dict.fromkeys(((module.SERVICE, name) for name in FACTS), 0) | {
        (UNIT, "ActiveEnterTimestampMonotonic"): 1,
        (UNIT, "InvocationID"): b"\xab",
        (module.SERVICE, "Result"): "success",
        (module.SERVICE, "ExecMainStartTimestamp"): 5000,
    }
    for _ in range(3):
        await launcher._take_standing(process, standing)
    looked_up.clear()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    launcher._is_closing = True
    assert len(looked_up) <= 2, "once in a turn of the loop, where there is no pause"
    assert process.peak_memory_bytes == 4711
