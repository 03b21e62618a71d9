"""What makes a schedule or a trigger fire, in sentences for people."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from barbossad.clock import rfc3339
from barbossad.model.schedules import CatchUp, Dst, FileTrigger, OnHoliday, Overlap, ScheduleDefinition, Timing
from barbossad.recurrence import cron, cron_words, holidays, zones
from barbossad.units import format_duration

_GAP = {
    Dst.SKIP: "a time that does not exist is skipped",
}
_TWICE = {
    Dst.LAST: "one that comes twice runs the second time",
    Dst.BOTH: "one that comes twice runs both times",
}
_OVERLAP = {
    Overlap.SKIP: "While a run of it goes on, a fire is skipped.",
    Overlap.QUEUE: "While a run of it goes on, up to {depth} fires wait.",
    Overlap.REPLACE: "A fire cancels the run before it, if that goes on.",
    Overlap.ALLOW: "Runs of it may go on side by side.",
}

_UNSEEN = "What happens while the daemon is down is not seen."
_AT_ONCE = "as soon as the daemon runs"


def explain(timing: Timing, schedule: ScheduleDefinition | None = None) -> list[str]:
    """Return sentences that say when it fires, and with ``schedule`` what becomes of special fires."""
    found = [_base(timing)]
    if timing.start_ms is not None or timing.end_ms is not None:
        found.append(_between(timing))
    if timing.within:
        found.append(f"Only within {' or '.join(timing.within)}.")
    if timing.blackout:
        found.append(f"Skipped in {' and '.join(timing.blackout)}.")
    if timing.holidays is not None:
        found.append(_holidays(timing))
    if timing.cron is not None:
        found.append(_clocks(timing))
    return found + (_rules(schedule) if schedule is not None else [])


def explain_event(schedule: ScheduleDefinition) -> list[str]:
    """Return sentences that say what makes a schedule fire that does not by the clock, and what then becomes of it."""
    if schedule.file is not None:
        found = [f"{_file(schedule.file)}.", _UNSEEN]
    elif schedule.workflow is not None:
        states = _either(state.value for state in schedule.workflow.states)
        found = [f"When a run of {schedule.workflow.name} ended as {states}, also while the daemon was down."]
    elif schedule.unit is not None:
        found = [f"When {schedule.unit.name} goes into the state {_either(schedule.unit.states)}.", _UNSEEN]
    else:
        later = f"{format_duration(schedule.delay_seconds)} later" if schedule.delay_seconds else _AT_ONCE
        found = [f"Once after each boot of the host, {later}."]
    return [*found, _overlap(schedule)]


def _file(file: FileTrigger) -> str:
    """Say what has to happen to a file; where there is a pattern or folders below, the path is no file itself."""
    is_folder = file.is_recursive or file.pattern != "*"
    where = f"a file in {file.path}" if is_folder else f"a file in {file.path}, or {file.path} itself,"
    below = " or the folders below it" if file.is_recursive else ""
    named = f", with a name like {file.pattern}," if file.pattern != "*" else ""
    changes = _either(change.value for change in file.changes)
    rest = f"nothing more happened to it for {format_duration(file.debounce_seconds)}"
    return f"When {where}{below}{named} was {changes}, and {rest}"


def _either(some: Iterable[str]) -> str:
    *others, last = some
    return f"{', '.join(others)} or {last}" if others else last


def _overlap(schedule: ScheduleDefinition) -> str:
    return _OVERLAP[schedule.overlap].format(depth=schedule.queue_depth)


def beyond_holidays(timing: Timing, at_ms: int) -> list[str]:
    """Return a sentence that no holidays are known at an instant; none if they are, or if there are to be none."""
    if timing.holidays is None:
        return []
    year = datetime.fromtimestamp(at_ms / 1000, zones.zone(timing.timezone)).year
    said = holidays.beyond(timing.holidays, year)
    return [f"{said[0].upper()}{said[1:]}."] if said else []


def _base(timing: Timing) -> str:
    if timing.cron is not None:
        return f"{cron_words.words(cron.parse(timing.cron))}, {timing.timezone} time."
    if timing.every_ms is not None:
        anchor = f"counted from {_local(timing.anchor_ms, timing.timezone)}"
        return f"Every {format_duration(timing.every_ms / 1000)}, {anchor}."
    if not timing.at_ms:
        return "Never."
    return "Once at " + ", ".join(_local(at_ms, timing.timezone) for at_ms in timing.at_ms) + "."


def _between(timing: Timing) -> str:
    parts = []
    if timing.start_ms is not None:
        parts.append(f"from {_local(timing.start_ms, timing.timezone)} on")
    if timing.end_ms is not None:
        parts.append(f"until {_local(timing.end_ms, timing.timezone)}")
    said = " ".join(parts)
    return f"{said[0].upper()}{said[1:]}."


def _holidays(timing: Timing) -> str:
    assert timing.holidays is not None
    country = timing.holidays.country
    subdivision = f"-{timing.holidays.subdivision}" if timing.holidays.subdivision else ""
    of = " and ".join(
        name for name in (f"{country}{subdivision}" if country else "", timing.holidays.file or "") if name
    )
    moved = {OnHoliday.BEFORE: "on the last day before that is none", OnHoliday.AFTER: "on the first day after"}
    return f"On holidays of {of}: {moved.get(timing.on_holiday, 'skipped')}."


def _clocks(timing: Timing) -> str:
    assert timing.cron is not None
    if not cron.parse(timing.cron).is_fixed:
        return "When the clocks change it follows real time."
    gap = _GAP.get(timing.dst, "a time that does not exist runs right after the gap")
    twice = _TWICE.get(timing.dst, "one that comes twice runs the first time")
    return f"When the clocks change, {gap}, and {twice}."


def _rules(schedule: ScheduleDefinition) -> list[str]:
    found = []
    if schedule.jitter_seconds:
        found.append(f"Up to {format_duration(schedule.jitter_seconds)} later, always the same.")
    found.append(_overlap(schedule))
    window = format_duration(schedule.catch_up_window_seconds)
    found.append(
        {
            CatchUp.NONE: "What was missed is not run later.",
            CatchUp.LAST: f"If fires were missed, one run makes up for those of the last {window}.",
            CatchUp.ALL: f"Fires that were missed in the last {window} are run later, "
            f"{schedule.catch_up_limit} at most.",
        }[schedule.catch_up]
    )
    return found


def _local(at_ms: int, timezone: str) -> str:
    if timezone == "UTC":
        return str(rfc3339(at_ms))
    local = datetime.fromtimestamp(at_ms / 1000, zones.zone(timezone))
    return f"{local:%Y-%m-%d %H:%M:%S %Z}"
