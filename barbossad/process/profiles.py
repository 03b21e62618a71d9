"""What each sandbox profile means to systemd: properties of the unit. No I/O. docs/confinement.md shows the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from dbus_fast import Variant

from barbossad.model.isolation import Isolation, SandboxProfile

Properties = Mapping[str, Variant]

HIDDEN: Final = ("-/run/barbossa", "-/run/dbus/system_bus_socket", "-/run/systemd/private")
"""The ways to the daemon and to systemd: who reaches them as root is not confined at all."""

STANDARD: Final[Properties] = {
    "NoNewPrivileges": Variant("b", True),
    "PrivateTmp": Variant("b", True),
    "ProtectKernelModules": Variant("b", True),
    "ProtectKernelTunables": Variant("b", True),
    "ProtectKernelLogs": Variant("b", True),
    "ProtectClock": Variant("b", True),
    "ProtectControlGroups": Variant("b", True),
    "InaccessiblePaths": Variant("as", list(HIDDEN)),
}

STRICT: Final[Properties] = {
    **STANDARD,
    "ProtectSystem": Variant("s", "strict"),
    "ProtectHome": Variant("s", "read-only"),
    "ProtectHostname": Variant("b", True),
    "ProtectProc": Variant("s", "invisible"),
    "PrivateDevices": Variant("b", True),
    "PrivateNetwork": Variant("b", True),
    "RestrictNamespaces": Variant("t", 0),  # the set of those allowed
    "RestrictRealtime": Variant("b", True),
    "RestrictSUIDSGID": Variant("b", True),
    "LockPersonality": Variant("b", True),
    "SystemCallArchitectures": Variant("as", ["native"]),
    "SystemCallFilter": Variant("(bas)", [True, ["@system-service"]]),
    "SystemCallErrorNumber": Variant("i", 1),  # EPERM
    "CapabilityBoundingSet": Variant("t", 0),
}

OFFLINE: Final[Properties] = {**STANDARD, "PrivateNetwork": Variant("b", True)}

BY_PROFILE: Final[Mapping[SandboxProfile, Properties]] = {
    SandboxProfile.NONE: {},
    SandboxProfile.STANDARD: STANDARD,
    SandboxProfile.STRICT: STRICT,
    SandboxProfile.OFFLINE: OFFLINE,
}


def profile_of(isolation: Isolation) -> SandboxProfile:
    """Return the profile in force; a task that has come here without one is confined by nothing."""
    return isolation.sandbox.profile or SandboxProfile.NONE


def properties(isolation: Isolation, hidden: Sequence[str] = ()) -> list[tuple[str, Variant]]:
    """Return the properties of the profile, with what the task says otherwise; all but none cover ``hidden``."""
    found = dict(BY_PROFILE[profile_of(isolation)])
    if "InaccessiblePaths" in found:
        found["InaccessiblePaths"] = Variant("as", [*HIDDEN, *(f"-{path}" for path in hidden)])
    sandbox = isolation.sandbox
    if sandbox.network is not None:
        found["PrivateNetwork"] = Variant("b", not sandbox.network)
    if sandbox.writable:
        found["ReadWritePaths"] = Variant("as", list(sandbox.writable))
    for name in sandbox.properties:
        found.pop(name, None)
    return list(found.items())
