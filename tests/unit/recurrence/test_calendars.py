"""Windows, holidays, spans, instants and jitter: what they let through, and what they move."""

from __future__ import annotations

import os
import random
import re
import time
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from datetime import time as daytime
from itertools import islice, takewhile
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from barbossad.model.schedules import Holidays, OnHoliday, Timing
from barbossad.recurrence import calendar_files, holidays, jitter, moments, words, zones
from barbossad.recurrence.instants import count_between, instants
from barbossad.recurrence.windows import parse_window
from barbossad.validation import RefusalError

CALENDAR = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//company//days//EN
BEGIN:VEVENT
UID:1
DTSTART;VALUE=DATE:20260504
DTEND;VALUE=DATE:20260506
SUMMARY:Works outing
END:VEVENT
BEGIN:VEVENT
UID:2
DTSTART:20260508T100000Z
DTEND:20260508T120000Z
SUMMARY:Inventory
END:VEVENT
END:VCALENDAR
"""

UTC_ZONE = ZoneInfo("UTC")


def ms(text: str) -> int:
    """Return an instant, UTC, in milliseconds."""
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def shown(timing: Timing, after: str, count: int) -> list[tuple[str, str | None]]:
    """Return the next instants, UTC, and why they are skipped."""
    found = islice(instants(timing, ms(after)), count)
    return [(f"{datetime.fromtimestamp(i.at_ms / 1000, UTC):%m-%d %H:%M}", i.skip) for i in found]


@pytest.mark.parametrize(
    ("window", "inside", "outside"),
    [
        ("Mon-Fri 08:00-18:00", ["2026-05-04T08:00", "2026-05-08T17:59:59"], ["2026-05-04T07:59:59", "2026-05-09T12:00",
                                                                             "2026-05-04T18:00"]),
        ("Sat-Sun", ["2026-05-09T00:00", "2026-05-10T23:59:59"], ["2026-05-11T00:00", "2026-05-08T23:59"]),
        ("Fri-Mon", ["2026-05-08T12:00", "2026-05-11T12:00"], ["2026-05-12T12:00"]),
        ("22:00-06:00", ["2026-05-04T22:00", "2026-05-04T05:59"], ["2026-05-04T06:00", "2026-05-04T21:59"]),
        ("Sat 22:00-06:00", ["2026-05-09T23:00", "2026-05-10T05:00"], ["2026-05-09T05:00", "2026-05-10T23:00"]),
        ("00:00-24:00", ["2026-05-09T00:00", "2026-05-09T23:59:59"], []),
        ("2026-12-24", ["2026-12-24T12:00"], ["2027-12-24T12:00", "2026-12-25T00:00"]),
        ("2026-12-24/2027-01-02", ["2026-12-24T00:00", "2027-01-02T23:59"], ["2026-12-23T23:59", "2027-01-03T00:00"]),
        ("12-24/01-02", ["2026-12-31T12:00", "2031-01-02T12:00"], ["2026-01-03T12:00", "2026-12-23T12:00"]),
        ("12-24 08:00-12:00", ["2029-12-24T09:00"], ["2029-12-24T13:00"]),
        ("02-29", ["2028-02-29T12:00"], ["2027-03-01T12:00"]),
    ],
)  # fmt: skip
def test_windows(window: str, inside: list[str], outside: list[str]) -> None:
    """A window covers the wall times that it says, and no others; its end is no part of it."""
    found = parse_window(window)
    assert [text for text in inside if not found.covers(datetime.fromisoformat(text))] == []
    assert [text for text in outside if found.covers(datetime.fromisoformat(text))] == []


def test_within_leaves_out_and_blackout_skips() -> None:
    """Outside of its windows there are no instants; in a blackout they are told, with the reason."""
    timing = Timing(cron="0 */6 * * *", timezone="Europe/London", within=("Mon-Fri",), blackout=("05:00-07:00",))
    assert shown(timing, "2026-05-08T00:00", 6) == [
        ("05-08 05:00", "blackout 05:00-07:00"), ("05-08 11:00", None), ("05-08 17:00", None),
        ("05-10 23:00", None), ("05-11 05:00", "blackout 05:00-07:00"), ("05-11 11:00", None),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("timing", "after", "first"),
    [
        (Timing(every_ms=1000, within=("Mon-Fri 08:00-18:00",)), "2026-05-08T17:59:59", "05-11 08:00"),
        (Timing(cron="* * * * *", within=("12-24",)), "2026-01-01T00:00", "12-24 00:00"),
        (Timing(cron="*/5 * * * *", timezone="Europe/London", within=("01:30-03:00",)), "2026-03-28T12:00",
         "03-29 01:00"),
        (Timing(cron="* * * * *", within=("02-29 12:00-13:00",)), "2026-03-01T00:00", "02-29 12:00"),
        (Timing(every_ms=60_000, within=("22:00-06:00",)), "2026-05-08T05:59", "05-08 22:00"),
    ],
)  # fmt: skip
def test_long_closed_windows(timing: Timing, after: str, first: str) -> None:
    """However many instants lie outside of the windows, the first one inside is found."""
    assert shown(timing, after, 1) == [(first, None)]


@pytest.mark.parametrize("window", ["01:00-01:40", "Sat-Sun 00:30-01:20", "01:30-01:31"])
def test_a_window_that_comes_twice(window: str) -> None:
    """A window that ends in an hour that is repeated opens again with it, as every minute of it comes again."""
    start_ms, end_ms = ms("2026-10-24T23:15"), ms("2026-10-25T03:00")
    timing = Timing(every_ms=60_000, timezone="Europe/London")
    wanted = [
        instant
        for instant in takewhile(lambda instant: instant.at_ms < end_ms, instants(timing, start_ms))
        if parse_window(window).covers(datetime.fromtimestamp(instant.at_ms / 1000, ZoneInfo("Europe/London")))
    ]
    assert len({instant.at_ms // 3_600_000 for instant in wanted}) == 2 + window.startswith("Sat")
    found = instants(replace(timing, within=(window,)), start_ms)
    assert list(takewhile(lambda instant: instant.at_ms < end_ms, found)) == wanted


@pytest.mark.parametrize(
    "timing",
    [
        Timing(cron="0 9 * * *", within=("10:00-11:00",)),
        Timing(every_ms=86_400_000, within=("10:00-11:00", "12-24 12:00-13:00")),
        Timing(cron="* * * * *", within=("2020-01-01",)),
    ],
)
def test_windows_that_never_fit(timing: Timing) -> None:
    """Where no instant ever lies in a window there is none, and that is found out."""
    assert shown(timing, "2026-01-01T00:00", 1) == []


def test_a_day_that_fits_in_years() -> None:
    """A window that fits a seldom expression once in many years is waited for."""
    timing = Timing(cron="0 12 29 2 *", within=("Mon",))
    found = next(instants(timing, ms("2026-01-01")))
    assert f"{datetime.fromtimestamp(found.at_ms / 1000, UTC):%Y-%m-%d %a}" == "2044-02-29 Mon"


def test_the_next_day_of_a_window() -> None:
    """It is the one that is found by looking at each, whatever goes together: weekdays, dates, years, nights."""
    chance = random.Random(5)

    def day_of_a_year() -> str:
        return f"{chance.randint(1, 12):02}-{chance.randint(1, 28):02}" if chance.random() < 0.8 else "02-29"

    def dates() -> str:
        if chance.random() < 0.3:
            first = date(2024, 1, 1) + timedelta(days=chance.randint(0, 1500))
            return f"{first}/{first + timedelta(days=chance.randint(0, 40))}"
        return day_of_a_year() + (f"/{day_of_a_year()}" if chance.random() < 0.6 else "")

    for _ in range(300):
        choices = (["Mon", "Sat-Sun", "Tue-Thu", ""], [dates(), ""], ["22:00-06:00", "08:00-09:00", ""])
        text = " ".join(part for part in map(chance.choice, choices) if part)
        window = parse_window(text or "Mon")
        start = date(2023, 1, 1) + timedelta(days=chance.randint(0, 2500))
        days = (start + timedelta(days=number) for number in range(9 * 366))
        hours = [daytime(hour) for hour in (0, 8, 23)]
        expected = next((day for day in days if any(window.covers(datetime.combine(day, at)) for at in hours)), None)
        found = window.next_day(start)
        if found is None or (found - start).days < 9 * 366:
            assert found == expected, (text, start)


def test_holidays_of_a_country() -> None:
    """A fire on a holiday is skipped with its name, or moved to the next day that is none."""
    british = Holidays(country="GB", subdivision="ENG")
    timing = Timing(cron="0 9 * * *", timezone="Europe/London", holidays=british)
    assert shown(timing, "2026-12-24T00:00", 3) == [
        ("12-24 09:00", None), ("12-25 09:00", "holiday: Christmas Day"), ("12-26 09:00", "holiday: Boxing Day"),
    ]  # fmt: skip
    weekly = Timing(cron="0 9 25 12 *", timezone="Europe/London", holidays=british, on_holiday=OnHoliday.BEFORE)
    assert shown(weekly, "2026-12-01T00:00", 1) == [("12-24 09:00", None)]
    later = Timing(cron="0 9 25 12 *", timezone="Europe/London", holidays=british, on_holiday=OnHoliday.AFTER)
    assert shown(later, "2026-12-01T00:00", 1) == [("12-27 09:00", None)]
    assert shown(later, "2026-12-26T00:00", 1) == [("12-27 09:00", None)]  # also seen from between the two days


def test_moved_fires_that_meet_are_one() -> None:
    """A daily fire moved onto the next day's is that one: no instant comes twice."""
    timing = Timing(
        cron="0 9 * * *", timezone="Europe/London", holidays=Holidays(country="GB"), on_holiday=OnHoliday.BEFORE
    )
    found = shown(timing, "2026-12-23T12:00", 4)
    assert [at for at, _ in found] == ["12-24 09:00", "12-27 09:00", "12-29 09:00", "12-30 09:00"]  # 28: a substitute


