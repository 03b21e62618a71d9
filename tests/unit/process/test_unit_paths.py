"""Where a path of a task leads, written as systemd takes it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from barbossad.model.isolation import Isolation, Sandbox, SandboxProfile
from barbossad.model.names import RunId, TaskId
from barbossad.process import mounts, profiles
from barbossad.process.launcher import AttemptKey, LaunchSpec
from barbossad.process.programs import StartFailureError
from barbossad.process.systemd import unit_paths

SPEC = LaunchSpec(key=AttemptKey(RunId("01m89539n0"), TaskId("task"), 1), argv=("x",), env={}, working_dir="/")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with ``current``, a link to ``releases/1``, and a file, that counts as no temporary one."""
    monkeypatch.setattr(profiles, "TEMPORARY", ("/tmp/hidden",))
    (tmp_path / "releases/1").mkdir(parents=True)
    (tmp_path / "current").symlink_to("releases/1")
    (tmp_path / "file").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("", ""), ("//a/./b/", "/a/b"), ("/current", "/current"), ("/current/../2", "/releases/2"),
        ("/current/../../file", "/file"), ("/releases/../releases/1", "/releases/1"),
    ],
)  # fmt: skip
def test_a_path_leads_where_it_did(place: Path, written: str, wanted: str) -> None:
    """Links before '..' are followed, others are left for the task to follow."""
    assert unit_paths.settled(f"{place}{written}") == f"{place.resolve() if '..' in written else place}{wanted}"


def test_above_the_root_is_the_root() -> None:
    """As the kernel has it."""
    assert unit_paths.settled("/../..") == "/"


def test_folder_and_program(place: Path) -> None:
    """A program is found from the working directory, where that really is."""
    spec = replace(SPEC, working_dir=f"{place}/current")
    assert unit_paths.folder(spec) == f"{place}/current"
    assert unit_paths.program(spec, "../bin/x") == f"{place.resolve()}/releases/bin/x"
    assert unit_paths.program(spec, "/bin/./x") == "/bin/x"
    assert unit_paths.program(spec, "x") == "x"


@pytest.mark.parametrize("written", ["nowhere/../releases", "file/../releases"])
def test_a_path_that_leads_nowhere(place: Path, written: str) -> None:
    """What the kernel would refuse is refused before the start, with the reason."""
    with pytest.raises(StartFailureError, match=r"cannot enter the working directory .*: it does not exist"):
        unit_paths.folder(replace(SPEC, working_dir=f"{place}/{written}"))
    program = f"{place}/{written}/x"
    with pytest.raises(StartFailureError, match=r"cannot start .*: it does not exist"):
        unit_paths.program(replace(SPEC, argv=(program,)), program)


@pytest.mark.parametrize("path", ["/" + 256 * "a", 2100 * "/a"])
def test_a_path_that_is_too_long(path: str) -> None:
    """What no file can be called is told as that, and searched for nothing."""
    with pytest.raises(StartFailureError, match="is too long"):
        unit_paths.folder(replace(SPEC, working_dir=path))
    assert unit_paths.search_path(f"{path}:/bin") == ["/bin"]


@pytest.mark.parametrize(
    ("profile", "words"),
    [(SandboxProfile.NONE, "write the path without it"), (SandboxProfile.STANDARD, "the profile standard hides it")],
)
def test_a_path_that_is_not_seen(
    profile: SandboxProfile, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is guessed of the host's /tmp."""
    (tmp_path / "mountinfo").write_text("1 2 0:1 /systemd-private-0 /tmp rw - tmpfs x rw\n")
    monkeypatch.setattr(mounts, "TABLE", tmp_path / "mountinfo")
    isolation = Isolation(sandbox=Sandbox(profile=profile))
    with pytest.raises(StartFailureError, match=words):
        unit_paths.folder(replace(SPEC, working_dir="/tmp/no-such-folder/../x", isolation=isolation))


def test_search_path(place: Path) -> None:
    """What is relative, or leads nowhere, is not searched."""
    path = f"relative:{place}/current/../bin::{place}/nowhere/../bin:/usr//bin"
    assert unit_paths.search_path(path) == [f"{place.resolve()}/releases/bin", "/usr/bin"]
