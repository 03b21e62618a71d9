"""Words for cron expressions: read back, they say when the expression comes, and nothing else."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from datetime import date, timedelta
from itertools import product
from typing import Any

import pytest

from barbossad.model.names import WorkflowName
from barbossad.model.schedules import (
    FileChange,
    FileTrigger,
    Overlap,
    ScheduleDefinition,
    ScheduleKind,
    Timing,
    UnitTrigger,
    WorkflowTrigger,
)
from barbossad.model.states import RunState
from barbossad.recurrence import cron, cron_words, words
from tests.helpers import cron_oracle

DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November"]
MONTHS.append("December")

_NUMBER, _DAY, _MONTH = (rf"{one}(?: through {one})?" for one in (r"\d+", r"[A-Z]\w+day", "[A-Z][a-z]+"))
_SOME, _WEEK, _YEAR = (rf"{one}(?:, {one})*(?: (?:and|or) {one})?" for one in (_NUMBER, _DAY, _MONTH))
_UNIT = "second|minute|hour"
WORDS = re.compile(
    rf"(?:At (?P<times>\d\d:[\d:]+(?:(?:, | and )\d\d:[\d:]+)*)"
    rf"|Every (?P<run>hour) from (?P<first>\d\d):00 to (?P<last>\d\d):00"
    rf"|Every (?:(?P<step>\d+) )?(?P<every>{_UNIT})s?(?: from (?:minute|second)? ?(?P<since>\d+)(?::00)? on)?"
    rf"|At (?P<at>{_SOME}) (?P<at_unit>{_UNIT})s? past the (?:minute|hour)"
    rf"|(?P<unit>Second|Minute)s (?P<through>\d+ through \d+) past the (?:minute|hour))"
    rf"(?:, in every (?P<nth_minute>\d+)\w\w minute from minute (?P<from_minute>\d+) on"
    rf"|, in minutes? (?P<minutes>{_SOME}))?"
    rf"(?:, in every (?P<nth_hour>\d+)\w\w hour from (?P<from_hour>\d\d):00 on"
    rf"|, between (?P<begin>\d\d):00 and (?P<end>\d\d):59|, in the hours (?P<hours>{_SOME}))?"
    rf"(?:, on every (?P<nth_day>\d+)\w\w day of the month from day (?P<from_day>\d+) on"
    rf"|, on days? (?P<days>{_SOME}) of the month)?"
    rf"(?P<either>, or on (?P<or_on>{_WEEK}))?(?:, if that is (?P<both>{_WEEK}))?"
    rf"(?:, only on (?P<only_on>{_WEEK})|, (?P<week>{_DAY}))?"
    rf"(?:, only in (?P<only_in>{_YEAR})|, (?P<months>{_MONTH}))?"
)  # fmt: skip


def some(text: str, number: Callable[[str], int]) -> set[int]:
    """Return the numbers of ``1, 4 through 6 and 9``."""
    found: set[int] = set()
    for span in re.split(r", | and | or ", text):
        first, _, last = span.partition(" through ")
        found.update(range(number(first), number(last or first) + 1))
    return found


def times_of(said: dict[str, str | None]) -> set[tuple[int, int, int]]:
    """Return the times of day that words name: hour, minute, second."""
    if said["times"]:
        clocks = [[int(part) for part in clock.split(":")] for clock in re.split(r", | and ", said["times"])]
        return {(hour, minute, second[0] if second else 0) for hour, minute, *second in clocks}
    units = {"second": set(range(60)), "minute": set(range(60)), "hour": set(range(24))}
    if said["nth_minute"]:
        units["minute"] = set(range(int(said["from_minute"] or 0), 60, int(said["nth_minute"])))
    elif said["minutes"]:
        units["minute"] = some(said["minutes"], int)
    if said["nth_hour"]:
        units["hour"] = set(range(int(said["from_hour"] or 0), 24, int(said["nth_hour"])))
    elif said["begin"]:
        units["hour"] = set(range(int(said["begin"]), int(said["end"] or 0) + 1))
    elif said["hours"]:
        units["hour"] = some(said["hours"], int)
    finest = (said["run"] or said["every"] or said["at_unit"] or said["unit"] or "").lower()
    if said["run"]:
        units[finest] = set(range(int(said["first"] or 0), int(said["last"] or 0) + 1))
    elif said["every"]:
        step = int(said["step"] or 1)
        units[finest] = set(range(int(said["since"] or 0), len(units[finest]), step))
        assert (24 if finest == "hour" else 60) % step == 0  # or else it would not be every so many
    else:
        units[finest] = some(said["at"] or said["through"] or "", int)
    for finer in {"second": [], "minute": ["second"], "hour": ["second", "minute"]}[finest]:
        units[finer] = {0}
    return set(product(units["hour"], units["minute"], units["second"]))


def is_day(said: dict[str, str | None], day: date) -> bool:
    """Say whether words name a day."""
    months = said["only_in"] or said["months"]
    if months and day.month - 1 not in some(months, MONTHS.index):
        return False
    of_month = True
    if said["nth_day"]:
        of_month = day.day in range(int(said["from_day"] or 0), 32, int(said["nth_day"]))
    elif said["days"]:
        of_month = day.day in some(said["days"], int)
    week = said["or_on"] or said["both"] or said["only_on"] or said["week"]
    of_week = not week or day.weekday() in some(week, DAYS.index)
    return of_month or of_week if said["either"] else of_month and of_week


def any_field(least: int, most: int, names: list[str]) -> str:
    """Return a field with all that a field may have, but for L and #."""
    if random.random() < 0.3:
        return "*"
    items = []
    for _ in range(random.choice([1, 1, 1, 2, 3])):
        first = random.randint(least, most)
        spans = ["*", str(first), str(first), f"{first}-{random.randint(first, most)}"]
        item = random.choice([*spans, random.choice(names)] if names else spans)
        with_step = random.random() < 0.4 and item != "7"
        items.append(f"{item}/{random.randint(1, most)}" if with_step else item)
    return ",".join(items)


