"""Workflows: check, apply, look at, switch off and on."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field
from typing_extensions import TypedDict

from barbossad import wire
from barbossad.clock import rfc3339
from barbossad.errors import InvalidWorkflowError, NotFoundError
from barbossad.model.definition import ParamDefinition, WorkflowDefinition
from barbossad.model.records import WorkflowRecord
from barbossad.operations.fields import Cursor, Limit, NameParams, Version
from barbossad.operations.registry import Params, define
from barbossad.operations.services import Call
from barbossad.operations.views import Applied, FaultView, applied_view, fault_view
from barbossad.security.access import Role

MAX_YAML_REQUEST_BYTES: Final = 4 * wire.MAX_REQUEST_BYTES
"""The longest request that carries a workflow file."""

Yaml = Annotated[str, Field(description="The text of a workflow file")]


class YamlParams(Params):
    """A workflow file."""

    yaml: Yaml


class PageParams(Params):
    """A piece of a listing."""

    cursor: Cursor = None
    limit: Limit = 100


class GetParams(NameParams):
    """A workflow, and which version of it."""

    version: Version | None = None


class Validated(TypedDict):
    """What is wrong with a workflow file."""

    valid: bool
    faults: list[FaultView]


class LastRun(TypedDict):
    """How the newest run of a workflow went."""

    id: str
    state: str
    finished_at: str | None


class SchedulesOf(TypedDict):
    """How many schedules and triggers a workflow has, and when the next fire of them is due."""

    count: int
    next_at: str | None


class WorkflowItem(TypedDict):
    """A workflow as listings show it. One that is no longer understood has no tasks and says so."""

    name: str
    version: str
    enabled: bool
    description: str
    labels: dict[str, str]
    tasks: int
    applied_at: str | None
    last_run: LastRun | None
    schedules: SchedulesOf


class WorkflowPage(TypedDict):
    """A piece of the listing of workflows."""

    items: list[WorkflowItem]
    next_cursor: str | None


class ParamView(TypedDict):
    """One parameter; bounds that it does not have are None."""

    name: str
    type: str
    description: str
    required: bool
    default: Any
    choices: list[Any] | None
    pattern: str | None
    minimum: float | None
    maximum: float | None
    min_length: int | None
    max_length: int | None


class TaskItem(TypedDict):
    """One task of a definition; ``parent`` is the group that it is in."""

    id: str
    type: str
    description: str
    depends_on: list[str]
    section: str
    parent: str | None


class WorkflowView(TypedDict):
    """One version of a workflow."""

    name: str
    version: str
    enabled: bool
    description: str
    labels: dict[str, str]
    params: list[ParamView]
    tasks: list[TaskItem]
    yaml: str
    applied_at: str | None
    applied_by: str
    schedules: SchedulesOf


class Deleted(TypedDict):
    """What is no longer in force; ``kept_file`` is the file that puts it in force again when it is read next."""

    name: str
    deleted: bool
    kept_file: str | None


class Enabled(TypedDict):
    """Whether new runs are allowed."""

    name: str
    enabled: bool


@define("workflow.validate", Role.VIEWER, max_request_bytes=MAX_YAML_REQUEST_BYTES)
async def validate(call: Call, params: YamlParams) -> Validated:
    """Tell every fault of a workflow file; nothing is stored."""
    faults = await call.services.workflow_reader.check(params.yaml)
    return {"valid": not faults, "faults": [fault_view(fault) for fault in faults]}


@define("workflow.apply", Role.AUTHOR, max_request_bytes=MAX_YAML_REQUEST_BYTES)
async def apply(call: Call, params: YamlParams) -> Applied:
    """Put a workflow file in force.

    Runs that have started keep the version that they started with. Applying what is in force already
    changes nothing.
    """
    workflows = call.services.workflows
    definition, has_changed = await workflows.apply(params.yaml, by=call.caller.name)
    await call.services.scheduler.control.changed(definition.name)
    kept_file = call.services.workflow_folder.kept_file(definition.name, definition.version)
    return applied_view(definition, kept_file, has_changed=has_changed)


@define("workflow.list", Role.VIEWER)
async def listing(call: Call, params: PageParams) -> WorkflowPage:
    """List workflows by name, each with its newest run."""
    services = call.services
    records = [
        record for record in services.workflows.records() if params.cursor is None or record.name > params.cursor
    ]
    page = records[: params.limit]
    last = await services.runs.last_of_each([record.name for record in page])
    items = []
    for record in page:
        run = last.get(record.name)
        item = await _item(call, record)
        if run:
            item["last_run"] = {"id": run.id, "state": run.state.value, "finished_at": rfc3339(run.finished_at_ms)}
        items.append(item)
    return {"items": items, "next_cursor": page[-1].name if len(records) > len(page) else None}


@define("workflow.get", Role.VIEWER)
async def get(call: Call, params: GetParams) -> WorkflowView:
    """Show one version of a workflow, the one in force if none is named."""
    workflows = call.services.workflows
    record = workflows.record(params.name)
    version = await workflows.version(record.name, params.version or record.version)  # type: ignore[arg-type]
    definition = await workflows.definition(record.name, version.version)
    return {
        "name": definition.name,
        "version": definition.version,
        "enabled": record.is_enabled,
        "description": definition.description,
        "labels": dict(definition.labels),
        "params": [_param(param) for param in definition.params],
        "tasks": [
            {
                "id": task.id,
                "type": task.type,
                "description": task.description,
                "depends_on": list(task.depends_on),
                "section": task.section.value,
                "parent": definition.tasks[task.parent].id if task.parent is not None else None,
            }
            for task in definition.tasks
        ],
        "yaml": version.text,
        "applied_at": rfc3339(version.applied_at_ms),
        "applied_by": version.applied_by,
        "schedules": _schedules(call, record.name),
    }


@define("workflow.delete", Role.AUTHOR)
async def delete(call: Call, params: NameParams) -> Deleted:
    """Take a workflow out of force; its versions and runs stay."""
    workflows = call.services.workflows
    name = workflows.record(params.name).name
    await workflows.delete(name, by=call.caller.name)
    await call.services.scheduler.control.changed(name)
    kept_file = call.services.workflow_folder.kept_file(name)
    return {"name": name, "deleted": True, "kept_file": str(kept_file) if kept_file else None}


@define("workflow.enable", Role.OPERATOR)
async def enable(call: Call, params: NameParams) -> Enabled:
    """Allow new runs of a workflow."""
    return await _switch(call, params.name, is_enabled=True)


@define("workflow.disable", Role.OPERATOR)
async def disable(call: Call, params: NameParams) -> Enabled:
    """Refuse new runs of a workflow; what runs goes on."""
    return await _switch(call, params.name, is_enabled=False)


async def _switch(call: Call, name: str, *, is_enabled: bool) -> Enabled:
    workflows = call.services.workflows
    record = await workflows.enable(workflows.record(name).name, is_enabled=is_enabled, by=call.caller.name)
    return {"name": record.name, "enabled": record.is_enabled}


async def _item(call: Call, record: WorkflowRecord) -> WorkflowItem:
    definition: WorkflowDefinition | None
    try:
        definition = await call.services.workflows.definition(record.name)
        description = definition.description
    except (InvalidWorkflowError, NotFoundError) as error:
        definition, description = None, f"not understood by this version: {error}"
    return {
        "name": record.name,
        "version": record.version,
        "enabled": record.is_enabled,
        "description": description,
        "labels": dict(definition.labels) if definition else {},
        "tasks": len(definition.tasks) if definition else 0,
        "applied_at": rfc3339(record.applied_at_ms),
        "last_run": None,
        "schedules": _schedules(call, record.name),
    }


def _schedules(call: Call, workflow: str) -> SchedulesOf:
    board = call.services.scheduler.board
    records = board.of(workflow)
    coming = [known.due_ms for known in map(board.coming, records) if known is not None]
    return {"count": len(records), "next_at": rfc3339(min(coming, default=None))}


def _param(param: ParamDefinition) -> ParamView:
    return {
        "name": param.name,
        "type": param.type,
        "description": param.description,
        "required": not param.has_default,
        "default": param.default,
        "choices": list(param.choices) if param.choices is not None else None,
        "pattern": param.pattern,
        "minimum": param.minimum,
        "maximum": param.maximum,
        "min_length": param.min_length,
        "max_length": param.max_length,
    }
