"""Watch units of systemd for the schedules that fire when one enters a state.

What happens while the daemon is down is not seen. With ``Restart=`` systemd does not call a unit failed before it gives
it up, and so it is here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from barbossad.clock import Clock
from barbossad.errors import UnavailableError
from barbossad.model.schedules import UnitTrigger
from barbossad.systemd import is_booted

if TYPE_CHECKING:
    from dbus_fast import Variant

    from barbossad.process.systemd.bus import Bus

RETRY_SECONDS: Final = 10.0
MOST_RULES: Final = 200
"""For more units all of the host are listened to: a bus takes no more than 512 rules of one client."""

_ENTERED: Final = {
    "active": "ActiveEnterTimestamp",
    "inactive": "InactiveEnterTimestamp",
    "failed": "InactiveEnterTimestamp",
    "activating": "InactiveExitTimestamp",
    "deactivating": "ActiveExitTimestamp",
}
"""The property that says when a state was entered; it tells one failure from the next, too."""

_NOT_THERE: Final = {"not-found": "is not installed here; it is waited for", "masked": "is masked"}
"""By LoadState."""

_ASKED: Final = ("ActiveState", *sorted({name + clock for name in _ENTERED.values() for clock in ("", "Monotonic")}))

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitEvent:
    """A unit entered a state."""

    unit: str
    state: str
    """As ActiveState has it."""

    before: str
    """The same state if it was left and entered again so quickly that systemd told only of the last step."""

    at_ms: int


@dataclass(slots=True)
class _Unit:
    """A unit that is watched."""

    name: str
    connection: int = 0
    """The connection by which it was asked about; another one begins when the bus went away."""

    path: str = ""
    state: str = ""
    """Empty until it is known."""

    facts: dict[str, Any] = field(default_factory=dict)
    trouble: str = ""


class UnitWatcher:
    """Watches for any number of schedules, in the running event loop; ``fired`` is told of each change."""

    def __init__(self, clock: Clock, fired: Callable[[str, UnitEvent], None]) -> None:
        self._clock = clock
        self._fired = fired
        self._triggers: dict[str, UnitTrigger] = {}
        self._units: dict[str, _Unit] = {}
        self._bus: Bus | None = None
        self._connection = 1
        self._rules: set[str] = set()
        self._work = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None
        self._trouble = ""

    def watch(self, schedule_id: str, trigger: UnitTrigger) -> None:
        """Watch for a schedule, from the state on that the unit has when systemd is asked about it."""
        if self._triggers.get(schedule_id) == trigger:
            return
        self._triggers[schedule_id] = trigger
        self._work.set()
        if self._keeping is None:  # no unit, no bus, which costs 5 MB
            self._keeping = asyncio.get_running_loop().create_task(self._keep(), name="unit-watcher")
            self._keeping.add_done_callback(self._ended)

    def forget(self, schedule_id: str) -> None:
        """Watch no longer for a schedule, if it was watched for."""
        if self._triggers.pop(schedule_id, None) is not None:
            self._work.set()

    def trouble(self, schedule_id: str) -> str:
        """Return in words why a schedule does not see its unit; empty if it does, or is not watched for."""
        trigger = self._triggers.get(schedule_id)
        if trigger is None:
            return ""
        if self._bus is not None and not self._bus.is_connected:
            return "the connection to systemd was lost; it is being made anew"
        unit = self._units.get(_full(trigger.name))
        return self._trouble or (unit.trouble if unit is not None else "")

    async def close(self) -> None:
        """Watch for nobody any more."""
        self._triggers.clear()
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
            self._keeping = None

    async def _keep(self) -> None:
        """Follow the units that are wanted, as soon and as long as systemd answers."""
        if not is_booted():
            self._say("there is no systemd here, so no unit of it can be watched")
            return
        # 5 MB, which a daemon without unit triggers need not have.
        from barbossad.process.systemd.bus import Bus, SystemdError  # noqa: PLC0415

        bus = Bus(self._hear, self._reconnected, rules=())
        try:
            while self._bus is None:
                try:
                    await bus.connect()
                    self._bus = bus
                except UnavailableError as error:
                    self._say(str(error))
                    await asyncio.sleep(RETRY_SECONDS)
            while True:
                self._work.clear()
                try:
                    await self._follow(bus)
                    self._say("")
                except (UnavailableError, SystemdError) as error:
                    self._say(str(error))
                    await asyncio.sleep(RETRY_SECONDS)
                else:
                    await self._work.wait()
        finally:
            self._bus = None
            await bus.close()

    async def _follow(self, bus: Bus) -> None:
        """Hear of the units that are wanted and of no others, and learn what state new ones are in."""
        from barbossad.process.systemd.bus import SystemdError  # noqa: PLC0415 (as above)

        wanted = {_full(trigger.name) for trigger in self._triggers.values()}
        self._units = {name: unit for name, unit in self._units.items() if name in wanted}
        connection = self._connection
        new = [self._units.setdefault(name, _Unit(name)) for name in sorted(wanted)]
        new = [unit for unit in new if unit.connection != connection]
        for unit in new:
            try:
                (unit.path,) = await bus.call("LoadUnit", "s", unit.name)  # of the one that it is an alias for
            except SystemdError as error:
                unit.path, unit.trouble = "", f"systemd cannot watch {unit.name}: {error}"
        await self._set_rules(bus)
        for unit in new:
            if unit.path:
                await self._ask(bus, unit)
            unit.connection = connection

    async def _set_rules(self, bus: Bus) -> None:
        """Have the bus tell of the units that are followed."""
        from barbossad.process.systemd.bus import UNITS, rule_of  # noqa: PLC0415 (as above)

        wanted = {rule_of(unit.path) for unit in self._units.values() if unit.path}
        if len(wanted) > MOST_RULES:
            wanted = {UNITS}
        for rule in wanted - self._rules:
            await bus.hear(rule)
            self._rules.add(rule)
        for rule in self._rules - wanted:
            self._rules.discard(rule)
            await bus.hear_no_more(rule)

    async def _ask(self, bus: Bus, unit: _Unit) -> None:
        """Learn the state of a unit; what changed since it was known last is told."""
        from barbossad.process.systemd.bus import UNIT  # noqa: PLC0415 (as above)

        load, *values = await bus.get_many(unit.path, *((UNIT, name) for name in ("LoadState", *_ASKED)))
        unit.trouble = f"{unit.name} {_NOT_THERE[load]}" if load in _NOT_THERE else ""
        self._learn(unit, dict(zip(_ASKED, values, strict=True)))

    def _reconnected(self) -> None:
        self._connection += 1
        self._work.set()

    def _hear(self, path: str, changed: Mapping[str, Variant]) -> None:
        facts = {name: changed[name].value for name in _ASKED if name in changed}
        for unit in tuple(self._units.values()) if "ActiveState" in facts else ():
            if unit.path == path:
                self._learn(unit, facts)

    def _learn(self, unit: _Unit, facts: Mapping[str, Any]) -> None:
        """Take in what is told of a unit, and tell whom it concerns if it entered a state."""
        before, old, unit.facts = unit.state, unit.facts, {**unit.facts, **facts}
        unit.state = str(facts["ActiveState"])
        entered = _ENTERED.get(unit.state, "")
        is_new = unit.facts.get(f"{entered}Monotonic", 0) > old.get(f"{entered}Monotonic", 0)
        if unit.state != "inactive":  # then it is there, whatever it was when it was asked about
            unit.trouble = ""
        if not before or (unit.state == before and not is_new):
            return
        at_ms = unit.facts[entered] // 1000 if is_new else self._clock.now_ms()
        event = UnitEvent(unit=unit.name, state=unit.state, before=before, at_ms=at_ms)
        for schedule_id, trigger in tuple(self._triggers.items()):
            if _full(trigger.name) == unit.name and unit.state in trigger.states:
                self._fired(schedule_id, event)

    def _ended(self, keeping: asyncio.Task[None]) -> None:
        """Tell of an error of ours, which nobody waits for."""
        if not keeping.cancelled() and (error := keeping.exception()) is not None:
            self._trouble = f"units are watched no longer, because of an error in Barbossa: {error!r}"
            logger.error("Units are watched no longer", exc_info=error, extra={"action": "unit_watcher_died"})

    def _say(self, trouble: str) -> None:
        if trouble and trouble != self._trouble:
            logger.warning("Unit triggers wait: %s", trouble, extra={"action": "unit_triggers_wait"})
        self._trouble = trouble


def _full(name: str) -> str:
    """Return the name of a unit with its type, which is a service where nothing is said, as with systemctl."""
    return name if "." in name else f"{name}.service"