@pytest.mark.by_chance
def test_words_of_any_expression_say_when_it_comes() -> None:
    """Whatever its fields hold, the times and days that its words name are those of the fields."""
    year = [date(2027, 12, 1) + timedelta(days=number) for number in range(400)]
    for _ in range(300):
        weekdays, months = [name[:3] for name in DAYS], [name[:3] for name in MONTHS]
        parts = [any_field(0, 59, []), any_field(0, 23, []), any_field(1, 31, []), any_field(1, 12, months)]
        parts.append(any_field(0, 7, weekdays))
        if random.random() < 0.2:
            parts.insert(0, any_field(0, 59, []))
        text = " ".join(parts)
        try:
            told = cron_words.words(cron.parse(text))
        except ValueError:
            continue  # it never comes
        found = WORDS.fullmatch(told)
        assert found is not None, (text, told)
        said = found.groupdict()
        fields = [cron_oracle.numbers(part, number) for number, part in enumerate(["0", *parts][-6:])]
        seconds, minutes, hours, days, in_months, in_week = fields
        assert times_of(said) == set(product(hours, minutes, seconds)), (text, told)
        is_both = parts[-3].startswith("*") or parts[-1].startswith("*")
        in_week = {number % 7 for number in in_week}
        for day in year:
            of_month, of_week = day.day in days, day.isoweekday() % 7 in in_week
            comes = day.month in in_months and (of_month and of_week if is_both else of_month or of_week)
            assert is_day(said, day) == comes, (text, told, day)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0 2 L * *", "At 02:00, on the last day of the month"),
        ("0 2 1-15,L * Mon", "At 02:00, on days 1 through 15 and the last day of the month, or on Monday"),
        ("0 2 */2 * Mon", "At 02:00, on every 2nd day of the month from day 1 on, if that is Monday"),
        ("0 2 1 * Mon", "At 02:00, on day 1 of the month, or on Monday"),
        ("0 2 * * 5/2", "At 02:00, only on Friday"),
        ("0 2 * * 3/7", "At 02:00, only on Wednesday"),
        ("0 2 * * Fri-Mon", "At 02:00, only on Monday and Friday through Sunday"),
        ("0 2 * * Mon#1,Fri#3", "At 02:00, on the first Monday and the third Friday of the month"),
        ("0 2 ? * L5", "At 02:00, on the last Friday of the month"),
        ("*/45 * * * *", "At 0 and 45 minutes past the hour"),
        ("*/15 9-17 * * Mon-Fri", "Every 15 minutes, between 09:00 and 17:59, Monday through Friday"),
        ("0 */7 * * *", "At 00:00, 07:00, 14:00 and 21:00"),
        ("0 0 */10 * *", "At 00:00, on days 1, 11, 21 and 31 of the month"),
        ("0 0 * */5 *", "At 00:00, only in January, June and November"),
        ("0,30 2,4 * * *", "At 02:00, 02:30, 04:00 and 04:30"),
        ("15 30 2 * * *", "At 02:30:15"),
        ("@weekly", "At 00:00, only on Sunday"),
        ("@hourly", "Every hour"),
    ],
)  # fmt: skip
def test_words_of_an_expression(text: str, said: str) -> None:
    """Last days, weeks of the month, steps that do not fit and days that must both hold are said as they are."""
    assert cron_words.words(cron.parse(text)) == said


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"kind": "boot"}, "Once after each boot of the host, as soon as the daemon runs."),
        ({"kind": "boot", "delay_seconds": 90.0}, "Once after each boot of the host, 1m30s later."),
        (
            {"kind": "file", "file": FileTrigger(path="/in")},
            "When a file in /in, or /in itself, was created or changed, and nothing more happened to it for 1s.",
        ),
        (
            {
                "kind": "file",
                "file": FileTrigger(path="/in", pattern="*.c", is_recursive=True, changes=(FileChange.DELETED,)),
            },
            (
                "When a file in /in or the folders below it, with a name like *.c, was deleted, "
                "and nothing more happened to it for 1s."
            ),
        ),
        (
            {
                "kind": "workflow",
                "workflow": WorkflowTrigger(name=WorkflowName("a"), states=(RunState.SUCCEEDED, RunState.FAILED)),
            },
            "When a run of a ended as succeeded or failed, also while the daemon was down.",
        ),
        (
            {"kind": "unit", "unit": UnitTrigger(name="x.service", states=("failed", "active", "inactive"))},
            "When x.service goes into the state failed, active or inactive.",
        ),
    ],
)
def test_words_of_what_fires_by_no_clock(facts: dict[str, Any], said: str) -> None:
    """What happens is said first, then whether it is seen while nobody looks, and what a run that goes on means."""
    kind = ScheduleKind(facts.pop("kind"))
    schedule = ScheduleDefinition(name="x", kind=kind, overlap=Overlap.QUEUE, queue_depth=7, **facts)
    first, *rest = words.explain_event(schedule)
    assert first == said
    assert rest[-1] == "While a run of it goes on, up to 7 fires wait."
    is_watched = kind in {ScheduleKind.FILE, ScheduleKind.UNIT}
    assert rest[:-1] == (["What happens while the daemon is down is not seen."] if is_watched else [])


def test_words_of_a_span() -> None:
    """Instants in a sentence keep their letters."""
    begin, end = 1_893_456_000_000, 1_924_992_000_000
    assert words.explain(Timing(every_ms=60_000, start_ms=begin, end_ms=end))[1] == (
        "From 2030-01-01T00:00:00.000Z on until 2031-01-01T00:00:00.000Z."
    )
    assert words.explain(Timing(every_ms=60_000, end_ms=end, timezone="Europe/London"))[1] == (
        "Until 2031-01-01 00:00:00 GMT."
    )
