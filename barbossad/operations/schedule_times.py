"""When schedules fire: the next fires of all, one in plain words, and expressions that are not yet saved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from heapq import merge
from itertools import islice, takewhile
from typing import Any, Final

from pydantic import Field
from typing_extensions import TypedDict

from barbossad.aside import Turns
from barbossad.clock import rfc3339
from barbossad.errors import Fault, InvalidParamsError
from barbossad.model.definition import WorkflowDefinition
from barbossad.model.names import VersionId, WorkflowName
from barbossad.model.schedules import ScheduleRecord, Timing
from barbossad.operations.fields import Instant as InstantText
from barbossad.operations.fields import Name, milliseconds
from barbossad.operations.registry import Params, define, require
from barbossad.operations.schedule_views import workflow_trouble
from barbossad.operations.schedules import Label, NameParams, Some, Span, has_label
from barbossad.operations.services import Call
from barbossad.recurrence import words, zones
from barbossad.recurrence.instants import Instant, instants
from barbossad.recurrence.steps import TooManyStepsError, in_steps
from barbossad.recurrence.zones import ClockChange
from barbossad.security.access import Role
from barbossad.workflows import schedules as entries

MOST: Final = 1000
AROUND: Final = 5
"""Fires before and after a change of the clocks that are told."""

_LOOKED_BACK_MS: Final = (3 * 3_600_000, 3 * 86_400_000, 40 * 86_400_000, 800 * 86_400_000)
_MOST_STEPS: Final = 10_000_000
"""Of a preview: some ten seconds, aside."""

_FILES_TOLD_MS: Final = 20 * 366 * 86_400_000
"""How far fires are told of a schedule whose holidays are in a file."""

_ZONED: Final = frozenset({"cron", "at", "within", "blackout", "holidays", "between"})
"""Keys that are said in a time zone."""

_NOBODY: Final = WorkflowDefinition(
    name=WorkflowName("preview"), version=VersionId(""), text="", labels={}, env={}, tasks=(), dependency_counts=(),
    dependants=(),
)  # fmt: skip


class PreviewParams(Params):
    """An expression, with the keys of a schedule that decide its times."""

    cron: str | None = Field(None, description="A cron expression of 5 fields, or 6 with seconds first")
    every: Span | None = Field(None, description="An interval, such as 15m")
    at: Some | None = Field(None, description="An instant, or a list of them")
    timezone: str | None = Field(None, description="An IANA time zone; by default the host's")
    anchor: str | None = Field(None, description="For every: an instant of the row")
    dst: str | None = Field(None, description="once, skip, last or both")
    between: dict[str, Any] | None = Field(None, description="{start, end}")
    within: Some | None = Field(None, description="Windows outside of which there are no fires")
    blackout: Some | None = Field(None, description="Windows in which fires are skipped")
    holidays: str | dict[str, Any] | None = Field(None, description="A country, or {country, subdivision, file}")
    on_holiday: str | None = Field(None, description="skip, before or after")
    after: InstantText | None = Field(None, description="From when on; by default now")
    count: int = Field(10, ge=1, le=MOST, description="How many instants")


class ExplainParams(NameParams):
    """A schedule."""

    count: int = Field(20, ge=1, le=MOST, description="How many fires are told")


class NextParams(Params):
    """Which fires to tell."""

    workflow: Name | None = None
    label: Label | None = None
    limit: int = Field(20, ge=1, le=MOST, description="How many fires")


class Skipped(TypedDict):
    """An instant that will be let pass, and why."""

    at: str | None
    reason: str


class Preview(TypedDict):
    """The next instants at which there would be runs, and those between them that would be skipped."""

    items: list[str]
    timezone: str
    words: list[str]
    skipped: list[Skipped]


class ChangeView(TypedDict):
    """A change of the clocks: offsets from UTC before and after it, and the fires around it in wall time."""

    at: str | None
    before: str
    after: str
    fires: list[str]


class Explained(TypedDict):
    """A schedule or trigger in plain words; of one by the clock with its fires, next and around changes of that."""

    id: str
    timezone: str | None
    words: list[str]
    next: list[str]
    skipped: list[Skipped]
    changes: list[ChangeView]


class NextFire(TypedDict):
    """A fire to come: when it is due, for which nominal time, and that in the schedule's own zone."""

    schedule: str
    workflow: str
    due_at: str | None
    nominal_at: str | None
    in_seconds: float
    timezone: str
    local: str
    skip: str | None


