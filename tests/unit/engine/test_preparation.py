"""What a launcher is told of a task: its account, its confinement, its times, and why it cannot be started."""

from __future__ import annotations

import os
import pwd
from typing import Any

import pytest

from barbossad.config import Tasks
from barbossad.engine import growth
from barbossad.engine.preparation import Preparation
from barbossad.errors import BarbossaError
from barbossad.model.isolation import UNCONFINED, Limits, RunAs, Sandbox, SandboxProfile
from barbossad.process.launcher import LaunchSpec
from barbossad.tasks import _registry
from barbossad.workflows.loader import Loader
from tests.helpers.records import NOON_MS, run

TYPES = _registry.load()
NOBODY = pwd.getpwnam("nobody")


def prepared(
    keys: str, *, params: dict[str, Any] | None = None, has_default_profile: bool = True, **settings: Any
) -> LaunchSpec:
    """Return the launch of a shell task with these keys, under these settings."""
    text = f"name: a\nparams: {{where: {{type: path, default: /srv}}}}\ntasks: [{{shell: make{keys}}}]"
    preparation = Preparation(
        TYPES, Tasks(**settings), "host", str, has_default_profile=has_default_profile, now_ms=lambda: NOON_MS
    )
    record = run(workflow="a", params={"where": "/srv", **(params or {})})
    return preparation.launch_spec(growth.create(Loader(TYPES).load(text), record), 0, 1)


def test_times_and_detach_come_along() -> None:
    """A launcher that outlives the daemon keeps the timeout itself."""
    spec = prepared(", timeout: 5m, grace: 3s, detach: true")
    assert (spec.timeout_seconds, spec.grace_seconds, spec.detach) == (300.0, 3.0, True)
    spec = prepared("")
    assert (spec.timeout_seconds, spec.grace_seconds, spec.detach) == (None, 10.0, False)


def test_a_list_is_made_into_text_once_for_all_items() -> None:
    """Each of ten thousand items has a variable of all of them: to make it anew took more time than to start it."""
    preparation = Preparation(TYPES, Tasks(), "host", str, has_default_profile=True, now_ms=lambda: NOON_MS)
    text = "name: a\nparams: {l: {type: list}}\ntasks: [{id: a, shell: make}, {id: b, shell: make}]"
    progress = growth.create(Loader(TYPES).load(text), run(workflow="a", params={"l": [1, 2]}))
    first, second = (preparation.launch_spec(progress, index, 1).env["l"] for index in (0, 1))
    assert first == "[1,2]"
    assert second is first


def test_the_profile_of_the_settings_holds_for_tasks_that_name_none() -> None:
    """Secure is the default, where the launcher gives it unasked."""
    assert prepared("").isolation.sandbox.profile is SandboxProfile.STANDARD
    assert prepared("", sandbox="offline").isolation.sandbox.profile is SandboxProfile.OFFLINE
    assert prepared(", limits: {cpu: 5%}").isolation.sandbox.profile is SandboxProfile.STANDARD
    assert prepared(", sandbox: none").isolation.sandbox.profile is SandboxProfile.NONE


def test_a_launcher_that_gives_no_profile_unasked_is_not_asked() -> None:
    """Such a task is then told from one that asks for a profile which cannot be given."""
    assert prepared("", has_default_profile=False).isolation is UNCONFINED
    asked = prepared(", limits: {cpu: 5%}", has_default_profile=False).isolation
    assert (asked.limits, asked.sandbox) == (Limits(cpu_percent=5.0), Sandbox())
    assert prepared(", sandbox: strict", has_default_profile=False).isolation.sandbox == Sandbox(
        profile=SandboxProfile.STRICT
    )


def test_settings_can_be_changed() -> None:
    """What is prepared after a reload has the new settings."""
    preparation = Preparation(TYPES, Tasks(), "host", str, has_default_profile=True, now_ms=lambda: NOON_MS)
    progress = growth.create(Loader(TYPES).load("name: a\ntasks: [{shell: make}]"), run(workflow="a"))
    preparation.configure(Tasks(sandbox="none", environment={"A": "b"}))
    spec = preparation.launch_spec(progress, 0, 1)
    assert spec.isolation.sandbox.profile is SandboxProfile.NONE
    assert spec.env["A"] == "b"


def test_writable_paths_are_rendered() -> None:
    """An expression in a path is worth what it is worth when the task starts."""
    spec = prepared(', sandbox: {writable: [/var/x, "{{ params.where }}/{{ workflow.name }}"]}')
    assert spec.isolation.sandbox.writable == ("/var/x", "/srv/a")


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("srv", "under 'writable' is not an absolute path: 'srv'"),
        ("/", "is the whole file system"),
        ("/srv/../etc", "goes upward"),
        ("/srv/\n", "holds characters"),
    ],
)
def test_what_a_writable_path_becomes_is_checked(where: str, words: str) -> None:
    """A param opens no path that could not have been written in the file."""
    with pytest.raises(BarbossaError, match=words):
        prepared(', sandbox: {writable: ["{{ params.where }}"]}', params={"where": where})


def test_a_raw_property_must_be_allowed() -> None:
    """The refusal names the property and the setting; what the setting lists passes."""
    keys = ", sandbox: {systemd: {Nice: 5, RootDirectory: /x}}"
    with pytest.raises(BarbossaError, match=r"'RootDirectory' of systemd.*tasks\.systemd_properties"):
        prepared(keys)
    spec = prepared(keys, systemd_properties=["Nice", "RootDirectory"])
    assert spec.isolation.sandbox.properties == {"Nice": 5, "RootDirectory": "/x"}