def test_holidays_of_a_file(tmp_path: Path) -> None:
    """Each day that an event of an iCalendar file touches is a holiday, and a changed file is read again."""
    file = tmp_path / "company.ics"
    file.write_text(CALENDAR)
    timing = Timing(cron="0 9 * * *", timezone="UTC", holidays=Holidays(file=str(file)))
    assert shown(timing, "2026-05-03T12:00", 6) == [
        ("05-04 09:00", "holiday: Works outing"), ("05-05 09:00", "holiday: Works outing"), ("05-06 09:00", None),
        ("05-07 09:00", None), ("05-08 09:00", "holiday: Inventory"), ("05-09 09:00", None),
    ]  # fmt: skip
    file.write_text(CALENDAR.replace("20260504", "20260503"))
    assert shown(timing, "2026-05-03T00:00", 1) == [("05-03 09:00", "holiday: Works outing")]


def test_recurring_events_of_a_file(tmp_path: Path) -> None:
    """What recurs in a file is a holiday each time, but for what it takes out; a duration counts like an end."""
    file = tmp_path / "yearly.ics"
    rule = "DTSTART;VALUE=DATE:20200504\nDURATION:P2D\nRRULE:FREQ=YEARLY\nEXDATE;VALUE=DATE:20270504\n"
    file.write_text(re.sub(r"DTSTART;VALUE.*?\nDTEND.*?\n", rule, CALENDAR))
    calendar = Holidays(file=str(file))
    for year, name in ((2019, None), (2026, "Works outing"), (2027, None), (2040, "Works outing")):
        assert [holidays.name_of(calendar, date(year, 5, day), UTC_ZONE) for day in (3, 4, 5, 6)] == [
            None,
            name,
            name,
            None,
        ]


