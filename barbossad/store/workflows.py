"""Workflows and their versions: every text that was ever applied is kept, named by its content."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Final

from barbossad.errors import NotFoundError
from barbossad.model.names import VersionId, WorkflowName
from barbossad.model.records import Page, VersionRecord, WorkflowRecord
from barbossad.model.schedules import ScheduleDefinition
from barbossad.store import events, workflow_schedules
from barbossad.store.database import Database, Row


class WorkflowStore:
    """The queries and changes of workflows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    ADD_VERSION: Final = """
INSERT INTO versions (workflow, version, text, applied_at_ms, applied_by) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (workflow, version) DO UPDATE SET applied_at_ms = excluded.applied_at_ms, applied_by = excluded.applied_by,
    text = excluded.text
"""
    SET_CURRENT: Final = """
INSERT INTO workflows (name, version, is_enabled, applied_at_ms, applied_by) VALUES (?, ?, 1, ?, ?)
ON CONFLICT (name) DO UPDATE SET version = excluded.version, applied_at_ms = excluded.applied_at_ms,
    applied_by = excluded.applied_by
WHERE version != excluded.version
"""

    MEND: Final = "UPDATE versions SET text = ? WHERE workflow = ? AND version = ? AND text != ?"

    async def apply(
        self,
        version: VersionRecord,
        *,
        schedules: Sequence[ScheduleDefinition] = (),
        labels: Mapping[str, str] | None = None,
    ) -> bool:
        """Put a version in force, with its schedules; return whether that changed anything. All is one commit.

        A text that was damaged since it was applied is what it was again.
        """

        def change(tx: sqlite3.Connection) -> bool:
            at_ms, by = version.applied_at_ms, version.applied_by
            if tx.execute(self.SET_CURRENT, (version.workflow, version.version, at_ms, by)).rowcount == 0:
                tx.execute(self.MEND, (version.text, version.workflow, version.version, version.text))
                return False
            tx.execute(self.ADD_VERSION, (version.workflow, version.version, version.text, at_ms, by))
            events.insert(
                tx, "workflow_applied", at_ms=at_ms, workflow=version.workflow, version=version.version, by=by
            )
            workflow_schedules.replace(tx, version, schedules, labels or {})
            return True

        return await self._database.write(change)

    DELETE: Final = "DELETE FROM workflows WHERE name = ?"

    async def delete(self, name: WorkflowName, *, at_ms: int, by: str) -> None:
        """Take a workflow out of force; its versions and runs stay. Raise NotFoundError if there is none."""
        await self._change_one(self.DELETE, (name,), name, at_ms=at_ms, kind="workflow_deleted", by=by)

    ENABLE: Final = "UPDATE workflows SET is_enabled = ? WHERE name = ?"

    async def enable(self, name: WorkflowName, *, is_enabled: bool, at_ms: int, by: str) -> None:
        """Allow or forbid new runs. Raise NotFoundError if there is no such workflow."""
        kind = "workflow_enabled" if is_enabled else "workflow_disabled"
        await self._change_one(self.ENABLE, (int(is_enabled), name), name, at_ms=at_ms, kind=kind, by=by)

    async def _change_one(
        self, sql: str, values: tuple[object, ...], name: WorkflowName, *, at_ms: int, kind: str, by: str
    ) -> None:
        def change(tx: sqlite3.Connection) -> None:
            if tx.execute(sql, values).rowcount == 0:
                raise NotFoundError("workflow", name)
            events.insert(tx, kind, at_ms=at_ms, workflow=name, by=by)
            if kind == "workflow_deleted":
                workflow_schedules.delete(tx, name)

        await self._database.write(change)

    ALL: Final = "SELECT name, version, is_enabled, applied_at_ms, applied_by FROM workflows ORDER BY name"

    async def all(self) -> list[WorkflowRecord]:
        """Return every workflow in force, by name."""
        return [_workflow(row) for row in await self._database.read(self.ALL)]

    VERSION: Final = """
SELECT seq, workflow, version, text, applied_at_ms, applied_by FROM versions WHERE workflow = ? AND version = ?"""

    async def version(self, name: WorkflowName, version: VersionId) -> VersionRecord:
        """Return one version. Raise NotFoundError if it was never applied."""
        found = await self._database.read(self.VERSION, (name, version))
        if not found:
            raise NotFoundError(f"version of workflow {name!r}", version)
        return _version(found[0])

    VERSIONS: Final = """
SELECT seq, workflow, version, text, applied_at_ms, applied_by FROM versions
WHERE workflow = ? AND (applied_at_ms, seq) < (?, ?) ORDER BY applied_at_ms DESC, seq DESC LIMIT ?"""

    async def versions(self, name: WorkflowName, *, cursor: str | None, limit: int) -> Page[VersionRecord]:
        """Return the versions of a workflow, the last applied first. ``cursor`` is one of an earlier page."""
        at_ms, seq = (int(part) for part in cursor.split("-")) if cursor else (1 << 62, 1 << 62)
        found = await self._database.read(self.VERSIONS, (name, at_ms, seq, limit + 1))
        items = tuple(_version(row) for row in found[:limit])
        more = f"{found[limit - 1][4]}-{found[limit - 1][0]}" if len(found) > limit else None
        return Page(items=items, next_cursor=more)


def _workflow(row: Row) -> WorkflowRecord:
    return WorkflowRecord(name=row[0], version=row[1], is_enabled=bool(row[2]), applied_at_ms=row[3], applied_by=row[4])


def _version(row: Row) -> VersionRecord:
    return VersionRecord(workflow=row[1], version=row[2], text=row[3], applied_at_ms=row[4], applied_by=row[5])
