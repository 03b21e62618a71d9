"""As whom a task runs, what it may use and what it may touch: asked for by its author, enforced by a launcher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

PropertyValue = str | int | bool | tuple[str, ...]
"""What a raw property of a systemd unit may be given."""


class SandboxProfile(StrEnum):
    """How much of the host a task sees."""

    NONE = "none"
    """Control group and limits only."""

    STANDARD = "standard"
    """No new privileges; kernel, clock, control groups, the daemon's and systemd's sockets out of reach; own /tmp."""

    STRICT = "strict"
    """Standard, and: no write but to declared paths, no network unless asked for, filtered system calls."""

    OFFLINE = "offline"
    """Standard without network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunAs:
    """The user and group of a task's processes; None: the daemon's own (of ``group``: the user's own)."""

    user: str | None = None
    group: str | None = None
    is_dynamic: bool = False
    """A user that exists for this attempt alone."""


SAME_USER = RunAs()
"""The daemon's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What an attempt may use at most; None: as much as there is."""

    memory_bytes: int | None = None
    cpu_percent: float | None = None
    """Of one processor: 200 is two of them."""

    processes: int | None = None
    """Processes and threads at once."""

    open_files: int | None = None
    io_weight: int | None = None
    """From 1 to 10,000; 100 is what everybody has."""

    file_size_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """The profile of a task and what differs from it."""

    profile: SandboxProfile | None = None
    """None: that of the settings, or none at all with a launcher that gives none unasked."""

    writable: tuple[str, ...] = ()
    """Absolute paths that stay writable where the profile takes writing away."""

    network: bool | None = None
    """None: as the profile has it."""

    properties: Mapping[str, PropertyValue] = field(default_factory=dict)
    """Raw properties of the systemd unit; the config says which may be set."""

    is_best_effort: bool = False
    """Run also where not all of it, or of the limits, can be enforced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolation:
    """All of it."""

    run_as: RunAs = SAME_USER
    limits: Limits = Limits()
    sandbox: Sandbox = Sandbox()


UNCONFINED = Isolation()
"""What a task has that asks for nothing."""
