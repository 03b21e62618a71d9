"""Make a workflow of a timer of systemd. Source: systemd.timer(5), systemd.time(7)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from barbossad.importing import calendar_cron, compose, names
from barbossad.importing.command import literal
from barbossad.importing.draft import Draft, Found
from barbossad.model.timers import ServiceFacts, TimerFacts
from barbossad.units import format_duration
from barbossad.validation import RefusalError

MOST_JITTER_SECONDS: Final = 86_400.0
"""The language takes no more."""

LEAST_INTERVAL_SECONDS: Final = 1.0
SANDBOX: Final = "for systemd to be reached; the unit keeps its own"
EVER: Final = "366d"
"""How far back a persistent timer makes up for what it missed; systemd sets no limit."""

_AFTER_BOOT: Final = ("OnBootSec", "OnStartupSec", "OnActiveSec")
_NOT_TO_BE_DISABLED: Final = {"static": "mask --now", "generated": "mask --now", "transient": "stop"}


def read(timers: Iterable[TimerFacts], timezone: str) -> Found:
    """Return a draft for each timer of which something can be said; ``timezone`` is that of the host."""
    found = Found()
    taken = names.Names()
    for timer in timers:
        notes: list[str] = []
        entries, impossible = _entries(timer, timezone, notes)
        if not entries:
            why = "; ".join(impossible) or "it says no time at all"
            found.refuse(None, timer.name, f"it cannot be said as a schedule: {why}", "it goes on as it is")
            continue
        name = taken.take(names.slug(timer.name.removesuffix(".timer")))
        found.drafts.append(
            Draft(
                name=name,
                description=" ".join(timer.description.split()),
                source=timer.name + (f" ({timer.path})" if timer.path else ""),
                origin=tuple(_written(timer)),
                schedules=tuple(entries),
                remarks={"sandbox": SANDBOX},
                task=_task(timer),
                notes=(*impossible, *notes, *_notes(timer, is_whole=not impossible)),
            )
        )
    return found


def _entries(timer: TimerFacts, timezone: str, notes: list[str]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return entries of ``schedules``, and in words which settings of the timer cannot be said; add notes."""
    entries: list[dict[str, Any]] = []
    impossible: list[str] = []
    catch_up = {"catch_up": "last", "catch_up_window": EVER} if timer.is_persistent else {"catch_up": "none"}
    for text in timer.calendars:
        try:
            timings = calendar_cron.entries(text, timezone)
        except RefusalError as error:
            impossible.append(f"OnCalendar={text} {error}")
            continue
        entries += [{**timing, **_jitter(timer, None, notes), **catch_up} for timing in timings]
    if len(set(timer.calendars)) > 1:
        notes.append("where several OnCalendar= name one instant systemd starts it once, and here each of them does")
    for setting, seconds in timer.monotonic:
        if setting in _AFTER_BOOT:
            entries.append({"boot": {"delay": format_duration(seconds)} if seconds else True})
            notes += _notes_on_boot(timer, setting)
        elif seconds < LEAST_INTERVAL_SECONDS:
            impossible.append(f"{setting}={format_duration(seconds)} is shorter than a second")
        else:
            every = {"every": format_duration(seconds), **_jitter(timer, seconds, notes), "catch_up": "none"}
            entries.append(every)
            since = "the start" if setting == "OnUnitActiveSec" else "the end"
            notes.append(
                f"{setting} counts from {since} of the run before; here every {every['every']} counts by the clock,"
                " whatever the run before did"
            )
    unsaid = [f"{setting}=yes cannot be said: no schedule fires when the clock is set" for setting in timer.on_changes]
    if timer.wakes_system:
        unsaid.append("WakeSystem=yes cannot be said: no schedule wakes a host that sleeps")
    unique = [entry for number, entry in enumerate(entries) if entry not in entries[:number]]
    return unique, [*impossible, *unsaid]


def _jitter(timer: TimerFacts, interval: float | None, notes: list[str]) -> dict[str, str]:
    seconds = timer.random_delay_seconds
    if not seconds:
        return {}
    most = MOST_JITTER_SECONDS if interval is None else min(MOST_JITTER_SECONDS, interval / 2)
    if seconds > most:
        note = f"RandomizedDelaySec={format_duration(seconds)} is more than jitter can be here: {format_duration(most)}"
        notes += [note] if note not in notes else []
    return {"jitter": format_duration(min(seconds, most))}


def _notes_on_boot(timer: TimerFacts, setting: str) -> Iterable[str]:
    if setting == "OnActiveSec":
        yield "OnActiveSec counts from when the timer was started, which is taken for the boot"
    if timer.random_delay_seconds:
        yield f"RandomizedDelaySec={format_duration(timer.random_delay_seconds)} is not kept for what follows a boot"


def _written(timer: TimerFacts) -> Iterable[str]:
    """Yield the lines that the timer's file may have had."""
    yield from (f"OnCalendar={text}" for text in timer.calendars)
    yield from (f"{setting}={format_duration(seconds)}" for setting, seconds in timer.monotonic)
    if timer.random_delay_seconds:
        yield f"RandomizedDelaySec={format_duration(timer.random_delay_seconds)}"
    if timer.is_persistent:
        yield "Persistent=yes"
    if timer.wakes_system:
        yield "WakeSystem=yes"


def _task(timer: TimerFacts) -> dict[str, Any]:
    waits = timer.unit.endswith(".service") and not (timer.service and timer.service.stays_active)
    words = ["systemctl", "start", *(["--wait"] if waits else []), literal(timer.unit)]
    return {"shell": words, "sandbox": "none"}


def _notes(timer: TimerFacts, *, is_whole: bool) -> Iterable[str]:
    way = f"systemctl {_NOT_TO_BE_DISABLED.get(timer.file_state, 'disable --now')} {timer.name}"
    if is_whole:
        yield f"the timer itself was not changed; when the workflow is in force: {way}"
    else:
        yield f"the timer itself was not changed, and does more than the workflow; see to the rest before: {way}"
    service = timer.service
    if service is not None and service.stays_active:
        yield f"{timer.unit} stays active when it is done (RemainAfterExit), so the run does not wait for its end"
    elif not timer.unit.endswith(".service"):
        yield f"{timer.unit} is no service, so the run does not wait for its end"
    if service is not None and service.is_simple and service.command:
        yield (
            f"what {timer.unit} prints is in the journal; for it to be kept with the run, though without the limits and"
            f" the sandbox of the unit, write the task as {compose.flow(_directly(service))}"
        )


def _directly(service: ServiceFacts) -> dict[str, Any]:
    """Return the task that runs what the service does."""
    task: dict[str, Any] = {"shell": [literal(word) for word in service.command]}
    if service.user:
        task["run_as"] = service.user
    if service.working_directory:
        task["working_dir"] = service.working_directory
    pairs = (pair.partition("=") for pair in service.environment)
    env = {name: literal(value) for name, _, value in pairs}
    return {**task, "env": env} if env else task
