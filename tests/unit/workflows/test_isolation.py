"""What the keys of confinement mean: alone, with those of ``defaults``, and for which types."""

from __future__ import annotations

from dataclasses import replace

import pytest

from barbossad.model.definition import TaskDefinition
from barbossad.model.isolation import UNCONFINED, Isolation, Limits, RunAs, Sandbox, SandboxProfile
from barbossad.model.states import OnInterrupt
from barbossad.tasks import _registry
from barbossad.workflows.loader import Loader
from barbossad.workflows.schema import json_schema


def task(loader: Loader, keys: str, defaults: str = "{}") -> TaskDefinition:
    """Return a shell task with these keys."""
    text = f"name: a\nparams: {{where: {{type: path}}}}\ndefaults: {defaults}\ntasks: [{{shell: make{keys}}}]"
    return loader.load(text).tasks[0]


def test_every_key_ends_up_in_the_definition(loader: Loader) -> None:
    """What is written is what the engine gets: bytes, percent, tuples."""
    found = task(
        loader,
        """, run_as: {user: shop, group: data}
, limits: {memory: 512M, cpu: 150%, processes: 64, open_files: 1024, io_weight: 50, file_size: 1G}
, sandbox: {profile: strict, writable: [/srv, "{{ params.where }}/x"], network: true, best_effort: true,
            systemd: {Nice: 5, ProtectHome: true, ReadOnlyPaths: [/a, /b], MemoryHigh: 1G}}
, on_interrupt: ask, on_reboot: retry, detach: true""",
    )
    assert found.isolation == Isolation(
        run_as=RunAs(user="shop", group="data"),
        limits=Limits(
            memory_bytes=512 * 1024**2,
            cpu_percent=150.0,
            processes=64,
            open_files=1024,
            io_weight=50,
            file_size_bytes=1024**3,
        ),
        sandbox=Sandbox(
            profile=SandboxProfile.STRICT,
            writable=("/srv", "{{ params.where }}/x"),
            network=True,
            properties={"Nice": 5, "ProtectHome": True, "ReadOnlyPaths": ("/a", "/b"), "MemoryHigh": "1G"},
            is_best_effort=True,
        ),
    )
    assert (found.on_interrupt, found.on_reboot, found.detach) == (OnInterrupt.ASK, OnInterrupt.RETRY, True)


def test_one_word_is_enough(loader: Loader) -> None:
    """A user, a profile and a writable path may stand bare."""
    found = task(loader, ", run_as: www-data, sandbox: strict").isolation
    assert (found.run_as, found.sandbox) == (RunAs(user="www-data"), Sandbox(profile=SandboxProfile.STRICT))
    assert task(loader, ", sandbox: {writable: /srv}").isolation.sandbox.writable == ("/srv",)
    assert task(loader, ", run_as: {dynamic: true}").isolation.run_as == RunAs(is_dynamic=True)


def test_a_task_that_says_nothing_is_unconfined(loader: Loader) -> None:
    """It is the one value, so that the hot path need not compare."""
    found = task(loader, "")
    assert found.isolation is UNCONFINED
    assert (found.on_interrupt, found.on_reboot, found.detach) == (OnInterrupt.FAIL, OnInterrupt.FAIL, False)


DEFAULTS = (
    "{run_as: {user: shop, group: data}, limits: {memory: 512M, cpu: 50%}, on_interrupt: retry, on_reboot: ask,"
    " sandbox: {profile: strict, writable: [/srv], best_effort: true}, detach: true}"
)


def test_the_defaults_hold_where_a_task_is_silent(loader: Loader) -> None:
    """All keys may stand in ``defaults``."""
    found = task(loader, "", DEFAULTS)
    assert found.isolation.run_as == RunAs(user="shop", group="data")
    assert found.isolation.limits == Limits(memory_bytes=512 * 1024**2, cpu_percent=50.0)
    assert found.isolation.sandbox == Sandbox(profile=SandboxProfile.STRICT, writable=("/srv",), is_best_effort=True)
    assert (found.on_interrupt, found.on_reboot, found.detach) == (OnInterrupt.RETRY, OnInterrupt.ASK, True)


def test_a_task_changes_what_it_names_and_nothing_else(loader: Loader) -> None:
    """Limits and the parts of a sandbox are taken one by one; an account is one thing, so no group is left over."""
    found = task(loader, ", run_as: www-data, limits: {cpu: 10%}, sandbox: {network: true}, detach: false", DEFAULTS)
    assert found.isolation.run_as == RunAs(user="www-data")
    assert found.isolation.limits == Limits(memory_bytes=512 * 1024**2, cpu_percent=10.0)
    assert found.isolation.sandbox == Sandbox(
        profile=SandboxProfile.STRICT, writable=("/srv",), network=True, is_best_effort=True
    )
    assert not found.detach
    assert task(loader, ", sandbox: none", DEFAULTS).isolation.sandbox.profile is SandboxProfile.NONE


def test_a_repeatable_type_may_be_resumed() -> None:
    """``resume`` is for types that say that they can be begun again."""
    shell = _registry.load()["shell"]
    assert not shell.is_repeatable
    wait = replace(shell, is_repeatable=True)
    found = task(Loader({"shell": wait}), ", on_interrupt: resume, on_reboot: resume")
    assert (found.on_interrupt, found.on_reboot) == (OnInterrupt.RESUME, OnInterrupt.RESUME)


@pytest.mark.parametrize("network", ["true", "false"])
def test_offline_with_a_network_is_a_contradiction(loader: Loader, network: str) -> None:
    """It is told where the network was asked for, also when the profile comes from the defaults."""
    text = f"name: a\ndefaults: {{sandbox: offline}}\ntasks:\n  - {{shell: make, sandbox: {{network: {network}}}}}"
    faults = loader.check(text)
    assert [fault.line for fault in faults] == ([4] if network == "true" else [])


def test_the_schema_knows_both_forms() -> None:
    """Editors complete the names of profiles, and the keys of the map."""
    sandbox = json_schema(_registry.load())["$defs"]["Task"]["properties"]["sandbox"]
    word, model, _nothing = sandbox["anyOf"]
    assert word["anyOf"][0]["enum"] == ["none", "standard", "strict", "offline"]
    assert model == {"$ref": "#/$defs/SandboxSource"}
