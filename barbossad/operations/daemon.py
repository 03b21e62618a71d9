"""The daemon itself: is it there, how is it, read the settings again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from datetime import UTC, datetime
from typing import Final

from pydantic import Field
from typing_extensions import TypedDict

from barbossad import __version__
from barbossad.clock import rfc3339
from barbossad.operations.registry import NoParams, Params, define
from barbossad.operations.services import Call, Reloaded, Services
from barbossad.operations.views import FaultView, fault_view
from barbossad.security.access import Role, user_name
from barbossad.store import backup as backups

BACKUP_FOLDER: Final = "backups"

log = logging.getLogger(__name__)


class Ping(TypedDict):
    """A sign of life."""

    version: str
    pid: int
    uptime_seconds: float


class LauncherStatus(TypedDict):
    """What starts processes, and what it cannot do."""

    name: str
    lacks: list[str]


class StoreStatus(TypedDict):
    """The state file; ``reason`` says why it takes no changes, if it does not.

    ``reserve_bytes`` of the disk are kept for bad times; 0: they are in use, or the disk had no room for them.
    ``rolled_back`` says so if the file that was found at the start is older than history.
    """

    path: str
    size_bytes: int
    healthy: bool
    reason: str | None
    reserve_bytes: int
    rolled_back: str | None


class LogsStatus(TypedDict):
    """The files of logs; ``reason`` says whose output they do not take and why, if they do not."""

    healthy: bool
    reason: str | None


class RunCounts(TypedDict):
    """Runs that have not ended; the queued ones are among the active."""

    active: int
    queued: int


class TaskCounts(TypedDict):
    """Tasks in flight, those that wait for a slot, and the number of slots."""

    running: int
    waiting: int
    limit: int


class ScheduleCounts(TypedDict):
    """Schedules and triggers, how many of them are enabled, how many labels are held, and when the next fire is due."""

    count: int
    enabled: int
    holds: int
    next_at: str | None


class ConfigStatus(TypedDict):
    """The file that was read, None where the defaults are in force.

    ``reason`` says what of it and of the workflow files was refused when they were read last, if anything was.
    """

    path: str | None
    reason: str | None


class Status(Ping):
    """How the daemon is."""

    state: str
    launcher: LauncherStatus
    store: StoreStatus
    logs: LogsStatus
    runs: RunCounts
    tasks: TaskCounts
    workflows: int
    schedules: ScheduleCounts
    socket: str
    config: ConfigStatus
    user: str
    role: str


class FileFaultView(FaultView):
    """One thing wrong with one of several files. ``path`` begins with the file, too."""

    file: str


class ReloadView(TypedDict):
    """What a reload did. Settings in ``needing_restart`` differ in the file but are not in force yet."""

    changed: list[str]
    needing_restart: list[str]
    faults: list[FileFaultView]


def _state(services: Services) -> str:
    if services.is_stopping:
        return "stopping"
    if services.database.fault or services.logs.losses.reason:
        return "degraded"
    return "draining" if services.engine.gate.is_draining else "running"


def _schedules(services: Services) -> ScheduleCounts:
    board = services.scheduler.board
    count, enabled = board.counts
    return {
        "count": count,
        "enabled": enabled,
        "holds": len(board.holds()),
        "next_at": rfc3339(board.next_due_ms),
    }


@define("daemon.ping", Role.VIEWER)
def ping(call: Call, params: NoParams) -> Ping:  # noqa: ARG001 (takes none)
    """Tell that the daemon is there."""
    services = call.services
    return {
        "version": __version__,
        "pid": os.getpid(),
        "uptime_seconds": round(services.clock.monotonic() - services.started_monotonic, 3),
    }


@define("daemon.status", Role.VIEWER)
def status(call: Call, params: NoParams) -> Status:
    """Tell how the daemon is: its store, its launcher, and what runs."""
    services = call.services
    services.database.look()
    counts = services.engine.counts
    fault, lost = services.database.fault, services.logs.losses.reason
    role = call.caller.role
    alive = ping(call, params)
    return {
        "version": alive["version"],
        "pid": alive["pid"],
        "uptime_seconds": alive["uptime_seconds"],
        "state": _state(services),
        "launcher": {"name": services.launcher.name, "lacks": list(services.launcher.lacks)},
        "store": {
            "path": str(services.database.path),
            "size_bytes": services.database.size_bytes,
            "healthy": fault is None,
            "reason": fault,
            "reserve_bytes": services.database.reserve_bytes,
            "rolled_back": services.high_water.rolled_back,
        },
        "logs": {"healthy": lost is None, "reason": lost},
        "runs": {"active": counts["active"], "queued": counts["queued"]},
        "tasks": {"running": counts["running"], "waiting": counts["waiting"], "limit": counts["limit"]},
        "workflows": len(services.workflows),
        "schedules": _schedules(services),
        "socket": str(services.config.socket),
        "config": {
            "path": str(services.config_path) if services.config_path else None,
            "reason": services.files_fault or None,
        },
        "user": user_name(os.geteuid()),
        "role": role.word if role else "none",
    }


class DrainParams(Params):
    """Begin or end draining, and how long to wait until nothing runs."""

    end: bool = Field(False, description="Start work again instead")
    wait_seconds: float = Field(0.0, ge=0, le=86400, description="How long to wait at most until nothing runs")


class DrainView(TypedDict):
    """Whether the daemon drains, and what still runs; ``done`` when nothing does."""

    draining: bool
    done: bool
    running: int
    waiting: int


@define("daemon.drain", Role.ADMIN)
async def drain(call: Call, params: DrainParams) -> DrainView:
    """Start no new task until told otherwise or restarted, and wait for what runs.

    Runs that are asked for meanwhile are recorded and wait. The answer comes at once, ``draining`` being false, when
    somebody else has work started again.
    """
    engine = call.services.engine
    engine.gate.drain(is_on=not params.end)
    if not params.end and params.wait_seconds:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(params.wait_seconds):
                await engine.drained()
    counts = engine.counts
    return {
        "draining": engine.gate.is_draining,
        "done": engine.gate.is_draining and not counts["running"],
        "running": counts["running"],
        "waiting": counts["waiting"],
    }


class BackupView(TypedDict):
    """A copy of the state file."""

    path: str
    size_bytes: int


@define("daemon.backup", Role.ADMIN)
async def backup(call: Call, params: NoParams) -> BackupView:  # noqa: ARG001 (takes none)
    """Copy the state file into the folder backups beside it, checked and whole, while the daemon works on.

    Files of logs are not in it. Old backups are for the caller to remove.
    """
    services = call.services
    async with services.backing_up:
        folder = services.config.state_dir / BACKUP_FOLDER
        moment = datetime.fromtimestamp(services.clock.now_ms() / 1000, UTC)
        target = folder / f"barbossa-{moment:%Y%m%dT%H%M%S}.{moment.microsecond // 1000:03d}Z.db"
        made = await asyncio.to_thread(backups.make, services.database.path, target, lambda: services.is_stopping)
    log.info("the state file was copied to %s", made.path, extra={"action": "backup_made"})
    return {"path": str(made.path), "size_bytes": made.size_bytes}


@define("daemon.reload", Role.ADMIN)
async def reload(call: Call, params: NoParams) -> ReloadView:  # noqa: ARG001 (takes none)
    """Read the config, the workflow files and the rules of time zones again.

    A config with a fault is refused as a whole and the settings before it stay in force. A workflow file with
    a fault leaves the version before it in force; its faults are in the answer.
    """
    done: Reloaded = await call.services.reload()
    return {
        "changed": list(done.changed),
        "needing_restart": list(done.needing_restart),
        "faults": [{**fault_view(fault), "file": fault.file} for fault in done.faults],
    }