@pytest.mark.parametrize(
    ("event", "zone", "days"),
    [
        ("DTSTART:20261214T230000Z\nDTEND:20261215T230000Z", "Europe/Berlin", [15]),
        ("DTSTART:20261214T230000Z\nDTEND:20261215T230000Z", "UTC", [14, 15]),
        ("DTSTART:20261214T230000Z\nDTEND:20261215T230001Z", "Europe/Berlin", [15, 16]),
        ("DTSTART:20261215T080000Z\nDTEND:20261215T120000Z", "Pacific/Kiritimati", [15, 16]),
        ("DTSTART;TZID=Europe/Berlin:20261215T000000\nDURATION:P1D", "Asia/Tokyo", [15, 16]),
        ("DTSTART;VALUE=DATE:20261215\nDTEND;VALUE=DATE:20261216", "Asia/Tokyo", [15]),
        ("DTSTART:20261215T230000\nDTEND:20261216T000000", "Asia/Tokyo", [15]),
        ("DTSTART:20261215T080000Z\nDTEND:20261215T120000Z\nSTATUS:CANCELLED", "UTC", []),
        ("DTSTART:20191215T230000Z\nDURATION:PT1H\nRRULE:FREQ=YEARLY", "Europe/Berlin", [16]),
    ],
)  # fmt: skip
def test_days_of_an_event_are_those_of_the_zone(tmp_path: Path, event: str, zone: str, days: list[int]) -> None:
    """An event with a time counts on the days of the zone that it touches, and one that was cancelled on none."""
    file = tmp_path / "one.ics"
    file.write_text(
        f"BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:x\nBEGIN:VEVENT\nUID:1\n{event}\nEND:VEVENT\nEND:VCALENDAR\n"
    )
    calendar = Holidays(file=str(file))
    named = [day for day in range(1, 32) if holidays.name_of(calendar, date(2026, 12, day), ZoneInfo(zone))]
    assert named == days


