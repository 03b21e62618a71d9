"""Records: one frozen row each, as the store keeps it. Instants are milliseconds since the epoch, UTC."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from operator import attrgetter
from typing import Any, Generic, TypeVar

from barbossad.model.names import RunId, TaskId, VersionId, WorkflowName
from barbossad.model.states import AttemptState, RunState, StopCause, TaskState, TriggerType, WaitsFor

Item = TypeVar("Item")


Record = TypeVar("Record")


@cache
def _members(kind: type[Any]) -> tuple[Callable[[Any], tuple[Any, ...]], tuple[Callable[[Any, Any], None], ...]]:
    """Return what reads all members of a kind of record at once, and what sets each."""
    names = [member.name for member in fields(kind)]
    return attrgetter(*names), tuple(getattr(kind, name).__set__ for name in names)


def changed(record: Record, **facts: Any) -> Record:
    """Return a record with other facts, as ``dataclasses.replace`` does, in half its time: each task has several."""
    kind = type(record)
    get, setters = _members(kind)  # type: ignore[arg-type]  # a type has a hash, whatever mypy thinks
    made: Record = object.__new__(kind)
    for set_member, value in zip(setters, get(record), strict=True):
        set_member(made, value)
    for name, value in facts.items():
        object.__setattr__(made, name, value)
    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[Item]):
    """A piece of a listing; ``next_cursor`` is None on the last."""

    items: tuple[Item, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowRecord:
    """A workflow and which of its versions is in force."""

    name: WorkflowName
    version: VersionId
    is_enabled: bool
    applied_at_ms: int
    applied_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRecord:
    """One version of a workflow, named by its content."""

    workflow: WorkflowName
    version: VersionId
    text: str
    applied_at_ms: int
    applied_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One execution of a workflow."""

    id: RunId
    workflow: WorkflowName
    version: VersionId
    state: RunState
    trigger: TriggerType
    params: Mapping[str, Any]
    requested_by: str
    idempotency_key: str | None = None
    reason: str | None = None
    stop_cause: StopCause | None = None
    """Set once the run is being ended before its time; what then happens to its tasks does not change it."""

    stop_reason: str | None = None
    outcome: RunState | None = None
    """How it will have ended, once all tasks of its main part have; rollback and hooks do not change it."""

    outcome_reason: str | None = None
    priority: int = 0
    parent_run: RunId | None = None
    """The run that called it, and by which task."""

    parent_task: TaskId | None = None
    retry_of: RunId | None = None
    schedule: str | None = None
    """The id of the schedule that asked for it, and the nominal instant that it stands for."""

    scheduled_for_ms: int | None = None
    chain: int = 0
    """How many ends of other runs led to it, one after another, by triggers on workflows."""

    warnings: int = 0
    """How many tasks failed that were allowed to."""

    outputs: Mapping[str, Any] | None = None
    paused_at_ms: int | None = None
    paused_ms: int = 0
    """How long it was paused before; its timeout does not count that."""

    late_at_ms: int | None = None
    """When it was told that it takes longer than its ``warn_after``."""

    created_at_ms: int
    started_at_ms: int | None = None
    finished_at_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRecord:
    """One task of a run."""

    run_id: RunId
    task_id: TaskId
    state: TaskState
    reason: str | None = None
    waits_for: WaitsFor | None = None
    """While it is ``waiting``: for what."""

    waits_until_ms: int | None = None
    """While it waits for an instant, or for a person with a deadline."""

    outputs: Mapping[str, Any] | Sequence[Any] | None = None
    """Of a loop: those of its items, in their order."""

    stdout: str | None = None
    """What it printed, where an expression needs that."""

    items: tuple[Any, ...] | None = None
    """The items of a loop that has begun."""

    late_at_ms: int | None = None
    """When it was told that it takes longer than its ``warn_after``."""

    kept_attempts: int | None = None
    """Of a task that a retry took over as done, how many attempts it had had, which are rows of that earlier run."""

    kept_exit_code: int | None = None
    """And with what the last of them ended."""

    started_at_ms: int | None = None
    finished_at_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptRecord:
    """One try of a task. ``pid`` and ``pid_started_ticks`` name its first process (proc(5), field 22)."""

    run_id: RunId
    task_id: TaskId
    number: int
    state: AttemptState
    launcher: str
    unit: str | None = None
    boot_id: str
    pid: int | None = None
    pid_started_ticks: int | None = None
    exit_code: int | None = None
    signal: int | None = None
    reason: str | None = None
    started_at_ms: int | None = None
    finished_at_ms: int | None = None
    cpu_seconds: float | None = None
    peak_memory_bytes: int | None = None
    io_read_bytes: int | None = None
    io_write_bytes: int | None = None
    in_force: Mapping[str, Any] | None = None
    """User, limits and sandbox that the launcher enforced, in words for people; None: nothing was asked for."""

    invocation_id: str | None = None
    """The name that systemd gave to this one start of the unit: 32 hexadecimal digits."""

    log: LogRecord | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRecord:
    """Where an attempt's output is: ``text`` in the store when small, otherwise the file ``path``.

    ``path`` is relative to the folder of logs; with ``text`` it names a file that holds the same and is to be
    discarded once the text is committed. ``size_bytes`` counts the records that are kept, ``dropped_bytes`` those left
    out past the cap, which followed the first ``dropped_at`` bytes. Cursors are positions in all records that
    ever were, dropped ones too. ``has_tail_apart`` is only true of an attempt that still runs: what follows the
    first part is in files of its own then.
    """

    text: bytes | None = None
    path: str | None = None
    size_bytes: int = 0
    dropped_bytes: int = 0
    dropped_at: int | None = None
    has_tail_apart: bool = False

    @property
    def end_cursor(self) -> int:
        """Return the cursor behind the last record."""
        return self.size_bytes + self.dropped_bytes
