"""The workflows in force and their versions, compiled once and kept by version."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from barbossad.clock import Clock
from barbossad.errors import ConflictError, Fault, InvalidWorkflowError, NotFoundError
from barbossad.model.definition import WorkflowDefinition
from barbossad.model.names import VersionId, WorkflowName
from barbossad.model.records import Page, VersionRecord, WorkflowRecord
from barbossad.store.workflows import WorkflowStore
from barbossad.validation import proposal
from barbossad.workflows.loader import version_of
from barbossad.workflows.reader import Reader

KEPT_DEFINITIONS: Final = 256

_BEGUN: Final = "begun"
"""Ends the key of a definition that has stand-ins."""

log = logging.getLogger(__name__)


class Registry:
    """Which version of each workflow is in force. All of it is in memory; the store has the same."""

    def __init__(self, store: WorkflowStore, reader: Reader, clock: Clock) -> None:
        self.counted: Callable[[], None] = lambda: None
        """Is called when there is one workflow more, or one less."""

        self._store = store
        self._reader = reader
        self._clock = clock
        self._records: dict[str, WorkflowRecord] = {}
        self._definitions: OrderedDict[tuple[str, ...], WorkflowDefinition] = OrderedDict()

    async def open(self) -> None:
        """Read which workflows there are."""
        self._records = {record.name: record for record in await self._store.all()}

    def __len__(self) -> int:
        return len(self._records)

    def records(self) -> list[WorkflowRecord]:
        """Return every workflow in force, by name."""
        return [self._records[name] for name in sorted(self._records)]

    def record(self, name: str) -> WorkflowRecord:
        """Return which version of a workflow is in force. Raise NotFoundError with the nearest known name."""
        found = self._records.get(name)
        if found is None:
            hint = proposal(name, self._records, noun="workflows") if self._records else "none was applied yet"
            raise NotFoundError("workflow", name, hint)
        return found

    def at_hand(self, name: WorkflowName, version: VersionId) -> WorkflowDefinition | None:
        """Return a version if it is compiled already, None if ``definition`` has to read it first."""
        return self._definitions.get((name, version))

    async def definition(self, name: WorkflowName, version: VersionId | None = None) -> WorkflowDefinition:
        """Return a version of a workflow, the one in force if none is named, compiled.

        Raise NotFoundError, or InvalidWorkflowError for a version that this program no longer understands, or whose
        text is not the one that was applied.
        """
        wanted = version or self.record(name).version
        key = (name, wanted)
        found = self._definitions.get(key)
        if found is None:
            found = await self._reader.authored(_whole(await self._store.version(name, wanted)).text)
            self._keep(found)
        else:
            self._definitions.move_to_end(key)
        return found

    async def begun(self, name: WorkflowName, version: VersionId) -> WorkflowDefinition:
        """Return what a run that has begun runs: as ``definition``, with stand-ins for types that are gone since."""
        try:
            return await self.definition(name, version)
        except InvalidWorkflowError as error:
            key = (name, version, _BEGUN)
            found = self._definitions.get(key)
            if found is None:
                text = _whole(await self._store.version(name, version)).text
                try:
                    found = await self._reader.begun(text)
                except InvalidWorkflowError:
                    raise error from None  # which is not about stand-ins
                log.warning("version %s of %s cannot be started anew: %s", version, name, error,
                            extra={"action": "task_type_absent"})  # fmt: skip
                self._keep(found, _BEGUN)
            return found

    async def runnable(self, name: WorkflowName) -> WorkflowDefinition:
        """Return the version in force. Raise ConflictError if the workflow is disabled."""
        self.check_enabled(name)
        return await self.definition(name)

    def check_enabled(self, name: WorkflowName) -> None:
        """Raise ConflictError if a workflow is disabled, NotFoundError if there is none."""
        if not self.record(name).is_enabled:
            raise ConflictError(
                f"workflow {name!r} is disabled; `barbossactl workflow enable {name}` allows runs again"
            )

    async def apply(self, text: str, *, by: str) -> tuple[WorkflowDefinition, bool]:
        """Put a workflow's text in force; return it compiled, and whether that changed anything.

        Raise InvalidWorkflowError with every fault.
        """
        definition = await self._reader.authored(text)
        return definition, await self.put_in_force(definition, text, by=by)

    async def put_in_force(self, definition: WorkflowDefinition, text: str, *, by: str) -> bool:
        """Put what was compiled of a text in force; return whether that changed anything."""
        now_ms = self._clock.now_ms()
        has_changed = await self._store.apply(
            VersionRecord(
                workflow=definition.name,
                version=definition.version,
                text=text,
                applied_at_ms=now_ms,
                applied_by=by,
            ),
            schedules=definition.schedules,
            labels=definition.labels,
        )
        self._keep(definition)
        if has_changed:
            before = self._records.get(definition.name)
            self._records[definition.name] = WorkflowRecord(
                name=definition.name,
                version=definition.version,
                is_enabled=before.is_enabled if before else True,
                applied_at_ms=now_ms,
                applied_by=by,
            )
            if before is None:
                self.counted()
        return has_changed

    async def delete(self, name: WorkflowName, *, by: str) -> None:
        """Take a workflow out of force. Raise NotFoundError."""
        self.record(name)
        await self._store.delete(name, at_ms=self._clock.now_ms(), by=by)
        self._records.pop(name, None)
        self.counted()

    async def enable(self, name: WorkflowName, *, is_enabled: bool, by: str) -> WorkflowRecord:
        """Allow or forbid new runs. Raise NotFoundError."""
        self.record(name)
        await self._store.enable(name, is_enabled=is_enabled, at_ms=self._clock.now_ms(), by=by)
        await self.open()
        return self.record(name)

    async def versions(self, name: WorkflowName, *, cursor: str | None, limit: int) -> Page[VersionRecord]:
        """Return the versions of a workflow, the last applied first. Raise NotFoundError."""
        self.record(name)
        return await self._store.versions(name, cursor=cursor, limit=limit)

    async def version(self, name: WorkflowName, version: VersionId) -> VersionRecord:
        """Return one version as it was applied. Raise NotFoundError."""
        return await self._store.version(name, version)

    def _keep(self, definition: WorkflowDefinition, *more: str) -> None:
        self._definitions[definition.name, definition.version, *more] = definition
        while len(self._definitions) > KEPT_DEFINITIONS:
            self._definitions.popitem(last=False)


def _whole(record: VersionRecord) -> VersionRecord:
    """Return a version whose text is what it is named by. Raise InvalidWorkflowError: SQLite notices few flipped bits.

    Such a text must not run: it says what to do as root.
    """
    found = version_of(record.text)
    if found == record.version:
        return record
    message = f"version {record.version} is damaged in the state file: its text is that of {found}"
    log.error("workflow %s: %s", record.workflow, message, extra={"action": "version_damaged"})
    hint = "apply the workflow's file again, or restore a backup of the state file"
    raise InvalidWorkflowError(record.workflow, [Fault(line=None, column=None, path="", message=message, hint=hint)])
