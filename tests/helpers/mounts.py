"""File systems of a test's own, small enough to be filled and free to be broken; only root can mount them."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.waiting import eventually


def need_root() -> None:
    """Skip a test that mounts where that is not possible; on the machine that decides (CI=true) fail instead."""
    if os.geteuid() == 0:
        return
    reason = "mounting a file system needs root"
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}, and CI must not skip this")
    pytest.skip(reason)


@contextlib.contextmanager
def tmpfs(folder: Path, size: str) -> Iterator[Path]:
    """Mount a tmpfs of ``size`` (``4m``) at ``folder``, which is made."""
    need_root()
    folder.mkdir(parents=True, exist_ok=True)
    _run("mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", folder)
    try:
        yield folder
    finally:
        _unmount(folder)


@contextlib.contextmanager
def bound(source: Path, folder: Path) -> Iterator[Path]:
    """Have a folder show what another one holds."""
    need_root()
    _run("mount", "--bind", source, folder)
    try:
        yield folder
    finally:
        _unmount(folder)


@contextlib.contextmanager
def seen_by_others() -> Iterator[None]:
    """Have another process keep what is mounted now mounted, in a view of the file system of its own."""
    command = ["unshare", "--mount", "--propagation=private", "/bin/sh", "-c", "echo; read _"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"\n"
        yield
        other.communicate()


class Disk:
    """An ext4 in a file, without a journal so that it can be mended by mounting it again."""

    def __init__(self, folder: Path, image: Path) -> None:
        self.folder = folder
        self._image = image

    def break_down(self) -> None:
        """Have the kernel find a fault in it; as ``errors=remount-ro`` says, it turns read-only under its users.

        That is what a failing disk does. ``mount -o remount,ro`` is refused while a file is open for writing.
        """
        device = _run("findmnt", "-n", "-o", "SOURCE", self.folder).strip().removeprefix("/dev/")
        Path(f"/sys/fs/ext4/{device}/trigger_fs_error").write_text("a test\n")
        with pytest.raises(OSError, match="Read-only file system"):
            (self.folder / "probe").touch()

    def repair(self) -> None:
        """Make it writable again while nobody uses it: no recent kernel does that with a mounted one.

        And it may be mounted still, where somebody else has just made a view of the file system of his own (any task in
        a sandbox, any container): then the same image would be shown as it is there. So a copy of it is mended.
        """
        device = _run("findmnt", "-n", "-o", "SOURCE", self.folder).strip()
        _unmount(self.folder)
        _run("blockdev", "--flushbufs", device)
        mended = self._image.with_name(f"{self._image.name}.mended")
        shutil.copyfile(self._image, mended)
        subprocess.run(["e2fsck", "-fy", mended], capture_output=True, check=False)
        mended.replace(self._image)
        mount(self._image, self.folder)

    def make_read_only(self) -> None:
        """Mount it again read-only while nobody uses it."""
        _run("mount", "-o", "remount,ro", self.folder)

    def make_writable(self) -> None:
        """Take that back."""
        _run("mount", "-o", "remount,rw", self.folder)


def mount(image: Path, folder: Path) -> None:
    """Mount an image so that a fault makes it read-only."""
    _run("mount", "-o", "loop,errors=remount-ro", image, folder)


@contextlib.contextmanager
def disk(folder: Path, image: Path) -> Iterator[Disk]:
    """Mount a fresh file system of 32 MiB, kept in the file ``image``, at ``folder``, which is made."""
    need_root()
    folder.mkdir(parents=True, exist_ok=True)
    with image.open("wb") as file:
        file.truncate(32 * 1024**2)
    _run("mkfs.ext4", "-q", "-O", "^has_journal", image)
    mount(image, folder)
    try:
        yield Disk(folder, image)
    finally:
        _unmount(folder)


def fill(folder: Path) -> Path:
    """Fill the file system of ``folder`` to the last byte; return the file to remove when it is enough."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        piece = 1024**2
        while piece:
            try:
                file.write(b"\xff" * piece)
            except OSError:
                piece //= 2
    assert room_bytes(folder) == 0
    return ballast


def room_bytes(folder: Path) -> int:
    """Return how much the file system of ``folder`` can take."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def _unmount(folder: Path) -> None:
    """Unmount a file system once nobody uses it: what was killed a moment ago may be ending still."""

    def is_done() -> bool:
        done = subprocess.run(["umount", folder], capture_output=True, text=True, check=False)
        assert done.returncode == 0 or "busy" in done.stderr, f"{folder} cannot be unmounted: {done.stderr}"
        return done.returncode == 0

    eventually(is_done, 30, f"{folder} is unmounted")


def _run(*command: str | Path) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command} failed: {done.stderr}"
    return done.stdout
