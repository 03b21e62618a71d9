"""A cron expression in words, made of the numbers that its fields mean: a step is said as what it really gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise, product
from typing import Final

from barbossad.recurrence.cron import Cron
from barbossad.recurrence.fields import DAY, MONTH, WEEKDAY, meaning

_MOST_TIMES: Final = 6
"""So many times of day, or days, are named one by one."""

_DAY_NAMES: Final = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_MONTH_NAMES: Final = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
_ORDINALS: Final = {"1": "first", "2": "second", "3": "third", "4": "fourth", "5": "fifth"}
_LAST_DAY: Final = "the last day"


def words(cron: Cron) -> str:
    """Return when an expression comes, such as ``At 02:00, Monday through Friday``."""
    said = {field.name: meaning(field, part) for field, part in cron.fields}
    seconds = said["second"][0] if "second" in said else [0]
    parts = [
        _time(said["hour"][0], said["minute"][0], seconds),
        _days(said[DAY.name], said[WEEKDAY.name], is_either=cron.is_either),
        _months(said[MONTH.name][0]),
    ]
    return ", ".join(part for part in parts if part)


# -- the time of day -----------------------------------------------------------------------------------------


def _time(hours: list[int], minutes: list[int], seconds: list[int]) -> str:
    """Return the times of day: one by one if they are few, or else the finest unit that varies, within the others."""
    if len(hours) * len(minutes) * len(seconds) <= _MOST_TIMES:
        return f"At {_listed([_clock(*time, seconds) for time in product(hours, minutes, seconds)])}"
    if seconds != [0]:
        return ", ".join(
            filter(None, (_every(seconds, 60, "second", "minute"), _in_minutes(minutes), _in_hours(hours)))
        )
    if minutes != [0]:
        return ", ".join(filter(None, (_every(minutes, 60, "minute", "hour"), _in_hours(hours))))
    step = _step(hours, 24)
    if step is not None:
        since = "" if step == 1 else f" from {hours[0]:02}:00 on"
        return f"Every {_times(step, 'hour')}{since}"
    if _is_run(hours):
        return f"Every hour from {hours[0]:02}:00 to {hours[-1]:02}:00"
    return f"At {_listed([f'{hour:02}:00' for hour in hours])}"


def _clock(hour: int, minute: int, second: int, seconds: list[int]) -> str:
    return f"{hour:02}:{minute:02}" + (f":{second:02}" if seconds != [0] else "")


def _every(numbers: list[int], size: int, unit: str, whole: str) -> str:
    """Return which minutes of each hour, or which seconds of each minute."""
    step = _step(numbers, size)
    if step is not None:
        since = f" from {unit} {numbers[0]} on" if numbers[0] else ""
        return f"Every {_times(step, unit)}{since}"
    if _is_run(numbers):
        return f"{unit.capitalize()}s {numbers[0]} through {numbers[-1]} past the {whole}"
    return f"At {_runs(numbers, str)} {unit}{'' if numbers == [1] else 's'} past the {whole}"


def _in_minutes(minutes: list[int]) -> str:
    step = _step(minutes, 60)
    if step is not None:
        return "" if step == 1 else f"in every {_nth(step)} minute from minute {minutes[0]} on"
    return f"in minute{'s' if len(minutes) > 1 else ''} {_runs(minutes, str)}"


def _in_hours(hours: list[int]) -> str:
    step = _step(hours, 24)
    if step is not None and (step == 1 or len(hours) > _MOST_TIMES):
        return "" if step == 1 else f"in every {_nth(step)} hour from {hours[0]:02}:00 on"
    if hours[-1] - hours[0] == len(hours) - 1:
        return f"between {hours[0]:02}:00 and {hours[-1]:02}:59"
    return f"in the hours {_runs(hours, '{:02}'.format)}"


# -- days and months -----------------------------------------------------------------------------------------


def _days(month_days: tuple[list[int], list[str]], week_days: tuple[list[int], list[str]], *, is_either: bool) -> str:
    """Return which days: of the month, of the week, either of them or both."""
    is_any_of_month, is_any_of_week = len(month_days[0]) == 31, len(week_days[0]) == 7
    if (is_any_of_month or is_any_of_week) if is_either else (is_any_of_month and is_any_of_week):
        return ""
    of_month = _of_month(*month_days)
    if is_any_of_week:
        return of_month
    if week_days[1]:  # which go with no other days
        return f"on {_listed([_special(special) for special in week_days[1]])} of the month"
    week = sorted((day - 1) % 7 for day in week_days[0])  # weeks begin with Monday
    if is_any_of_month:
        of_week = _runs(week, _day_name)
        return of_week if _is_run(week) else f"only on {of_week}"
    return (
        f"{of_month}, or on {_runs(week, _day_name)}"
        if is_either
        else f"{of_month}, if that is {_runs(week, _day_name, 'or')}"
    )


def _of_month(numbers: list[int], specials: list[str]) -> str:
    last = [_LAST_DAY] if specials else []
    if not numbers:
        return f"on {_LAST_DAY} of the month"
    steps = {later - earlier for earlier, later in pairwise(numbers)}
    if len(numbers) > _MOST_TIMES and len(steps) == 1 and steps != {1} and numbers[-1] + min(steps) > 31 and not last:
        return f"on every {_nth(min(steps))} day of the month from day {numbers[0]} on"
    return f"on day{'s' if len(numbers) > 1 else ''} {_listed([*_run_names(numbers, str), *last])} of the month"


def _special(special: str) -> str:
    """Return ``5#2`` or ``l5`` as the second or the last Friday."""
    if special.startswith("l"):
        return f"the last {_DAY_NAMES[int(special[1:])]}"
    day, _, week = special.partition("#")
    return f"the {_ORDINALS[week]} {_DAY_NAMES[int(day)]}"


def _day_name(day: int) -> str:
    """Return the name of a day by its number from Monday on."""
    return _DAY_NAMES[(day + 1) % 7]


def _months(months: list[int]) -> str:
    if len(months) == 12:
        return ""
    found = _runs(months, lambda month: _MONTH_NAMES[month - 1])
    return found if _is_run(months) else f"only in {found}"


# -- numbers -------------------------------------------------------------------------------------------------


def _step(numbers: list[int], size: int) -> int | None:
    """Return how far apart the numbers are if they are so all around the clock, or None."""
    step = size // len(numbers)
    is_even = len(numbers) > 1 and size % len(numbers) == 0
    return step if is_even and numbers == list(range(numbers[0], size, step)) else None


def _is_run(numbers: Sequence[int]) -> bool:
    return len(numbers) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1


def _runs(numbers: list[int], name: Callable[[int], str], last: str = "and") -> str:
    """Return numbers in words: three or more in a row as their first through their last."""
    return _listed(_run_names(numbers, name), last)


def _run_names(numbers: list[int], name: Callable[[int], str]) -> Iterator[str]:
    begin = 0
    for place, (number, following) in enumerate(pairwise([*numbers, -1])):
        if following != number + 1:
            run = numbers[begin : place + 1]
            yield from [f"{name(run[0])} through {name(run[-1])}"] if _is_run(run) else map(name, run)
            begin = place + 1


def _listed(found: Iterable[str], last: str = "and") -> str:
    *before, end = found
    return f"{', '.join(before)} {last} {end}" if before else end


def _times(step: int, unit: str) -> str:
    return unit if step == 1 else f"{step} {unit}s"


def _nth(step: int) -> str:
    suffix = {2: "nd", 3: "rd"}.get(step, "th")
    return f"{step}{suffix}"
