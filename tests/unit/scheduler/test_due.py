"""Which fires are due, missed, or let pass."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from barbossad.model.schedules import CatchUp, FireState, ScheduleDefinition, ScheduleKind, Timing
from barbossad.scheduler.due import COUNTED, GRACE_MS, Passed, due
from tests.helpers.records import NOON_MS

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR


def hourly(**more: Any) -> ScheduleDefinition:
    """Return a schedule that fires at every full hour, UTC."""
    return ScheduleDefinition(name="hourly", kind=ScheduleKind.EVERY, timing=Timing(every_ms=HOUR), **more)


def test_nothing_is_due_before_its_time() -> None:
    """A millisecond before an instant nothing is decided."""
    found = due(hourly(), 0, NOON_MS, NOON_MS + HOUR - 1)
    assert (found.start, found.passed, found.watermark) == ((), (), NOON_MS)


@pytest.mark.parametrize("catch_up", CatchUp)
def test_in_time(catch_up: CatchUp) -> None:
    """An instant whose time has come is run, whatever becomes of those that are missed."""
    found = due(hourly(catch_up=catch_up), 0, NOON_MS, NOON_MS + HOUR)
    assert (found.start, found.passed, found.watermark) == ((NOON_MS + HOUR,), (), NOON_MS + HOUR)


def test_jitter_comes_after_the_nominal_time() -> None:
    """With jitter it is due later, and its nominal time stays what it is."""
    assert due(hourly(), 5 * MINUTE, NOON_MS, NOON_MS + HOUR + 5 * MINUTE - 1).start == ()
    assert due(hourly(), 5 * MINUTE, NOON_MS, NOON_MS + HOUR + 5 * MINUTE).start == (NOON_MS + HOUR,)


@pytest.mark.parametrize("late_ms", [GRACE_MS, GRACE_MS + 1])
def test_none_runs_only_what_is_hardly_late(late_ms: int) -> None:
    """Without catch-up a fire may be a minute late and no more."""
    found = due(hourly(catch_up=CatchUp.NONE), 0, NOON_MS, NOON_MS + HOUR + late_ms)
    if late_ms <= GRACE_MS:
        assert found.start == (NOON_MS + HOUR,)
    else:
        (passed,) = found.passed
        assert found.start == ()
        assert (passed.state, passed.count, passed.nominal_ms) == (FireState.MISSED, 1, NOON_MS + HOUR)
        assert "catch_up is none" in passed.reason
    assert found.watermark == NOON_MS + HOUR


def test_last_runs_the_newest_for_all() -> None:
    """After a downtime of five hours one run makes up for five, and the other four are recorded as missed."""
    found = due(hourly(catch_up=CatchUp.LAST), 0, NOON_MS, NOON_MS + 5 * HOUR + 10 * MINUTE)
    assert found.start == (NOON_MS + 5 * HOUR,)
    (passed,) = found.passed
    assert (passed.nominal_ms, passed.count, passed.state) == (NOON_MS + HOUR, 4, FireState.MISSED)
    assert "makes up for it" in passed.reason


def test_last_runs_nothing_that_is_too_old() -> None:
    """What is older than the window is not run."""
    schedule = hourly(catch_up=CatchUp.LAST, catch_up_window_seconds=600)
    found = due(schedule, 0, NOON_MS, NOON_MS + 5 * HOUR + 11 * MINUTE)
    assert found.start == ()
    assert sum(passed.count for passed in found.passed) == 5
    assert {passed.reason for passed in found.passed} == {"it was missed by more than the catch_up_window of 10m"}
    assert found.watermark == NOON_MS + 5 * HOUR


def test_all_runs_each_of_the_window() -> None:
    """All that were missed are run, the oldest first, as far as the window goes."""
    schedule = hourly(catch_up=CatchUp.ALL, catch_up_window_seconds=2.5 * 3600)
    found = due(schedule, 0, NOON_MS, NOON_MS + 5 * HOUR)
    assert found.start == tuple(NOON_MS + number * HOUR for number in (3, 4, 5))
    assert sum(passed.count for passed in found.passed) == 2
    assert "catch_up_window" in found.passed[0].reason


def test_all_has_a_cap() -> None:
    """No more than the limit are run, and the newest of them."""
    schedule = hourly(catch_up=CatchUp.ALL, catch_up_limit=3)
    found = due(schedule, 0, NOON_MS, NOON_MS + 10 * HOUR)
    assert found.start == tuple(NOON_MS + number * HOUR for number in (8, 9, 10))
    (passed,) = found.passed
    assert (passed.count, passed.nominal_ms) == (7, NOON_MS + HOUR)
    assert "catch_up_limit: 3" in passed.reason


@pytest.mark.parametrize("catch_up", CatchUp)
def test_every_instant_is_decided_once(catch_up: CatchUp) -> None:
    """However time is cut into turns, each instant is either run or recorded, and none is decided twice."""
    schedule = hourly(catch_up=catch_up, catch_up_limit=2)
    last, decided = NOON_MS, 0
    for now in (HOUR // 2, HOUR, 2 * HOUR + 5, 7 * HOUR, 7 * HOUR + 1, 30 * HOUR, 30 * HOUR + 59 * MINUTE):
        found = due(schedule, 0, last, NOON_MS + now)
        decided += len(found.start) + sum(passed.count for passed in found.passed)
        last = found.watermark
    assert decided == 30
    assert last == NOON_MS + 30 * HOUR


def test_a_long_absence_is_quick_and_told() -> None:
    """A schedule of seconds that was not there for a year: one run, and a count that says where it stops."""
    schedule = replace(hourly(), timing=Timing(every_ms=1000))
    found = due(schedule, 0, NOON_MS, NOON_MS + 366 * DAY)
    assert found.start == (NOON_MS + 366 * DAY,)
    assert found.passed[0].count == COUNTED
    assert "more than are counted" in found.passed[0].reason
    assert found.watermark == NOON_MS + 366 * DAY


def test_a_long_hold_is_quick() -> None:
    """Of a year that was held, nothing is looked at one by one beyond what might still be run, and what is counted."""
    asked: list[int] = []

    def held(at_ms: int) -> str:
        asked.append(at_ms)
        return "held"

    schedule = replace(hourly(), timing=Timing(every_ms=1000))
    found = due(schedule, 0, NOON_MS, NOON_MS + 366 * DAY, held=held)
    assert (found.start, found.watermark) == ((), NOON_MS + 366 * DAY)
    assert found.passed[-1].until_ms == NOON_MS + 366 * DAY
    assert len(asked) < COUNTED + 100_000


def test_blackouts_are_let_pass_and_told() -> None:
    """Instants in a blackout are skipped with their reason, and neither run nor missed."""
    schedule = replace(hourly(), timing=Timing(every_ms=HOUR, blackout=("13:30-15:30",)))
    found = due(schedule, 0, NOON_MS, NOON_MS + 4 * HOUR)
    assert found.start == (NOON_MS + 4 * HOUR,)
    states = {(passed.state, passed.count) for passed in found.passed}
    assert states == {(FireState.MISSED, 1), (FireState.SKIPPED, 2)}


def test_a_stretch_of_one_reason_is_one() -> None:
    """Fires that are let pass for the same reason, one after another, are told together."""
    schedule = replace(hourly(), timing=Timing(every_ms=HOUR, blackout=("00:00-24:00",)))
    found = due(schedule, 0, NOON_MS, NOON_MS + 3 * HOUR)
    assert (found.start, found.watermark) == ((), NOON_MS + 3 * HOUR)
    assert found.passed == (
        Passed(
            nominal_ms=NOON_MS + HOUR, until_ms=NOON_MS + 3 * HOUR, count=3, state=FireState.SKIPPED,
            reason="blackout 00:00-24:00",
        ),
    )  # fmt: skip


@pytest.mark.parametrize("catch_up", [CatchUp.NONE, CatchUp.LAST])
def test_of_several_that_come_at_once_the_newest_runs(catch_up: CatchUp) -> None:
    """A daemon that was away for two seconds missed nothing for long: the newest makes up, and it is said so."""
    schedule = replace(hourly(catch_up=catch_up), timing=Timing(every_ms=1000))
    found = due(schedule, 0, NOON_MS, NOON_MS + 3000)
    assert found.start == (NOON_MS + 3000,)
    (passed,) = found.passed
    assert (passed.count, passed.reason) == (2, "the next one was due before it could be made, and makes up for it")
