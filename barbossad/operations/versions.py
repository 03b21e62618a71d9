"""Versions of workflows: list them, compare them, put an old one in force again."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import Field
from typing_extensions import TypedDict

from barbossad.clock import rfc3339
from barbossad.errors import ConflictError, NotFoundError
from barbossad.model.names import VersionId
from barbossad.operations.fields import Limit, NameParams, Version, schema_of, shaped
from barbossad.operations.registry import define
from barbossad.operations.services import Call
from barbossad.operations.texts import difference
from barbossad.operations.views import Applied, applied_view
from barbossad.security.access import Role

_POSITION: Final = re.compile(r"[0-9]{1,18}-[0-9]{1,18}")
VersionsCursor = Annotated[
    str,
    shaped(_POSITION, "where a page ended", "give next_cursor of the page before as it is, or leave it out"),
    schema_of(_POSITION),
]


class VersionsParams(NameParams):
    """A piece of a workflow's history."""

    cursor: VersionsCursor | None = Field(None, description="next_cursor of the page before")
    limit: Limit = 100


class DiffParams(NameParams):
    """A workflow and two versions of it."""

    from_: Version | None = Field(
        None, alias="from", description="The one to start from; the one that was applied before the other if not said"
    )
    to: Version | None = Field(None, description="The one to compare it with; the one in force if not said")


class RollbackParams(NameParams):
    """A workflow and a version that it has had."""

    version: Version


class VersionItem(TypedDict):
    """One version in a workflow's history."""

    version: str
    applied_at: str | None
    applied_by: str
    current: bool


class VersionPage(TypedDict):
    """A piece of a workflow's history."""

    items: list[VersionItem]
    next_cursor: str | None


Diff = TypedDict("Diff", {"name": str, "from": str, "to": str, "changed": bool, "diff": str})
Diff.__doc__ = "How two versions differ: ``diff`` is the unified diff of their texts."


@define("workflow.versions", Role.VIEWER)
async def versions(call: Call, params: VersionsParams) -> VersionPage:
    """List the versions of a workflow, the last applied first."""
    workflows = call.services.workflows
    current = workflows.record(params.name)
    page = await workflows.versions(current.name, cursor=params.cursor, limit=params.limit)
    items: list[VersionItem] = [
        {
            "version": version.version,
            "applied_at": rfc3339(version.applied_at_ms),
            "applied_by": version.applied_by,
            "current": version.version == current.version,
        }
        for version in page.items
    ]
    return {"items": items, "next_cursor": page.next_cursor}


@define("workflow.diff", Role.VIEWER)
async def diff(call: Call, params: DiffParams) -> Diff:
    """Tell how two versions of a workflow differ, as a unified diff of their texts.

    Where no version is named, the one in force is compared with the one that was applied before it.
    """
    workflows = call.services.workflows
    record = workflows.record(params.name)
    later = await workflows.version(record.name, VersionId(params.to or record.version))
    earlier_id = params.from_ or await _before(call, params.name, later.version)
    earlier = await workflows.version(record.name, VersionId(earlier_id))
    names = (f"{record.name} {earlier.version}", f"{record.name} {later.version}")
    return {
        "name": record.name,
        "from": earlier.version,
        "to": later.version,
        "changed": earlier.text != later.text,
        "diff": await difference(earlier.text, later.text, names=names),
    }


@define("workflow.rollback", Role.AUTHOR)
async def rollback(call: Call, params: RollbackParams) -> Applied:
    """Put a version in force again that a workflow has had.

    It is checked again as this program understands it, and recorded like any other that is applied. Runs that have
    started keep their version.
    """
    workflows = call.services.workflows
    record = workflows.record(params.name)
    if params.version == record.version:
        raise ConflictError(f"version {record.version} of workflow {record.name!r} is the one in force already")
    wanted = await workflows.definition(record.name, VersionId(params.version))
    definition, has_changed = await workflows.apply(wanted.text, by=call.caller.name)
    await call.services.scheduler.control.changed(definition.name)
    kept_file = call.services.workflow_folder.kept_file(definition.name, definition.version)
    return applied_view(definition, kept_file, has_changed=has_changed)


async def _before(call: Call, name: str, version: str) -> str:
    """Return the version that was applied before another one. Raise NotFoundError if there is none."""
    workflows = call.services.workflows
    cursor: str | None = None
    is_next = False
    while True:
        page = await workflows.versions(workflows.record(name).name, cursor=cursor, limit=1000)
        for item in page.items:
            if is_next:
                return item.version
            is_next = item.version == version
        cursor = page.next_cursor
        if cursor is None:
            raise NotFoundError(f"version of workflow {name!r} before", version, "it is the first one")
