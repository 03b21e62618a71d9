"""The loss of the connection to systemd, with a real bus that dies under calls; systemd's answers are stood in for."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Final

import pytest
from dbus_fast import Message, MessageType
from dbus_fast.aio import MessageBus

from barbossad.errors import UnavailableError
from barbossad.process.systemd import bus as module
from barbossad.process.systemd.bus import CALL_SECONDS, MOST_CALLS, NAME, Bus
from tests.helpers.waiting import eventually

ROUNDS: Final = 10
CALLERS: Final = 12
UNANSWERED: Final = "StartTransientUnit"
"""A call that systemd takes its time for."""

_CONFIG: Final = """<busconfig><type>session</type><listen>unix:path={socket}</listen><auth>EXTERNAL</auth>
<policy context="default">
  <allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/>
</policy></busconfig>"""


class Host:
    """A bus, and on it one that bears systemd's name and answers everything but ``UNANSWERED`` with nothing."""

    def __init__(self, folder: Path) -> None:
        self._socket = folder / "socket"
        self._config = folder / "bus.conf"
        self._config.write_text(_CONFIG.format(socket=self._socket))
        self._daemon: subprocess.Popen[bytes] | None = None
        self._systemd: MessageBus

    async def start(self) -> None:
        """Start the bus anew."""
        await asyncio.to_thread(self._start)
        self._systemd = await MessageBus(bus_address=f"unix:path={self._socket}").connect()
        self._systemd.add_message_handler(self._answer)
        await self.come()

    async def come(self) -> None:
        """Have systemd on the bus."""
        await self._systemd.request_name(NAME)

    async def leave(self) -> None:
        """Have it not there, as on a bus that was just started."""
        await self._systemd.release_name(NAME)

    def _start(self) -> None:
        self._socket.unlink(missing_ok=True)
        command = ["dbus-daemon", f"--config-file={self._config}", "--nofork"]
        self._daemon = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually(self._listens, 30, "the bus listens")

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self._socket)) == 0

    def kill(self) -> None:
        """Kill the bus."""
        if self._daemon is not None:
            self._daemon.kill()
            self._daemon.wait()

    @property
    def address(self) -> str:
        """The bus's address."""
        return f"unix:path={self._socket}"

    @staticmethod
    def _answer(message: Message) -> Message | bool:
        if message.message_type is not MessageType.METHOD_CALL:
            return False
        return message.member == UNANSWERED or Message.new_method_return(message)


@pytest.fixture
async def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Host]:
    """A bus that is taken for the system's."""
    if shutil.which("dbus-daemon") is None:
        if os.environ.get("CI"):
            pytest.fail("dbus-daemon is not installed; in CI this may not be skipped")
        pytest.skip("dbus-daemon is not installed")
    host = Host(tmp_path)
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", host.address)
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.02)
    await host.start()
    yield host
    host.kill()


@pytest.fixture
async def faults() -> list[str]:
    """What the event loop takes for a fault, which the daemon's log would tell with a traceback."""
    found: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: found.append(str(context)))
    return found


async def test_a_bus_that_dies_under_calls(host: Host, faults: list[str]) -> None:
    """Each call ends at once, as unavailable or answered; the connection comes back, and no traceback is left."""
    chance = random.Random(7)
    bus = Bus(lambda _path, _properties: None, lambda: None, rules=())
    await bus.connect()
    lost = 0

    async def call() -> None:
        nonlocal lost
        while True:
            try:
                async with asyncio.timeout(30):
                    await asyncio.gather(*(bus.call("Reload") for _ in range(chance.randint(1, 10))))
            except UnavailableError:
                lost += 1
                await asyncio.sleep(0.005)

    callers = [asyncio.create_task(call()) for _ in range(CALLERS)]
    for _ in range(ROUNDS):
        await asyncio.sleep(chance.random() * 0.03)
        before = lost
        host.kill()
        await asyncio.sleep(chance.random() * 0.01)
        await host.start()
        async with asyncio.timeout(30):
            await bus.surely(partial(bus.call, "Reload"))
        assert lost > before, "the bus was gone, and no call was told"
    assert [caller.exception() for caller in callers if caller.done()] == []
    for caller in callers:
        caller.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    await bus.close()
    gc.collect()
    assert faults == []


async def test_a_bus_on_which_systemd_is_not_yet(host: Host) -> None:
    """That says nothing about what was asked, which is asked again and answered when systemd has come."""
    bus = Bus(lambda _path, _properties: None, lambda: None, rules=())
    await bus.connect()
    await host.leave()
    with pytest.raises(UnavailableError, match="does not answer"):
        await bus.call("Reload")
    asking = asyncio.create_task(bus.surely(partial(bus.call, "Reload")))
    await host.come()
    async with asyncio.timeout(30):
        assert await asking == []
    await bus.close()


async def test_a_systemd_that_was_away_is_asked_to_tell_again(host: Host) -> None:
    """It has forgotten who wanted to hear of changes, though the bus was there all the time."""
    heard_anew = asyncio.Event()
    bus = Bus(lambda _path, _properties: None, heard_anew.set, rules=())
    await bus.connect()
    unanswered = asyncio.create_task(bus.call(UNANSWERED))
    await asyncio.sleep(0)
    await host.leave()
    await host.come()
    async with asyncio.timeout(10):
        await heard_anew.wait()
        with pytest.raises(UnavailableError):
            await unanswered
        assert await bus.call("Reload") == []
    await bus.close()


async def test_a_daemon_that_is_to_end_asks_behind_nobody(host: Host) -> None:
    """Whether it is a restart is known though as many starts as may be under way are not answered, and more wait."""
    bus = Bus(lambda _path, _properties: None, lambda: None, rules=())
    await bus.connect()
    starts = [asyncio.create_task(bus.call(UNANSWERED)) for _ in range(2 * MOST_CALLS)]
    await asyncio.sleep(0)
    bus.hold_out()
    async with asyncio.timeout(CALL_SECONDS / 2):
        assert await bus.call("GetUnitByPID") == []
    assert not any(start.done() for start in starts)
    for start in starts:
        start.cancel()
    await asyncio.gather(*starts, return_exceptions=True)
    await bus.close()
