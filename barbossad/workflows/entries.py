"""Read one task of a file: the keys that all have, the one that names the type, and what stands under it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import ValidationError

from barbossad.document import Document, Path
from barbossad.errors import Fault
from barbossad.model.flow import Branch, Section, TaskKind
from barbossad.model.names import TASK_ID
from barbossad.validation import faults_of, kind_of, shown, validate
from barbossad.workflows import declarations, kinds
from barbossad.workflows.absent import AbsentType
from barbossad.workflows.contract import (
    GroupShape,
    Members,
    TaskType,
    Unrendered,
    form_fields,
    literal_fields,
    member_fields,
)
from barbossad.workflows.expressions import is_expression, leaves
from barbossad.workflows.source import MAX_FAULTS, RESERVED_IDS, TASK_KEYS, TaskSource
from barbossad.workflows.words import LATER_IN_TASK, key_hint

NO_SHAPE: Final = GroupShape()


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a task stands among the others."""

    section: Section = Section.MAIN
    prefix: str = ""
    """What its id begins with."""

    parent: int | None = None
    branch: Branch | None = None
    rolls_back: int | None = None
    in_order: bool = True
    """Whether it waits for the one before it in its list, unless it says what it waits for."""

    depth: int = 0
    is_nameless: bool = False
    """Whether no other task can mean it: the one task of a rollback, whose id is its task's."""

    is_in_loop: bool = False
    """Whether a group that it stands in has a for_each."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """What may hold expressions, and what those may look at beyond the tasks before."""

    path: Path
    value: object
    sees_itself: bool = False
    sees_item: bool = True


@dataclass(slots=True)
class Entry:
    """One task as far as it could be read."""

    path: Path
    line: int
    place: Place
    name: str
    id: str
    raw: Mapping[str, object] = field(default_factory=dict)
    depends_on: list[str] | None = None
    """None: not written, so it waits for the one before."""

    previous: int | None = None
    """The position of the task before it in its list."""

    size: int = 1
    source: TaskSource | None = None
    type: str | None = None
    kind: TaskKind = TaskKind.PROCESS
    params: Any = None
    shape: GroupShape = NO_SHAPE
    rendered: list[Rendered] = field(default_factory=list)
    outputs: frozenset[str] | None = None
    """The names of what it outputs, where they are known."""

    members: list[tuple[Path, object, Members]] = field(default_factory=list)
    """For a group: its lists, each with its place."""

    @property
    def is_loop(self) -> bool:
        """Whether it has a for_each."""
        return "for_each" in self.raw


class EntryReader:
    """Reads tasks of one file; what is wrong is added to ``faults``."""

    def __init__(self, task_types: Mapping[str, TaskType], document: Document, faults: list[Fault]) -> None:
        self._task_types = task_types
        self._document = document
        self._faults = faults
        self._known = TASK_KEYS | task_types.keys()
        self._params_of = {
            name: {field.alias or key for key, field in task_type.Params.model_fields.items()}
            for name, task_type in task_types.items()
        }
        self._literals = {name: literal_fields(task_type.Params) for name, task_type in task_types.items()}

    def read(self, path: Path, raw: object, place: Place, number: int, *, name: str | None = None) -> Entry:
        """Return one task; ``number`` is that in its default id, ``name`` the one it has whatever it says."""
        line = self._document.place(path)[0] or 0
        if not isinstance(raw, dict):
            hint = 'write a type and its value, such as {shell: "echo hello"}'
            if isinstance(raw, str) and "\N{NO-BREAK SPACE}" in raw:
                hint = "it holds a no-break space, which looks like a space and is none: write that anew"
            self._refuse(path, f"a task must be a map, not {kind_of(raw)}", hint)
            name = name or f"task-{number}"
            return Entry(path, line, place, name, place.prefix + name)
        common = {key: value for key, value in raw.items() if key in TASK_KEYS}
        for key in [key for key, value in common.items() if value is None]:
            hint = "write one after the colon, or remove the key"
            if key == "depends_on":
                hint = "write [] to start at once, or remove the key to wait for the task before"
            self._refuse((*path, key), f"{key!r} has no value", hint)
            del common[key]
        source = validate(TaskSource, common, self._document, self._faults, at=path, hint_for=key_hint)
        task_type = self._type(path, raw)
        name = name or _name(raw, task_type, number)
        entry = Entry(path, line, place, name, place.prefix + name, raw, _dependencies(raw), source=source)
        entry.type = task_type
        entry.rendered.extend(_rendered(path, raw))
        if task_type is not None:
            entry.kind = self._task_types[task_type].kind
            declared = self._task_types[task_type].Outputs
            entry.outputs = frozenset(declared.model_fields) if declared else None
            self._params(entry, raw[task_type])
            for key, message, hint in kinds.refused(self._task_types[task_type], raw, place.section):
                self._refuse((*path, key), message, hint)
        return entry

    def _type(self, path: Path, raw: Mapping[str, object]) -> str | None:
        """Return the key that names the type; refuse the keys that are none, and more or less than one type."""
        types = [key for key in raw if key in self._task_types]
        others = [key for key in raw if key not in self._task_types and key not in TASK_KEYS]
        for key in others:
            if key in LATER_IN_TASK:
                self._refuse((*path, key), f"{key!r} is not available in this version", "remove the key")
            else:
                self._refuse((*path, key), f"unknown key {shown(key)}", self._key_hint(key, raw, types))
        if len(types) > 1:
            message = f"a task has one type, and this one has {len(types)}: {', '.join(types)}"
            self._refuse(path, message, "make a task of each")
        elif not types and not others:
            known = ", ".join(sorted(self._task_types))
            self._refuse(path, "this task does nothing: no type is named", f"add one of: {known}")
        return types[0] if len(types) == 1 else None

    def _key_hint(self, key: str, raw: Mapping[str, object], types: list[str]) -> str:
        """Return what to write instead of an unknown key."""
        if len(self._faults) >= MAX_FAULTS:
            return ""
        inside = next((name for name in types if key in self._params_of[name]), None)
        if inside is not None:
            bare = self._task_types[inside].bare.get(type(raw[inside]))
            return f"it belongs inside: {{{inside}: {{{f'{bare}: …, ' if bare else ''}{key}: …}}}}"
        return key_hint(key, [name for name in self._known if name not in raw])

    def _params(self, entry: Entry, value: object) -> None:
        """Validate what stands under the type's key; what has expressions is validated again when rendered."""
        assert entry.type is not None
        task_type = self._task_types[entry.type]
        if isinstance(task_type, AbsentType):
            entry.params = task_type.Params()
            return
        path = (*entry.path, entry.type)
        bare = task_type.bare.get(type(value))
        if bare is None and not isinstance(value, dict):
            self._refuse(path, *_unusable(entry.type, value, task_type))
            return
        tree: dict[str, Any] = {bare: value} if bare is not None else value  # type: ignore[assignment]
        literals = self._literals[entry.type]
        is_group = task_type.kind is TaskKind.GROUP

        def below(key: str) -> Path:
            return (*path, key) if bare is None else path

        def place(inner: Path) -> Path | None:
            if inner and inner[0] not in literals and not is_group and is_expression(_at(tree, inner)):
                return None
            return (*path, *(inner[1:] if bare is not None and inner[:1] == (bare,) else inner))

        rendered = {key: item for key, item in tree.items() if key not in literals}
        entry.rendered.extend(Rendered(below(key), item) for key, item in rendered.items())
        for key in form_fields(task_type.Params) & tree.keys():
            declarations.declare_all(tree[key], below(key), self._document, self._faults, what="field")
        try:
            entry.params = task_type.Params.model_validate(tree)
        except ValidationError as error:
            found = faults_of(error, self._document, task_type.Params, tree, place=place, hint_for=key_hint)
            self._faults.extend(found)
        if is_group:
            entry.shape = entry.params.shape() if entry.params is not None else NO_SHAPE
            entry.params = None
            lists = member_fields(task_type.Params)
            entry.members = [(below(key), tree[key], mark) for key, mark in lists.items() if key in tree]
        elif any(True for _ in leaves(rendered)):
            entry.params = Unrendered(tree, bare)

    def _refuse(self, path: Path, message: str, hint: str = "") -> None:
        self._faults.append(self._document.fault(path, message, hint))


