"""Turn the text of a workflow file into its definition, or into everything that is wrong with it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from barbossad import document
from barbossad.document import Document, Path
from barbossad.errors import Fault, InvalidWorkflowError
from barbossad.model.definition import WorkflowDefinition
from barbossad.model.flow import TaskKind
from barbossad.model.names import WORKFLOW_NAME, VersionId
from barbossad.validation import validate
from barbossad.workflows import absent, declarations, dependencies, isolation, kinds, outline, schedules, variable_names
from barbossad.workflows.checks import Checker, View
from barbossad.workflows.compose import Checked, compose
from barbossad.workflows.contract import TaskType
from barbossad.workflows.entries import Entry
from barbossad.workflows.lookup import Lookup
from barbossad.workflows.order import Order
from barbossad.workflows.source import MAX_FAULTS, TASK_KEYS, Defaults, WorkflowSource
from barbossad.workflows.words import key_hint


class Loader:
    """Reads workflow files; knows the task types that they may use."""

    def __init__(self, task_types: Mapping[str, TaskType]) -> None:
        self._task_types = task_types

    def load(self, text: str) -> WorkflowDefinition:
        """Return the definition. Raise InvalidWorkflowError with every fault, in the order of the file."""
        return _loaded(_Reading(document.parse(text), self._task_types))

    def load_begun(self, text: str) -> WorkflowDefinition:
        """Return the definition of what was accepted before, with stand-ins for types that are not there any more.

        Raise InvalidWorkflowError if it is not acceptable all the same.
        """
        parsed = document.parse(text)
        return _loaded(_Reading(parsed, absent.with_absent(parsed.value, self._task_types)))

    def check(self, text: str) -> list[Fault]:
        """Return everything that is wrong with a file, in the order of the file; nothing where it can be loaded."""
        reading = _Reading(document.parse(text), self._task_types)
        return [] if reading.definition() else _ordered(reading.faults)


def _loaded(reading: _Reading) -> WorkflowDefinition:
    definition = reading.definition()
    if definition is None:
        raise InvalidWorkflowError(reading.subject(), _ordered(reading.faults))
    return definition


def version_of(text: str) -> VersionId:
    """Return the name of a version: the beginning of its content's SHA-256."""
    return VersionId(hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16])


def _ordered(faults: list[Fault]) -> list[Fault]:
    ordered = sorted(dict.fromkeys(faults), key=lambda fault: (fault.line or 0, fault.column or 0))
    if len(ordered) > MAX_FAULTS:
        left = len(ordered) - MAX_FAULTS
        ordered[MAX_FAULTS:] = [Fault(line=None, column=None, path="", message=f"and {left} more faults")]
    return ordered


@dataclass(slots=True)
class _Reading:
    """One file on its way to a definition."""

    document: Document
    task_types: Mapping[str, TaskType]
    faults: list[Fault] = field(default_factory=list)

    def subject(self) -> str:
        """Return what messages call the file."""
        value = self.document.value
        name = value.get("name") if isinstance(value, dict) else None
        return f"workflow {name!r}" if isinstance(name, str) and WORKFLOW_NAME.fullmatch(name) else "workflow file"

    def definition(self) -> WorkflowDefinition | None:
        """Go through the file from its form to what its expressions mean; None if there is any fault."""
        self.faults.extend(self.document.faults)
        value = self.document.value
        if self.faults and not self.document.is_complete:
            return None
        source = validate(WorkflowSource, self._known(value), self.document, self.faults, hint_for=key_hint)
        if not isinstance(value, dict):
            return None
        declared = declarations.declare_all(value.get("params"), ("params",), self.document, self.faults)
        tasks = outline.read(value, self.task_types, self.document, self.faults)
        self._check_keys(value, tasks, source.defaults if source else Defaults())
        planned = schedules.read_all(value, declared, self.document, self.faults)
        lookup = Lookup(tasks)
        order = dependencies.resolve(lookup, self.document, self.faults)
        checker = self._check_expressions(value, lookup, order)
        self.faults.extend(variable_names.given_twice(self.document, value, tasks))
        if self.faults or source is None:
            return None
        text = self.document.text
        return compose(
            Checked(
                text=text,
                version=version_of(text),
                source=source,
                params=declared,
                tasks=tasks,
                dependencies=order.dependencies,
                schedules=planned,
                stdout_of=checker.stdout_of,
            )
        )

    def _known(self, value: object) -> object:
        """Return the file without the keys that are told of here, in better words than a model has."""
        if not isinstance(value, dict):
            return value
        known = set(WorkflowSource.model_fields)
        kept = {key: item for key, item in value.items() if key in known}
        for key in value:
            if key not in known:
                self._refuse_key((key,), known)
        for key in [key for key in kept if kept[key] is None and not WorkflowSource.model_fields[key].is_required()]:
            hint = "write one after the colon, or remove the key"
            self.faults.append(self.document.fault((key,), f"{key!r} has no value", hint))
            del kept[key]
        if isinstance(value.get("defaults"), dict):
            known = set(Defaults.model_fields)
            kept["defaults"] = {key: item for key, item in value["defaults"].items() if key in known}
            for key in value["defaults"]:
                if key not in known:
                    self._refuse_key(("defaults", key), known)
        return kept

    def _refuse_key(self, path: tuple[str, ...], known: set[str]) -> None:
        hint = self._key_hint(path, known) if len(self.faults) < MAX_FAULTS else ""
        self.faults.append(self.document.fault(path, f"unknown key {path[-1]!r}", hint))

    def _key_hint(self, path: tuple[str, ...], known: set[str]) -> str:
        """Return what to write instead of an unknown key of the file or its defaults."""
        key = path[-1]
        if path[:-1] and key in TASK_KEYS:
            return "it has no default; write it at each task that needs it"
        if key in Defaults.model_fields:
            return "it is a key of tasks; for all of them write it under defaults"
        if key in TASK_KEYS:
            return "it is a key of tasks; write it at each task that needs it"
        if key in self.task_types:
            return "it is a type of task; write it in the list under tasks"
        return key_hint(key, known)

    def _check_keys(self, value: Mapping[str, Any], tasks: list[Entry], defaults: Defaults) -> None:
        """Refuse what tasks say that does not go together, defaults and what the workflow holds included."""
        for task in tasks:
            if task.source is None or task.type is None or len(self.faults) > MAX_FAULTS:
                continue
            found = list(kinds.contradictions(task.raw, task.source, value, defaults))
            if task.kind is TaskKind.PROCESS:
                is_repeatable = self.task_types[task.type].is_repeatable
                found += isolation.contradictions(task.source, defaults, task.type, is_repeatable=is_repeatable)
            for key, message, hint in found:
                path: Path = (*task.path, key) if key in task.raw else ("defaults", key)
                self.faults.append(self.document.fault(path, message, hint))

    def _check_expressions(self, value: Mapping[str, Any], lookup: Lookup, order: Order) -> Checker:
        given = value.get("params")
        params = frozenset(given) if isinstance(given, dict) else frozenset()
        checker = Checker(self.document, self.faults, params, lookup, order, MAX_FAULTS)
        for key in ("env", "defaults"):
            checker.check(value.get(key), (key,), View(sees_tasks=False))
        for position in range(len(lookup.entries)):
            checker.check_task(position)
        checker.check(value.get("outputs"), ("outputs",), View())
        return checker