def test_an_event_at_the_turn_of_the_year_counts_in_the_year_of_the_zone(tmp_path: Path) -> None:
    """The first hour of a year in Berlin lies in the old one in UTC: it is a holiday of the new one."""
    file = tmp_path / "one.ics"
    file.write_text(CALENDAR.replace("20260508T100000Z", "20261231T230000Z").replace("20260508T1200", "20270101T0000"))
    calendar, berlin = Holidays(file=str(file)), ZoneInfo("Europe/Berlin")
    assert holidays.name_of(calendar, date(2026, 12, 31), berlin) is None
    assert holidays.name_of(calendar, date(2027, 1, 1), berlin) == "Inventory"


def test_one_cancelled_time_of_a_series_is_no_holiday(tmp_path: Path) -> None:
    """Where one occurrence of an event that recurs was cancelled, the others stay."""
    file = tmp_path / "series.ics"
    event = "BEGIN:VEVENT\nUID:1\nDTSTART:202605{0}T100000Z\nDTEND:202605{0}T120000Z\n{1}\nEND:VEVENT\n"
    series = event.format("08", "RRULE:FREQ=WEEKLY;COUNT=3")
    gone = event.format("15", "RECURRENCE-ID:20260515T100000Z\nSTATUS:CANCELLED")
    file.write_text(f"BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:x\n{series}{gone}END:VCALENDAR\n")
    days = [day for day in range(6, 31) if holidays.name_of(Holidays(file=str(file)), date(2026, 5, day), UTC_ZONE)]
    assert days == [8, 22]


def test_a_file_that_cannot_be_read_is_told_of(tmp_path: Path) -> None:
    """A calendar file that is missing or none has no holidays, and says so."""
    missing = Holidays(file=str(tmp_path / "missing.ics"))
    assert "No such file" in holidays.trouble(missing, 2026)
    with pytest.raises(RefusalError, match="No such file"):
        holidays.check(missing)
    assert shown(Timing(cron="0 9 * * *", holidays=missing), "2026-05-03T12:00", 1) == [("05-04 09:00", None)]
    broken = tmp_path / "broken.ics"
    broken.write_text("this is no calendar")
    assert "no iCalendar file" in holidays.trouble(Holidays(file=str(broken)), 2026)


def calendar_of(*events: str) -> str:
    each = "".join(f"BEGIN:VEVENT\nUID:{number}\n{event}\nEND:VEVENT\n" for number, event in enumerate(events))
    return f"BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:x\n{each}END:VCALENDAR\n"


