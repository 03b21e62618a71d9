"""Make the definition of a workflow from a file in which nothing is wrong."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from barbossad.model.definition import (
    DEFAULT_GRACE_SECONDS,
    ParamDefinition,
    TaskDefinition,
    TemplateDefinition,
    WorkflowDefinition,
)
from barbossad.model.flow import ONCE, Loop, Section, TaskKind, Trigger
from barbossad.model.isolation import UNCONFINED
from barbossad.model.names import SecretName, TaskId, VersionId, WorkflowName
from barbossad.model.schedules import ScheduleDefinition
from barbossad.workflows import graph, isolation, kinds, secret_names
from barbossad.workflows.contract import Unrendered
from barbossad.workflows.entries import Entry
from barbossad.workflows.flow_keys import retry_of
from barbossad.workflows.source import TaskSource, TemplateSource, WorkflowSource

HOOK_TIMEOUT_SECONDS: Final = 600.0
"""Of a task that follows a run's end, where neither it nor the defaults say: the run's timeout bounds it no longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A file in which nothing is wrong."""

    text: str
    version: VersionId
    source: WorkflowSource
    params: Sequence[ParamDefinition]
    tasks: Sequence[Entry]
    dependencies: Sequence[Sequence[int]]
    schedules: Sequence[ScheduleDefinition]
    stdout_of: Collection[int]
    """The tasks whose stdout an expression looks at."""


def compose(file: Checked) -> WorkflowDefinition:
    """Return the definition."""
    source = file.source
    name = WorkflowName(source.name)
    return WorkflowDefinition(
        name=name,
        version=file.version,
        text=file.text,
        description=source.description,
        labels=source.labels,
        params=tuple(file.params),
        env=secret_names.without(source.env),
        timeout_seconds=source.timeout,
        template=_template(source.template) if source.template else None,
        outputs=source.outputs,
        priority=source.priority or 0,
        warn_after_seconds=source.warn_after,
        locks=tuple(source.lock or ()),
        concurrency=source.concurrency.concurrency(name) if source.concurrency else None,
        schedules=tuple(file.schedules),
        tasks=tuple(_tasks(file)),
        dependency_counts=tuple(len(waited_for) for waited_for in file.dependencies),
        dependants=tuple(tuple(waiting) for waiting in graph.dependants_of(file.dependencies)),
    )


def _template(source: TemplateSource) -> TemplateDefinition:
    return TemplateDefinition(
        title=source.title, summary=source.summary, category=source.category, requires=tuple(source.requires)
    )


def _tasks(file: Checked) -> Iterator[TaskDefinition]:
    everywhere = {**secret_names.all_of(file.source), **secret_names.all_of(file.source.defaults)}
    priorities: list[int] = []
    for position, entry in enumerate(file.tasks):
        assert entry.source is not None
        around = file.source.priority or 0 if entry.place.parent is None else priorities[entry.place.parent]
        priorities.append(around if entry.source.priority is None else entry.source.priority)
        depends_on = tuple(TaskId(file.tasks[other].id) for other in file.dependencies[position])
        is_read = position in file.stdout_of
        yield _task(file, entry, depends_on, everywhere, priority=priorities[position], is_read=is_read)


def _task(
    file: Checked,
    entry: Entry,
    depends_on: tuple[TaskId, ...],
    secrets: Mapping[str, SecretName],
    *,
    priority: int,
    is_read: bool,
) -> TaskDefinition:
    source, defaults, kind = entry.source, file.source.defaults, entry.kind
    assert source is not None
    assert entry.type is not None
    is_process = kind is TaskKind.PROCESS
    grace = source.grace if source.grace is not None else defaults.grace
    is_group = kind is TaskKind.GROUP
    return TaskDefinition(
        id=TaskId(entry.id),
        type=entry.type,
        params=entry.params,
        depends_on=depends_on,
        description=source.description,
        env=secret_names.without({**defaults.env, **source.env}) if is_process else {},
        working_dir=(source.working_dir or defaults.working_dir) if is_process else None,
        timeout_seconds=_timeout(file, entry, source),
        grace_seconds=DEFAULT_GRACE_SECONDS if grace is None else grace,
        isolation=isolation.isolation_of(source, defaults) if is_process else UNCONFINED,
        secrets={**secrets, **secret_names.all_of(source)} if is_process else {},
        on_interrupt=isolation.on_interrupt_of(source, defaults if is_process else source, "on_interrupt"),
        on_reboot=isolation.on_interrupt_of(source, defaults if is_process else source, "on_reboot"),
        detach=is_process and bool(defaults.detach if source.detach is None else source.detach),
        kind=kind,
        section=entry.place.section,
        parent=entry.place.parent,
        branch=entry.place.branch,
        size=entry.size,
        condition=entry.shape.condition,
        trigger=Trigger(source.trigger or Trigger.ALL_SUCCESS),
        when=source.when,
        continue_on_error=source.continue_on_error,
        retry=retry_of(source.retry, defaults.retry) if kinds.takes(kind, "retry") else ONCE,
        repeat=source.repeat.repeat() if source.repeat else None,
        for_each=_loop(source),
        max_parallel=entry.shape.max_parallel if is_group else source.max_parallel,
        fail_fast=entry.shape.fail_fast if is_group else bool(source.fail_fast),
        expect=source.expect,
        creates=tuple(source.creates or ()),
        unless=source.unless,
        locks=tuple(source.lock or ()),
        priority=priority,
        warn_after_seconds=source.warn_after,
        is_json_output=source.output == "json",
        keeps_stdout=is_process and (is_read or source.output == "json"),
        rolls_back=entry.place.rolls_back,
        line=entry.line,
    )


def _timeout(file: Checked, entry: Entry, source: TaskSource) -> float | None:
    """Return how long an attempt may take: its own, the defaults', or that of tasks that follow the run's end."""
    if source.timeout is not None or entry.kind is TaskKind.GROUP:
        return source.timeout
    is_hook = entry.place.section is not Section.MAIN
    if entry.kind is TaskKind.APPROVAL:
        return HOOK_TIMEOUT_SECONDS if is_hook and not _has_deadline(entry) else None
    default = file.source.defaults.timeout
    return HOOK_TIMEOUT_SECONDS if default is None and is_hook else default


def _has_deadline(entry: Entry) -> bool:
    if isinstance(entry.params, Unrendered):
        return "deadline" in entry.params.tree
    return getattr(entry.params, "deadline", None) is not None


def _loop(source: TaskSource) -> Loop | None:
    items = source.for_each
    if items is None:
        return None
    return Loop(
        items=tuple(items) if isinstance(items, list) else items,
        max_parallel=source.max_parallel,
        fail_fast=bool(source.fail_fast),
    )
