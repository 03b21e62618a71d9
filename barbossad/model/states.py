"""States as enums, their legal moves as data, and what may start a run."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class TriggerType(StrEnum):
    """What asked for a run."""

    MANUAL = "manual"
    """A person or a program called ``run.start``."""

    SCHEDULE = "schedule"
    """A schedule fired."""


class StopCause(StrEnum):
    """Why a live attempt, or a whole run, is being ended."""

    CANCEL = "cancel"
    """A person or program cancelled the run."""

    RUN_TIMEOUT = "run_timeout"
    """The run's own timeout passed."""

    TASK_TIMEOUT = "task_timeout"
    """The task's timeout passed."""

    SHUTDOWN = "shutdown"
    """The daemon stops."""

    HOST_DOWN = "host_down"
    """The host shuts down or reboots."""


class OnInterrupt(StrEnum):
    """What follows when the daemon or the host stopped under a task, so that nobody knows how it would have ended."""

    FAIL = "fail"
    """The task ends as ``interrupted``."""

    RETRY = "retry"
    """It is tried again; that counts as an attempt."""

    RESUME = "resume"
    """It is started again as if it had not been interrupted, and told so by ``BARBOSSA_RESUMED``."""

    ASK = "ask"
    """It waits for a person to say (``run.approve``)."""


class WaitsFor(StrEnum):
    """What a task waits for between two attempts."""

    SLOT = "slot"
    """Its turn."""

    PERSON = "person"
    """Somebody who says whether it is to be tried again."""


class RunState(StrEnum):
    """Where one execution of a workflow stands."""

    QUEUED = "queued"
    """Recorded, waiting for its turn."""

    RUNNING = "running"
    """At least one task may run."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """A task failed that was not allowed to."""

    TIMED_OUT = "timed_out"
    """The run's own ``timeout`` passed."""

    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    """The daemon or the host stopped before the run had ended."""


class TaskState(StrEnum):
    """Where one task of a run stands."""

    PENDING = "pending"
    """Its dependencies have not all ended, or it waits for a slot (told by the engine, not stored)."""

    WAITING = "waiting"
    """An attempt of it was interrupted, and a person, or a free slot, decides on the next."""

    STARTING = "starting"
    """Its attempt is recorded; its process may or may not exist yet."""

    RUNNING = "running"
    """Its process exists."""

    SUCCEEDED = "succeeded"
    """Its process ended with exit code 0, and that was seen."""

    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    UPSTREAM_FAILED = "upstream_failed"
    """A task that it depends on did not succeed, so it never started."""

    INTERRUPTED = "interrupted"
    """The daemon or the host stopped while it ran; how it would have ended is not known."""


class AttemptState(StrEnum):
    """Where one try of a task stands."""

    STARTING = "starting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"


RUN_ENDED: Final = frozenset(
    {RunState.SUCCEEDED, RunState.FAILED, RunState.TIMED_OUT, RunState.CANCELLED, RunState.INTERRUPTED}
)
TASK_ENDED: Final = frozenset(
    {
        TaskState.SUCCEEDED,
        TaskState.FAILED,
        TaskState.TIMED_OUT,
        TaskState.CANCELLED,
        TaskState.UPSTREAM_FAILED,
        TaskState.INTERRUPTED,
    }
)
ATTEMPT_ENDED: Final = frozenset(
    {
        AttemptState.SUCCEEDED,
        AttemptState.FAILED,
        AttemptState.TIMED_OUT,
        AttemptState.CANCELLED,
        AttemptState.INTERRUPTED,
    }
)

RUN_MOVES: Final[Mapping[RunState, frozenset[RunState]]] = {
    RunState.QUEUED: frozenset({RunState.RUNNING, RunState.CANCELLED, RunState.INTERRUPTED}),
    RunState.RUNNING: RUN_ENDED,
    **{state: frozenset() for state in RUN_ENDED},
}
"""From each state of a run to those that may follow it; a state that has ended has none."""

_ATTEMPTED: Final = TASK_ENDED - {TaskState.UPSTREAM_FAILED}

TASK_MOVES: Final[Mapping[TaskState, frozenset[TaskState]]] = {
    TaskState.PENDING: frozenset(
        {
            TaskState.STARTING,
            TaskState.FAILED,
            TaskState.CANCELLED,
            TaskState.UPSTREAM_FAILED,
            TaskState.INTERRUPTED,
        }
    ),
    TaskState.WAITING: frozenset({TaskState.STARTING, TaskState.FAILED, TaskState.CANCELLED, TaskState.INTERRUPTED}),
    TaskState.STARTING: _ATTEMPTED | {TaskState.RUNNING, TaskState.WAITING},
    TaskState.RUNNING: _ATTEMPTED | {TaskState.WAITING},
    **{state: frozenset() for state in TASK_ENDED},
}
"""From each state of a task to those that may follow it.

``pending`` to ``failed``: what the task needs could not be made of its params (an expression fails).
``starting`` to an end: a process so short that ``running`` was never recorded on its own.
"""

ATTEMPT_MOVES: Final[Mapping[AttemptState, frozenset[AttemptState]]] = {
    AttemptState.STARTING: ATTEMPT_ENDED | {AttemptState.RUNNING},
    AttemptState.RUNNING: ATTEMPT_ENDED,
    **{state: frozenset() for state in ATTEMPT_ENDED},
}
"""From each state of an attempt to those that may follow it."""


def sources(moves: Mapping[StrEnum, frozenset[StrEnum]], target: StrEnum) -> tuple[str, ...]:
    """Return the states from which ``target`` may be entered: what a compare-and-set compares with."""
    return tuple(state.value for state, following in moves.items() if target in following)
