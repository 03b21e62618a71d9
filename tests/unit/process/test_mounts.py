"""Paths whose file system may never answer are told by what is mounted, and none of it is touched."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from barbossad.process import mounts
from barbossad.process.local import supervisor


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table with a file system of the network at ``tmp_path / "far away"``, and one like it in a process."""
    point = str(tmp_path / "far away").replace(" ", "\\040")
    path = tmp_path / "mountinfo"
    path.write_text(
        "22 1 0:21 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n"
        "23 22 0:22 / /sys/fs/fuse/connections rw shared:2 - fusectl fusectl rw\n"
        f"24 22 0:23 / {point} rw shared:3 - nfs4 server:/export rw\n"
        f"25 22 0:24 / {tmp_path}/mine rw - fuse.sshfs me@there: rw\n"
    )
    monkeypatch.setattr(mounts, "TABLE", path)
    return tmp_path


@pytest.mark.parametrize("path", ["far away", "far away/below/..", "./x/../far away/f", "mine/x", "link/f", "turn/f"])
def test_what_leads_there(table: Path, path: str) -> None:
    """Directly, by way of links, and from a working directory; also where it leads out again."""
    (table / "x").mkdir()
    (table / "link").symlink_to(table / "far away")
    (table / "turn").symlink_to("x/../link/deeper")
    assert mounts.may_wait(f"{table}/{path}")
    assert mounts.may_wait(path, str(table))


@pytest.mark.parametrize("path", ["", "far", "x/../y", "far away.txt", "none/../x", "round/x"])
def test_what_does_not(table: Path, path: str) -> None:
    """Names that begin alike, what is not there, and links in a circle."""
    (table / "round").symlink_to("round")
    assert not mounts.may_wait(f"{table}/{path}")


def test_the_reaper_knows_the_same() -> None:
    """The two lists of types are one."""
    source = (supervisor.PROGRAM.parent / "native" / "mounts.c").read_text()
    listed = source.partition("served[] = {")[2].partition("}")[0]
    assert set(re.findall(r'"(\w+)"', listed)) == mounts._SERVED


@pytest.mark.parametrize(
    ("path", "own"),
    [("/tmp/state", "/tmp"), ("/tmp", "/tmp"), ("/var/tmp/x", None), ("/tmpfs/x", None), ("/srv/tmp/x", None)],
)
def test_what_systemd_removes_when_a_service_stops(
    path: str, own: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ``PrivateTmp=`` makes of a folder, and not what is mounted there for everybody."""
    table = tmp_path / "mountinfo"
    table.write_text(
        "22 1 0:21 / / rw - ext4 /dev/vda1 rw\n"
        "23 22 0:21 /tmp/systemd-private-1f0a-barbossad.service-x/tmp /tmp rw - ext4 /dev/vda1 rw\n"
        "24 22 0:21 /scratch /var/tmp rw - ext4 /dev/vda1 rw\n"
    )
    monkeypatch.setattr(mounts, "TABLE", table)
    assert mounts.private_tmp(path) == own
