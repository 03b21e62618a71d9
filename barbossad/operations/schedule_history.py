"""What came of fires: their history, and its figures."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field
from typing_extensions import TypedDict

from barbossad.errors import ConflictError, NotFoundError
from barbossad.model.schedules import FireState
from barbossad.operations.fields import Limit, Name
from barbossad.operations.registry import Params, define
from barbossad.operations.schedule_views import FireView, fire_view
from barbossad.operations.schedules import ScheduleName
from barbossad.operations.services import Call
from barbossad.security.access import Role
from barbossad.validation import RefusalError, shown

DAY_MS: Final = 86_400_000

REASONS: Final = 20
"""So many reasons are told, those of most fires."""

_PASSING: Final = re.compile(r"\b[0-9a-hjkmnp-tv-z]{10}\b(?=.* has not ended)|\b\d{4}-\d\d-\d\dT[\d:.]+Z")
"""What differs from fire to fire in reasons that are one: the run before, and the instant."""

State = Literal["queued", "started", "retrying", "succeeded", "failed", "skipped", "missed", "refused"]


def _number(cursor: str | None) -> str | None:
    if cursor is not None and not (cursor.isdecimal() and len(cursor) < 19):
        raise RefusalError(f"is no cursor: {shown(cursor)}", "give next_cursor of the page before")
    return cursor


class HistoryParams(Params):
    """Which fires to list."""

    name: Annotated[
        str | None,
        Field(
            min_length=1, max_length=200, description="Id of a schedule, also of one that was removed; or a workflow"
        ),
    ] = None
    workflow: Name | None = None
    state: State | None = None
    cursor: Annotated[str | None, AfterValidator(_number), Field(description="next_cursor of the page before")] = None
    limit: Limit = 50


class StatisticsParams(Params):
    """A schedule, and how far back to look."""

    name: ScheduleName
    days: float = Field(30.0, gt=0, le=3660, description="How many days back")


class SkipCount(TypedDict):
    """How many fires were let pass for a reason."""

    reason: str
    count: int


class FirePage(TypedDict):
    """A piece of the history of fires."""

    items: list[FireView]
    next_cursor: str | None


class StatisticsView(TypedDict):
    """What came of the fires of a schedule: counts by state, and figures that are None where there is nothing."""

    schedule: str
    days: float
    fires: dict[str, int]
    success_rate: float | None
    lateness_p50_seconds: float | None
    lateness_p99_seconds: float | None
    duration_p50_seconds: float | None
    duration_p99_seconds: float | None
    skips: list[SkipCount]


@define("schedule.history", Role.VIEWER)
async def history(call: Call, params: HistoryParams) -> FirePage:
    """List fires, the newest first: those that had a run, and those that were let pass, with the reason.

    A name that is a workflow's means all schedules that it has or had.
    """
    is_one = params.name is not None and "/" in params.name
    page = await call.services.fires.page(
        schedule=await _known(call, params.name) if params.name is not None and is_one else None,
        workflow=params.workflow if params.name is None else params.name,
        state=FireState(params.state) if params.state else None,
        before=int(params.cursor) if params.cursor else None,
        limit=params.limit,
    )
    if params.name is not None and not is_one and not page.items:
        _make_sure(call, params.name)
    return {"items": [fire_view(fire) for fire in page.items], "next_cursor": page.next_cursor}


@define("schedule.statistics", Role.VIEWER)
async def statistics(call: Call, params: StatisticsParams) -> StatisticsView:
    """Count what came of the fires of a schedule, and tell how late they were and how long their runs took."""
    schedule = await _known(call, params.name)
    since_ms = call.services.clock.now_ms() - round(params.days * DAY_MS)
    found = await call.services.fires.statistics(schedule, since_ms)
    succeeded = found.counts.get(FireState.SUCCEEDED, 0)
    over = succeeded + found.counts.get(FireState.FAILED, 0) + found.counts.get(FireState.REFUSED, 0)
    return {
        "schedule": schedule,
        "days": params.days,
        "fires": {state.value: found.counts[state] for state in FireState if state in found.counts},
        "success_rate": succeeded / over if over else None,
        "lateness_p50_seconds": _quantile(found.latenesses_ms, 0.5),
        "lateness_p99_seconds": _quantile(found.latenesses_ms, 0.99),
        "duration_p50_seconds": _quantile(found.durations_ms, 0.5),
        "duration_p99_seconds": _quantile(found.durations_ms, 0.99),
        "skips": _skips(found.reasons),
    }


async def _known(call: Call, name: str) -> str:
    """Return the id of a schedule, also of one that there is no longer but for its fires. Raise NotFoundError."""
    try:
        return call.services.scheduler.board.find(name).id
    except NotFoundError:
        if await call.services.fires.last_of_each([name]):
            return name
        raise


def _make_sure(call: Call, workflow: str) -> None:
    """Raise NotFoundError for what is no workflow with schedules; one that has several is fine."""
    try:
        call.services.scheduler.board.find(workflow)
    except ConflictError:
        return


def _skips(reasons: Mapping[str, int]) -> list[SkipCount]:
    """Return how many fires were let pass for what, the most first."""
    counts: Counter[str] = Counter()
    for reason, count in reasons.items():
        counts[_PASSING.sub("…", reason)] += count
    return [{"reason": reason, "count": count} for reason, count in counts.most_common(REASONS)]


def _quantile(values_ms: Sequence[int], part: float) -> float | None:
    """Return the smallest value that so much of them does not exceed, in seconds."""
    if not values_ms:
        return None
    return sorted(values_ms)[math.ceil(len(values_ms) * part) - 1] / 1000
