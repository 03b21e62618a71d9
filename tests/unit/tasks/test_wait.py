from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from barbossad.errors import BarbossaError
from barbossad.tasks import wait
from barbossad.tasks._api import WorkerContext
from barbossad.tasks._job import Job
from barbossad.tasks._types import TaskType

CONTEXT = WorkerContext(run_id="r1", task_id="t1", attempt=1)


def params(**given: Any) -> wait.Params:
    return wait.Params.model_validate(given)


@pytest.mark.parametrize(
    ("task", "seconds"),
    [("wait: 90", 90.0), ("wait: 0.5", 0.5), ("wait: 1h30m", 5400.0), ("wait: {duration: 10s}", 10.0)],
)
def test_a_duration_may_stand_bare(command_of: Any, task: str, seconds: float) -> None:
    """A number of seconds or a duration, with the key or without."""
    assert Job.decode(command_of(task).script).params == {"duration": seconds}


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2030-01-31T02:00:00Z", datetime(2030, 1, 31, 2, tzinfo=UTC)),
        ("2030-01-31t02:00:00z", datetime(2030, 1, 31, 2, tzinfo=UTC)),
        ("2030-01-31 02:00:00.25+01:00", datetime(2030, 1, 31, 1, 0, 0, 250_000, tzinfo=UTC)),
    ],
)
def test_an_instant_says_where_it_is(text: str, instant: datetime) -> None:
    """RFC 3339 with its zone, as section 5.6 has it."""
    assert params(until=text).until == instant


@pytest.mark.parametrize("text", ["2030-01-31T02:00Z", "20300131T020000Z", "2030-W05-4T02:00:00Z", "soon", "٢٠٣٠"])
def test_what_is_no_instant_is_refused(text: str) -> None:
    """Other forms of ISO 8601 are not what people mean by it."""
    with pytest.raises(ValueError, match="is no instant"):
        params(until=text)


def test_an_expression_gives_an_instant(command_of: Any) -> None:
    """Its value is held against the type when the task starts."""
    task = "wait: {until: '{{ params.at }}'}"
    assert Job.decode(command_of(task, {"at": "2030-01-31T02:00:00Z"}).script).params["until"].startswith("2030-01-31T")
    with pytest.raises(BarbossaError, match="'until' does not say in which time zone"):
        command_of(task, {"at": "2030-01-31T02:00:00"})


async def test_it_waits_as_long_as_it_says() -> None:
    """Not shorter; what it tells is how long it was."""
    began = time.monotonic()
    outputs = await wait.run(CONTEXT, params(duration=0.05))
    assert time.monotonic() - began >= 0.05
    assert 0.05 <= outputs.waited_seconds <= time.monotonic() - began + 0.001


async def test_it_waits_until_the_instant_whatever_the_clock_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock is looked at again and again: one that is set back meanwhile does not let the wait end early."""
    monkeypatch.setattr(wait, "LOOK_SECONDS", 0.001)
    times = iter([1000.0, 1009.9, 900.0, 1010.0])
    monkeypatch.setattr(wait.time, "time", lambda: next(times))
    await wait.run(CONTEXT, params(until=datetime.fromtimestamp(1010, UTC).isoformat()))
    assert next(times, None) is None


async def test_an_instant_that_has_passed_is_not_waited_for() -> None:
    """It ends at once and says so."""
    past = datetime.now(UTC) - timedelta(days=1)
    assert (await wait.run(CONTEXT, params(until=past.isoformat()))).waited_seconds < 20


def test_it_may_be_done_again(types: dict[str, TaskType]) -> None:
    """An interrupted wait does no harm when it is begun anew."""
    assert types["wait"].is_repeatable
    assert types["wait"].is_worker