def test_a_raw_property_must_be_worth_something() -> None:
    """What systemd would refuse in words of its own is refused by the property's name, before anything starts."""
    with pytest.raises(BarbossaError, match=r"'MemoryHigh' of systemd, which is not a size: '64X'; write bytes"):
        prepared(", sandbox: {systemd: {MemoryHigh: 64X}}")
    with pytest.raises(BarbossaError, match=r"'Nice' of systemd, which is a whole number from -\d+ on, not True"):
        prepared(", sandbox: {systemd: {Nice: true}}")


@pytest.mark.parametrize(
    ("sandbox", "words"),
    [
        (
            "profile: strict, systemd: {ProtectHome: no}",
            r"'ProtectHome' .* to False, .* profile strict has .*'read-only'",
        ),
        ("profile: strict, systemd: {ProtectHome: 'no'}", r"name ProtectHome in tasks\.systemd_properties"),
        ("profile: strict, systemd: {PrivateDevices: false}", r"'PrivateDevices' .* profile strict has \(True\)"),
        ("profile: strict, systemd: {PrivateDevices: false, ReadOnlyPaths: /srv}", "'PrivateDevices'"),
    ],
)
def test_what_is_allowed_unasked_loosens_no_profile(sandbox: str, words: str) -> None:
    """A property that only takes takes nothing from the profile; who runs the host may say otherwise."""
    keys = f", sandbox: {{{sandbox}}}"
    with pytest.raises(BarbossaError, match=words):
        prepared(keys)
    allowed = ["PrivateDevices", "ProtectHome", "ReadOnlyPaths"]
    assert prepared(keys, systemd_properties=allowed).isolation.sandbox.properties


def test_what_is_allowed_unasked_may_take_more() -> None:
    """What is at least as strict as the profile passes, and where there is no such wall, anything does."""
    prepared(", sandbox: {profile: strict, systemd: {ProtectHome: yes, PrivateDevices: yes, InaccessiblePaths: /srv}}")
    prepared(", sandbox: {profile: strict, systemd: {ProtectHome: read-only}}")
    prepared(", sandbox: {profile: standard, systemd: {ProtectHome: no, PrivateDevices: no}}")
    prepared(", sandbox: {profile: none, systemd: {ProtectHome: no}}")


def test_the_environment_is_that_of_the_user() -> None:
    """HOME, USER, LOGNAME, SHELL and the folder to start in are those of the account that the task runs as."""
    spec = prepared(", run_as: nobody")
    env = {name: spec.env[name] for name in ("HOME", "USER", "LOGNAME", "SHELL")}
    assert env == {"HOME": NOBODY.pw_dir, "USER": "nobody", "LOGNAME": "nobody", "SHELL": NOBODY.pw_shell}
    assert spec.working_dir == NOBODY.pw_dir
    assert spec.isolation.run_as == RunAs(user="nobody")
    assert prepared(", run_as: nobody", environment={"HOME": "/h"}).working_dir == "/h"


def test_another_group_leaves_the_user_as_it_is() -> None:
    """A group alone changes nothing of the environment."""
    assert prepared(", run_as: {group: daemon}").env["HOME"] == pwd.getpwuid(os.geteuid()).pw_dir


def test_a_dynamic_user_has_no_home() -> None:
    """Its name is not known before its launcher makes it."""
    spec = prepared(", run_as: {dynamic: true}")
    assert (spec.env["HOME"], spec.working_dir) == ("/", "/")
    assert not {"USER", "LOGNAME"} & spec.env.keys()


@pytest.mark.parametrize(
    ("keys", "words"),
    [("run_as: blackbeard", "no such user 'blackbeard'"), ("run_as: {group: pirates}", "no such group 'pirates'")],
)
def test_an_account_that_does_not_exist(keys: str, words: str) -> None:
    """The task fails before it starts, in so many words."""
    with pytest.raises(BarbossaError, match=f"^{words}$"):
        prepared(f", {keys}")


def test_a_path_of_creates_that_is_none() -> None:
    """It is refused with the reason, as other values are that no program can be given."""
    with pytest.raises(BarbossaError, match="a path of 'creates' holds a NUL character"):
        prepared(", creates: '/{{ params.where }}'", params={"where": "a\0b"})


def test_outputs_of_a_workflow_see_the_environment() -> None:
    """They see what its tasks have but for what is a task's own: the params, and the workflow's variables, rendered."""
    text = """\
name: a
params: {a: {type: string}, n: {type: integer, default: 3}}
env: {FOO: "pre-{{ params.a }}", HOME: "{{ env.HOME }}/x"}
outputs: {foo: "{{ env.FOO }}", a: "{{ env.a }}", home: "{{ env.HOME }}", run: "{{ env.BARBOSSA_RUN_ID }}"}
tasks: [{shell: make, env: {FOO: own}}]
"""
    preparation = Preparation(TYPES, Tasks(), "host", str, has_default_profile=True, now_ms=lambda: NOON_MS)
    definition = Loader(TYPES).load(text)
    record = run(workflow="a", params={"a": "AAA", "n": 3})
    found = preparation.value(growth.create(definition, record), None, definition.outputs)
    home = pwd.getpwuid(os.geteuid()).pw_dir
    assert found == {"foo": "pre-AAA", "a": "AAA", "home": f"{home}/x", "run": record.id}
