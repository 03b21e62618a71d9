"""Turn the text of a workflow file into its definition, or into everything that is wrong with it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from barbossad import document
from barbossad.document import Document
from barbossad.errors import Fault, InvalidWorkflowError
from barbossad.model.definition import (
    DEFAULT_GRACE_SECONDS,
    ParamDefinition,
    TaskDefinition,
    TemplateDefinition,
    WorkflowDefinition,
)
from barbossad.model.names import WORKFLOW_NAME, SecretName, TaskId, VersionId, WorkflowName
from barbossad.validation import proposal, shown, validate
from barbossad.workflows import declarations, entries, graph, isolation, variable_names
from barbossad.workflows.checks import Checker, Names
from barbossad.workflows.contract import TaskType
from barbossad.workflows.entries import Entry
from barbossad.workflows.source import (
    LATER_IN_DEFAULTS,
    LATER_IN_WORKFLOW,
    MAX_FAULTS,
    MAX_TASKS,
    Defaults,
    ParamSource,
    WorkflowSource,
    key_hint,
)


class Loader:
    """Reads workflow files; knows the task types that they may use."""

    def __init__(self, task_types: Mapping[str, TaskType]) -> None:
        self._task_types = task_types

    def load(self, text: str) -> WorkflowDefinition:
        """Return the definition. Raise InvalidWorkflowError with every fault, in the order of the file."""
        reading = _Reading(document.parse(text), self._task_types)
        definition = reading.definition()
        if definition is None:
            raise InvalidWorkflowError(reading.subject(), _ordered(reading.faults))
        return definition

    def check(self, text: str) -> list[Fault]:
        """Return everything that is wrong with a file, in the order of the file; nothing where it can be loaded."""
        reading = _Reading(document.parse(text), self._task_types)
        return [] if reading.definition() else _ordered(reading.faults)


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
        source = validate(WorkflowSource, self._known(value), self.document, self.faults)
        if not isinstance(value, dict):
            return None
        declared = self._params(value)
        raw_tasks = value.get("tasks")
        tasks = entries.read(
            raw_tasks[:MAX_TASKS] if isinstance(raw_tasks, list) else [], self.task_types, self.document, self.faults
        )
        self._check_isolation(tasks, source.defaults if source else Defaults())
        dependencies = self._dependencies(tasks)
        self._check_expressions(value, tasks, dependencies)
        self.faults.extend(variable_names.given_twice(self.document, value, raw_tasks))
        if self.faults or source is None:
            return None
        return self._compose(source, declared, tasks, dependencies)

    def _known(self, value: object) -> object:
        """Return the file without the keys that are told of here, in better words than a model has."""
        if not isinstance(value, dict):
            return value
        known = set(WorkflowSource.model_fields)
        kept = {key: item for key, item in value.items() if key in known}
        for key in value:
            if key not in known:
                self._refuse_key((key,), LATER_IN_WORKFLOW, known)
        if isinstance(value.get("defaults"), dict):
            known = set(Defaults.model_fields)
            kept["defaults"] = {key: item for key, item in value["defaults"].items() if key in known}
            for key in value["defaults"]:
                if key not in known:
                    self._refuse_key(("defaults", key), LATER_IN_DEFAULTS, known)
        return kept

    def _refuse_key(self, path: tuple[str, ...], later: frozenset[str], known: set[str]) -> None:
        key = path[-1]
        if key in later:
            fault = self.document.fault(path, f"{key!r} is not available in this version", "remove the key")
        else:
            hint = key_hint(key, known) if len(self.faults) < MAX_FAULTS else ""
            fault = self.document.fault(path, f"unknown key {key!r}", hint)
        self.faults.append(fault)

    def _params(self, value: Mapping[str, object]) -> list[ParamDefinition]:
        raw = value.get("params")
        declared: list[ParamDefinition] = []
        for name, item in (raw if isinstance(raw, dict) else {}).items():
            path = ("params", name)
            if isinstance(item, str):
                message = f"{name!r} must be a map, not text"
                self.faults.append(self.document.fault(path, message, "write {type: string}, or another type"))
                continue
            param = validate(ParamSource, item, self.document, self.faults, at=path)
            if param is None:
                continue

            def report(inner: tuple[str, ...], message: str, hint: str, name: str = name) -> None:
                self.faults.append(self.document.fault(("params", name, *inner), message, hint))

            definition = declarations.declare(name, param, report)
            if definition is not None:
                declared.append(definition)
        return declared

    def _check_isolation(self, tasks: list[Entry], defaults: Defaults) -> None:
        for task in tasks:
            if task.source is None or task.type is None or len(self.faults) > MAX_FAULTS:
                continue
            is_repeatable = self.task_types[task.type].is_repeatable
            found = isolation.contradictions(task.source, defaults, task.type, is_repeatable=is_repeatable)
            for key, message, hint in found:
                path = (*task.path, key) if getattr(task.source, key) is not None else ("defaults", key)
                self.faults.append(self.document.fault(path, message, hint))

    def _dependencies(self, tasks: list[Entry]) -> list[list[int]]:
        """Return for each task the positions that it waits for; unknown names and circles become faults."""
        positions = {task.id: position for position, task in reversed(list(enumerate(tasks)))}
        dependencies: list[list[int]] = []
        for position, task in enumerate(tasks):
            if task.depends_on is None:
                dependencies.append([position - 1] if position else [])
                continue
            for index, name in enumerate(task.depends_on):
                if name not in positions:
                    self._refuse_dependency(task, index, name, positions)
            known = [positions[name] for name in task.depends_on if name in positions]
            dependencies.append(list(dict.fromkeys(known)))
        self._refuse_circles(tasks, dependencies)
        return dependencies

    def _refuse_dependency(self, task: Entry, index: int, name: str, known: Mapping[str, int]) -> None:
        hint = ""
        if len(self.faults) < MAX_FAULTS:
            hint = proposal(name, [other for other in known if other != task.id], noun="other tasks")
        path = (*task.path, "depends_on", index)
        self.faults.append(self.document.fault(path, f"there is no task {shown(name)}", hint))

    def _refuse_circles(self, tasks: list[Entry], dependencies: list[list[int]]) -> None:
        for circle in graph.cycles(dependencies):
            first = circle.index(min(circle))
            ordered = [tasks[position] for position in circle[first:] + circle[:first]]
            ids = [task.id for task in ordered]
            names = " -> ".join(ids if len(ids) <= 12 else [*ids[:6], "…", *ids[-5:]])
            implied = next((task for task in ordered if task.depends_on is None), None)
            hint = "each waits for the next and none can start; remove one of these depends_on"
            if implied is not None:
                hint = f"{implied.id} has no depends_on, so it waits for the task before it; say there what it needs"
            place = next(task for task in ordered if task.depends_on is not None)
            self.faults.append(
                self.document.fault(
                    (*place.path, "depends_on"), f"tasks wait for each other: {names} -> {ids[0]}", hint
                )
            )

    def _check_expressions(
        self, value: Mapping[str, object], tasks: list[Entry], dependencies: list[list[int]]
    ) -> None:
        given = value.get("params")
        names = Names(
            params=frozenset(given) if isinstance(given, dict) else frozenset(),
            positions={task.id: position for position, task in reversed(list(enumerate(tasks)))},
            dependencies=dependencies,
        )
        checker = Checker(self.document, self.faults, names, MAX_FAULTS)
        checker.check(value.get("env"), ("env",), None)
        checker.check(value.get("defaults"), ("defaults",), None)
        for position, task in enumerate(tasks):
            for path, rendered in task.rendered.items():
                checker.check(rendered, path, position)

    def _compose(
        self,
        source: WorkflowSource,
        declared: list[ParamDefinition],
        tasks: list[Entry],
        dependencies: list[list[int]],
    ) -> WorkflowDefinition:
        text = self.document.text
        template = source.template
        return WorkflowDefinition(
            name=WorkflowName(source.name),
            version=version_of(text),
            text=text,
            description=source.description,
            labels=source.labels,
            params=tuple(declared),
            env=source.env,
            timeout_seconds=source.timeout,
            template=TemplateDefinition(
                title=template.title,
                summary=template.summary,
                category=template.category,
                requires=tuple(template.requires),
            )
            if template
            else None,
            tasks=tuple(
                _task(task, source, [TaskId(tasks[other].id) for other in waited_for])
                for task, waited_for in zip(tasks, dependencies, strict=True)
            ),
            dependency_counts=tuple(len(waited_for) for waited_for in dependencies),
            dependants=tuple(tuple(waiting) for waiting in graph.dependants_of(dependencies)),
        )


def _task(entry: Entry, workflow: WorkflowSource, depends_on: list[TaskId]) -> TaskDefinition:
    source, defaults = entry.source, workflow.defaults
    assert source is not None
    assert entry.type is not None
    secrets = {**workflow.secrets, **defaults.secrets, **source.secrets}
    grace = source.grace if source.grace is not None else defaults.grace
    return TaskDefinition(
        id=TaskId(entry.id),
        type=entry.type,
        params=entry.params,
        depends_on=tuple(depends_on),
        description=source.description,
        env={**defaults.env, **source.env} if defaults.env else source.env,
        working_dir=source.working_dir or defaults.working_dir,
        timeout_seconds=source.timeout or defaults.timeout,
        grace_seconds=DEFAULT_GRACE_SECONDS if grace is None else grace,
        isolation=isolation.isolation_of(source, defaults),
        on_interrupt=isolation.on_interrupt_of(source, defaults, "on_interrupt"),
        on_reboot=isolation.on_interrupt_of(source, defaults, "on_reboot"),
        detach=bool(defaults.detach if source.detach is None else source.detach),
        secrets={variable: SecretName(name) for variable, name in secrets.items()},
        line=entry.line,
    )
