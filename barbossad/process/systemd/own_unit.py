"""What systemd wants with the unit of the daemon itself."""

from __future__ import annotations

import asyncio
import logging
import os
from functools import partial

from barbossad.process.launcher import STOP_KIND_SECONDS, StopKind
from barbossad.process.systemd.bus import JOB, MANAGER, PATH, UNIT, Bus, SystemdError

logger = logging.getLogger(__name__)


async def stop_kind(bus: Bus) -> StopKind:
    """Return why the daemon was told to end; a stop if systemd does not say so for a while."""
    bus.hold_out()
    try:
        async with asyncio.timeout(STOP_KIND_SECONDS):
            return await bus.surely(partial(_asked, bus))
    except (SystemdError, TimeoutError) as error:
        reason = str(error) or "systemd does not answer"
        logger.warning("cannot tell a restart from a stop: %s", reason, extra={"action": "stop_kind_unknown"})
        return StopKind.STOP


async def is_host_going_down(bus: Bus) -> bool:
    """Say whether the host shuts down, or reboots, as soon as systemd answers."""
    return bool(await bus.surely(partial(bus.get, PATH, MANAGER, "SystemState")) == "stopping")


async def _asked(bus: Bus) -> StopKind:
    if await bus.get(PATH, MANAGER, "SystemState") == "stopping":
        return StopKind.HOST_DOWN
    (unit,) = await bus.call("GetUnitByPID", "u", os.getpid())
    while True:
        number, job = await bus.get(unit, UNIT, "Job")
        if not number:
            return StopKind.STOP
        try:
            kind = await bus.get(job, JOB, "JobType")
        except SystemdError as error:
            if not error.name.endswith(".UnknownObject"):
                raise
            continue  # somebody has asked for another one meanwhile: that counts
        return StopKind.RESTART if kind == "restart" else StopKind.STOP
