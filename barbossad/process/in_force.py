"""Say in words for people what a launcher enforces for an attempt: what ``run.get`` shows as ``in_force``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from barbossad.model.isolation import Isolation, Limits, RunAs, Sandbox, SandboxProfile
from barbossad.units import format_size

WITHOUT_NETWORK: Final = frozenset({SandboxProfile.STRICT, SandboxProfile.OFFLINE})
"""The profiles that have no network unless it is asked for."""


def has_network(sandbox: Sandbox) -> bool:
    """Say whether a task with this sandbox reaches the network."""
    return sandbox.profile not in WITHOUT_NETWORK if sandbox.network is None else sandbox.network


def words(isolation: Isolation, *, detach: bool = False, not_enforced: Sequence[str] = ()) -> dict[str, Any] | None:
    """Return what is in force, None where that is nothing but what every task has.

    ``isolation`` is what is enforced, ``not_enforced`` what was asked for and is not.
    """
    found = {
        **_account(isolation.run_as),
        **_limits(isolation.limits),
        **_sandbox(isolation.sandbox),
        **({"detach": True} if detach else {}),
        **({"not_enforced": list(not_enforced)} if not_enforced else {}),
    }
    return found or None


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
    return {"limits": found} if found else {}


def _sandbox(sandbox: Sandbox) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if sandbox.profile is not None:
        found["sandbox"] = sandbox.profile.value
    if sandbox.writable:
        found["writable"] = list(sandbox.writable)
    if sandbox.network is not None or sandbox.profile in WITHOUT_NETWORK:
        found["network"] = has_network(sandbox)
    if sandbox.properties:
        found["systemd"] = {
            name: list(value) if isinstance(value, tuple) else value for name, value in sandbox.properties.items()
        }
    return found
