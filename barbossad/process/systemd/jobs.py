"""Give systemd no more to do at once than it can have without leaving the bus."""

from __future__ import annotations

import asyncio
from typing import Final

from barbossad.process.systemd.bus import MANAGER, PATH, Bus
from barbossad.process.systemd.units import PREFIX

MOST_JOBS: Final = 200
"""For each job that is asked for over the bus systemd has a rule there, until it is done; a bus has 512 of them for a
client. Over one more systemd leaves the bus, and comes back later to tell nobody of anything (systemd 252)."""

LOOK_SECONDS: Final = 0.02
"""Between two looks at how many there are: systemd does none while it has calls to answer."""


class JobRoom:
    """Counts the jobs of tasks' units that systemd is asked for, which are done soon, and asks it about them seldom."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._left = MOST_JOBS
        self._turns = asyncio.Lock()

    async def take(self) -> None:
        """Return, in the order of the calls, when systemd may be asked for one more job."""
        async with self._turns:
            while self._left <= 0:
                self._left = MOST_JOBS - await self._bus.surely(self._ours)
                if self._left <= 0:
                    await asyncio.sleep(LOOK_SECONDS)
            self._left -= 1

    async def _ours(self) -> int:
        """Return how many are not done, at most: those of others, as in a shutdown, hold nobody up."""
        count: int = await self._bus.get(PATH, MANAGER, "NJobs")
        if count < MOST_JOBS:
            return count
        (jobs,) = await self._bus.call("ListJobs")
        return sum(1 for _, unit, *_ in jobs if unit.startswith(PREFIX))
