"""Say in words for people what a launcher enforces for an attempt: what ``run.get`` shows as ``in_force``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from barbossad.model.isolation import Isolation, Limits, RunAs, Sandbox, SandboxProfile
from barbossad.process import profiles
from barbossad.process.raw_properties import value_of
from barbossad.units import format_size
from barbossad.validation import RefusalError

WITHOUT_NETWORK: Final = frozenset({SandboxProfile.STRICT, SandboxProfile.OFFLINE})
"""The profiles that have no network unless it is asked for."""

_NETWORK: Final = "PrivateNetwork"
_LIMITS: Final[Mapping[str, frozenset[str]]] = {
    "memory": frozenset({"MemoryMax", "MemoryMaxScale"}),
    "cpu": frozenset({"CPUQuotaPerSecUSec"}),
    "processes": frozenset({"TasksMax", "TasksMaxScale"}),
    "open_files": frozenset({"LimitNOFILE"}),
    "io_weight": frozenset({"IOWeight"}),
    "file_size": frozenset({"LimitFSIZE"}),
}
_ACCOUNT: Final[Mapping[str, frozenset[str]]] = {
    "user": frozenset({"User", "DynamicUser"}),
    "group": frozenset({"Group"}),
}
"""The raw properties that replace what a key asks for."""


def has_network(sandbox: Sandbox) -> bool:
    """Say whether a task with this sandbox reaches the network."""
    return sandbox.profile not in WITHOUT_NETWORK if sandbox.network is None else sandbox.network


def words(isolation: Isolation, *, detach: bool = False, not_enforced: Sequence[str] = ()) -> dict[str, Any] | None:
    """Return what is in force, None where that is nothing but what every task has.

    ``isolation`` is what is enforced, ``not_enforced`` what was asked for and is not; what raw properties of its
    sandbox replace is added to that.
    """
    raw = isolation.sandbox.properties
    account, limits = _account(isolation.run_as), _limits(isolation.limits)
    replaced = [f"run_as.{key}" for key in account if not _ACCOUNT[key].isdisjoint(raw)]
    replaced += [f"limits.{key}" for key in limits if not _LIMITS[key].isdisjoint(raw)]
    replaced += _loosened(isolation)
    account = {key: value for key, value in account.items() if _ACCOUNT[key].isdisjoint(raw)}
    limits = {key: value for key, value in limits.items() if _LIMITS[key].isdisjoint(raw)}
    missing = [*not_enforced, *replaced]
    found = {
        **account,
        **({"limits": limits} if limits else {}),
        **_sandbox(isolation.sandbox),
        **({"detach": True} if detach else {}),
        **({"not_enforced": missing} if missing else {}),
    }
    return found or None


def _loosened(isolation: Isolation) -> list[str]:
    """Return what of the profile and its network raw properties undo; one without a value undoes nothing."""
    sandbox, profile = isolation.sandbox, profiles.profile_of(isolation)
    found = []
    for name, given in sandbox.properties.items():
        with suppress(RefusalError):
            if name == _NETWORK and sandbox.network is not None:
                found += ["sandbox.network"] if value_of(name, given)[1] == sandbox.network else []
            elif profiles.loosened(profile, name, given) is not None:
                found.append(f"{name} of the profile {profile}")
    return found


def _raw_network(sandbox: Sandbox) -> bool:
    """Say whether there is a network where a raw property may have the last word."""
    if _NETWORK in sandbox.properties:
        with suppress(RefusalError):
            return not value_of(_NETWORK, sandbox.properties[_NETWORK])[1]
    return has_network(sandbox)


def _account(run_as: RunAs) -> dict[str, Any]:
    if run_as.is_dynamic:
        return {"user": "dynamic"}
    return {key: name for key, name in (("user", run_as.user), ("group", run_as.group)) if name is not None}


def _limits(limits: Limits) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if limits.memory_bytes is not None:
        found["memory"] = format_size(limits.memory_bytes)
    if limits.cpu_percent is not None:
        found["cpu"] = f"{limits.cpu_percent:g}%"
    for key in ("processes", "open_files", "io_weight"):
        if getattr(limits, key) is not None:
            found[key] = getattr(limits, key)
    if limits.file_size_bytes is not None:
        found["file_size"] = format_size(limits.file_size_bytes)
    return found


def _sandbox(sandbox: Sandbox) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if sandbox.profile is not None:
        found["sandbox"] = sandbox.profile.value
    if sandbox.writable:
        found["writable"] = list(sandbox.writable)
    if sandbox.network is not None or sandbox.profile in WITHOUT_NETWORK or _NETWORK in sandbox.properties:
        found["network"] = _raw_network(sandbox)
    if sandbox.properties:
        found["systemd"] = {
            name: list(value) if isinstance(value, tuple) else value for name, value in sandbox.properties.items()
        }
    return found
