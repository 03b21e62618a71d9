"""What each sandbox profile means to systemd: properties of the unit. docs/confinement.md shows the same.

No I/O but that links in the paths that a task names are followed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

from barbossad.model.isolation import Isolation, PropertyValue, SandboxProfile
from barbossad.process import mounts
from barbossad.process.raw_properties import LIST, Value, value_of

Properties = Mapping[str, Value]

HIDDEN: Final = ("-/run/barbossa", "-/run/dbus", "-/run/initctl")
"""The ways to the daemon and to systemd: who reaches them as root is not confined at all.

Folders: what is mounted over a socket is gone when the socket is made anew, as systemd's are by daemon-reexec. The
pipe of telinit(8) is kept as it is, and what is read-only does not keep from writing to a pipe.
"""

SYSTEMD_FOLDER: Final = "/run/systemd"
"""Here lies systemd's private socket, among what tasks need; so a folder of their own has what they need alone."""

SHOWN: Final = (
    *("system", "container"),  # whether systemd runs here, and in which container: sd_booted(3), systemd-detect-virt(1)
    *("journal", "resolve", "userdb"),  # the log, host names, names of dynamic users and of machines'
    *("sessions", "seats", "users", "machines", "netif", "timesync"),  # sd-login(3), sd-network, time-sync
)
"""What tasks need of it. Each of these folders outlives a restart of the service that it is of."""

CLOSED: Final = ("/run", "-/dev/hugepages")
"""What ``ProtectSystem=strict`` leaves writable beside ``ProtectKernelTunables=`` and ``PrivateDevices=``: systemd then
counts it among the kernel's file systems. So strict names it (docs/decisions/0100-run-is-closed-by-name.md)."""

SHARED_MEMORY: Final = "/dev/shm"  # noqa: S108 (named, not used)
"""Stays the host's in the /dev of ``PrivateDevices=``, unless there is another file system in its place."""

QUEUES: Final = "/dev/mqueue"
"""Is there anew with ``PrivateIPC=``."""

TEMPORARY: Final = mounts.TEMPORARY

SHOWING: Final = frozenset({"ExecPaths", "NoExecPaths", "ReadOnlyPaths", "ReadWritePaths"})
"""The lists that have systemd show the host's in a place, and drop there what is new (read: ``namespace.c`` of 252):
of two mounts for one place it keeps the one of these. What is inaccessible stays that, and a private /tmp too."""

_ANYBODYS: Final = "mode=1777"
_RECURSIVE: Final = 1 << 14  # MS_REC of mount(2)
_OF_A_PROCESS: Final = re.compile(r"/proc/[0-9]+(?:/|$)")


def _shown() -> Value:
    folders = [f"{SYSTEMD_FOLDER}/{name}" for name in SHOWN]
    return "a(ssbt)", [[folder, folder, True, _RECURSIVE] for folder in folders]


_BASE: Final[Properties] = {
    "NoNewPrivileges": ("b", True),
    "PrivateTmp": ("b", True),
    "ProtectKernelModules": ("b", True),
    "ProtectKernelTunables": ("b", True),
    "ProtectKernelLogs": ("b", True),
    "ProtectClock": ("b", True),
    "ProtectControlGroups": ("b", True),
    "InaccessiblePaths": ("as", list(HIDDEN)),
}

STANDARD: Final[Properties] = {
    **_BASE,
    "TemporaryFileSystem": ("a(ss)", [[SYSTEMD_FOLDER, "mode=0755"]]),
    "BindPaths": _shown(),  # not read-only, which would cost a tenth of the start
}

STRICT: Final[Properties] = {
    **_BASE,
    "TemporaryFileSystem": ("a(ss)", [[SYSTEMD_FOLDER, "ro,mode=0755"], [SHARED_MEMORY, _ANYBODYS]]),
    "BindReadOnlyPaths": _shown(),
    "ProtectSystem": ("s", "strict"),
    "ReadOnlyPaths": (LIST, list(CLOSED)),
    "ProtectHome": ("s", "read-only"),
    "ProtectHostname": ("b", True),
    "ProtectProc": ("s", "invisible"),
    "PrivateDevices": ("b", True),
    "PrivateNetwork": ("b", True),
    "PrivateIPC": ("b", True),  # message queues and shared memory
    "RestrictNamespaces": ("t", 0),  # the set of those allowed
    "RestrictRealtime": ("b", True),
    "RestrictSUIDSGID": ("b", True),
    "LockPersonality": ("b", True),
    "SystemCallArchitectures": ("as", ["native"]),
    "SystemCallFilter": ("(bas)", [True, ["@system-service"]]),
    "SystemCallErrorNumber": ("i", 1),  # EPERM
    "CapabilityBoundingSet": ("t", 0),
}

