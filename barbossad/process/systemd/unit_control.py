"""Act on units of tasks from the outside: have them made, signal them, end them, have them forgotten, list them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from barbossad.errors import UnavailableError
from barbossad.process import cgroups
from barbossad.process.shortage import GivenUpError
from barbossad.process.systemd import units
from barbossad.process.systemd.bus import SERVICE, UNIT, Bus, SystemdError, object_path
from barbossad.process.systemd.jobs import JobRoom
from barbossad.process.systemd.units import Property

SIGKILL: Final = 9
RESCAN_SECONDS: Final = 0.02
_END_SECONDS: Final = 15.0

logger = logging.getLogger(__name__)


class UnitControl:
    """Does it over D-Bus. Whatever is gone already is no fault."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._jobs = JobRoom(bus)

    async def make(
        self, unit: str, properties: Sequence[Property], fds: Sequence[int], *, is_wanted: Callable[[], bool]
    ) -> None:
        """Have systemd make a unit, once, as soon as it answers.

        Where it did not answer, it is asked whether the unit is there. Raise SystemdError if it refuses, and
        GivenUpError if the unit is not wanted any more before that.
        """
        was_unanswered = False
        await self._jobs.take()
        while True:
            try:
                await self._bus.call("StartTransientUnit", "ssa(sv)a(sa(sv))", unit, "fail", properties, [], fds=fds)
            except UnavailableError as error:
                logger.debug("whether systemd makes %s is not known: %s", unit, error)
                was_unanswered = True
            except SystemdError as error:
                if was_unanswered and error.name.endswith(".UnitExists"):
                    return
                raise
            else:
                return
            load_state = await self._bus.surely(partial(self._bus.get, object_path(unit), UNIT, "LoadState"))
            if load_state != "not-found":
                return
            if not is_wanted():
                raise GivenUpError

    async def kill(self, unit: str, number: int) -> None:
        """Send a signal to every process of a unit."""
        await self._try("KillUnit", "ssi", unit, "all", number)

    async def unload(self, unit: str, *, is_failed: bool) -> None:
        """Have systemd forget a unit, ending what may be left in it."""
        await self._jobs.take()
        await self._try("StopUnit", "ss", unit, "replace")
        if is_failed:
            await self._try("ResetFailedUnit", "s", unit)

    async def end(self, unit: str) -> None:
        """Kill everything in a unit and have it forgotten. Raise UnavailableError if something will not die."""
        await self.kill(unit, SIGKILL)
        deadline = asyncio.get_running_loop().time() + _END_SECONDS
        while await cgroups.is_surely_populated(unit):
            if asyncio.get_running_loop().time() > deadline:
                raise UnavailableError(f"processes of {unit}, which an earlier daemon left, cannot be killed")
            await asyncio.sleep(RESCAN_SECONDS)
        await self.unload(unit, is_failed=True)

    async def is_left_alone(self, unit: str) -> bool:
        """Say whether what lives in a unit is what the first process of a detached task has left behind."""
        if not await cgroups.is_surely_populated(unit):
            return False
        kill_mode, pid = await self._bus.get_many(object_path(unit), (SERVICE, "KillMode"), (SERVICE, "MainPID"))
        return kill_mode == units.DETACHED and not pid

    async def loaded(self) -> set[str]:
        """Return the units of tasks that systemd knows."""
        (rows,) = await self._bus.call("ListUnitsByPatterns", "asas", [], [units.PATTERN])
        # Not only "loaded": a unit whose file is not understood after a daemon-reload lives all the same.
        return {row[0] for row in rows if row[2] != "not-found"}

    async def _try(self, member: str, signature: str, unit: str, *more: object) -> None:
        try:
            await self._bus.surely(partial(self._bus.call, member, signature, unit, *more))
        except SystemdError as error:
            logger.debug("%s of %s: %s", member, unit, error)
