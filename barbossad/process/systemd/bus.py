"""Speak with systemd over D-Bus: calls, and what it tells of services.

Source: org.freedesktop.systemd1(5). systemd's words are read nowhere else.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from dbus_fast import Message, MessageType, Variant
from dbus_fast.aio import MessageBus
from dbus_fast.errors import DBusError

from barbossad.errors import UnavailableError
from barbossad.process.systemd.connections import PRIVATE, Connection, DirectConnection

NAME: Final = "org.freedesktop.systemd1"
PATH: Final = "/org/freedesktop/systemd1"
MANAGER: Final = f"{NAME}.Manager"
SERVICE: Final = f"{NAME}.Service"
UNIT: Final = f"{NAME}.Unit"
JOB: Final = f"{NAME}.Job"
CALL_SECONDS: Final = 30.0
MOST_CALLS: Final = 12
"""Exchanges under way at once, of up to ten calls each: a bus takes no more than 128 calls of one client, and systemd
does one after another anyway."""

RETRY_SECONDS: Final = 1.0
HURRIED_RETRY_SECONDS: Final = 0.05
"""When the daemon is about to end."""

_BUS: Final = "org.freedesktop.DBus"
_PROPERTIES: Final = "org.freedesktop.DBus.Properties"
_PASSING: Final = (
    *("LimitsExceeded", "NoReply", "Timeout", "TimedOut", "Disconnected", "NoServer"),
    *("ServiceUnknown", "NameHasNoOwner"),  # systemd is not on a new bus at once
)
"""Ends of the names of errors that say nothing about what was asked."""

_SPAWN: Final = ".Spawn."
"""In the names of errors of a bus that cannot have systemd started, as systemd's file for buses has it."""

_CHANGES: Final = f"type='signal',sender='{NAME}',interface='{_PROPERTIES}',member='PropertiesChanged'"
SERVICES: Final = f"{_CHANGES},path_namespace='{PATH}/unit',arg0='{SERVICE}'"
"""What every service of the host has of its own, such as how its process ended."""

UNITS: Final = f"{_CHANGES},path_namespace='{PATH}/unit',arg0='{UNIT}'"
"""What every unit has."""

_OF_SYSTEMD: Final = f"type='signal',sender='{_BUS}',interface='{_BUS}',member='NameOwnerChanged',arg0='{NAME}'"
"""Tells when systemd leaves the bus, and when it is back, as it may without the bus having gone."""

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer")
OnService = Callable[[str, Mapping[str, Variant]], None]
"""Told of a service, or another unit, whose state changed: its object path, and the properties that did."""