OFFLINE: Final[Properties] = {**STANDARD, "PrivateNetwork": ("b", True)}

BY_PROFILE: Final[Mapping[SandboxProfile, Properties]] = {
    SandboxProfile.NONE: {},
    SandboxProfile.STANDARD: STANDARD,
    SandboxProfile.STRICT: STRICT,
    SandboxProfile.OFFLINE: OFFLINE,
}

_RISING: Final[Mapping[str, Sequence[object]]] = {
    "PrivateDevices": (False, True),
    "ProtectHome": ("no", "read-only", "tmpfs", "yes"),
}
"""From the least strict on: of properties that every author may set. Another value of the others is another wall."""


def profile_of(isolation: Isolation) -> SandboxProfile:
    """Return the profile in force; a task that has come here without one is confined by nothing."""
    return isolation.sandbox.profile or SandboxProfile.NONE


def own_folders(isolation: Isolation) -> Sequence[str]:
    """Return the folders that the task has for itself, with nothing of the host's in them."""
    found = properties(isolation)
    has_tmp = isolation.run_as.is_dynamic or ("b", True) in (found.get("PrivateTmp"), found.get("DynamicUser"))
    has_memory = [SHARED_MEMORY, _ANYBODYS] in found.get("TemporaryFileSystem", ("", []))[1]
    return (*(TEMPORARY if has_tmp else ()), *((SHARED_MEMORY,) if has_memory else ()))


def properties(isolation: Isolation, hidden: Sequence[str] = ()) -> dict[str, Value]:
    """Return the properties of the profile, and what the task says otherwise; all but none cover ``hidden``.

    Raw lists are added to the profile's, but for what would show what it hides; what else is raw takes the place of
    the profile's.
    """
    profile = profile_of(isolation)
    found = dict(BY_PROFILE[profile])
    if "InaccessiblePaths" in found:
        found["InaccessiblePaths"] = ("as", list(dict.fromkeys([*HIDDEN, *(f"-{path}" for path in hidden)])))
    sandbox = isolation.sandbox
    if sandbox.network is not None:
        found["PrivateNetwork"] = ("b", not sandbox.network)
    declared = {place_of(path) for path in sandbox.writable}
    own = _own_places(profile, declared)
    if sandbox.writable:
        found["ReadWritePaths"] = (LIST, _beside(own, sandbox.writable))
        if "ReadOnlyPaths" in found:  # systemd keeps read-only what is in both lists
            found["ReadOnlyPaths"] = (LIST, [path for path in CLOSED if path.removeprefix("-") not in declared])
    for name, given in sandbox.properties.items():
        signature, value = value_of(name, given)
        value = _beside(own, value) if name in SHOWING else value
        is_added = signature == LIST and name in found
        found[name] = signature, [*found[name][1], *value] if is_added else value
    return found


def _own_places(profile: SandboxProfile, declared: Collection[str]) -> Collection[str]:
    """Return where a task has something else than the host: always in systemd's folder, else where it declares none."""
    if profile is SandboxProfile.NONE:
        return ()
    shared = (SHARED_MEMORY, QUEUES) if profile is SandboxProfile.STRICT else ()
    return SYSTEMD_FOLDER, *(place for place in shared if place not in declared)


def _beside(own: Collection[str], paths: Iterable[str]) -> list[str]:
    """Return the paths that lead to none of some places; where those of a process lead nobody can tell in advance."""
    if not own:
        return list(paths)
    places = [(path, place_of(path)) for path in paths]
    return [path for path, place in places if place not in own and not _OF_A_PROCESS.match(place)]


def place_of(path: str) -> str:
    """Return where a path that a task names leads, without what may stand before it in one of systemd's lists.

    That is a link which cannot be followed from here, if one is on the way: the root of another process.
    """
    bare = "/" + path.lstrip("-+").lstrip("/")
    try:
        return os.path.normpath(bare) if mounts.may_wait(bare) else os.path.realpath(bare)
    except OSError as error:
        return str(error.filename)


def loosened(profile: SandboxProfile, name: str, given: PropertyValue) -> Value | None:
    """Return what a profile has for a property, if the raw value would be less strict; else None."""
    own = BY_PROFILE[profile].get(name)
    asked = value_of(name, given)
    if own is None or asked[0] == LIST:
        return None
    order = _RISING.get(name, ())
    if asked[1] in order and own[1] in order:
        return own if order.index(asked[1]) < order.index(own[1]) else None
    return own if asked != own else None
