"""What a task leaves where its files were is removed, whatever it is, and nobody waits for it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from barbossad.process import taskfiles
from tests.helpers.waiting import eventually

DEPTH = 1100
"""Deeper than Python calls itself, and than a path can be long."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "files").mkdir()
    return tmp_path / "files" / "run-task-1.output"


def _descend(path: Path, depth: int) -> None:
    here = os.open(path.parent, os.O_RDONLY)
    name = path.name
    for _ in range(depth):
        os.mkdir(name, dir_fd=here)
        below = os.open(name, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here, name = below, "x" * 10
    os.close(here)


def test_a_folder_of_any_depth(path: Path) -> None:
    """A folder goes, however deep it is, and links in it are not followed."""
    _descend(path, DEPTH)
    (path / "link").symlink_to("/etc")
    assert taskfiles.take_output(str(path)) is None
    assert not path.exists()
    eventually(lambda: not list(path.parent.iterdir()), 60, "it is removed")
    assert Path("/etc/passwd").exists()


def test_a_folder_of_many_files(path: Path) -> None:
    """It is out of the way when the call returns, and what is put in its place stays."""
    path.mkdir()
    for number in range(10 * taskfiles.STEPS_AT_ONCE):
        (path / str(number)).touch()
    taskfiles.make_output(str(path), None)
    eventually(lambda: list(path.parent.iterdir()) == [path], 60, "the folder is removed")
    assert path.is_file()


def test_a_small_folder(path: Path) -> None:
    """What a task may have made by mistake is gone at once."""
    (path / "deep" / "er").mkdir(parents=True)
    taskfiles.remove(str(path))
    assert not list(path.parent.iterdir())


def test_what_an_earlier_daemon_could_not_finish(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A removal that is cut off, or for which there is no thread, is done at the next start."""
    _descend(path, DEPTH)

    def refuse(_thread: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr("threading.Thread.start", refuse)
        taskfiles.remove(str(path))
    assert list(path.parent.iterdir())
    taskfiles.clear(path.parent)
    eventually(lambda: not list(path.parent.iterdir()), 60, "it is removed")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
@pytest.mark.parametrize("where", ["", "within"])
def test_what_is_mounted_there(path: Path, tmp_path: Path, where: str) -> None:
    """A task that mounts something in the place of its file costs nobody what is mounted."""
    kept = tmp_path / "kept"
    (kept / "folder").mkdir(parents=True)
    (kept / "folder" / "file").touch()
    at = path / where
    at.mkdir(parents=True)
    subprocess.run(["mount", "--bind", str(kept), str(at)], check=True)
    try:
        taskfiles.remove(str(path))
        assert (kept / "folder" / "file").exists()
    finally:
        places = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        (mounted,) = [place for place in places if place.startswith(str(tmp_path))]
        subprocess.run(["umount", mounted], check=True)
