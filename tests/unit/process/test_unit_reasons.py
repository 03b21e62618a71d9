"""Why a task could not be started, as far as the daemon can see it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from barbossad.model.isolation import Isolation, RunAs, Sandbox, SandboxProfile
from barbossad.model.names import RunId, TaskId
from barbossad.process import mounts, profiles
from barbossad.process.launcher import AttemptKey, LaunchSpec
from barbossad.process.systemd.unit_reasons import FILE_SYSTEM, FOLDER, GROUP, PROGRAM, USER, detail, established

SPEC = LaunchSpec(
    key=AttemptKey(RunId("01m89539n0"), TaskId("task"), 1), argv=("/bin/sh",), env={"PATH": "/bin"}, working_dir="/"
)
STRICT = Sandbox(profile=SandboxProfile.STRICT, writable=("/usr", "/tmp/w"))


@pytest.fixture
def own_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the daemon a /tmp and a /var/tmp of its own."""
    rows = "".join(f"1 2 0:1 /systemd-private-0 {folder} rw - tmpfs x rw\n" for folder in profiles.TEMPORARY)
    (tmp_path / "mountinfo").write_text(f"1 1 0:1 / / rw - ext4 x rw\n{rows}")
    monkeypatch.setattr(mounts, "TABLE", tmp_path / "mountinfo")


def test_what_the_daemon_sees_as_the_task_does() -> None:
    """Where both have the host's /tmp, what is not there is told."""
    assert detail(PROGRAM, confined(Sandbox())) == "it does not exist"
    assert detail(FOLDER, confined(Sandbox()), 2) == "it does not exist"


def confined(sandbox: Sandbox, run_as: RunAs | None = None) -> LaunchSpec:
    """Return a task whose program and folder lie in /tmp."""
    isolation = Isolation(sandbox=sandbox, run_as=run_as or RunAs())
    return replace(SPEC, argv=("/tmp/no-such.sh",), working_dir="/var/tmp/no-such", isolation=isolation)


@pytest.mark.parametrize("status", range(200, 256))
def test_nothing_is_established_where_nothing_is_amiss(status: int) -> None:
    """What is there, and is as it should be, is no reason; a sentence there is all the same."""
    assert established(status, SPEC) is None
    assert detail(status, SPEC)


def test_accounts_that_there_are_not() -> None:
    """A user or a group that is not known is a reason; a number needs no name."""
    nobody = replace(SPEC, isolation=Isolation(run_as=RunAs(user="nobodyhere", group="nogrouphere")))
    assert established(USER, nobody)
    assert established(GROUP, nobody)
    assert established(USER, replace(SPEC, isolation=Isolation(run_as=RunAs(user="4711")))) is None


def test_what_the_task_cannot_see() -> None:
    """A profile gives the task a /tmp and /var/tmp of its own: that it hides those of the host is the reason."""
    standard = confined(Sandbox(profile=SandboxProfile.STANDARD))
    words = "the profile standard hides it: the task is given a {} of its own; put it elsewhere, or"
    assert words.format("/tmp") in detail(PROGRAM, standard)
    assert words.format("/var/tmp") in detail(FOLDER, standard)
    assert "'/tmp/w' is under 'writable', and the profile strict hides it" in detail(FILE_SYSTEM, confined(STRICT))
    assert "a user of its own hides it" in detail(PROGRAM, confined(Sandbox(), RunAs(is_dynamic=True)))
    shared = confined(Sandbox(profile=SandboxProfile.STRICT, writable=("/dev/shm/w",)))
    assert "strict hides it: the task is given a /dev/shm of its own" in detail(FILE_SYSTEM, shared)


@pytest.mark.parametrize("key", ["ReadOnlyPaths", "ReadWritePaths", "ExecPaths", "NoExecPaths", "InaccessiblePaths"])
def test_the_list_is_named_that_asks_for_what_is_not_there(key: str) -> None:
    """A raw list of paths may be the reason as well as 'writable'; what may be missing is not."""
    said = detail(FILE_SYSTEM, confined(Sandbox(properties={key: ("/usr", "-/not/this", "+/no/such")})))
    assert said == f"'/no/such', which is under {key!r}, does not exist"
    wanted = Sandbox(profile=SandboxProfile.STRICT, writable=("/usr",), properties={key: "/usr"})
    assert detail(FILE_SYSTEM, confined(wanted)) == f"does each path under 'writable' and {key!r} exist for the task?"
    assert detail(FILE_SYSTEM, confined(Sandbox()), 13) == "Permission denied"


@pytest.mark.parametrize(
    "sandbox", [Sandbox(), Sandbox(profile=SandboxProfile.STANDARD, properties={"PrivateTmp": False})]
)
@pytest.mark.usefixtures("own_tmp")
def test_what_the_daemon_cannot_see(sandbox: Sandbox) -> None:
    """Of the host's /tmp nothing is claimed that the kernel does not say, where the daemon has one of its own."""
    spec = confined(sandbox)
    assert established(PROGRAM, spec) is None
    assert established(FOLDER, spec) is None
    assert detail(FOLDER, spec, 2) == "it does not exist"
    assert detail(FOLDER, spec, 13) == "it may not be entered by this user"
    assert "which the daemon does not see" in detail(PROGRAM, spec)


def test_a_link_into_tmp_is_hidden_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a path leads counts, and how it is written."""
    monkeypatch.setattr(profiles, "TEMPORARY", (str(tmp_path / "hidden"),))
    (tmp_path / "link").symlink_to(tmp_path / "hidden/s.sh")
    standard = Isolation(sandbox=Sandbox(profile=SandboxProfile.STANDARD))
    found = established(PROGRAM, replace(SPEC, argv=(str(tmp_path / "link"),), isolation=standard))
    assert found is not None
    assert "hides it" in found


@pytest.mark.usefixtures("own_tmp")
def test_a_program_on_a_path_through_tmp() -> None:
    """A folder of the PATH that the task does not see holds nothing; of one unseen by the daemon, who knows."""
    spec = replace(SPEC, argv=("no-such",), env={"PATH": "/tmp/bin:/bin"})
    assert established(PROGRAM, spec) is None
    assert "which the daemon does not see" in detail(PROGRAM, spec)
    standard = replace(spec, isolation=Isolation(sandbox=Sandbox(profile=SandboxProfile.STANDARD)))
    assert established(PROGRAM, standard) == "there is no such program on the task's PATH"
