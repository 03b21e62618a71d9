"""Pipes that systemd keeps, and when it is known to have them."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from barbossad.process.output import inflight
from barbossad.process.output.inflight import SLOTS, Inflight
from barbossad.process.systemd.kept import LONGEST_NAME, SPARE, Keeper, KeptPipes
from barbossad.systemd import Manager

UNIT = "barbossa-01m89c39k4-{}-1.service"
UNIT_FILE = Path(__file__).parents[3] / "packaging/systemd/barbossad.service"
LONGEST_VARIABLE = 32 * 4096  # MAX_ARG_STRLEN of the kernel, with the NUL


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
    async with asyncio.timeout(30):
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


def test_the_names_of_all_fit_into_one_variable() -> None:
    """However many pipes the unit lets systemd keep: or else a daemon with so many tasks is never executed again."""
    (most,) = (line for line in UNIT_FILE.read_text().splitlines() if line.startswith("FileDescriptorStoreMax="))
    others = len(f"LISTEN_FDNAMES=barbossad.socket:{inflight.NAME}") + 1
    assert int(most.partition("=")[2]) * (LONGEST_NAME + 1) + others <= LONGEST_VARIABLE


async def test_no_name_is_longer_than_that(heard: socket.socket) -> None:
    """Nor do two have the same one, whatever the unit is called."""
    manager = Manager()
    keeper = Keeper(manager)
    keeper.inflight = Inflight.create()
    for slot in range(SLOTS - 4):
        keeper.inflight.take_slot(slot)
    made = [keeper.make(UNIT.format(task * 100)) for task in "ab"]
    names = [name for pipes, _ in made for name in pipes.names.values()]
    assert max(map(len, names)) == LONGEST_NAME
    assert len(set(names)) == 4
    close(*made)
    await keeper.close()
    manager.close()


def close(*made: tuple[KeptPipes, list[int]]) -> None:
    """Close pipes that were made."""
    for pipes, write_ends in made:
        for fd in (*pipes.read_ends.values(), *write_ends):
            os.close(fd)


async def restarted(names: list[str]) -> tuple[Keeper, Manager]:
    """Return the keeper of a daemon to which systemd hands pipes of these names, and the memory."""
    manager = Manager()
    memory = Inflight.create()
    manager.kept = {inflight.NAME: os.dup(memory.fd)}
    memory.close()
    for name in names:
        manager.kept[name], write_end = os.pipe2(os.O_CLOEXEC)
        os.close(write_end)
    keeper = Keeper(manager)
    await keeper.start()
    return keeper, manager


async def test_pipes_of_an_earlier_release_are_adopted(heard: socket.socket) -> None:
    """They have long names, by which systemd is told to let go of them; new ones are not taken for theirs."""
    unit = UNIT.format("a")
    names = [f"{unit}.stdout.3", f"{unit}.stderr.12"]
    keeper, manager = await restarted(names)
    assert keeper.has_all(unit)
    assert not keeper.has_all(UNIT.format("b"))
    keeper.drop_all_but([unit])
    pipes = keeper.adopt(unit)
    assert pipes.slots == {"stdout": 3, "stderr": 12}
    assert list(pipes.names.values()) == names
    close((pipes, []))
    await keeper.close()
    manager.close()


async def test_what_is_launched_before_others_are_adopted_has_slots_of_its_own(heard: socket.socket) -> None:
    """The secrets of a task that lives are not those of one that is started in the same recovery."""
    old, new = UNIT.format("old"), UNIT.format("new")
    keeper, manager = await restarted([f"{old}.std{stream}.{slot}" for stream, slot in (("out", 0), ("err", 1))])
    keeper.inflight.keep_secrets(0, {"of the old one"})
    made = keeper.make(new, {"of the new one"})
    adopted = keeper.adopt(old)
    assert keeper.inflight.secrets(adopted.slots["stdout"]) == frozenset({"of the old one"})
    assert set(adopted.slots.values()).isdisjoint(made[0].slots.values())
    close(made, (adopted, []))
    await keeper.close()
    manager.close()


async def test_what_is_dropped_gives_its_slots_back(heard: socket.socket) -> None:
    """And nothing of its secrets stays."""
    keeper, manager = await restarted([f"{UNIT.format('a')}.std{stream}.0" for stream in ("out", "err")])
    keeper.inflight.keep_secrets(0, {"of a"})
    keeper.drop_all_but([])
    assert keeper.inflight.secrets(0) is None
    assert keeper.inflight.take_slot() == 0
    await keeper.close()
    manager.close()


async def test_the_last_descriptors_are_no_pipes(heard: socket.socket) -> None:
    """Starts that have their pipes need one more each, for a moment; the other starts have none yet, and wait."""
    manager = Manager()
    keeper = Keeper(manager)
    keeper.inflight = Inflight.create()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    free, probe = os.pipe()
    resource.setrlimit(resource.RLIMIT_NOFILE, (probe + 1 + 2 * SPARE, before[1]))
    made = []
    try:
        with pytest.raises(OSError, match="Too many open files"):
            while True:
                made.append(keeper.make(UNIT.format(f"t{len(made)}")))
                for _ in range(2):
                    _, (kept,), _, _ = socket.recv_fds(heard, 4096, 1)
                    os.close(kept)
        spare = [os.dup(free) for _ in range(SPARE)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert made
    for fd in (free, probe, *spare):
        os.close(fd)
    close(*made)
    await keeper.close()
    manager.close()
