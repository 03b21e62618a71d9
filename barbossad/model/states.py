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

    EVENT = "event"
    """A trigger fired: a file, a unit or a run of another workflow changed."""

    WORKFLOW = "workflow"
    """A task of another run called it."""

    RETRY = "retry"
    """A person or a program called ``run.retry``: it goes on from another run."""


class StopCause(StrEnum):
    """Why a live attempt, or a whole run, is being ended."""

    CANCEL = "cancel"
    """A person or program cancelled the run."""

    RUN_TIMEOUT = "run_timeout"
    """The run's own timeout passed."""

    TASK_TIMEOUT = "task_timeout"
    """The task's timeout passed."""

    GROUP_TIMEOUT = "group_timeout"
    """The timeout of a group that it is a member of passed."""

    FAIL_FAST = "fail_fast"
    """Another member of its group, or item of its loop, failed."""

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
    """What a task waits for before or between its attempts."""

    SLOT = "slot"
    """Its turn."""

    DELAY = "delay"
    """An instant: another attempt, or repetition, comes then."""

    PERSON = "person"
    """Somebody who approves: the task itself, or that it is tried again."""


class RunState(StrEnum):
    """Where one execution of a workflow stands."""

    QUEUED = "queued"
    """Recorded, waiting for its turn."""

    RUNNING = "running"
    """At least one task may run."""

    PAUSED = "paused"
    """What runs goes on, nothing else starts until it is resumed."""

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
    """For its turn, an instant, or a person, after it began (``WaitsFor``)."""

    STARTING = "starting"
    """Its attempt is recorded; its process may or may not exist yet."""

    RUNNING = "running"
    """Its process exists; of a group or a loop: its members may run."""

    SUCCEEDED = "succeeded"
    """Its process ended with exit code 0, and that was seen."""

    SKIPPED = "skipped"
    """Its ``when`` did not hold, it was done already, or what it depends on was skipped."""

    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"
    UPSTREAM_FAILED = "upstream_failed"
    """A task that it depends on failed, so it never started."""

    INTERRUPTED = "interrupted"
    """The daemon or the host stopped while it ran; how it would have ended is not known."""


class AttemptState(StrEnum):
    """Where one try of a task stands."""

    STARTING = "starting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    SKIPPED = "skipped"
    """It found that its work was done already (``creates``, ``unless``)."""

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
        TaskState.SKIPPED,
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
        AttemptState.SKIPPED,
        AttemptState.FAILED,
        AttemptState.TIMED_OUT,
        AttemptState.CANCELLED,
        AttemptState.INTERRUPTED,
    }
)

RUN_MOVES: Final[Mapping[RunState, frozenset[RunState]]] = {
    RunState.QUEUED: RUN_ENDED | {RunState.RUNNING, RunState.PAUSED},
    RunState.RUNNING: RUN_ENDED | {RunState.PAUSED},
    RunState.PAUSED: RUN_ENDED | {RunState.RUNNING, RunState.QUEUED},
    **{state: frozenset() for state in RUN_ENDED},
}
"""From each state of a run to those that may follow it; a state that has ended has none.

``queued`` to an end: none of its tasks had to start.
"""

_ATTEMPTED: Final = TASK_ENDED - {TaskState.UPSTREAM_FAILED}

TASK_MOVES: Final[Mapping[TaskState, frozenset[TaskState]]] = {
    TaskState.PENDING: TASK_ENDED | {TaskState.WAITING, TaskState.STARTING, TaskState.RUNNING},
    TaskState.WAITING: _ATTEMPTED | {TaskState.STARTING},
    TaskState.STARTING: _ATTEMPTED | {TaskState.RUNNING, TaskState.WAITING},
    TaskState.RUNNING: _ATTEMPTED | {TaskState.WAITING},
    **{state: frozenset() for state in TASK_ENDED},
}
"""From each state of a task to those that may follow it.

``pending`` to ``running``: a group, or a loop, begins. ``pending`` to ``succeeded``: a group without members, or a task
that an earlier run did. ``pending`` to ``failed``: what the task needs could not be made of its params (an expression
fails). ``starting`` to an end: a process so short that ``running`` was never recorded on its own.
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
