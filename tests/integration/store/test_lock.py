"""One daemon owns a state folder, and the kernel keeps watch over that."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from barbossad.errors import AlreadyRunningError, StoreError
from barbossad.store import lock
from tests.helpers import mounts

_OWN_AND_WAIT = """
import sys
from pathlib import Path
from barbossad.store import lock
with lock.own(Path(sys.argv[1])):
    print("owned", flush=True)
    sys.stdin.read()
"""


@contextmanager
def owner(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a process that owns a folder until its standard input ends."""
    command = [sys.executable, "-c", _OWN_AND_WAIT, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "owned\n"
        yield process


def test_full_disk(tmp_path: Path) -> None:
    """A full disk keeps nobody from owning a folder: that it cannot be said whose it is matters less."""
    with mounts.tmpfs(tmp_path / "disk", "1m") as folder:
        (folder / "barbossa.lock").touch()
        mounts.fill(folder)
        with lock.own(folder), pytest.raises(AlreadyRunningError, match="pid unknown"), lock.own(folder):
            pass


def test_second_is_refused(tmp_path: Path) -> None:
    """Who comes second is told the pid of the first and the folder, and changes nothing."""
    with owner(tmp_path) as first:
        for _ in range(2):
            with (
                pytest.raises(AlreadyRunningError, match=rf"pid {first.pid}\) owns {tmp_path}"),
                lock.own(tmp_path),
            ):
                pass
    with lock.own(tmp_path):
        assert (tmp_path / "barbossad.lock").read_text() == f"{os.getpid()}\n"


def test_killed_owner_leaves_no_lock(tmp_path: Path) -> None:
    """With kill -9 of the owner its lock is gone: it is never stale."""
    with owner(tmp_path) as first:
        first.send_signal(signal.SIGKILL)
        first.wait(10)
        with lock.own(tmp_path):
            pass


def test_other_folder_is_free(tmp_path: Path) -> None:
    """Folders do not concern each other."""
    (tmp_path / "other").mkdir()
    with lock.own(tmp_path), lock.own(tmp_path / "other"):
        pass


def test_same_process_is_refused_too(tmp_path: Path) -> None:
    """A second owner in the same process (the embedded API) is refused like any other."""
    with lock.own(tmp_path), pytest.raises(AlreadyRunningError, match=f"pid {os.getpid()}"), lock.own(tmp_path):
        pass


def test_children_do_not_inherit_it(tmp_path: Path) -> None:
    """A task that outlives its daemon does not keep the folder locked."""
    with subprocess.Popen(["sleep", "60"]) as earlier, lock.own(tmp_path):
        child = subprocess.Popen(["sleep", "60"], close_fds=False)
        earlier.kill()
    try:
        with lock.own(tmp_path):
            pass
    finally:
        child.kill()
        child.wait()


@pytest.mark.parametrize("is_link", [True, False])
def test_what_cannot_be_locked(tmp_path: Path, is_link: bool) -> None:
    """A lock file that is a link, or a folder, is not followed; the message names it."""
    path = tmp_path / "barbossad.lock"
    if is_link:
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path.mkdir()
    with pytest.raises(StoreError, match=r"cannot lock .*barbossad\.lock"), lock.own(tmp_path):
        pass
    assert not (tmp_path / "elsewhere").exists()
