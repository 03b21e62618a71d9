"""A workflow as it was checked and compiled: what the engine runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from barbossad.model.isolation import UNCONFINED, Isolation
from barbossad.model.names import SecretName, TaskId, VersionId, WorkflowName
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


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDefinition:
    """One node of the graph.

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

    line: int = 0


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
    tasks: tuple[TaskDefinition, ...]
    dependency_counts: tuple[int, ...]
    """How many tasks each task waits for, by position in ``tasks``."""

    dependants: tuple[tuple[int, ...], ...]
    """The positions of the tasks that wait for each task."""

    positions: Mapping[str, int] = field(init=False)
    """The position of each task by its id."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "positions", {task.id: position for position, task in enumerate(self.tasks)})

    @property
    def workflow_id(self) -> WorkflowName:
        """The name, as the embedded API calls it."""
        return self.name
