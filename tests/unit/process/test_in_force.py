"""What ``run.get`` says about the confinement of an attempt."""

from __future__ import annotations

import pytest

from barbossad.model.isolation import UNCONFINED, Isolation, Limits, RunAs, Sandbox, SandboxProfile
from barbossad.process import in_force
from barbossad.process.launcher import CannotEnforceError


def test_nothing_asked_for_is_nothing() -> None:
    """A task like any other has no words."""
    assert in_force.words(UNCONFINED) is None


def test_everything() -> None:
    """Values are as their author wrote them; what is not enforced is listed."""
    isolation = Isolation(
        run_as=RunAs(user="shop", group="data"),
        limits=Limits(
            memory_bytes=512 * 1024**2,
            cpu_percent=50.0,
            processes=64,
            open_files=1024,
            io_weight=10,
            file_size_bytes=1500,
        ),
        sandbox=Sandbox(
            profile=SandboxProfile.STRICT, writable=("/srv",), properties={"ReadOnlyPaths": ("/a",), "Nice": 5}
        ),
    )
    assert in_force.words(isolation, detach=True, not_enforced=["this"]) == {
        "user": "shop",
        "group": "data",
        "limits": {
            "memory": "512M",
            "cpu": "50%",
            "processes": 64,
            "open_files": 1024,
            "io_weight": 10,
            "file_size": "1500",
        },
        "sandbox": "strict",
        "writable": ["/srv"],
        "network": False,
        "systemd": {"ReadOnlyPaths": ["/a"], "Nice": 5},
        "detach": True,
        "not_enforced": ["this"],
    }


@pytest.mark.parametrize(
    ("sandbox", "expected"),
    [
        (Sandbox(profile=SandboxProfile.STANDARD), {"sandbox": "standard"}),
        (Sandbox(profile=SandboxProfile.OFFLINE), {"sandbox": "offline", "network": False}),
        (Sandbox(profile=SandboxProfile.STRICT, network=True), {"sandbox": "strict", "network": True}),
        (Sandbox(network=False), {"network": False}),
    ],
)
def test_the_network_is_as_the_profile_has_it(sandbox: Sandbox, expected: dict[str, object]) -> None:
    """It is told where a profile takes it away or the task says something about it."""
    assert in_force.words(Isolation(sandbox=sandbox)) == expected


def test_what_raw_properties_replace_is_not_told_as_in_force() -> None:
    """Their own values are; what they leave alone stays, and what they undo is listed."""
    isolation = Isolation(
        run_as=RunAs(user="deckhand", group="data"),
        limits=Limits(memory_bytes=512 * 1024**2, processes=9),
        sandbox=Sandbox(
            profile=SandboxProfile.OFFLINE,
            properties={"PrivateNetwork": False, "MemoryMax": 1 << 30, "User": "root", "InaccessiblePaths": ("/srv",)},
        ),
    )
    assert in_force.words(isolation, not_enforced=["this"]) == {
        "group": "data",
        "limits": {"processes": 9},
        "sandbox": "offline",
        "network": True,
        "systemd": {"PrivateNetwork": False, "MemoryMax": 1 << 30, "User": "root", "InaccessiblePaths": ["/srv"]},
        "not_enforced": ["this", "run_as.user", "limits.memory", "PrivateNetwork of the profile offline"],
    }


@pytest.mark.parametrize(
    ("sandbox", "network", "missing"),
    [
        (Sandbox(properties={"PrivateNetwork": "yes"}), False, None),
        (Sandbox(network=True, properties={"PrivateNetwork": True}), False, ["sandbox.network"]),
        (Sandbox(network=False, properties={"PrivateNetwork": True}), False, None),
        (Sandbox(profile=SandboxProfile.STRICT, properties={"ProtectHome": True}), False, None),
        (Sandbox(network=False, properties={"PrivateNetwork": "maybe"}), False, None),
    ],
)
def test_raw_properties_that_undo_nothing(sandbox: Sandbox, network: bool, missing: list[str] | None) -> None:
    """What is stricter than the profile, or has no value, leaves it in force; the network is as it is."""
    words = in_force.words(Isolation(sandbox=sandbox)) or {}
    assert (words["network"], words.get("not_enforced")) == (network, missing)


def test_a_dynamic_user() -> None:
    """It has no name yet."""
    assert in_force.words(Isolation(run_as=RunAs(is_dynamic=True))) == {"user": "dynamic"}


def test_what_cannot_be_enforced_is_named() -> None:
    """The sentence says what, by whom, and what to do."""
    error = CannotEnforceError("local", ["limits.memory", "a dynamic user"])
    assert error.missing == ("limits.memory", "a dynamic user")
    assert str(error).startswith("the local launcher cannot enforce limits.memory, a dynamic user; ")
    assert "best_effort" in str(error)
