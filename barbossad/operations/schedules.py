"""Schedules and triggers: look at them, add and remove them, switch them off and on, fire them by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import Field
from typing_extensions import TypedDict

from barbossad import wire
from barbossad.errors import ConflictError, InvalidParamsError
from barbossad.model.names import RunId, WorkflowName
from barbossad.model.schedules import FIRE_ACTIVE, Fire, ScheduleRecord, ScheduleSource
from barbossad.operations import showing
from barbossad.operations.fields import Limit, Name
from barbossad.operations.registry import Params, define
from barbossad.operations.schedule_views import FireView, ScheduleView, fire_view, schedule_view
from barbossad.operations.services import Call, Services
from barbossad.operations.views import RunView
from barbossad.security.access import Role
from barbossad.wire import Encoded
from barbossad.workflows import schedules as entries

ScheduleName = Annotated[
    str, Field(min_length=1, max_length=200, description="Id of a schedule, or the workflow that has just one")
]
ScheduleCursor = Annotated[str | None, Field(max_length=200, description="next_cursor of the page before")]
Label = Annotated[str, Field(max_length=200, description="A label, as team=infra, or team for whatever value")]

Span = str | int | float
"""A duration as a file has it."""

Some = str | list[str]
Map = dict[str, Any]
NameOrMap = str | Map


class NameParams(Params):
    """A schedule."""

    name: ScheduleName


class DisableParams(NameParams):
    """A schedule, and why it is disabled."""

    reason: str | None = Field(None, max_length=1000, description="Why, for those who look at it later")


class ListParams(Params):
    """Which schedules to list."""

    workflow: Name | None = None
    label: Label | None = None
    kind: Literal["cron", "every", "at", "boot", "file", "workflow", "unit"] | None = None
    cursor: ScheduleCursor = None
    limit: Limit = 100


class AddParams(Params):
    """A workflow, and the keys of an entry of ``schedules`` or ``triggers`` as its file could have them."""

    workflow: Name
    name: str | None = Field(None, description="Its name, unique in the workflow; by default added-1 and so on")
    description: str | None = Field(None, description="What it is for")
    cron: str | None = Field(None, description="A cron expression of 5 fields, or 6 with seconds first")
    every: Span | None = Field(None, description="An interval, such as 15m")
    at: Some | None = Field(None, description="An instant, or a list of them")
    boot: bool | Map | None = Field(None, description="true, or {delay: 2m}")
    file: NameOrMap | None = Field(None, description="A path, or {path, pattern, changes, recursive, debounce}")
    after_workflow: NameOrMap | None = Field(
        None, description="Another workflow, or {name, states}: fires when a run of it ends"
    )
    unit: NameOrMap | None = Field(None, description="A unit of systemd, or {name, states}")
    timezone: str | None = Field(None, description="An IANA time zone")
    anchor: str | None = Field(None, description="For every: an instant of the row")
    dst: str | None = Field(
        None, description="once, skip, last or both: times that a change of the clocks makes special"
    )
    between: Map | None = Field(None, description="{start, end}")
    within: Some | None = Field(None, description="Windows outside of which it does not fire")
    blackout: Some | None = Field(None, description="Windows in which its fires are skipped")
    holidays: NameOrMap | None = Field(
        None, description="A country, such as GB or GB-SCT, or {country, subdivision, file}"
    )
    on_holiday: str | None = Field(None, description="skip, before or after")
    jitter: Span | None = Field(None, description="How much later it may be, the same each time")
    overlap: str | None = Field(None, description="skip, queue, replace or allow")
    queue_depth: int | None = Field(None, description="For overlap: queue: how many fires may wait")
    catch_up: str | None = Field(None, description="none, last or all")
    catch_up_window: Span | None = Field(None, description="How far back missed fires are caught up")
    catch_up_limit: int | None = Field(None, description="For catch_up: all: how many at most")
    params: Map | None = Field(None, description="Values of the workflow's params")
    enabled: bool | None = Field(None, description="Whether it fires from now on")
    expect: Map | None = Field(None, description="{start_within, max_duration, min_duration}")
    disable_after: int | None = Field(None, description="Failures in a row after which it is disabled")
    retry: int | Map | None = Field(
        None, description="How a failed run is tried again: a number, or {attempts, delay, …}"
    )

    def entry(self) -> dict[str, Any]:
        """Return the entry as a file would have it."""
        given = self.model_dump(exclude_none=True, exclude={"workflow"})
        if "after_workflow" in given:
            given["workflow"] = given.pop("after_workflow")
        return given


class SchedulePage(TypedDict):
    """A piece of the listing of schedules."""

    items: list[ScheduleView]
    next_cursor: str | None


class Removed(TypedDict):
    """A schedule that there is no longer."""

    id: str
    removed: bool


class Triggered(TypedDict):
    """What came of a fire by hand: its run, or None while it waits for the run before it."""

    fire: FireView
    run: RunView | None


_DEFAULT_NAME: Final = "added"


@define("schedule.list", Role.VIEWER)
async def listing(call: Call, params: ListParams) -> SchedulePage:
    """List schedules and triggers, by id, each with what comes next and what came last."""
    found = [
        record
        for record in call.services.scheduler.board.records()
        if (params.workflow is None or record.workflow == params.workflow)
        and (params.kind is None or record.definition.kind == params.kind)
        and (params.label is None or has_label(record, params.label))
        and (params.cursor is None or record.id > params.cursor)
    ]
    page = found[: params.limit]
    items = await shown(call.services, page)
    return {"items": items, "next_cursor": page[-1].id if len(found) > len(page) else None}


def has_label(record: ScheduleRecord, label: str) -> bool:
    """Say whether a schedule has a label: with this value, or with whatever value if none is said."""
    key, equals, value = label.partition("=")
    return record.labels.get(key) == value if equals else key in record.labels


@define("schedule.get", Role.VIEWER)
async def get(call: Call, params: NameParams) -> ScheduleView:
    """Show one schedule or trigger."""
    return await _shown(call.services, call.services.scheduler.board.find(params.name))


@define("schedule.add", Role.AUTHOR)
async def add(call: Call, params: AddParams) -> ScheduleView:
    """Add a schedule or trigger to a workflow, beside those of its file.

    It stays when the file is applied again, until it is removed or the workflow is deleted.
    """
    record = await put(call.services, params.workflow, params.entry(), by=call.caller.name)
    return await _shown(call.services, record)


@define("schedule.remove", Role.AUTHOR)
async def remove(call: Call, params: NameParams) -> Removed:
    """Remove a schedule that was added; its history stays. One that stands in a file is removed there."""
    record = await call.services.scheduler.control.remove(params.name, by=call.caller.name)
    return {"id": record.id, "removed": True}


@define("schedule.enable", Role.OPERATOR)
async def enable(call: Call, params: NameParams) -> ScheduleView:
    """Let a schedule fire again, from now on; its failures are forgiven."""
    return await _shown(
        call.services, await call.services.scheduler.control.enable(params.name, is_enabled=True, by=call.caller.name)
    )


@define("schedule.disable", Role.OPERATOR)
async def disable(call: Call, params: DisableParams) -> ScheduleView:
    """Let a schedule fire no more until it is enabled; what runs goes on."""
    reason = params.reason or f"by {call.caller.name}"
    record = await call.services.scheduler.control.enable(
        params.name, is_enabled=False, by=call.caller.name, reason=reason
    )
    return await _shown(call.services, record)


@define("schedule.trigger", Role.OPERATOR)
async def trigger(call: Call, params: NameParams) -> Triggered | Encoded:
    """Fire a schedule now, with its params and its rules for overlap, also while it is held or disabled."""
    fire = await call.services.scheduler.control.trigger(params.name, by=call.caller.name)
    if fire.state not in FIRE_ACTIVE:
        raise ConflictError(f"schedule {fire.schedule} was not fired: {fire.reason}")
    if fire.run_id is None:
        return {"fire": fire_view(fire), "run": None}
    run = await showing.view(call, RunId(fire.run_id))
    told = fire_view(fire)
    return wire.encoded({"fire": told, "run": run}) if isinstance(run, Encoded) else {"fire": told, "run": run}


async def put(services: Services, workflow: str, entry: Mapping[str, Any], *, by: str) -> ScheduleRecord:
    """Add a schedule to a workflow. Raise NotFoundError, InvalidParamsError, or ConflictError for its name."""
    record = services.workflows.record(workflow)
    definition = await services.workflows.definition(record.name)
    taken = {known.definition.name for known in services.scheduler.board.of(workflow)}
    number = next(number for number in range(1, len(taken) + 2) if f"{_DEFAULT_NAME}-{number}" not in taken)
    found, faults = entries.read_entry(entry, definition, (), default_name=f"{_DEFAULT_NAME}-{number}")
    if found is None:
        raise InvalidParamsError("schedule.add", faults)
    if found.name in taken:
        raise ConflictError(f"workflow {workflow!r} has a schedule {found.name!r}; choose another name, or remove it")
    return await services.scheduler.control.add(WorkflowName(record.name), found, by=by)


async def put_once(services: Services, workflow: str, entry: Mapping[str, Any], *, by: str) -> ScheduleRecord:
    """Add a schedule, or find the one that is there and says the same; one of this name that says other is replaced."""
    record = services.workflows.record(workflow)
    definition = await services.workflows.definition(record.name)
    name = entry.get("name")
    for known in services.scheduler.board.of(workflow):
        if known.source is not ScheduleSource.ADDED:
            continue
        own = known.definition.name
        same, _ = entries.read_entry({**entry, "name": own}, definition, (), default_name=own)
        if same == known.definition and name in {None, own}:
            return known
        if own == name and same is not None:
            await services.scheduler.control.remove(known.id, by=by)
    return await put(services, workflow, entry, by=by)


async def shown(services: Services, records: list[ScheduleRecord]) -> list[ScheduleView]:
    """Return schedules as they stand."""
    last: dict[str, Fire] = await services.fires.last_of_each([record.id for record in records])
    return [schedule_view(services, record, last.get(record.id)) for record in records]


async def _shown(services: Services, record: ScheduleRecord) -> ScheduleView:
    (view,) = await shown(services, [record])
    return view