class NextFires(TypedDict):
    """The next fires of all schedules, the first first."""

    items: list[NextFire]


@define("schedule.preview", Role.VIEWER)
async def preview(call: Call, params: PreviewParams) -> Preview:
    """Tell the next instants of an expression that is not saved, and what it means in words.

    To name a file of holidays needs the role author: the daemon opens it, which may read what the caller may not.
    """
    if isinstance(params.holidays, dict) and "file" in params.holidays:
        require(call.caller, Role.AUTHOR, "schedule.preview with a file of holidays")
    return await call.services.aside.run(_preview, params, call.services.clock.now_ms())


def _preview(params: PreviewParams, now_ms: int) -> Preview:
    timezone = params.timezone or zones.host_zone()
    given = params.model_dump(exclude_none=True, exclude={"after", "count", "timezone"})
    is_local = params.timezone is not None or not _ZONED.isdisjoint(given)
    keys = {**given, "timezone": timezone} if is_local else given
    found, faults = entries.read_entry(keys, _NOBODY, (), default_name="preview")
    if found is None or found.timing is None:
        raise InvalidParamsError("schedule.preview", faults)
    after_ms = milliseconds(params.after) if params.after else now_ms
    holidays, wanted = found.timing.holidays, (found.timing, after_ms, params.count)
    try:  # a file has bounds of its own
        sorting = _sorted(*wanted) if holidays and holidays.file else in_steps(_MOST_STEPS, _sorted, *wanted)
    except TooManyStepsError:
        message = "its next instants take too long to work out"
        fault = Fault(line=None, column=None, path="", message=message, hint="ask for fewer, or write fewer windows")
        raise InvalidParamsError("schedule.preview", [fault]) from None
    return {
        "items": [str(rfc3339(at_ms)) for at_ms in sorting.wanted],
        "timezone": timezone,
        "words": [*words.explain(found.timing), *_beyond(found.timing, sorting.wanted)],
        "skipped": sorting.skipped,
    }


def _sorted(timing: Timing, after_ms: int, count: int) -> _Sorting:
    sorting = _Sorting(count)
    for instant in _tellable(timing, after_ms):
        if not sorting.add(instant.at_ms, instant.skip):
            break
    return sorting


@define("schedule.explain", Role.VIEWER)
async def explain(call: Call, params: ExplainParams) -> Explained:
    """Tell what a schedule or trigger means in plain words.

    Of one that fires by the clock the next fires are told too, and those around the next changes of the clocks.
    """
    board = call.services.scheduler.board
    record = board.find(params.name)
    timing = record.definition.timing
    if timing is None:
        said = [*words.explain_event(record.definition), *_kept(call, record)]
        return {"id": record.id, "timezone": None, "words": said, "next": [], "skipped": [], "changes": []}
    now_ms, offset_ms = call.services.clock.now_ms(), board.offset_ms(record)
    sorting, turns = _Sorting(params.count), Turns()
    for instant in _tellable(timing, max(now_ms - offset_ms, record.watermark)):
        hold = board.held_by(record, instant.at_ms + offset_ms)
        if not sorting.add(instant.at_ms, instant.skip or (hold.words if hold else None)):
            break
        await turns.pause()
    return {
        "id": record.id,
        "timezone": timing.timezone,
        "words": [
            *words.explain(timing, record.definition),
            *_beyond(timing, sorting.wanted),
            *_kept(call, record),
        ],
        "next": [_local(at_ms, timing.timezone) for at_ms in sorting.wanted],
        "skipped": sorting.skipped,
        "changes": [_around(timing, change) for change in zones.clock_changes(timing.timezone, now_ms, 2)],
    }


@define("schedule.next", Role.VIEWER)
def coming(call: Call, params: NextParams) -> NextFires:
    """Tell the next fires of all schedules that are enabled."""
    board, now_ms = call.services.scheduler.board, call.services.clock.now_ms()
    rows = []
    for record in board.records():
        if params.workflow is not None and record.workflow != params.workflow:
            continue
        if params.label is not None and not has_label(record, params.label):
            continue
        first = board.coming(record)
        if first is not None:
            rows.append((first.due_ms, record, first.due_ms - first.nominal_ms))
    rows.sort(key=lambda row: (row[0], row[1].id))
    streams = [_stream(record, offset_ms) for _, record, offset_ms in rows[: params.limit]]
    merged = merge(*streams, key=lambda fire: (fire[0], fire[1].id))
    return {"items": [_next(call, fire, now_ms) for fire in islice(merged, params.limit)]}


