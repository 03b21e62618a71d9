"""Read the list of tasks of a file: the keys that all have, and the one that names the type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from barbossad.document import Document, Path
from barbossad.errors import Fault
from barbossad.model.names import TASK_ID
from barbossad.validation import faults_of, kind_of, shown, validate
from barbossad.workflows.contract import TaskType, Unrendered, code_fields
from barbossad.workflows.expressions import is_expression, leaves
from barbossad.workflows.source import LATER_IN_TASK, MAX_FAULTS, TASK_KEYS, TaskSource, key_hint


@dataclass(slots=True)
class Entry:
    """One task as far as it could be read."""

    path: Path
    line: int
    id: str
    depends_on: list[str] | None = None
    """None: not written, so it waits for the one before."""

    source: TaskSource | None = None
    type: str | None = None
    params: Any = None
    rendered: dict[Path, object] = field(default_factory=dict)
    """What may hold expressions, by place."""


def read(
    raw_tasks: list[object], task_types: Mapping[str, TaskType], document: Document, faults: list[Fault]
) -> list[Entry]:
    """Return an entry for each item of ``tasks``, whatever is wrong with it; add what is to ``faults``."""
    reader = _Reader(task_types, document, faults)
    entries = [reader.read(position, raw) for position, raw in enumerate(raw_tasks)]
    lines: dict[str, int] = {}
    for entry in entries:
        if entry.id in lines:
            message = f"the id {entry.id!r} is taken by the task in line {lines[entry.id]}"
            faults.append(document.fault((*entry.path, "id"), message, "give each task an id of its own"))
        lines.setdefault(entry.id, entry.line)
    return entries


class _Reader:
    def __init__(self, task_types: Mapping[str, TaskType], document: Document, faults: list[Fault]) -> None:
        self._task_types = task_types
        self._document = document
        self._faults = faults
        self._known = TASK_KEYS | task_types.keys()
        self._code_fields = {name: code_fields(task_type.Params) for name, task_type in task_types.items()}

    def read(self, position: int, raw: object) -> Entry:
        """Return one item of ``tasks``."""
        path: Path = ("tasks", position)
        entry = Entry(path, self._document.place(path)[0] or 0, f"task-{position + 1}")
        if not isinstance(raw, dict):
            hint = 'write a type and its value, such as {shell: "echo hello"}'
            self._refuse(path, f"a task must be a map, not {kind_of(raw)}", hint)
            return entry
        common = {key: value for key, value in raw.items() if key in TASK_KEYS}
        if "depends_on" in common and common["depends_on"] is None:
            hint = "write [] to start at once, or remove the key to wait for the task before"
            self._refuse((*path, "depends_on"), "'depends_on' has no value", hint)
            del common["depends_on"]
        entry.source = validate(TaskSource, common, self._document, self._faults, at=path)
        entry.type = self._type(path, raw)
        entry.id = _id(raw, entry.type, position)
        entry.depends_on = _dependencies(raw)
        for key in ("env", "working_dir"):
            if key in raw:
                entry.rendered[(*path, key)] = raw[key]
        sandbox = raw.get("sandbox")
        if isinstance(sandbox, dict) and "writable" in sandbox:
            entry.rendered[(*path, "sandbox", "writable")] = sandbox["writable"]
        if entry.type is not None:
            self._params(entry, raw[entry.type])
        return entry

    def _type(self, path: Path, raw: Mapping[str, object]) -> str | None:
        """Return the key that names the type; refuse the keys that are none, and more or less than one type."""
        types = [key for key in raw if key in self._task_types]
        others = [key for key in raw if key not in self._task_types and key not in TASK_KEYS]
        for key in others:
            if key in LATER_IN_TASK:
                self._refuse((*path, key), f"{key!r} is not available in this version", "remove the key")
            else:
                is_told = len(self._faults) < MAX_FAULTS
                hint = key_hint(key, [name for name in self._known if name not in raw]) if is_told else ""
                self._refuse((*path, key), f"unknown key {shown(key)}", hint)
        if len(types) > 1:
            message = f"a task has one type, and this one has {len(types)}: {', '.join(types)}"
            self._refuse(path, message, "make a task of each")
        elif not types and not others:
            known = ", ".join(sorted(self._task_types))
            self._refuse(path, "this task does nothing: no type is named", f"add one of: {known}")
        return types[0] if len(types) == 1 else None

    def _params(self, entry: Entry, value: object) -> None:
        """Validate what stands under the type's key; what has expressions is validated again when rendered."""
        assert entry.type is not None
        task_type = self._task_types[entry.type]
        path = (*entry.path, entry.type)
        bare = task_type.bare.get(type(value))
        if bare is None and not isinstance(value, dict):
            self._refuse(path, *_unusable(entry.type, value, task_type))
            return
        tree: dict[str, Any] = {bare: value} if bare is not None else value  # type: ignore[assignment]
        code = self._code_fields[entry.type]

        def place(inner: Path) -> Path | None:
            if inner and inner[0] not in code and is_expression(_at(tree, inner)):
                return None
            return (*path, *(inner[1:] if bare is not None and inner[:1] == (bare,) else inner))

        rendered = {key: item for key, item in tree.items() if key not in code}
        for key, item in rendered.items():
            entry.rendered[(*path, key) if bare is None else path] = item
        try:
            entry.params = task_type.Params.model_validate(tree)
        except ValidationError as error:
            self._faults.extend(faults_of(error, self._document, task_type.Params, tree, place=place))
        if any(True for _ in leaves(rendered)):
            entry.params = Unrendered(tree)

    def _refuse(self, path: Path, message: str, hint: str = "") -> None:
        self._faults.append(self._document.fault(path, message, hint))


def _unusable(name: str, value: object, task_type: TaskType) -> tuple[str, str]:
    if value is None:
        return f"{name!r} has no value", "write one after the colon"
    kinds = ", ".join(dict.fromkeys(kind_of(kind()) for kind in task_type.bare))
    return f"{name!r} must be {kinds + ' or ' if kinds else ''}a map, not {kind_of(value)}", ""


def _id(raw: Mapping[str, object], task_type: str | None, position: int) -> str:
    given = raw.get("id")
    if isinstance(given, str) and TASK_ID.fullmatch(given):
        return given
    return f"{task_type or 'task'}-{position + 1}"


def _dependencies(raw: Mapping[str, object]) -> list[str] | None:
    if "depends_on" not in raw:
        return None
    given = raw["depends_on"]
    names = [given] if isinstance(given, str) else given if isinstance(given, list) else []
    return [name for name in names if isinstance(name, str)]


def _at(value: Any, path: Path) -> object:
    for part in path:
        try:
            value = value[part]
        except (LookupError, TypeError):
            return None
    return value
