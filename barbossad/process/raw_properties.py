"""What raw properties of a unit are worth: from what their author wrote to what systemd takes over D-Bus. No I/O.

Sources: systemd.exec(5), systemd.resource-control(5), org.freedesktop.systemd1(5).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from barbossad.config import UNSETTABLE_PROPERTIES
from barbossad.model.isolation import PropertyValue
from barbossad.units import parse_size
from barbossad.validation import RefusalError, shown

Value = tuple[str, Any]
"""A D-Bus signature and the value."""

LIST: Final = "as"
INFINITY: Final = 2**64 - 1

_SWITCHES: Final = {
    **dict.fromkeys(("1", "yes", "y", "true", "t", "on"), True),
    **dict.fromkeys(("0", "no", "n", "false", "f", "off"), False),
}
"""As systemd reads them in unit files; YAML takes half of them for booleans before that."""


def value_of(name: str, given: PropertyValue) -> Value:
    """Return what systemd takes for a raw property; for one that is not known here, by the kind of what was given.

    Raise RefusalError, which goes on from the property's name, for what can be no value of one that is known.
    """
    if name in _KINDS:
        return _KINDS[name](given)
    if isinstance(given, bool):
        return "b", given
    if isinstance(given, int):
        return "t", _whole(given, 0, INFINITY)
    return ("s", given) if isinstance(given, str) else (LIST, list(given))


def _texts(given: PropertyValue) -> Value:
    if isinstance(given, bool | int):
        raise RefusalError(f"is a list of texts, not {shown(given)}")
    return LIST, [given] if isinstance(given, str) else list(given)


def _made(given: PropertyValue) -> Value:
    raise RefusalError(f"is not for raw values, and so not for {shown(given)}", "name a profile, and its 'writable'")


def _switch(given: PropertyValue) -> Value:
    found = _SWITCHES.get(str(given).lower())
    if found is None:
        raise RefusalError(f"is true or false, not {shown(given)}")
    return "b", found


def _word(given: PropertyValue) -> Value:
    """Return one word of some, among them yes or no."""
    if isinstance(given, tuple):
        raise RefusalError(f"is one word, not {shown(list(given))}")
    found = _SWITCHES.get(str(given).lower())
    return "s", str(given) if found is None else "yes" if found else "no"


def _size(given: PropertyValue) -> Value:
    if given == "infinity":
        return "t", INFINITY
    is_plain = isinstance(given, int) and not isinstance(given, bool) and 0 <= given <= INFINITY
    return "t", given if is_plain else parse_size(given)


def _weight(given: PropertyValue) -> Value:
    return "t", 0 if given == "idle" else _whole(given, 0, INFINITY)


def _number(given: PropertyValue) -> Value:
    return "i", _whole(given, -(2**31), 2**31 - 1)


def _mask(given: PropertyValue) -> Value:
    return "u", _whole(given, 0, 2**32 - 1)


def _whole(given: PropertyValue, least: int, most: int) -> int:
    """Return a whole number that fits its type on the bus; systemd knows narrower bounds and says so itself."""
    if isinstance(given, int | str) and not isinstance(given, bool):
        with suppress(ValueError):
            number = int(given)
            if least <= number <= most:
                return number
    raise RefusalError(f"is a whole number from {least} on, not {shown(given)}")


_KINDS: Final[Mapping[str, Callable[[PropertyValue], Value]]] = {
    **dict.fromkeys(("ExecPaths", "InaccessiblePaths", "NoExecPaths", "ReadOnlyPaths", "ReadWritePaths"), _texts),
    **dict.fromkeys(("PassEnvironment", "SupplementaryGroups", "SystemCallArchitectures", "UnsetEnvironment"), _texts),
    **dict.fromkeys(("DynamicUser", "IgnoreSIGPIPE", "LockPersonality", "MemoryDenyWriteExecute"), _switch),
    **dict.fromkeys(("NoNewPrivileges", "PrivateDevices", "PrivateIPC", "PrivateMounts", "PrivateNetwork"), _switch),
    **dict.fromkeys(("PrivateTmp", "PrivateUsers", "ProtectClock", "ProtectControlGroups", "ProtectHostname"), _switch),
    **dict.fromkeys(("ProtectKernelLogs", "ProtectKernelModules", "ProtectKernelTunables", "RemoveIPC"), _switch),
    **dict.fromkeys(("RestrictRealtime", "RestrictSUIDSGID"), _switch),
    **dict.fromkeys(("ProtectHome", "ProtectSystem", "Restart"), _word),
    **dict.fromkeys(("MemoryHigh", "MemoryLow", "MemoryMax", "MemoryMin", "MemorySwapMax", "LimitFSIZE"), _size),
    **dict.fromkeys(("CPUWeight", "StartupCPUWeight"), _weight),
    **dict.fromkeys(("Nice", "OOMScoreAdjust", "CPUSchedulingPriority", "IOSchedulingPriority"), _number),
    "UMask": _mask,
    **dict.fromkeys(UNSETTABLE_PROPERTIES, _made),
}
"""The properties of which it is known what they take; all that the config allows unasked are among them."""