def _stream(record: ScheduleRecord, offset_ms: int) -> Any:
    timing = record.definition.timing
    assert timing is not None
    return ((instant.at_ms + offset_ms, record, instant) for instant in _tellable(timing, record.watermark))


def _next(call: Call, fire: tuple[int, ScheduleRecord, Instant], now_ms: int) -> NextFire:
    due_ms, record, instant = fire
    timing = record.definition.timing
    assert timing is not None
    hold = call.services.scheduler.board.held_by(record, due_ms)
    held = f"held: {hold.reason}" if hold is not None else ""
    return {
        "schedule": record.id,
        "workflow": record.workflow,
        "due_at": rfc3339(due_ms),
        "nominal_at": rfc3339(instant.at_ms),
        "in_seconds": (due_ms - now_ms) / 1000,
        "timezone": timing.timezone,
        "local": _local(instant.at_ms, timing.timezone),
        "skip": instant.skip or held or workflow_trouble(call.services, record) or None,
    }


def _kept(call: Call, record: ScheduleRecord) -> Iterator[str]:
    """Yield sentences on what keeps a schedule from firing now."""
    if not record.is_enabled:
        why = f": {record.disabled_reason}" if record.disabled_reason else ""
        yield f"It is disabled{why}. No fire comes until it is enabled (barbossactl schedule enable {record.id})."
    hold = call.services.scheduler.board.held_by(record)
    if hold is not None:
        end = f"until {rfc3339(hold.until_ms)}" if hold.until_ms is not None else "until it is released"
        yield f"It is {hold.words}; {end} its fires are skipped."
    trouble = workflow_trouble(call.services, record)
    if trouble:
        yield f"Its fires are skipped: {trouble}."


@dataclass(slots=True)
class _Sorting:
    """The next instants with runs, as many as were asked for, and those among them that are skipped."""

    count: int
    wanted: list[int] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    def add(self, at_ms: int, skip: str | None) -> bool:
        """Add an instant; say whether there is room for more."""
        if skip is None:
            self.wanted.append(at_ms)
        elif len(self.skipped) < MOST:
            self.skipped.append({"at": rfc3339(at_ms), "reason": skip})
        else:
            return False
        return len(self.wanted) < self.count


def _tellable(timing: Timing, after_ms: int) -> Iterator[Instant]:
    """Yield the instants after another that are told: of a file of holidays each year costs, so not for ever there."""
    found = instants(timing, after_ms)
    if timing.holidays is None or timing.holidays.file is None:
        return found
    return takewhile(lambda instant: instant.at_ms < after_ms + _FILES_TOLD_MS, found)


def _beyond(timing: Timing, told: Sequence[int]) -> list[str]:
    """Return a sentence that the last of what is told lies beyond the holidays that are known, if it does."""
    return words.beyond_holidays(timing, told[-1]) if told else []


def _around(timing: Timing, change: ClockChange) -> ChangeView:
    before = _last_before(timing, change.at_ms)
    after = islice(instants(timing, change.at_ms - 1), AROUND)
    return {
        "at": rfc3339(change.at_ms),
        "before": _offset(change.before_seconds),
        "after": _offset(change.after_seconds),
        "fires": [_fire(instant, timing.timezone) for instant in (*before, *after)],
    }


def _last_before(timing: Timing, at_ms: int) -> Sequence[Instant]:
    found: list[Instant] = []
    for back_ms in _LOOKED_BACK_MS:
        earlier = takewhile(lambda instant: instant.at_ms < at_ms, instants(timing, at_ms - back_ms))
        found = list(earlier)
        if len(found) >= AROUND:
            break
    return found[-AROUND:]


def _fire(instant: Instant, timezone: str) -> str:
    skipped = f", skipped: {instant.skip}" if instant.skip is not None else ""
    return f"{_local(instant.at_ms, timezone)}{skipped}"


def _local(at_ms: int, timezone: str) -> str:
    """Return an instant as the clocks of a zone show it, with their offset."""
    local = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(zones.zone(timezone))
    return f"{local:%a %Y-%m-%d %H:%M:%S} {local:%Z} ({_offset(round(local.utcoffset().total_seconds()))})"  # type: ignore[union-attr]


def _offset(seconds: int) -> str:
    sign = "-" if seconds < 0 else "+"
    hours, rest = divmod(abs(seconds), 3600)
    return f"{sign}{hours:02}:{rest // 60:02}"
