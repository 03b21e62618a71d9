"""The words that a service and its manager exchange."""

from __future__ import annotations

import errno
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from barbossad import systemd
from barbossad.systemd import Manager

NAMES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")


@pytest.fixture(autouse=True)
def no_manager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever runs the tests is not the manager that they mean."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The manager's end of the notification socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as ours:
        ours.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield ours


def test_alone() -> None:
    """Without a manager everything may be said, and nobody hears it."""
    manager = Manager()
    manager.ready("x")
    manager.reloading()
    manager.status("x")
    manager.alive()
    manager.stopping("x")
    manager.close()
    assert manager.watchdog_seconds is None
    assert list(manager.sockets) == []


def test_words(heard: socket.socket) -> None:
    """What is said arrives as sd_notify(3) has it."""
    manager = Manager()
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    manager.ready("up")
    manager.status("busy")
    manager.reloading()
    manager.alive()
    manager.stopping("going")
    words = [heard.recv(4096).decode() for _ in range(5)]
    manager.close()
    assert words[:2] == ["READY=1\nSTATUS=up", "STATUS=busy"]
    told = re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=(\d+)", words[2])
    assert told is not None
    assert before <= int(told[1]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    assert words[3:] == ["WATCHDOG=1", "STOPPING=1\nSTATUS=going"]


@pytest.mark.parametrize(
    ("status", "line"),
    [("a\nWATCHDOG=trigger", "a WATCHDOG=trigger"), ("☠ ä Łódź", "☠ ä Łódź"), ("caf\udce9", "caf?")],
)
def test_status_is_one_line_of_utf8(heard: socket.socket, status: str, line: str) -> None:
    """A status is never another word of the protocol, and no character of it keeps READY from arriving."""
    manager = Manager()
    manager.ready(status)
    assert heard.recv(4096).decode() == f"READY=1\nSTATUS={line}"
    manager.close()


@pytest.mark.parametrize(
    ("variables", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": "ours"}, 1.5),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": ""}, None),
    ],
)
def test_watchdog(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], seconds: float | None) -> None:
    """The watchdog is fed if it waits for this very process."""
    for name, value in variables.items():
        monkeypatch.setenv(name, str(os.getpid()) if value == "ours" else value)
    assert Manager().watchdog_seconds == seconds


def test_nothing_is_inherited(heard: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is started from here cannot speak in the daemon's name: the variables are gone."""
    for name in NAMES[:3] + NAMES[4:]:
        monkeypatch.setenv(name, "1")
    Manager().close()
    assert not set(NAMES) & set(os.environ)


_TAKE = """
import os, socket, sys
os.environ["LISTEN_PID"] = sys.argv[1] if sys.argv[1] != "ours" else str(os.getpid())
os.environ["LISTEN_FDS"] = sys.argv[2]
from barbossad import systemd
from barbossad.systemd import Manager
manager = Manager()
for taken in manager.sockets:
    print(taken.fileno(), taken.getsockname().rpartition("/")[2], os.get_inheritable(taken.fileno()))
print(*(number for number in (3, 4, 5) if os.path.exists(f"/proc/self/fd/{number}")))
"""


def take(descriptors: list[int], pid: str = "ours", count: str | None = None) -> list[str]:
    """Return what a process says of the descriptors that it is handed from 3 on."""
    script = " ".join(f"{3 + place}<&{number}" for place, number in enumerate(descriptors))
    command = [
        "bash",
        "-c",
        f'exec "$@" {script}',
        "-",
        sys.executable,
        "-c",
        _TAKE,
        pid,
        count or str(len(descriptors)),
    ]
    done = subprocess.run(command, pass_fds=descriptors, capture_output=True, text=True, timeout=30, check=True)
    return done.stdout.splitlines()


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[socket.socket]:
    """A socket as systemd hands it over."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as made:
        made.bind(str(tmp_path / "ours.sock"))
        made.listen()
        yield made


def test_handed_over_sockets(listening: socket.socket) -> None:
    """A listening socket is taken, and no child inherits it; what else was handed over is closed."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as deaf, socket.socket(socket.AF_INET) as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        handed = [deaf.fileno(), listening.fileno(), other.fileno()]
        assert take(handed) == ["4 ours.sock False", "4"]


@pytest.mark.parametrize(("pid", "count"), [("1", "1"), ("ours", "0"), ("ours", "some"), ("", "1")])
def test_sockets_for_somebody_else(listening: socket.socket, pid: str, count: str) -> None:
    """Descriptors that are meant for another process are left alone."""
    assert take([listening.fileno()], pid, count)[:-1] == []


@pytest.mark.parametrize(
    ("folder", "code", "is_booted", "said"),
    [
        ("/run/barbossa/env", errno.EROFS, True, "systemctl restart barbossad.socket barbossad"),
        ("/srv/state", errno.EROFS, True, "ReadWritePaths=/srv/state"),
        ("/srv/state", errno.EROFS, False, "user"),
        ("/srv/state", errno.EACCES, True, "user"),
    ],
)
def test_what_to_do_about_a_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: str, code: int, is_booted: bool, said: str
) -> None:
    """Where systemd keeps a service from writing, it makes some folders, and others have to be named in a drop-in."""
    monkeypatch.setattr(systemd, "_BOOTED", str(tmp_path if is_booted else tmp_path / "none"))
    assert said in systemd.folder_hint(Path(folder), OSError(code, "no"))