class SystemdError(Exception):
    """systemd says no; ``name`` is the D-Bus name of the error."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


class Bus:
    """A connection to the system's manager that comes back by itself.

    ``on_service`` hears of what ``rules`` name; ``on_reconnected`` is called when news may have been missed.
    """

    def __init__(
        self, on_service: OnService, on_reconnected: Callable[[], None], rules: Sequence[str] = (SERVICES,)
    ) -> None:
        self._on_service = on_service
        self._on_reconnected = on_reconnected
        self._rules = list(rules)
        self._bus: MessageBus | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._is_direct = False
        self._places = asyncio.Semaphore(MOST_CALLS)
        self._unknown: set[tuple[str, str]] = set()
        """Properties that this systemd does not have."""

    async def connect(self) -> None:
        """Connect and subscribe. Raise UnavailableError if nobody answers."""
        try:
            async with asyncio.timeout(CALL_SECONDS):
                await self._connect()
        except (OSError, DBusError, EOFError, TimeoutError, SystemdError, UnavailableError) as error:
            self._disconnect()
            raise UnavailableError(
                f"systemd cannot be reached over D-Bus: {str(error) or 'it does not answer'}"
            ) from error
        self._keeping = asyncio.get_running_loop().create_task(self._keep(), name="systemd-bus")

    def hold_out(self) -> None:
        """Do without the bus if it is away, or goes: the daemon is to end, and so may be the bus, and the host.

        What is asked from now on waits behind nothing that was asked before: what is to become of hundreds of tasks
        that are just being started hangs on it.
        """
        self._is_direct = True
        self._places = asyncio.Semaphore(MOST_CALLS)
        if self._bus is None and self._keeping is not None:
            self._keeping.cancel()
            self._keeping = asyncio.get_running_loop().create_task(self._keep(), name="systemd-direct")

    async def close(self) -> None:
        """Close the connection."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        self._disconnect()

    @property
    def is_connected(self) -> bool:
        """Say whether there is a connection, for all that is known."""
        return self._bus is not None

    async def hear(self, rule: str) -> None:
        """Hear of what one more rule names. Raise SystemdError, or UnavailableError if nobody answers."""
        _body((await self._exchange([_of_the_bus("AddMatch", rule)]))[0])
        self._rules.append(rule)

    async def hear_no_more(self, rule: str) -> None:
        """Hear of it no more; the rule is one that is heard. Raise as ``hear``."""
        self._rules.remove(rule)
        _body((await self._exchange([_of_the_bus("RemoveMatch", rule)]))[0])

    async def call(
        self, member: str, signature: str = "", *body: Any, path: str = PATH, interface: str = MANAGER,
        fds: Sequence[int] = (),
    ) -> list[Any]:  # fmt: skip
        """Call a method and return what it answers. Raise SystemdError, or UnavailableError if nobody answers."""
        message = Message(
            destination=NAME, path=path, interface=interface, member=member, signature=signature, body=list(body),
            unix_fds=list(fds),
        )  # fmt: skip
        (reply,) = await self._exchange([message])
        return _body(reply)

    async def _exchange(self, messages: Sequence[Message]) -> list[Message | None]:
        """Send messages together and return the replies; they take one place and share one limit of time."""
        try:
            async with self._places, asyncio.timeout(CALL_SECONDS):
                if self._bus is None:
                    raise UnavailableError("the connection to systemd is being made anew; try again in a moment")
                if len(messages) == 1:
                    return [await self._bus.call(messages[0])]
                return list(await asyncio.gather(*map(self._bus.call, messages)))
        except (OSError, EOFError, TimeoutError) as error:
            raise UnavailableError(f"systemd does not answer: {str(error) or 'no reply'}") from error

    async def get(self, path: str, interface: str, name: str) -> Any:
        """Return one property of an object, as it is now."""
        (value,) = await self.call("Get", "ss", interface, name, path=path, interface=_PROPERTIES)
        return value.value

    async def get_many(self, path: str, *names: tuple[str, str]) -> list[Any]:
        """Return some properties, asked for together; None for one that this systemd does not know.

        That it does not is asked once for each connection.
        """
        wanted = [name for name in names if name not in self._unknown]
        messages = [
            Message(destination=NAME, path=path, interface=_PROPERTIES, member="Get", signature="ss", body=list(name))
            for name in wanted
        ]
        found: dict[tuple[str, str], Any] = {}
        for name, reply in zip(wanted, await self._exchange(messages), strict=True):
            try:
                (value,) = _body(reply)
            except SystemdError as error:
                if not error.name.endswith(".UnknownProperty"):
                    raise
                self._unknown.add(name)
            else:
                found[name] = value.value
        return [found.get(name) for name in names]

    async def answers(self, path: str, names: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Any]:
        """Return some properties by their names, as ``get_many``, as soon as systemd answers."""
        return dict(zip(names, await self.surely(partial(self.get_many, path, *names)), strict=True))

    async def surely(self, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """Return what ``ask`` returns, as soon as systemd answers."""
        while True:
            try:
                return await ask()
            except UnavailableError as error:
                logger.debug("asked again: %s", error)
                await asyncio.sleep(self._retry_seconds)

    @property
    def _retry_seconds(self) -> float:
        return HURRIED_RETRY_SECONDS if self._is_direct else RETRY_SECONDS

    async def _connect(self) -> None:
        is_direct = self._is_direct and os.access(PRIVATE, os.W_OK)
        connection = DirectConnection() if is_direct else Connection()
        bus = await connection.connect()
        self._bus = bus
        self._unknown.clear()  # it may be another systemd
        bus.add_message_handler(self._hear)
        for rule in () if is_direct else (_OF_SYSTEMD, *self._rules):
            _body(await bus.call(_of_the_bus("AddMatch", rule)))
        await self.call("Subscribe")

    def _disconnect(self) -> None:
        bus, self._bus = self._bus, None
        if bus is not None and bus.connected:
            bus.disconnect()

    def _hear(self, message: Message) -> None:
        if message.message_type is MessageType.SIGNAL and message.member == "PropertiesChanged":
            self._on_service(message.path or "", message.body[1])
        elif message.member == "NameOwnerChanged" and message.sender == _BUS and message.body[2]:
            self._start_over()

    def _start_over(self) -> None:
        """Connect anew: systemd was away, and has forgotten who wanted to be told of changes."""
        if self._bus is not None and self._bus.connected:
            self._bus.disconnect()

    async def _keep(self) -> None:
        """Connect again whenever the bus goes away."""
        while True:
            if self._bus is not None:
                await self._until_lost(self._bus)
            while self._bus is None:
                try:
                    async with asyncio.timeout(CALL_SECONDS):
                        await self._connect()
                except (OSError, EOFError, DBusError, TimeoutError, SystemdError, UnavailableError):
                    self._disconnect()
                    await asyncio.sleep(self._retry_seconds)
            self._on_reconnected()

    async def _until_lost(self, bus: MessageBus) -> None:
        try:
            await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]
        except (OSError, EOFError, DBusError) as error:
            logger.debug("the bus went away: %r", error)
        level = logging.INFO if self._is_direct else logging.WARNING
        logger.log(level, "The connection to systemd was lost; it is made anew", extra={"action": "bus_lost"})
        self._disconnect()


def _of_the_bus(member: str, rule: str) -> Message:
    """Return a message to the bus itself."""
    return Message(
        destination=_BUS, path="/org/freedesktop/DBus", interface=_BUS,
        member=member, signature="s", body=[rule],
    )  # fmt: skip


def _body(reply: Message | None) -> list[Any]:
    """Return what a reply says. Raise SystemdError, or UnavailableError if it says nothing about what was asked."""
    if reply is None:
        raise UnavailableError("systemd does not answer: the connection was closed")
    if reply.message_type is MessageType.ERROR:
        name, words = reply.error_name or "", str(reply.body[0]) if reply.body else ""
        if name.rpartition(".")[2] in _PASSING or _SPAWN in name:
            raise UnavailableError(f"systemd does not answer: {words or name}")
        raise SystemdError(name, words)
    return list(reply.body)


def object_path(unit: str) -> str:
    """Return the D-Bus path of a unit."""
    return f"{PATH}/unit/" + "".join(c if c.isascii() and c.isalnum() else f"_{ord(c):02x}" for c in unit)


def rule_of(path: str) -> str:
    """Return the rule for one unit, as ``UNITS`` for all."""
    return f"{_CHANGES},path='{path}',arg0='{UNIT}'"
