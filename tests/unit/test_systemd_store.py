"""Descriptors that systemd keeps for a service, and the answer that it has them."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from barbossad.systemd import Manager


@pytest.fixture
def heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The manager's end of the notification socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as ours:
        ours.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield ours


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe2(os.O_CLOEXEC)
    yield ends
    for end in ends:
        os.close(end)


def test_kept_under_its_name(heard: socket.socket, pipe: tuple[int, int]) -> None:
    """A descriptor goes along with its name and the wish that nobody looks at it; it is let go by that name."""
    manager = Manager()
    manager.keep({"barbossa-x.service.stdout.7": pipe[0]})
    words, fds, _, _ = socket.recv_fds(heard, 4096, 4)
    assert words.decode().splitlines() == ["FDSTORE=1", "FDPOLL=0", "FDNAME=barbossa-x.service.stdout.7"]
    (kept,) = fds
    os.write(pipe[1], b"hello")
    assert os.read(kept, 5) == b"hello"
    os.close(kept)
    manager.let_go(["barbossa-x.service.stdout.7"])
    assert heard.recv(4096) == b"FDSTOREREMOVE=1\nFDNAME=barbossa-x.service.stdout.7"
    manager.close()


async def test_barrier_waits_for_the_manager(heard: socket.socket) -> None:
    """It is passed when the manager has closed what came with it, and not before."""
    manager = Manager()
    waiting = asyncio.ensure_future(manager.barrier())
    await asyncio.sleep(0)
    words, fds, _, _ = socket.recv_fds(heard, 4096, 4)
    assert words == b"BARRIER=1"
    await asyncio.sleep(0)
    assert not waiting.done()
    os.close(fds[0])
    async with asyncio.timeout(30):
        await waiting
    manager.close()


def test_what_is_not_adopted_is_dropped(heard: socket.socket) -> None:
    """Descriptors that nobody takes over are closed here and at the manager."""
    manager = Manager()
    ours, theirs = os.pipe2(os.O_CLOEXEC)
    manager.kept = {"old": ours}
    manager.drop_kept()
    assert manager.kept == {}
    assert heard.recv(4096) == b"FDSTOREREMOVE=1\nFDNAME=old"
    with pytest.raises(BrokenPipeError):
        os.write(theirs, b"x")
    os.close(theirs)
    manager.close()
