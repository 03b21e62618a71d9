"""A year of a thousand schedules in twelve zones, on a clock that jumps from one instant to the next."""

from __future__ import annotations

import random
from collections import defaultdict
from datetime import UTC, datetime

import pytest

from barbossad.model.names import WorkflowName
from barbossad.model.schedules import Dst, ScheduleDefinition, ScheduleKind, ScheduleRecord, ScheduleSource, Timing
from barbossad.scheduler.book import Book, Why
from barbossad.scheduler.due import due
from tests.helpers import cron_oracle

ZONES = (
    *("Europe/London", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "UTC", "Asia/Kolkata"),
    *("Africa/Cairo", "America/Santiago", "Europe/Dublin", "Asia/Beirut", "Pacific/Chatham", "America/St_Johns"),
)
START_MS = round(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000)
END_MS = round(datetime(2027, 1, 1, tzinfo=UTC).timestamp() * 1000)
COUNT = 1000


def expression(chance: random.Random) -> str:
    """Return an expression as people have them, from some a year to one an hour."""
    minute, hour = chance.randint(0, 59), chance.randint(0, 23)
    night = chance.randint(0, 3)
    return chance.choices(
        [
            f"{minute} {night} * * *",
            f"{minute} {hour} * * {chance.choice(['1-5', 'mon', '0,6', ['sun', '1'][0]])}",
            f"{minute} {hour} {chance.randint(1, 28)} * *",
            f"{minute} {hour} 1 {chance.randint(1, 12)} *",
            f"{minute} {night},{hour} 1,15 * 1",
            f"{minute} */{chance.randint(4, 8)} * * *",
            f"{minute} * * * {chance.randint(0, 6)}",
            f"{minute} * * * *",
        ],
        weights=[30, 20, 15, 10, 10, 6, 6, 1],
    )[0]


def record(number: int, chance: random.Random) -> ScheduleRecord:
    """Return a schedule, some with jitter."""
    timing = Timing(cron=expression(chance), timezone=chance.choice(ZONES), dst=chance.choice(list(Dst)))
    definition = ScheduleDefinition(
        name="cron-1", kind=ScheduleKind.CRON, timing=timing, jitter_seconds=chance.choice([0, 0, 300])
    )
    return ScheduleRecord(
        id=f"w{number}/cron-1", workflow=WorkflowName(f"w{number}"), definition=definition,
        source=ScheduleSource.FILE, watermark=START_MS, added_at_ms=START_MS, added_by="anne",
    )  # fmt: skip


@pytest.mark.timeout(900)
def test_a_year_of_a_thousand_schedules() -> None:
    """Every fire is one of the oracle's, none comes twice, and none is lost; each comes at its time plus its jitter."""
    chance = random.Random(2026)
    book = Book()
    for number in range(COUNT):
        book.arm(book.put(record(number, chance)))
    fired: defaultdict[str, list[int]] = defaultdict(list)
    while (now_ms := book.first_ms) is not None and now_ms < END_MS + 300_000:
        for why, entry, _ in book.take(now_ms):
            assert why is Why.DUE
            found = due(entry.record.definition, entry.offset_ms, entry.record.watermark, now_ms)
            assert found.passed == ()
            assert [at_ms + entry.offset_ms for at_ms in found.start] == [now_ms]
            fired[entry.record.id] += found.start
            book.decided(entry, found.watermark, found.following)
    total = 0
    for entry in book.entries.values():
        timing = entry.record.definition.timing
        assert timing is not None
        assert timing.cron is not None
        expected = cron_oracle.fires(timing.cron, timing.timezone, START_MS, END_MS, timing.dst)
        assert [at_ms for at_ms in fired[entry.record.id] if at_ms < END_MS] == expected, (timing.cron, timing.timezone)
        total += len(expected)
    assert total > 100_000
