"""Choose the launcher: a unit for each attempt where systemd can make them, else a process group under a reaper."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from pathlib import Path
from typing import Final

from barbossad.clock import Clock
from barbossad.config import Config
from barbossad.errors import UnavailableError
from barbossad.process.launcher import Launcher
from barbossad.process.local.launcher import LocalLauncher
from barbossad.process.output.logs import LogFolder
from barbossad.systemd import Manager, is_booted

TASK_FOLDER: Final = "tasks"
ENVIRONMENT_FOLDER: Final = "env"
UNIT_FOLDER: Final = Path("/run/barbossa-tasks")
"""Scripts and outputs of tasks in units; not below the runtime folder, which sandboxes hide."""

BUS_SECONDS: Final = 20.0
"""How long a start waits for systemd to answer. Then it fails, and systemd makes another, which finds what it kept."""

RETRY_SECONDS: Final = 0.5

log = logging.getLogger(__name__)


async def started_launcher(
    config: Config, clock: Clock, logs: LogFolder, *, nofile_soft: int | None, manager: Manager | None
) -> Launcher:
    """Return the launcher that the config names or, where it names none, the best there is here.

    A service of the system's systemd makes units or does not start: without them its tasks would run as root in the
    daemon's own unit, and those that an earlier daemon left would be lost. Raise UnavailableError then, and if the
    config wants systemd and it cannot be had.
    """
    wanted = config.tasks.launcher
    is_service = manager is not None and manager.is_service and os.geteuid() == 0
    if manager is not None and is_service and wanted != "local" and (wanted == "systemd" or is_booted()):
        return await _units(config, clock, logs, manager)
    if wanted == "systemd":
        raise UnavailableError(
            "tasks.launcher is systemd, but this daemon is no service of the system's systemd; "
            "start it with systemctl start barbossad, or say tasks: {launcher: auto}"
        )
    local = LocalLauncher(
        clock,
        logs,
        config.runtime_dir / TASK_FOLDER,
        nofile_soft=nofile_soft,
        hidden=(config.runtime_dir, config.state_dir, config.secrets_dir, config.socket),
    )
    await local.start()
    return local


async def _units(config: Config, clock: Clock, logs: LogFolder, manager: Manager) -> Launcher:
    """Return a launcher that makes units, as soon as systemd answers."""
    # The bus costs 5 MB, which a daemon without units need not have.
    from barbossad.process.systemd.launcher import SystemdLauncher  # noqa: PLC0415

    hidden = config.runtime_dir, config.secrets_dir
    units = SystemdLauncher(clock, logs, manager, config.runtime_dir / ENVIRONMENT_FOLDER, UNIT_FOLDER, hidden=hidden)
    deadline = time.monotonic() + BUS_SECONDS
    waited_for = ""
    while True:
        try:
            await units.start()
        except UnavailableError as error:
            if time.monotonic() > deadline:
                raise UnavailableError(
                    f"{error}; is D-Bus installed, and does it run (systemctl start dbus.socket)? "
                    "Without it tasks can have no units: tasks: {launcher: local} does without them"
                ) from error
            if str(error) != waited_for:
                waited_for = str(error)
                log.warning("the start waits: %s", error, extra={"action": "launcher_waits"})
                manager.status(f"waits: {error}")
            await asyncio.sleep(RETRY_SECONDS)
        else:
            return units
