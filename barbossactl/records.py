"""What the daemon tells of a run, converted once at the edge. Unknown fields are left for newer clients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

RUN_ENDED: Final = frozenset({"succeeded", "failed", "timed_out", "cancelled", "interrupted"})
TASK_ENDED: Final = RUN_ENDED | {"skipped", "upstream_failed"}
TASK_FAILED: Final = frozenset({"failed", "timed_out", "interrupted"})
"""The states of a task that explain why its run failed; ``upstream_failed`` only follows from them."""

TASK_ACTIVE: Final = frozenset({"starting", "running"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try of a task."""

    number: int
    state: str
    exit_code: int | None
    signal: int | str | None
    reason: str
    started_at: str | None
    finished_at: str | None
    cpu_seconds: float | None = None
    peak_memory_bytes: int | None = None
    io_read_bytes: int | None = None
    io_write_bytes: int | None = None
    in_force: Mapping[str, Any] = field(default_factory=dict)
    """User, limits and sandbox that held."""

    log_bytes: int | None = None

    @property
    def is_silent(self) -> bool:
        """Whether it has ended without having printed anything."""
        return self.finished_at is not None and self.log_bytes == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One task of a run."""

    id: str
    type: str
    state: str
    reason: str
    attempts: tuple[Attempt, ...]
    parent: str | None = None
    """The group or loop that it is in."""

    section: str = "main"
    waits_for: str | None = None
    waits_until: str | None = None
    is_late: bool = False
    items: int | None = None
    """Of a loop that has begun: how many it has."""

    item_states: Mapping[str, int] = field(default_factory=dict)
    """How many of its items are in which state."""

    may_fail: bool = False
    is_kept: bool = False
    """Whether the run that this one is a retry of has done it."""

    asks: Mapping[str, Any] | None = None
    """What it asks a person, while it waits for one."""

    began_at: str | None = None
    ended_at: str | None = None

    @property
    def last_attempt(self) -> Attempt | None:
        """The attempt that decided the state, None before the first."""
        return self.attempts[-1] if self.attempts else None

    @property
    def started_at(self) -> str | None:
        """When its first attempt started, or it began where it has none: a group, a loop, an approval."""
        return self.attempts[0].started_at if self.attempts else self.began_at

    @property
    def finished_at(self) -> str | None:
        """When its last attempt ended, or it did where it has none."""
        return self.attempts[-1].finished_at if self.attempts else self.ended_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One execution of a workflow."""

    id: str
    workflow: str
    version: str
    state: str
    trigger: str
    reason: str
    created_at: str | None
    started_at: str | None
    finished_at: str | None
    tasks: tuple[Task, ...]
    waiting: str = ""
    """Why it does not go on, if it does not."""

    outcome: str = ""
    """How it will have ended, known before its rollback and hooks have."""

    warnings: int = 0
    retry_of: str = ""
    caller: str = ""
    """The run that called it."""

    paused_at: str | None = None
    priority: int = 0
    outputs: Mapping[str, Any] = field(default_factory=dict)
    tasks_left_out: int = 0
    """How many tasks were not told of."""

    outputs_left_out: Mapping[str, int] = field(default_factory=dict)
    """Whose outputs were not (empty: the run's own), and how many bytes they have."""

    @property
    def is_ended(self) -> bool:
        """Whether its state is final."""
        return self.state in RUN_ENDED

    @property
    def failed_tasks(self) -> tuple[Task, ...]:
        """The tasks that explain why it did not succeed, in the order of the workflow.

        A group or loop does only where none of its members or items does, and what may fail never does.
        """
        failed = [task for task in self.tasks if task.state in TASK_FAILED and not task.may_fail]
        explained = {task.parent for task in failed}
        return tuple(task for task in failed if task.id not in explained)

    @property
    def size(self) -> int:
        """How many tasks and items it has, those that were not told of too."""
        return len(self.tasks) + sum(task.items or 0 for task in self.tasks)

    @property
    def asking(self) -> tuple[Task, ...]:
        """The tasks that wait for a person."""
        return tuple(task for task in self.tasks if task.state == "waiting" and task.waits_for == "person")


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputPiece:
    """A line of a task's output, or a part of a long one (``is_partial``: the next piece continues it)."""

    at: str
    stream: str
    text: str
    is_partial: bool


def run_from(value: Mapping[str, Any]) -> Run:
    """Return the run that ``run.get`` and its like answer with."""
    left_out = value.get("left_out") or {}
    return Run(
        id=value["id"],
        workflow=value["workflow"],
        version=str(value.get("version") or ""),
        state=value["state"],
        trigger=str(value.get("trigger") or ""),
        reason=value.get("reason") or "",
        created_at=value.get("created_at"),
        started_at=value.get("started_at"),
        finished_at=value.get("finished_at"),
        tasks=tuple(_task_from(task) for task in value.get("tasks") or ()),
        waiting=value.get("waiting") or "",
        outcome=value.get("outcome") or "",
        warnings=value.get("warnings") or 0,
        retry_of=value.get("retry_of") or "",
        caller=(value.get("parent") or {}).get("run_id") or "",
        paused_at=value.get("paused_at"),
        priority=value.get("priority") or 0,
        outputs=value.get("outputs") or {},
        tasks_left_out=left_out.get("tasks") or 0,
        outputs_left_out=left_out.get("outputs") or {},
    )


def piece_from(value: Mapping[str, Any]) -> OutputPiece:
    """Return one item of ``run.logs``."""
    return OutputPiece(
        at=value["at"], stream=value["stream"], text=value["text"], is_partial=bool(value.get("partial"))
    )


def _task_from(value: Mapping[str, Any]) -> Task:
    return Task(
        id=value["id"],
        type=str(value.get("type") or ""),
        state=value["state"],
        reason=value.get("reason") or "",
        attempts=tuple(_attempt_from(attempt) for attempt in value.get("attempts") or ()),
        parent=value.get("parent"),
        section=str(value.get("section") or "main"),
        waits_for=value.get("waits_for"),
        waits_until=value.get("waits_until"),
        is_late=bool(value.get("late")),
        items=value.get("items"),
        item_states=value.get("item_states") or {},
        may_fail=bool(value.get("may_fail")),
        is_kept=bool(value.get("kept")),
        asks=value.get("asks"),
        began_at=value.get("started_at"),
        ended_at=value.get("finished_at"),
    )


def _attempt_from(value: Mapping[str, Any]) -> Attempt:
    return Attempt(
        number=value["number"],
        state=value["state"],
        exit_code=value.get("exit_code"),
        signal=value.get("signal"),
        reason=value.get("reason") or "",
        started_at=value.get("started_at"),
        finished_at=value.get("finished_at"),
        cpu_seconds=value.get("cpu_seconds"),
        peak_memory_bytes=value.get("peak_memory_bytes"),
        io_read_bytes=value.get("io_read_bytes"),
        io_write_bytes=value.get("io_write_bytes"),
        in_force=value.get("in_force") or {},
        log_bytes=value.get("log_bytes"),
    )
