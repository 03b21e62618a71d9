"""A workflow as it was checked and compiled: what the engine runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from barbossad.model.flow import ONCE, Branch, Concurrency, Loop, Repeat, Retry, Section, TaskKind, Trigger
from barbossad.model.isolation import UNCONFINED, Isolation
from barbossad.model.names import SecretName, TaskId, VersionId, WorkflowName
from barbossad.model.schedules import ScheduleDefinition
from barbossad.model.states import OnInterrupt

DEFAULT_GRACE_SECONDS = 10.0
"""From SIGTERM to SIGKILL, where a task does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParamDefinition:
    """One typed parameter of a workflow; bounds that a type does not have are None."""

    name: str
    type: str
    description: str = ""
    default: Any = None
    has_default: bool = False
    choices: tuple[Any, ...] | None = None
    pattern: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    min_length: int | None = None
    max_length: int | None = None

    @property
    def about(self) -> str:
        """What it takes, for a person: ``an integer``, or its type and description."""
        if self.description:
            return f"{self.type}: {self.description}"
        return f"{'an' if self.type[0] in 'aeiou' else 'a'} {self.type}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDefinition:
    """One node of the graph: a task, or a group of tasks.

    A member of a group has the id ``outer.inner``. Texts of ``when``, ``expect``, ``condition``, ``creates`` and those
    of ``repeat`` and ``for_each`` may hold expressions; that of ``unless`` is a shell script and never does.
    ``params`` is an instance of its task type's ``Params``, or ``workflows.contract.Unrendered`` where it holds
    expressions; the task type's ``command`` takes both.
    """

    id: TaskId
    type: str
    params: Any
    depends_on: tuple[TaskId, ...] = ()
    description: str = ""
    env: Mapping[str, str]
    working_dir: str | None = None
    timeout_seconds: float | None = None
    grace_seconds: float = DEFAULT_GRACE_SECONDS
    isolation: Isolation = UNCONFINED
    secrets: Mapping[str, SecretName] = field(default_factory=dict)
    """From the name of an environment variable to that of the secret it gets, the workflow's own included."""

    on_interrupt: OnInterrupt = OnInterrupt.FAIL
    on_reboot: OnInterrupt = OnInterrupt.FAIL
    detach: bool = False
    """Leave the processes alone that its first one leaves behind."""

    kind: TaskKind = TaskKind.PROCESS
    section: Section = Section.MAIN
    parent: int | None = None
    """The position of the group that it is a member of."""

    branch: Branch | None = None
    """For a member of a condition: in which of its lists it stands."""

    size: int = 1
    """How many tasks it is, itself and all below it, which follow it directly in ``WorkflowDefinition.tasks``."""

    condition: str | None = None
    """For a group that is a condition: what decides between its branches."""

    trigger: Trigger = Trigger.ALL_SUCCESS
    when: str | None = None
    continue_on_error: bool = False
    retry: Retry = ONCE
    repeat: Repeat | None = None
    for_each: Loop | None = None
    max_parallel: int | None = None
    """For a group: how many members may run at once; a loop has its own."""

    fail_fast: bool = False
    """For a group: end the other members when one has failed."""

    expect: str | None = None
    creates: tuple[str, ...] = ()
    """Absolute paths: where all are there, it is skipped."""

    unless: str | None = None
    """A shell script: where it exits with 0, the task is skipped."""

    locks: tuple[str, ...] = ()
    priority: int = 0
    warn_after_seconds: float | None = None
    is_json_output: bool = False
    """Whether its stdout is parsed for its outputs."""

    keeps_stdout: bool = False
    """Whether an expression, or ``output: json``, needs its stdout."""

    rolls_back: int | None = None
    """For a task of the section ``rollback``, members of a group included: the position of the task it takes back."""

    line: int = 0

    @property
    def name(self) -> str:
        """The last part of its id: what tasks beside it call it."""
        return self.id.rpartition(".")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateDefinition:
    """What a template says of itself."""

    title: str
    summary: str = ""
    category: str = ""
    requires: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowDefinition:
    """One version of a workflow, ready to run. ``text`` is the file as its author wrote it."""

    name: WorkflowName
    version: VersionId
    text: str
    description: str = ""
    labels: Mapping[str, str]
    params: tuple[ParamDefinition, ...] = ()
    env: Mapping[str, str]
    timeout_seconds: float | None = None
    template: TemplateDefinition | None = None
    outputs: Mapping[str, Any] = field(default_factory=dict)
    """What a run hands to who called it: from names to values that may hold expressions."""

    priority: int = 0
    warn_after_seconds: float | None = None
    locks: tuple[str, ...] = ()
    concurrency: Concurrency | None = None
    schedules: tuple[ScheduleDefinition, ...] = ()
    """Those by time and those by events, in the order of the file."""

    tasks: tuple[TaskDefinition, ...]
    """Of all sections, each group directly before its members."""

    dependency_counts: tuple[int, ...]
    """How many tasks each waits for, by position in ``tasks``; that a member waits for its group is not counted."""

    dependants: tuple[tuple[int, ...], ...]
    """The positions of the tasks that wait for each task."""

    positions: Mapping[str, int] = field(init=False)
    """The position of each task by its id."""

    sections: Mapping[Section, tuple[int, ...]] = field(init=False)
    """The positions of the tasks of each section that has some."""

    rollbacks: Mapping[int, tuple[int, ...]] = field(init=False)
    """The positions of what takes a task back, by that of the task; their members included."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "positions", {task.id: position for position, task in enumerate(self.tasks)})
        sections: dict[Section, list[int]] = {}
        for position, task in enumerate(self.tasks):
            sections.setdefault(task.section, []).append(position)
        object.__setattr__(self, "sections", {name: tuple(found) for name, found in sections.items()})
        rollbacks: dict[int, list[int]] = {}
        for position in sections.get(Section.ROLLBACK, ()):
            target = self.tasks[position].rolls_back
            if target is not None:
                rollbacks.setdefault(target, []).append(position)
        object.__setattr__(self, "rollbacks", {target: tuple(found) for target, found in rollbacks.items()})

    @property
    def workflow_id(self) -> WorkflowName:
        """The name, as the embedded API calls it."""
        return self.name
