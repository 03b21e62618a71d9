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
from barbossad.process.systemd.bus import NAME, Bus
from tests.helpers.waiting import eventually

ROUNDS: Final = 10
CALLERS: Final = 12

_CONFIG: Final = """<busconfig><type>session</type><listen>unix:path={socket}</listen><auth>EXTERNAL</auth>
<policy context="default">
  <allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/>
</policy></busconfig>"""


class Host:
    """A bus, and on it one that bears systemd's name and answers everything with nothing."""

    def __init__(self, folder: Path) -> None:
        self._socket = folder / "socket"
        self._config = folder / "bus.conf"
        self._config.write_text(_CONFIG.format(socket=self._socket))
        self._daemon: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start the bus anew."""
        await asyncio.to_thread(self._start)
        systemd = await MessageBus(bus_address=f"unix:path={self._socket}").connect()
        systemd.add_message_handler(self._answer)
        await systemd.request_name(NAME)

    def _start(self) -> None:
        self._socket.unlink(missing_ok=True)
        command = ["dbus-daemon", f"--config-file={self._config}", "--nofork"]
        self._daemon = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually(self._listens, 10, "the bus listens")

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
    def _answer(message: Message) -> Message | None:
        return Message.new_method_return(message) if message.message_type is MessageType.METHOD_CALL else None


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
                async with asyncio.timeout(5):
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
        async with asyncio.timeout(10):
            await bus.surely(partial(bus.call, "Reload"))
        assert lost > before, "the bus was gone, and no call was told"
    assert [caller.exception() for caller in callers if caller.done()] == []
    for caller in callers:
        caller.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    await bus.close()
    gc.collect()
    assert faults == []
