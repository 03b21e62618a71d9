"""Pipes that systemd keeps, and when it is known to have them."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from barbossad.process.output.inflight import Inflight
from barbossad.process.systemd.kept import Keeper
from barbossad.systemd import Manager


@pytest.fixture
def heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The manager's end of the notification socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as ours:
        ours.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield ours


async def test_one_question_for_all_of_a_turn_and_after_them(heard: socket.socket) -> None:
    """The barrier is asked once, after every pipe of the turn was sent; until it is answered none is known."""
    manager = Manager()
    keeper = Keeper(manager)
    keeper.inflight = Inflight.create()
    made = [keeper.make(f"barbossa-01m89c39k4-t{number}-1.service") for number in (1, 2)]
    asked = [asyncio.ensure_future(pipes.known()) for pipes, _ in made]
    for _ in range(3):
        await asyncio.sleep(0)
    words, fds = [], []
    for _ in range(5):
        said, sent, _, _ = socket.recv_fds(heard, 4096, 4)
        words.append(said.decode().splitlines()[0])
        fds += sent
    assert words == [*["FDSTORE=1"] * 4, "BARRIER=1"]
    with pytest.raises(BlockingIOError):
        heard.recv(1)
    assert not any(question.done() for question in asked)
    for fd in fds:
        os.close(fd)  # of the barrier too, which is the answer
    async with asyncio.timeout(5):
        await asyncio.gather(*asked)
    for pipes, write_ends in made:
        for fd in (*pipes.read_ends.values(), *write_ends):
            os.close(fd)
    await keeper.close()
    manager.close()


async def test_a_question_that_nobody_waits_for(heard: socket.socket) -> None:
    """Of an attempt that could not be started after all, nothing waits for systemd when the daemon closes."""
    manager = Manager()
    keeper = Keeper(manager)
    keeper.inflight = Inflight.create()
    pipes, write_ends = keeper.make("barbossa-01m89c39k4-t1-1.service")
    await asyncio.sleep(0)
    for fd in (*pipes.read_ends.values(), *write_ends):
        os.close(fd)
    await keeper.close()
    manager.close()
    assert pipes.arrived is not None
    assert pipes.arrived.cancelled()
