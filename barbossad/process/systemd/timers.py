"""Ask systemd for its timers, and for what they start. Source: org.freedesktop.systemd1(5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from barbossad.model.timers import ServiceFacts, TimerFacts
from barbossad.process.systemd.bus import NAME, SERVICE, UNIT, Bus, SystemdError

TIMER: Final = f"{NAME}.Timer"
SUFFIX: Final = ".timer"

_MICROSECONDS: Final = 1_000_000
_OF_UNITS: Final = tuple((UNIT, name) for name in ("Id", "Description", "LoadState", "UnitFileState", "FragmentPath"))
_OF_TIMERS: Final = tuple(
    (TIMER, name)
    for name in (
        *("Unit", "TimersCalendar", "TimersMonotonic", "RandomizedDelayUSec", "Persistent"),
        *("OnClockChange", "OnTimezoneChange", "WakeSystem"),
    )
)
_OF_SERVICES: Final = (
    (UNIT, "Description"),
    *(
        (SERVICE, name)
        for name in (
            *("ExecStart", "ExecStartPre", "ExecStartPost", "ExecCondition", "User", "WorkingDirectory", "Environment"),
            *("EnvironmentFiles", "DynamicUser", "RemainAfterExit", "RootDirectory", "RootImage"),
        )
    ),
)
_OTHER_COMMANDS: Final = ("ExecStartPre", "ExecStartPost", "ExecCondition")

Properties = Mapping[str, Any]


async def read(names: Sequence[str]) -> tuple[list[TimerFacts], list[tuple[str, str]]]:
    """Return what systemd knows of timers (of all that are loaded, where none is named), by their names.

    Return also the names of those that are not there, each with the reason. A name may leave ``.timer`` out.
    Raise UnavailableError if systemd cannot be asked.
    """
    bus = Bus(lambda _path, _properties: None, lambda: None)
    await bus.connect()
    try:
        return await _read(bus, names)
    finally:
        await bus.close()


async def _read(bus: Bus, names: Sequence[str]) -> tuple[list[TimerFacts], list[tuple[str, str]]]:
    if not names:
        (rows,) = await bus.call("ListUnitsByPatterns", "asas", [], [f"*{SUFFIX}"])
        names = sorted(row[0] for row in rows if row[2] == "loaded")
    found: dict[str, TimerFacts] = {}
    missing = []
    for name in names:
        full = name if name.endswith(SUFFIX) else name + SUFFIX
        try:
            (path,) = await bus.call("LoadUnit", "s", full)
            unit = await _properties(bus, path, _OF_UNITS)
            if unit["LoadState"] != "loaded":
                missing.append((full, f"systemd has no such timer: it is {unit['LoadState']}"))
                continue
            timer = await _properties(bus, path, _OF_TIMERS)
            found[unit["Id"]] = facts(unit, timer, await _service(bus, timer["Unit"]))
        except SystemdError as error:
            missing.append((full, f"systemd says: {error}"))
    return list(found.values()), missing


async def _service(bus: Bus, name: str) -> Properties | None:
    if not name.endswith(".service"):
        return None
    (path,) = await bus.call("LoadUnit", "s", name)
    return await _properties(bus, path, _OF_SERVICES)


async def _properties(bus: Bus, path: str, names: Sequence[tuple[str, str]]) -> Properties:
    values = await bus.get_many(path, *names)
    return {name: value for (_, name), value in zip(names, values, strict=True)}


def facts(unit: Properties, timer: Properties, service: Properties | None) -> TimerFacts:
    """Return a timer as its properties say it."""
    spans = timer["TimersMonotonic"] or ()
    return TimerFacts(
        name=unit["Id"],
        unit=timer["Unit"],
        description=(service or {}).get("Description") or unit["Description"],
        calendars=tuple(text for _, text, _ in timer["TimersCalendar"] or ()),
        monotonic=tuple((setting.replace("USec", "Sec"), span / _MICROSECONDS) for setting, span, _ in spans),
        random_delay_seconds=(timer["RandomizedDelayUSec"] or 0) / _MICROSECONDS,
        is_persistent=bool(timer["Persistent"]),
        on_changes=tuple(name for name in ("OnClockChange", "OnTimezoneChange") if timer[name]),
        wakes_system=bool(timer["WakeSystem"]),
        file_state=unit["UnitFileState"] or "",
        path=unit["FragmentPath"] or "",
        service=_service_facts(service) if service is not None else None,
    )


def _service_facts(service: Properties) -> ServiceFacts:
    commands: list[Any] = service["ExecStart"] or []
    arguments = tuple(commands[0][1]) if len(commands) == 1 else ()
    is_plain = bool(arguments) and not commands[0][2] and not any("$" in argument for argument in arguments)
    has_more = any(service[name] for name in (*_OTHER_COMMANDS, "EnvironmentFiles", "DynamicUser"))
    return ServiceFacts(
        command=arguments,
        user=service["User"] or "",
        working_directory=(service["WorkingDirectory"] or "").lstrip("!"),
        environment=tuple(service["Environment"] or ()),
        is_simple=is_plain and not has_more and not (service["RootDirectory"] or service["RootImage"]),
        stays_active=bool(service["RemainAfterExit"]),
    )