def _rendered(path: Path, raw: Mapping[str, Any]) -> Iterator[Rendered]:
    """Yield what may hold expressions among the keys that all tasks have."""
    for key in ("env", "working_dir", "when", "creates"):
        if key in raw:
            yield Rendered((*path, key), raw[key])
    if "expect" in raw:
        yield Rendered((*path, "expect"), raw["expect"], sees_itself=True)
    if "for_each" in raw:
        yield Rendered((*path, "for_each"), raw["for_each"], sees_item=False)
    for whole, key in (("repeat", "until"), ("repeat", "while"), ("sandbox", "writable")):
        holder = raw.get(whole)
        if isinstance(holder, dict) and key in holder:
            yield Rendered((*path, whole, key), holder[key], sees_itself=whole == "repeat")


def _unusable(name: str, value: object, task_type: TaskType) -> tuple[str, str]:
    if value is None:
        return f"{name!r} has no value", "write one after the colon"
    hint = ""
    if task_type.kind is TaskKind.GROUP and is_expression(value):
        hint = "to run a task only where something holds, write when: and this expression beside its type"
    listed = ", ".join(dict.fromkeys(kind_of(kind()) for kind in task_type.bare))
    return f"{name!r} must be {listed + ' or ' if listed else ''}a map, not {kind_of(value)}", hint


def _name(raw: Mapping[str, object], task_type: str | None, number: int) -> str:
    given = raw.get("id")
    if isinstance(given, str) and TASK_ID.fullmatch(given) and given not in RESERVED_IDS:
        return given
    return f"{task_type or 'task'}-{number}"


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
