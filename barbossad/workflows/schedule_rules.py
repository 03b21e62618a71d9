"""What the keys of one entry of ``schedules`` or ``triggers`` say together: what contradicts, and the remedy."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from barbossad.model.schedules import ScheduleKind
from barbossad.recurrence import zones
from barbossad.units import format_duration, parse_duration
from barbossad.validation import RefusalError
from barbossad.workflows.schedule_keys import EVENT_KEYS, TIME_KEYS
from barbossad.workflows.schedule_values import REBOOT

Finding = tuple[str, str, str]
"""A key, a sentence, a hint. Without a key it is of the whole entry."""

WEBHOOK: Final = "webhook"
"""The key that is reserved."""

ONLY_BY_TIME: Final = frozenset(
    {
        *("timezone", "anchor", "dst", "between", "within", "blackout", "holidays", "on_holiday", "jitter"),
        *("catch_up", "catch_up_window", "catch_up_limit"),
    }
)
"""Keys of schedules that no trigger has."""

_OFFSET: Final = re.compile(r"(?:[zZ]|:\d\d(?:[.,]\d+)?[+-]\d\d(?::?\d\d)?)\s*$")

_ENDS_ITSELF: Final = "remove the key; each end of a run fires once, also one that came while the daemon was down"
_NOT_BY_EVENT: Final[Mapping[str, Mapping[str, str]]] = {
    "file": {"jitter": "write file: {debounce: 5s} to wait until nothing more happens to the file"},
    "workflow": dict.fromkeys(("catch_up", "catch_up_window", "catch_up_limit"), _ENDS_ITSELF),
}
_NOT_AT_BOOT: Final[Mapping[str, str]] = {"jitter": "write boot: {delay: 2m} to wait"}

_NOT_OF_KIND: Final[Mapping[ScheduleKind, Mapping[str, tuple[str, str]]]] = {
    ScheduleKind.CRON: {
        "anchor": ("'anchor' is for every: a cron expression names its times itself", "remove the key"),
    },
    ScheduleKind.EVERY: {
        "dst": ("'dst' is for cron: an interval follows real time when the clocks change", "remove the key"),
    },
    ScheduleKind.AT: {
        "anchor": ("'anchor' is for every: 'at' names its instants itself", "remove the key"),
        "dst": (
            "'dst' is for cron: 'at' names its instants itself",
            "remove the key; where a time comes twice, write its offset, as 2026-10-25T01:30:00+01:00",
        ),
    },
}  # fmt: skip


def told_of(*, is_trigger: bool) -> frozenset[str]:
    """Return the keys that ``contradictions`` refuses in better words than a model has, which does not know them."""
    if is_trigger:
        return frozenset({WEBHOOK, *TIME_KEYS, *ONLY_BY_TIME})
    return frozenset({WEBHOOK, *EVENT_KEYS})


def kind_of(raw: Mapping[str, Any]) -> ScheduleKind | None:
    """Return what makes an entry fire, or None where it does not say it in one way."""
    named = [key for key in (*TIME_KEYS, *EVENT_KEYS) if key in raw]
    if len(named) != 1:
        return None
    return ScheduleKind.BOOT if _is_reboot(raw.get("cron")) else ScheduleKind(named[0])


def contradictions(raw: Mapping[str, Any], *, is_trigger: bool, workflow: str | None) -> Iterator[Finding]:
    """Yield what an entry says that does not go together, whatever else is wrong with it.

    ``workflow`` is the name of the one that it belongs to.
    """
    yield from _kinds(raw, is_trigger=is_trigger)
    kind = kind_of(raw)
    if is_trigger:
        yield from _of_events(raw, kind)
    elif kind is ScheduleKind.BOOT:
        yield from _of_boots(raw)
    else:
        yield from _of_times(raw, kind)
    yield from _of_both(raw)
    ended = raw.get("workflow")
    name = ended.get("name") if isinstance(ended, Mapping) else ended
    if is_trigger and isinstance(name, str) and name == workflow:
        yield (
            "workflow",
            f"the workflow {name!r} would start itself, without end",
            "name another one; 'retry' tries again",
        )


def _kinds(raw: Mapping[str, Any], *, is_trigger: bool) -> Iterator[Finding]:
    """Yield what is wrong with the keys of which an entry has exactly one."""
    own, others = (EVENT_KEYS, TIME_KEYS) if is_trigger else (TIME_KEYS, EVENT_KEYS)
    if WEBHOOK in raw:
        yield WEBHOOK, "'webhook' comes with the REST API, which this version does not have", "remove the entry"
    for key in others:
        if key in raw:
            what, place = ("a time, not an event", "schedules") if is_trigger else ("an event, not a time", "triggers")
            yield key, f"{key!r} is {what}", f"write the entry under {place}"
    named = [key for key in own if key in raw]
    for key in named[1:]:
        yield key, f"{named[0]!r} and {key!r} cannot stand in one entry", "make an entry of each"
    if not named and WEBHOOK not in raw and not any(key in raw for key in others):
        what = "trigger" if is_trigger else "schedule"
        example = "file: /srv/in" if is_trigger else 'cron: "0 2 * * *" with timezone: Europe/London'
        yield "", f"a {what} needs one of {', '.join(own)}", f"such as {example}"


def _of_events(raw: Mapping[str, Any], kind: ScheduleKind | None) -> Iterator[Finding]:
    if kind is not None and kind not in EVENT_KEYS:
        return  # it is to become a schedule
    remedies = _NOT_BY_EVENT.get(kind or "", {})
    for key in raw:
        if key in ONLY_BY_TIME:
            yield key, f"{key!r} is for schedules, and this is a trigger", remedies.get(key, "remove the key")


def _of_boots(raw: Mapping[str, Any]) -> Iterator[Finding]:
    for key in raw:
        if key in ONLY_BY_TIME:
            yield (
                key,
                f"{key!r} is for cron, every and at; a boot comes when it comes",
                _NOT_AT_BOOT.get(key, "remove the key"),
            )


def _of_times(raw: Mapping[str, Any], kind: ScheduleKind | None) -> Iterator[Finding]:
    refused = _NOT_OF_KIND.get(kind, {}) if kind else {}
    for key, (message, hint) in refused.items():
        if key in raw:
            yield key, message, hint
    if "on_holiday" in raw and "holidays" not in raw:
        yield "on_holiday", "'on_holiday' needs 'holidays'", "add whose they are, such as holidays: GB"
    if raw.get("catch_up") == "none" and "catch_up_window" in raw:
        message = "'catch_up_window' says how far back, and catch_up: none catches up nothing"
        yield "catch_up_window", message, "remove one of them"
    if "catch_up_limit" in raw and raw.get("catch_up") != "all":
        yield "catch_up_limit", "'catch_up_limit' is for catch_up: all", "add catch_up: all, or remove the key"
    every, jitter = _seconds(raw.get("every")), _seconds(raw.get("jitter"))
    if kind is ScheduleKind.EVERY and every and jitter and jitter >= every:
        message = f"'jitter' ({format_duration(jitter)}) must be less than the interval ({format_duration(every)})"
        yield "jitter", message, "choose a shorter one"
    if kind and "timezone" not in raw:
        yield from _zone_wanted(raw)


def _zone_wanted(raw: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield the first key whose local times nobody can read without a time zone."""
    for key in ("cron", "at", "anchor", "between", "within", "blackout", "holidays"):
        if key in raw and _needs_zone(raw[key], key):
            host = zones.host_zone()
            proposed = f"{host}, as this host has it," if host != "UTC" else "Europe/London,"
            yield key, f"{key!r} needs a 'timezone': local time of where?", f"add timezone: {proposed} or UTC"
            return


