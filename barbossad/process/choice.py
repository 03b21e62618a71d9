"""Choose the launcher: a unit for each attempt where systemd can make them, else a process group under a reaper."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Final

from barbossad.clock import Clock
from barbossad.config import Config
from barbossad.errors import UnavailableError
from barbossad.process.launcher import Launcher
from barbossad.process.local import LocalLauncher
from barbossad.process.logs import LogFolder
from barbossad.systemd import Manager

TASK_FOLDER: Final = "tasks"
ENVIRONMENT_FOLDER: Final = "env"
UNIT_FOLDER: Final = Path("/run/barbossa-tasks")
"""Scripts and outputs of tasks in units; not below the runtime folder, which sandboxes hide."""

log = logging.getLogger(__name__)


async def started_launcher(
    config: Config, clock: Clock, logs: LogFolder, *, nofile_soft: int | None, manager: Manager | None
) -> Launcher:
    """Return the launcher that the config names or, where it names none, the best there is here.

    Raise UnavailableError if the config wants systemd and it cannot be had.
    """
    wanted = config.tasks.launcher
    is_service = manager is not None and manager.is_service
    if manager is not None and is_service and os.geteuid() == 0 and wanted != "local":
        # The bus costs 5 MB, which a daemon without units need not have.
        from barbossad.process.systemd import SystemdLauncher  # noqa: PLC0415

        units = SystemdLauncher(
            clock, logs, manager, config.runtime_dir / ENVIRONMENT_FOLDER, UNIT_FOLDER, hidden=(config.secrets_dir,)
        )
        try:
            await units.start()
        except UnavailableError as error:
            if wanted == "systemd":
                raise
            log.warning("tasks run without units of their own: %s", error, extra={"action": "launcher_local"})
        else:
            return units
    elif wanted == "systemd":
        raise UnavailableError(
            "tasks.launcher is systemd, but this daemon is no service of the system's systemd; "
            "start it with systemctl start barbossad, or say tasks: {launcher: auto}"
        )
    if manager is not None:
        manager.drop_kept()
    local = LocalLauncher(
        clock,
        logs,
        config.runtime_dir / TASK_FOLDER,
        nofile_soft=nofile_soft,
        hidden=(config.runtime_dir, config.state_dir, config.secrets_dir, config.socket),
    )
    await local.start()
    return local
