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


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One task of a run."""

    id: str
    type: str
    state: str
    reason: str
    attempts: tuple[Attempt, ...]

    @property
    def last_attempt(self) -> Attempt | None:
        """The attempt that decided the state, None before the first."""
        return self.attempts[-1] if self.attempts else None

    @property
    def started_at(self) -> str | None:
        """When its first attempt started."""
        return self.attempts[0].started_at if self.attempts else None

    @property
    def finished_at(self) -> str | None:
        """When its last attempt ended."""
        return self.attempts[-1].finished_at if self.attempts else None


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

    @property
    def is_ended(self) -> bool:
        """Whether its state is final."""
        return self.state in RUN_ENDED

    @property
    def failed_tasks(self) -> tuple[Task, ...]:
        """The tasks that explain why it did not succeed, in the order of the workflow."""
        return tuple(task for task in self.tasks if task.state in TASK_FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputPiece:
    """A line of a task's output, or a part of a long one (``is_partial``: the next piece continues it)."""

    at: str
    stream: str
    text: str
    is_partial: bool


def run_from(value: Mapping[str, Any]) -> Run:
    """Return the run that ``run.get`` and its like answer with."""
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
    )
