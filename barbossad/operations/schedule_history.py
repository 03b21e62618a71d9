"""What came of fires: their history, and its figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field
from typing_extensions import TypedDict

from barbossad.model.schedules import FireState
from barbossad.operations.fields import Limit, Name
from barbossad.operations.registry import Params, define
from barbossad.operations.schedule_views import FireView, fire_view
from barbossad.operations.schedules import ScheduleName
from barbossad.operations.services import Call
from barbossad.security.access import Role
from barbossad.validation import RefusalError, shown

DAY_MS: Final = 86_400_000

State = Literal["queued", "started", "retrying", "succeeded", "failed", "skipped", "missed", "refused"]


def _number(cursor: str | None) -> str | None:
    if cursor is not None and not (cursor.isdecimal() and len(cursor) < 19):
        raise RefusalError(f"is no cursor: {shown(cursor)}", "give next_cursor of the page before")
    return cursor


class HistoryParams(Params):
    """Which fires to list."""

    name: ScheduleName | None = None
    workflow: Name | None = None
    state: State | None = None
    cursor: Annotated[str | None, AfterValidator(_number), Field(description="next_cursor of the page before")] = None
    limit: Limit = 50


class StatisticsParams(Params):
    """A schedule, and how far back to look."""

    name: ScheduleName
    days: float = Field(30.0, gt=0, le=3660, description="How many days back")


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


@define("schedule.history", Role.VIEWER)
async def history(call: Call, params: HistoryParams) -> FirePage:
    """List fires, the newest first: those that had a run, and those that were let pass, with the reason."""
    schedule = call.services.scheduler.find(params.name).id if params.name else None
    page = await call.services.schedules.page(
        schedule=schedule,
        workflow=params.workflow if schedule is None else None,
        state=FireState(params.state) if params.state else None,
        before=int(params.cursor) if params.cursor else None,
        limit=params.limit,
    )
    return {"items": [fire_view(fire) for fire in page.items], "next_cursor": page.next_cursor}


@define("schedule.statistics", Role.VIEWER)
async def statistics(call: Call, params: StatisticsParams) -> StatisticsView:
    """Count what came of the fires of a schedule, and tell how late they were and how long their runs took."""
    record = call.services.scheduler.find(params.name)
    since_ms = call.services.clock.now_ms() - round(params.days * DAY_MS)
    found = await call.services.schedules.statistics(record.id, since_ms)
    succeeded = found.counts.get(FireState.SUCCEEDED, 0)
    over = succeeded + found.counts.get(FireState.FAILED, 0) + found.counts.get(FireState.REFUSED, 0)
    return {
        "schedule": record.id,
        "days": params.days,
        "fires": {state.value: found.counts[state] for state in FireState if state in found.counts},
        "success_rate": succeeded / over if over else None,
        "lateness_p50_seconds": _quantile(found.latenesses_ms, 0.5),
        "lateness_p99_seconds": _quantile(found.latenesses_ms, 0.99),
        "duration_p50_seconds": _quantile(found.durations_ms, 0.5),
        "duration_p99_seconds": _quantile(found.durations_ms, 0.99),
    }


def _quantile(values_ms: Sequence[int], part: float) -> float | None:
    """Return the smallest value that so much of them does not exceed, in seconds."""
    if not values_ms:
        return None
    ordered = sorted(values_ms)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] / 1000
