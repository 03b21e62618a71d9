"""What a new daemon asks of systemd about the tasks of the one before, and how."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import cast

from barbossad.model.names import RunId, TaskId
from barbossad.model.records import AttemptRecord
from barbossad.model.states import AttemptState
from barbossad.process.launcher import AttemptKey, Verdict
from barbossad.process.systemd import units
from barbossad.process.systemd.bus import Bus
from barbossad.process.systemd.kept import Keeper
from barbossad.process.systemd.survivors import Survivors
from barbossad.process.systemd.unit_control import UnitControl
from barbossad.process.systemd.unit_files import UnitFiles

RUN = RunId("01m89c39k4")
MANY = 5
INVOCATION = bytes(range(16))


class Systemd:
    """Has all units, and answers when all of them were asked about."""

    def __init__(self) -> None:
        self._asked = 0
        self._all_asked = asyncio.Event()

    async def loaded(self) -> set[str]:
        return {units.unit_name(AttemptKey(RUN, TaskId(f"t{number}"), 1)) for number in range(MANY)}

    async def get(self, _path: str, _interface: str, _name: str) -> bytes:
        self._asked += 1
        if self._asked == MANY:
            self._all_asked.set()
        await self._all_asked.wait()
        return INVOCATION


class Pipes:
    """All were kept."""

    def has_all(self, _unit: str) -> bool:
        return True

    def secrets(self, _unit: str) -> None:
        return None


async def test_units_are_asked_about_together() -> None:
    """On a busy host each question takes its time: they are not put one after another."""
    systemd = Systemd()
    survivors = Survivors(
        "systemd", cast("Bus", systemd), cast("UnitControl", systemd), cast("Keeper", Pipes()),
        UnitFiles(Path("/nowhere"), Path("/nowhere")),
    )  # fmt: skip
    attempts = [
        AttemptRecord(
            run_id=RUN, task_id=TaskId(f"t{number}"), number=1, state=AttemptState.RUNNING, launcher="systemd",
            boot_id="boot", invocation_id=INVOCATION.hex(),
        )
        for number in range(MANY)
    ]  # fmt: skip
    async with asyncio.timeout(30):
        found = await survivors.survey(attempts)
    assert [key.task_id for key in found] == [attempt.task_id for attempt in attempts]
    assert {finding.verdict for finding in found.values()} == {Verdict.LIVE}