def _needs_zone(value: object, key: str) -> bool:
    """Say whether a key's value speaks of local time."""
    if key not in {"at", "anchor", "between"}:
        return True
    values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
    return any(isinstance(item, str) and is_local(item) for item in values)


def is_local(text: str) -> bool:
    """Say whether a text that is an instant means the time of day of some place: it has no offset from UTC."""
    return not _OFFSET.search(text)


def _of_both(raw: Mapping[str, Any]) -> Iterator[Finding]:
    is_queue = raw.get("overlap", "queue" if any(key in raw for key in EVENT_KEYS) else "skip") == "queue"
    if "queue_depth" in raw and not is_queue:
        yield "queue_depth", "'queue_depth' is for overlap: queue", "add overlap: queue, or remove the key"
    expect = raw.get("expect")
    if isinstance(expect, Mapping):
        if not expect:
            yield "expect", "'expect' says nothing", "write what has to hold, such as {max_duration: 2h}"
        least, most = _seconds(expect.get("min_duration")), _seconds(expect.get("max_duration"))
        if least and most and least > most:
            yield "expect", "'expect' has a min_duration above its max_duration", "no run could be right"
    retry = raw.get("retry")
    if isinstance(retry, Mapping):
        delay, most = _seconds(retry.get("delay")), _seconds(retry.get("max_delay"))
        if delay and most and delay > most:
            yield "retry", "'retry' has a delay above its max_delay", "raise max_delay, or lower delay"


def _seconds(value: object) -> float | None:
    """Return a duration, or None for what is none; that is told elsewhere."""
    try:
        return parse_duration(value)
    except RefusalError:
        return None


def _is_reboot(value: object) -> bool:
    return isinstance(value, str) and value.strip().lower() == REBOOT