@pytest.mark.parametrize("kind", ["device", "pipe", "folder"])
def test_a_file_of_holidays_is_a_regular_one(tmp_path: Path, kind: str) -> None:
    """What would never end, or be waited for, is not opened."""
    path = {"device": Path("/dev/zero"), "folder": tmp_path}.get(kind, tmp_path / "pipe")
    if kind == "pipe":
        os.mkfifo(path)
    assert holidays.trouble(Holidays(file=str(path)), 2026) == f"{path}: it is no regular file"
    assert holidays.name_of(Holidays(file=str(path)), date(2026, 5, 4), UTC_ZONE) is None


def test_a_file_of_holidays_is_read_up_to_a_size(tmp_path: Path) -> None:
    """A file that is too large is said to be."""
    file = tmp_path / "large.ics"
    file.write_bytes(b"\n" * (calendar_files.MAX_FILE_BYTES + 1))
    assert "larger than 4M" in holidays.trouble(Holidays(file=str(file)), 2026)


def test_what_a_file_of_holidays_says_is_not_repeated(tmp_path: Path) -> None:
    """The daemon opens it, and those who see that it is no calendar may not be meant to see what it is."""
    file = tmp_path / "private"
    file.write_text("root:secret:20000\n")
    assert holidays.trouble(Holidays(file=str(file)), 2026) == f"{file}: it is no iCalendar file"


@pytest.mark.parametrize(
    "rule",
    [
        "DTSTART:19700101T000000Z\nRRULE:FREQ=SECONDLY",
        "DTSTART:19700101T000000Z\nRRULE:FREQ=HOURLY;BYMONTH=2;BYMONTHDAY=30",
        "DTSTART;VALUE=DATE:19700101\nRRULE:FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30",
        "DTSTART:20260101T000000Z\nRRULE:FREQ=DAILY;BYHOUR=0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18;BYMINUTE="
        + ",".join(map(str, range(60))) + ";BYSECOND=" + ",".join(map(str, range(60))),
    ],
)  # fmt: skip
def test_what_recurs_without_end_is_given_up(tmp_path: Path, rule: str) -> None:
    """Rules that would be worked on for minutes are given up after a while; that is said, and found out only once."""
    file = tmp_path / "often.ics"
    file.write_text(calendar_of(*[rule] * 3))
    often, start = Holidays(file=str(file)), time.process_time()
    assert "what recurs in it is too much for 2026; let events recur by the day" in holidays.trouble(often, 2026)
    assert time.process_time() - start < 30
    assert holidays.name_of(often, date(2026, 5, 4), UTC_ZONE) is None
    start = time.process_time()
    assert all(holidays.trouble(often, 2026) for _ in range(100))
    assert time.process_time() - start < 1


def test_a_file_of_very_many_events_is_given_up(tmp_path: Path) -> None:
    """So is a file that is long to read, with a word on what to do."""
    file = tmp_path / "many.ics"
    file.write_text(calendar_of(*["DTSTART;VALUE=DATE:20260504"] * 10_000))
    assert "there is too much in it; split it" in holidays.trouble(Holidays(file=str(file)), 2026)


def test_a_calendar_of_the_usual_size_is_known(tmp_path: Path) -> None:
    """The bounds leave room for what people have: three hundred days that come each year."""
    file = tmp_path / "usual.ics"
    event = "DTSTART;VALUE=DATE:2016{0:02}{1:02}\nRRULE:FREQ=YEARLY\nSUMMARY:Day {1}"
    file.write_text(calendar_of(*[event.format(month, day) for month in range(1, 13) for day in range(1, 26)]))
    usual = Holidays(file=str(file))
    assert holidays.trouble(usual, 2026) == ""
    assert holidays.name_of(usual, date(2040, 12, 25), UTC_ZONE) == "Day 25"


def test_holidays_that_are_not_known_any_more_are_told_of() -> None:
    """The library knows each country's for some years; later ones are days as others, and that is said."""
    british = Holidays(country="GB", subdivision="ENG")
    assert holidays.trouble(british, 2100) == ""
    said = "olidays of GB are known up to the end of 2100, and no day after that counts as one"
    assert holidays.trouble(british, 2101) == f"h{said}"
    timing = Timing(cron="0 9 25 12 *", timezone="Europe/London", holidays=british)
    first = next(instant for instant in instants(timing, ms("2026-01-01")) if instant.skip is None)
    assert first.at_ms == ms("2101-12-25T09:00")
    assert words.beyond_holidays(timing, first.at_ms) == [f"H{said}."]
    assert words.beyond_holidays(timing, ms("2100-12-31T23:00")) == []
    assert words.beyond_holidays(Timing(cron="0 9 25 12 *"), first.at_ms) == []


