"""The shapes that clients rely on (INTERFACES): instants are RFC 3339 UTC in ``_at``, durations in ``_seconds``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from barbossad.clock import rfc3339
from barbossad.engine.progress import RunProgress
from barbossad.errors import Fault
from barbossad.model.definition import WorkflowDefinition
from barbossad.model.flow import ApprovalRequest, Section
from barbossad.model.records import AttemptRecord, RunRecord, TaskRecord
from barbossad.model.states import TaskState
from barbossad.operations.nodes import Loops, Node, nodes
from barbossad.planning.comparing import shown_params
from barbossad.store.run_details import RunDetails


class AttemptView(TypedDict):
    """One try of a task."""

    number: int
    state: str
    exit_code: int | None
    signal: int | None
    reason: str | None
    started_at: str | None
    finished_at: str | None
    launcher: str
    unit: str | None
    pid: int | None
    cpu_seconds: float | None
    peak_memory_bytes: int | None
    io_read_bytes: int | None
    io_write_bytes: int | None
    in_force: dict[str, Any] | None
    log_bytes: int


class FieldView(TypedDict):
    """One field of the form that comes with an approval."""

    name: str
    type: str
    description: str
    required: bool
    default: Any
    choices: list[Any] | None


class AskView(TypedDict):
    """What a person is asked, who may answer (nobody named: whoever may run workflows), and what is to be filled in."""

    message: str
    users: list[str]
    groups: list[str]
    form: list[FieldView]


class TaskView(TypedDict):
    """One task of a run."""

    id: str
    type: str
    state: str
    reason: str | None
    outputs: dict[str, Any]
    started_at: str | None
    finished_at: str | None
    attempts: list[AttemptView]
    description: str
    section: str
    parent: str | None
    """The group or loop that it is in."""

    waits_for: str | None
    """While it waits: for a slot, an instant (``delay``) or a person."""

    waits_until: str | None
    late: bool
    """Whether it takes, or took, longer than its ``warn_after``."""

    items: int | None
    """Of a loop that has begun: how many items it has."""

    item_states: dict[str, int] | None
    """Of a loop that has begun: how many of its items are in which state."""

    may_fail: bool
    """Whether the run goes on, and may succeed, though this fails."""

    kept: bool
    """Whether the run that this one is a retry of has done it."""

    asks: AskView | None
    """While it waits for a person: for what answer."""


class ParentView(TypedDict):
    """The task of a run that called another."""

    run_id: str
    task: str | None


class RunSummary(TypedDict):
    """A run as listings show it."""

    id: str
    workflow: str
    version: str
    state: str
    trigger: str
    reason: str | None
    created_at: str | None
    started_at: str | None
    finished_at: str | None
    priority: int
    parent: ParentView | None
    retry_of: str | None
    schedule: str | None
    scheduled_for_at: str | None
    warnings: int
    """How many tasks failed that were allowed to."""

    paused_at: str | None
    outcome: str | None
    """How it will have ended, known before its rollback and hooks have."""

    waiting: str | None
    """Why it waits, if it does."""


class LeftOut(TypedDict):
    """What a run has beyond what one answer tells."""

    tasks: int
    """How many tasks: single items of loops, as far as these went well or wait, before any others."""

    outputs: dict[str, int]
    """The outputs that are not shown, by task (empty: those of the run): how many bytes they have as JSON."""


class RunView(RunSummary):
    """A run with its tasks."""

    outputs: dict[str, Any]
    params: dict[str, Any]
    requested_by: str
    left_out: LeftOut | None
    """What is not told of a large run; ``run.outputs`` tells the outputs of one task whole."""

    tasks: list[TaskView]


class FaultView(TypedDict):
    """One thing wrong with a file."""

    line: int | None
    column: int | None
    path: str
    message: str
    hint: str


class Applied(TypedDict):
    """The version that is in force, and whether it was not before.

    ``kept_file`` is the file on the daemon's host that puts another one in force when it is read next.
    """

    name: str
    version: str
    changed: bool
    kept_file: str | None


def applied_view(definition: WorkflowDefinition, kept_file: Path | None, *, has_changed: bool) -> Applied:
    """Return what was put in force as answers have it."""
    return {
        "name": definition.name,
        "version": definition.version,
        "changed": has_changed,
        "kept_file": str(kept_file) if kept_file else None,
    }


def fault_view(fault: Fault) -> FaultView:
    """Return a fault as answers have it."""
    return {
        "line": fault.line,
        "column": fault.column,
        "path": fault.path,
        "message": fault.message,
        "hint": fault.hint,
    }


def run_summary(run: RunRecord, waiting: str | None = None) -> RunSummary:
    """Return a run as listings show it; ``waiting`` is why it does not go on."""
    parent: ParentView | None = None
    if run.parent_run is not None:
        parent = {"run_id": run.parent_run, "task": run.parent_task}
    return {
        "id": run.id,
        "workflow": run.workflow,
        "version": run.version,
        "state": run.state.value,
        "trigger": run.trigger.value,
        "reason": run.reason or run.stop_reason or run.outcome_reason,
        "created_at": rfc3339(run.created_at_ms),
        "started_at": rfc3339(run.started_at_ms),
        "finished_at": rfc3339(run.finished_at_ms),
        "priority": run.priority,
        "parent": parent,
        "retry_of": run.retry_of,
        "schedule": run.schedule,
        "scheduled_for_at": rfc3339(run.scheduled_for_ms),
        "warnings": run.warnings,
        "paused_at": rfc3339(run.paused_at_ms),
        "outcome": run.outcome.value if run.outcome else None,
        "waiting": waiting,
    }


class Shown:
    """A run as it is shown, made as a whole or task by task.

    ``progress`` is where an active run stands, ``why`` what keeps it and its tasks, ``asked`` what those ask a person
    that wait for one. Of loops of many items those are left out that went well and ended before ``forget_before_ms``,
    and the outputs of such a loop. Without a ``definition`` (one that this version no longer understands) there are
    only the tasks that have a row.
    """

    def __init__(
        self,
        details: RunDetails,
        definition: WorkflowDefinition | None,
        progress: RunProgress | None,
        why: Mapping[str, str],
        asked: Mapping[str, ApprovalRequest],
        *,
        forget_before_ms: int = 0,
    ) -> None:
        self.details = details
        self._definition = definition
        self._progress = progress
        self._why = why
        self._asked = asked
        self._kept = _kept(details)
        self._loops = Loops(details.tasks)
        self._brief = self._loops.long if forget_before_ms else frozenset[str]()
        self.nodes = nodes(definition, details.tasks)
        if forget_before_ms:
            self.nodes = self._loops.without_good(self.nodes, details.tasks, forget_before_ms)

    def view(self) -> RunView:
        """Return the run with its tasks."""
        left_out = self.outputs_left_out(node.id for node in self.nodes) if self.details.left_out else {}
        shown = self.head(0, left_out)
        shown["tasks"] = [self.task(node) for node in self.nodes]
        return shown

    def head(self, tasks_left_out: int, outputs_left_out: dict[str, int]) -> RunView:
        """Return the run without its tasks."""
        left_out = tasks_left_out or outputs_left_out
        return {
            **run_summary(self.details.run, self._why.get("")),
            "params": shown_params(self._definition, self.details.run.params),
            "outputs": dict(self.details.run.outputs or {}),
            "requested_by": self.details.run.requested_by,
            "left_out": {"tasks": tasks_left_out, "outputs": outputs_left_out} if left_out else None,
            "tasks": [],
        }

    def outputs_left_out(self, told: Iterable[str]) -> dict[str, int]:
        """Return whose outputs are not shown, of the run and of the tasks that are told of."""
        sizes = self.details.left_out
        return {task: sizes[task] for task in ("", *told) if task in sizes and task not in self._brief}

    def task(self, node: Node) -> TaskView:
        """Return a task."""
        return _task_view(
            node,
            self.details.tasks.get(node.id),
            self.details.attempts.get(node.id, ()),
            _waiting(self._progress, node.id, self._why),
            self._asked.get(node.id),
            is_kept=node.id in self._kept,
            item_states=self._loops.states(node.id),
            has_outputs=node.id not in self._brief,
        )


def _kept(details: RunDetails) -> frozenset[str]:
    """Return the tasks of a retry that ended before it was made."""
    run = details.run
    if run.retry_of is None:
        return frozenset()
    ended = ((name, record.finished_at_ms) for name, record in details.tasks.items() if name not in details.attempts)
    return frozenset(name for name, ended_at_ms in ended if ended_at_ms is not None and ended_at_ms < run.created_at_ms)


def _waiting(progress: RunProgress | None, task_id: str, why: Mapping[str, str]) -> tuple[str, str | None]:
    """Return the state of a task that has no row: pending on others, or waiting for a slot; and why."""
    index = progress.index.get(task_id) if progress else None
    if progress is None or index is None or progress.cells[index].record.state is not TaskState.PENDING:
        return "pending", why.get(task_id)
    return "waiting" if progress.cells[index].waits_for == 0 else "pending", why.get(task_id)


def _task_view(
    node: Node,
    record: TaskRecord | None,
    attempts: tuple[AttemptRecord, ...],
    otherwise: tuple[str, str | None],
    request: ApprovalRequest | None,
    *,
    is_kept: bool,
    item_states: dict[str, int] | None,
    has_outputs: bool,
) -> TaskView:
    state, reason = otherwise
    if record is not None:
        is_waiting = record.state is TaskState.WAITING
        state, reason = record.state.value, (reason if is_waiting else None) or record.reason
    task = node.task
    return {
        "id": node.id,
        "type": task.type if task else "unknown",
        "state": state,
        "reason": reason,
        "outputs": _outputs(record) if has_outputs else {},
        "started_at": rfc3339(record.started_at_ms) if record else None,
        "finished_at": rfc3339(record.finished_at_ms) if record else None,
        "attempts": [_attempt_view(attempt) for attempt in attempts],
        "description": task.description if task else "",
        "section": task.section.value if task else Section.MAIN.value,
        "parent": node.parent,
        "waits_for": record.waits_for.value if record and record.waits_for else None,
        "waits_until": rfc3339(record.waits_until_ms) if record else None,
        "late": record is not None and record.late_at_ms is not None,
        "items": len(record.items) if record is not None and record.items is not None else None,
        "item_states": item_states,
        "may_fail": node.may_fail,
        "kept": is_kept,
        "asks": _ask(request) if request is not None else None,
    }


def _ask(request: ApprovalRequest) -> AskView:
    return {
        "message": request.message,
        "users": list(request.users),
        "groups": list(request.groups),
        "form": [
            {
                "name": field.name,
                "type": field.type,
                "description": field.description,
                "required": not field.has_default,
                "default": field.default,
                "choices": list(field.choices) if field.choices is not None else None,
            }
            for field in request.form
        ],
    }


def _outputs(record: TaskRecord | None) -> dict[str, Any]:
    """Return a task's outputs; those of a loop, a list, under ``items``."""
    if record is None or not record.outputs:
        return {}
    return dict(record.outputs) if isinstance(record.outputs, Mapping) else {"items": list(record.outputs)}


def _attempt_view(attempt: AttemptRecord) -> AttemptView:
    return {
        "number": attempt.number,
        "state": attempt.state.value,
        "exit_code": attempt.exit_code,
        "signal": attempt.signal,
        "reason": attempt.reason,
        "started_at": rfc3339(attempt.started_at_ms),
        "finished_at": rfc3339(attempt.finished_at_ms),
        "launcher": attempt.launcher,
        "unit": attempt.unit,
        "pid": attempt.pid,
        "cpu_seconds": attempt.cpu_seconds,
        "peak_memory_bytes": attempt.peak_memory_bytes,
        "io_read_bytes": attempt.io_read_bytes,
        "io_write_bytes": attempt.io_write_bytes,
        "in_force": dict(attempt.in_force) if attempt.in_force else None,
        "log_bytes": attempt.log.size_bytes if attempt.log else 0,
    }
