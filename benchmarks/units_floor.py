"""The floor of ``units``: a retained unit started, seen to exit, asked for its result and released, and nothing more.

Runs beside the daemon, in its interpreter. A line on stdin ``COUNT IN_FLIGHT PROFILE`` is answered by nanoseconds.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import Any

from dbus_fast import BusType, Message, MessageType, Variant
from dbus_fast.aio import MessageBus

from barbossad.model.isolation import SandboxProfile
from barbossad.process import profiles

NAME = "org.freedesktop.systemd1"
PATH = "/org/freedesktop/systemd1"
MANAGER = f"{NAME}.Manager"
SERVICE = f"{NAME}.Service"
PROPERTIES = "org.freedesktop.DBus.Properties"
EXIT_SECONDS = 10.0
RESULT = ("Result", "ExecMainCode", "ExecMainStatus", "CPUUsageNSec", "IOReadBytes", "IOWriteBytes")
MATCH = (
    f"type='signal',sender='{NAME}',interface='{PROPERTIES}',member='PropertiesChanged',"
    f"path_namespace='{PATH}/unit',arg0='{SERVICE}'"
)


def properties(profile: str) -> list[Any]:
    """Return what the unit is made of: the sandbox and the accounting of a task, none of its files."""
    accounting = [(name, Variant("b", True)) for name in ("CPUAccounting", "IOAccounting", "MemoryAccounting")]
    return [
        ["Type", Variant("s", "exec")],
        ["RemainAfterExit", Variant("b", True)],
        ["Slice", Variant("s", "barbossa.slice")],
        ["ExecStart", Variant("a(sasb)", [["/bin/true", ["/bin/true"], False]])],
        ["StandardOutputFileDescriptor", Variant("h", 0)],
        ["StandardErrorFileDescriptor", Variant("h", 1)],
        *([name, value] for name, value in accounting),
        *([name, Variant(*value)] for name, value in profiles.BY_PROFILE[SandboxProfile(profile)].items()),
    ]


class Floor:
    """One connection to systemd, and the units that are under way."""

    def __init__(self, bus: MessageBus) -> None:
        self._bus = bus
        self._exits: dict[str, asyncio.Future[None]] = {}
        self._number = 0
        bus.add_message_handler(self._hear)

    async def measure(self, count: int, in_flight: int, profile: str) -> int:
        """Run ``count`` units, at most ``in_flight`` at a time; return the nanoseconds of the whole."""
        made = properties(profile)
        places = asyncio.Semaphore(in_flight)

        async def one() -> None:
            async with places:
                await self._cycle(made)

        await self._match("AddMatch")
        start = time.perf_counter_ns()
        await asyncio.gather(*(one() for _ in range(count)))
        taken = time.perf_counter_ns() - start
        await self._match("RemoveMatch")  # the daemon's units are not to wake us
        return taken

    async def _cycle(self, made: list[Any]) -> None:
        self._number += 1
        unit = f"floor-{self._number}.service"
        path = f"{PATH}/unit/floor_2d{self._number}_2eservice"
        exited = self._exits[path] = asyncio.get_running_loop().create_future()
        pipes = [*os.pipe2(os.O_CLOEXEC), *os.pipe2(os.O_CLOEXEC)]
        try:
            await self.call("StartTransientUnit", "ssa(sv)a(sa(sv))", unit, "fail", made, [], fds=pipes[1::2])
            async with asyncio.timeout(EXIT_SECONDS):
                await exited
        finally:
            del self._exits[path]
            for end in pipes:
                os.close(end)
        gets = (self.call("Get", "ss", SERVICE, name, path=path, interface=PROPERTIES) for name in RESULT)
        result, code, status, *_ = [value.value for (value,) in await asyncio.gather(*gets)]
        if (result, code, status) != ("success", 1, 0):
            raise RuntimeError(f"{unit} ended with {result} {code} {status}")
        await self.call("StopUnit", "ss", unit, "replace")

    async def call(
        self, member: str, signature: str, *body: Any, path: str = PATH, interface: str = MANAGER, fds: Any = ()
    ) -> list[Any]:
        """Call a method and return what it answers."""
        message = Message(
            destination=NAME, path=path, interface=interface, member=member, signature=signature, body=list(body),
            unix_fds=list(fds),
        )  # fmt: skip
        return _body(await self._bus.call(message))

    async def _match(self, member: str) -> None:
        message = Message(
            destination="org.freedesktop.DBus", path="/org/freedesktop/DBus", interface="org.freedesktop.DBus",
            member=member, signature="s", body=[MATCH],
        )  # fmt: skip
        _body(await self._bus.call(message))

    def _hear(self, message: Message) -> None:
        if message.message_type is not MessageType.SIGNAL or message.member != "PropertiesChanged":
            return
        waiting = self._exits.get(message.path or "")
        code = message.body[1].get("ExecMainCode")
        if waiting is not None and not waiting.done() and code is not None and code.value:
            waiting.set_result(None)


def _body(reply: Message | None) -> list[Any]:
    if reply is None or reply.message_type is MessageType.ERROR:
        raise RuntimeError(f"systemd says {reply.body if reply else 'nothing'}")
    return list(reply.body)


async def main() -> None:
    """Answer line after line until stdin ends."""
    bus = await MessageBus(bus_type=BusType.SYSTEM, negotiate_unix_fd=True).connect()
    floor = Floor(bus)
    await floor.call("Subscribe", "")
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        count, in_flight, profile = line.split()
        print(await floor.measure(int(count), int(in_flight), profile), flush=True)
    bus.disconnect()


if __name__ == "__main__":
    asyncio.run(main())