@pytest.mark.parametrize(
    ("country", "subdivision", "words_"), [("XX", None, "no known country"), ("GB", "TEX", "no known part of GB")]
)
def test_unknown_countries(country: str, subdivision: str | None, words_: str) -> None:
    """A country, or part of one, that is not known is refused with those that are."""
    with pytest.raises(RefusalError, match=words_) as refusal:
        holidays.check(Holidays(country=country, subdivision=subdivision))
    assert refusal.value.hint


def test_between_and_at() -> None:
    """Nothing comes before the start or from the end on; instants of ``at`` come once each, in order."""
    timing = Timing(every_ms=3_600_000, start_ms=ms("2026-05-04T10:00"), end_ms=ms("2026-05-04T12:00"))
    assert shown(timing, "2026-05-01T00:00", 9) == [("05-04 10:00", None), ("05-04 11:00", None)]
    at = Timing(at_ms=(ms("2026-05-05T00:00"), ms("2026-05-04T00:00"), ms("2026-05-04T00:00")))
    assert shown(at, "2026-05-01T00:00", 9) == [("05-04 00:00", None), ("05-05 00:00", None)]


def test_every_is_aligned_to_its_anchor() -> None:
    """Intervals are multiples away from the anchor, before it too, whatever the clocks do."""
    timing = Timing(every_ms=900_000, anchor_ms=ms("2026-05-04T00:05"), timezone="Europe/London")
    assert shown(timing, "2026-03-29T00:50", 3) == [("03-29 01:05", None), ("03-29 01:20", None), ("03-29 01:35", None)]
    assert count_between(timing, ms("2026-03-29T00:50"), ms("2026-03-29T01:35"), 100) == 3
    assert count_between(timing, ms("2020-01-01"), ms("2026-03-29"), 100) == 100


@pytest.mark.parametrize(
    "timing",
    [
        Timing(every_ms=36_500 * 86_400_000),
        Timing(every_ms=36_500 * 86_400_000, timezone="America/New_York", within=("00:00-24:00",)),
        Timing(every_ms=36_500 * 86_400_000, holidays=Holidays(country="GB"), on_holiday=OnHoliday.AFTER),
        Timing(cron="0 0 29 2 Mon", timezone="America/New_York"),
        Timing(cron="*/5 0 29 2 *", timezone="Pacific/Apia", blackout=("Mon",)),
    ],
)
def test_a_series_ends_with_the_years_that_can_be_told(timing: Timing) -> None:
    """From before all years to after them: what cannot be told ends the series, and nothing breaks."""
    first, *_ = islice(instants(timing, -(2**45) * 1000), 3)
    assert first.at_ms >= moments.EARLIEST_MS
    last = list(islice(instants(timing, moments.LATEST_MS - 200 * 366 * 86_400_000), 100_000))[-1]
    assert last.at_ms < moments.LATEST_MS
    assert list(instants(timing, last.at_ms)) == []
    assert list(instants(timing, 2**60)) == []


def test_jitter_is_stable_and_spread() -> None:
    """Each schedule has a delay of its own, always the same, below the jitter, and they are spread over all of it."""
    found = [jitter.offset_ms(f"w{number}/cron-1", 300) for number in range(500)]
    assert found == [jitter.offset_ms(f"w{number}/cron-1", 300) for number in range(500)]
    assert all(0 <= offset < 300_000 for offset in found)
    assert min(found) < 15_000
    assert max(found) > 285_000
    assert jitter.offset_ms("w/cron-1", 0) == 0
    assert len({jitter.offset_ms("w/cron-1", 300, host) for host in ("one", "two", "three")}) == 3


