"""Lay all tasks of a file out in one row: those of the run, each group before its members, then what follows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from barbossad.document import Document, Path
from barbossad.errors import Fault
from barbossad.model.flow import Section
from barbossad.model.names import MAX_TASK_ID_CHARACTERS
from barbossad.validation import kind_of
from barbossad.workflows.contract import TaskType
from barbossad.workflows.entries import Entry, EntryReader, Place
from barbossad.workflows.scope import TASK_FIELDS
from barbossad.workflows.source import MAX_GROUP_DEPTH, MAX_TASKS, MAX_TASKS_IN_ALL

HOOKS: Final = (Section.ON_SUCCESS, Section.ON_FAILURE, Section.ON_CANCEL, Section.ON_EXIT)
"""The sections that are keys of a workflow, in the order in which they come."""


def read(
    value: Mapping[str, Any], task_types: Mapping[str, TaskType], document: Document, faults: list[Fault]
) -> list[Entry]:
    """Return an entry for each task of a file, whatever is wrong with it; add what is to ``faults``."""
    outline = _Outline(EntryReader(task_types, document, faults), document, faults)
    outline.add_list(("tasks",), value.get("tasks"), Place())
    for position in range(len(outline.entries)):
        outline.add_rollback(position)
    for section in HOOKS:
        if section in value:
            outline.add_list((section.value,), value[section], Place(section=section, prefix=f"{section}."))
    return outline.entries


@dataclass(slots=True)
class _Outline:
    reader: EntryReader
    document: Document
    faults: list[Fault]
    entries: list[Entry] = field(default_factory=list)
    is_full: bool = False

    def add_list(self, path: Path, raw_tasks: object, place: Place, *, start: int = 1) -> int:
        """Add the tasks of a list and all below them; return how many it has itself.

        Faults of its form are told elsewhere.
        """
        items = raw_tasks[:MAX_TASKS] if isinstance(raw_tasks, list) else []
        lines: dict[str, int] = {}
        previous: int | None = None
        for index, raw in enumerate(items):
            if self._is_at_limit((*path, index)):
                break
            position = len(self.entries)
            entry = self.reader.read((*path, index), raw, place, start + index)
            entry.previous = previous if place.in_order else None
            self._add(entry)
            self._check_name(entry)
            if entry.name in lines:
                self._refuse_taken(entry, lines[entry.name])
            lines.setdefault(entry.name, entry.line)
            previous = position
        return len(items)

    def add_rollback(self, position: int) -> None:
        """Add the tasks that take a task back, if it has some."""
        task = self.entries[position]
        raw = task.raw.get("rollback")
        if raw is None or task.place.section is not Section.MAIN:
            return
        path = (*task.path, "rollback")
        place = Place(
            section=Section.ROLLBACK,
            prefix=f"rollback.{task.id}.",
            rolls_back=position,
            is_in_loop=task.place.is_in_loop or task.is_loop,  # it takes back one item
        )
        if isinstance(raw, list) and raw:
            self.add_list(path, raw, place)
        elif isinstance(raw, dict):
            if self._is_at_limit(path):
                return
            if "id" in raw:
                message = f"the one task of a rollback is called rollback.{task.id}"
                self._refuse((*path, "id"), message, "remove the id, or write a list of tasks")
            place = replace(place, prefix="rollback.", is_nameless=True)
            self._add(self.reader.read(path, raw, place, 1, name=task.id))
        else:
            what = "must not be empty" if raw == [] else f"must be a task or a list of tasks, not {kind_of(raw)}"
            self._refuse(path, f"'rollback' {what}", "write a type and its value, such as {shell: rm -f /tmp/x}")

    def _add(self, entry: Entry) -> None:
        """Add a task, and its members directly after it."""
        position = len(self.entries)
        self.entries.append(entry)
        if len(entry.id) > MAX_TASK_ID_CHARACTERS:
            message = f"its full id has more than {MAX_TASK_ID_CHARACTERS} characters: {entry.id[:60]}…"
            self._refuse(entry.path, message, "choose shorter ids, or nest less deeply")
        if entry.members and entry.place.depth >= MAX_GROUP_DEPTH:
            message = f"groups are nested deeper than {MAX_GROUP_DEPTH} levels"
            self._refuse(entry.path, message, "make a workflow of the inner part, and run it with the type workflow")
            return
        count = 0
        for path, raw_tasks, members in entry.members:
            place = Place(
                section=entry.place.section,
                prefix=f"{entry.id}.",
                parent=position,
                branch=members.branch,
                rolls_back=entry.place.rolls_back,
                in_order=members.in_order,
                depth=entry.place.depth + 1,
                is_in_loop=entry.place.is_in_loop or entry.is_loop,
            )
            first = len(self.entries)
            count += self.add_list(path, raw_tasks, place, start=count + 1)
            self._refuse_taken_by_branch(position, first)
        entry.size = len(self.entries) - position

    def _refuse_taken_by_branch(self, parent: int, first: int) -> None:
        """Refuse the names in a second branch that the first has too."""
        lines = {entry.name: entry.line for entry in self.entries[parent + 1 : first] if entry.place.parent == parent}
        for entry in self.entries[first:] if lines else ():
            if entry.place.parent == parent and entry.name in lines:
                self._refuse_taken(entry, lines[entry.name])

    def _check_name(self, entry: Entry) -> None:
        if entry.place.parent is not None and entry.name in TASK_FIELDS:
            message = f"a task in a group cannot be called {entry.name!r}: tasks.GROUP.{entry.name} is the group's own"
            self._refuse((*entry.path, "id"), message, f"choose another, such as my-{entry.name}")

    def _refuse_taken(self, entry: Entry, line: int) -> None:
        message = f"the id {entry.name!r} is taken by the task in line {line}"
        self._refuse((*entry.path, "id"), message, "give each task an id of its own")

    def _is_at_limit(self, path: Path) -> bool:
        if len(self.entries) < MAX_TASKS_IN_ALL:
            return False
        if not self.is_full:
            message = f"there are more than {MAX_TASKS_IN_ALL} tasks, groups and their members counted"
            self._refuse(path, message, "make workflows of the parts, and run them with the type workflow")
        self.is_full = True
        return True

    def _refuse(self, path: Path, message: str, hint: str = "") -> None:
        self.faults.append(self.document.fault(path, message, hint))