@pytest.mark.parametrize(
    ("value", "zone", "instant"),
    [
        ("2026-12-24T18:00:00Z", None, "2026-12-24T18:00"),
        ("2026-12-24T18:00:00+05:30", None, "2026-12-24T12:30"),
        ("2026-07-01 10:00", "Europe/London", "2026-07-01T09:00"),
        ("2026-07-01", "Europe/London", "2026-06-30T23:00"),
        ("2026-03-29 01:30", "Europe/London", "2026-03-29T01:00"),
        ("2026-10-25 01:30", "Europe/London", "2026-10-25T00:30"),
    ],
)
def test_moments(value: str, zone: str | None, instant: str) -> None:
    """An instant is what it says with its offset, or in a zone: the first of two, right after a gap."""
    assert moments.parse_moment(value, zone) == ms(instant)


def test_a_date_as_an_end_counts_to_its_end() -> None:
    """A date alone as an end includes that day."""
    assert moments.parse_moment("2026-07-01", "UTC", is_end=True) == ms("2026-07-02T00:00")


@pytest.mark.parametrize("name", ["localtime", "posixrules", "Factory", "posix/Europe/London", "localtme", "Factry"])
def test_what_is_proposed_for_a_zone_is_one(name: str) -> None:
    """A file that stands among the zones and is none is refused, and never proposed."""
    with pytest.raises(RefusalError, match="is not a time zone") as refusal:
        zones.zone(name)
    proposed = refusal.value.hint.partition("did you mean '")[2].partition("'")[0]
    assert not proposed or (proposed != name and zones.zone(proposed))


def test_clock_changes() -> None:
    """The next changes of a zone are found to the second, and a zone without any has none."""
    found = zones.clock_changes("Australia/Lord_Howe", ms("2026-01-01"), 2)
    assert [(change.at_ms, change.is_gap) for change in found] == [
        (ms("2026-04-04T15:00"), False), (ms("2026-10-03T15:30"), True),
    ]  # fmt: skip
    assert zones.clock_changes("Asia/Kolkata", ms("2026-01-01"), 2) == []


CLOCKS = "a time that does not exist runs right after the gap, and one that comes twice runs the first time"


def test_words() -> None:
    """What decides the instants is said in sentences."""
    timing = Timing(
        cron="30 1 * * 1-5", timezone="Europe/London", within=("08:00-18:00",), blackout=("12-24/01-02",),
        holidays=Holidays(country="GB", subdivision="SCT"), on_holiday=OnHoliday.AFTER,
    )  # fmt: skip
    assert words.explain(timing) == [
        "At 01:30, Monday through Friday, Europe/London time.",
        "Only within 08:00-18:00.",
        "Skipped in 12-24/01-02.",
        "On holidays of GB-SCT: on the first day after.",
        f"When the clocks change, {CLOCKS}.",
    ]
    assert words.explain(Timing(every_ms=900_000))[0] == "Every 15m, counted from 1970-01-01T00:00:00.000Z."


@pytest.mark.parametrize(
    ("variable", "localtime", "named", "expected"),
    [
        ("", "Europe/Berlin", "Etc/UTC", "Europe/Berlin"),
        (":Asia/Kolkata", "Europe/Berlin", "Etc/UTC", "Asia/Kolkata"),
        ("nowhere", "Europe/Berlin", "", "Europe/Berlin"),
        ("", None, "America/New_York", "America/New_York"),
        ("", None, "", "UTC"),
    ],
)
def test_the_zone_of_the_host(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str, localtime: str | None, named: str, expected: str
) -> None:
    """It is what programs go by: TZ, or what /etc/localtime leads to. /etc/timezone counts where that has no name."""
    link, name = tmp_path / "localtime", tmp_path / "timezone"
    name.write_text(f"{named}\n")
    if localtime is None:
        link.write_bytes(b"a copy")
    else:
        link.symlink_to(f"/usr/share/zoneinfo/{localtime}")
    monkeypatch.setenv("TZ", variable)
    monkeypatch.setattr(zones, "_LOCALTIME", str(link))
    monkeypatch.setattr(zones, "_NAMED", str(name))
    assert zones.host_zone() == expected
