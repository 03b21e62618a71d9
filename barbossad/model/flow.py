"""How tasks follow one another, as data: triggers, retries, repetitions, loops, groups, and who may run beside whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from barbossad.model.names import WorkflowName


class TaskKind(StrEnum):
    """What carries out a task."""

    PROCESS = "process"
    """A process of its own, which holds a slot."""

    GROUP = "group"
    """Its members do; it begins before the first and ends after the last of them."""

    CALL = "call"
    """Another run, which it waits for."""

    APPROVAL = "approval"
    """A person."""


class Section(StrEnum):
    """Which part of a run a task belongs to, in the order in which they come."""

    MAIN = "main"
    ROLLBACK = "rollback"
    """What takes back tasks that had succeeded."""

    ON_SUCCESS = "on_success"
    ON_FAILURE = "on_failure"
    ON_CANCEL = "on_cancel"
    ON_EXIT = "on_exit"


class Branch(StrEnum):
    """Which list of a condition a task stands in."""

    THEN = "then"
    ELSE = "else"


class Trigger(StrEnum):
    """What must have become of the tasks that a task depends on, all of which have ended."""

    ALL_SUCCESS = "all_success"
    """Each succeeded, or failed and was allowed to."""

    ALL_DONE = "all_done"
    """They have ended, in whatever way."""

    ONE_SUCCESS = "one_success"
    ONE_FAILED = "one_failed"
    NONE_FAILED = "none_failed"
    """None failed: some may have been skipped."""

    ALWAYS = "always"
    """Like ``all_done``, and also while the run is being ended before its time."""


class Backoff(StrEnum):
    """How the delay before another attempt grows."""

    CONSTANT = "constant"
    LINEAR = "linear"
    EXPONENTIAL = "exponential"


class RetryCause(StrEnum):
    """What an attempt may have ended as for another one to follow."""

    FAILED = "failed"
    TIMED_OUT = "timed_out"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often a task is tried and when; ``attempts`` counts all of them."""

    attempts: int = 1
    delay_seconds: float = 0.0
    backoff: Backoff = Backoff.CONSTANT
    max_delay_seconds: float | None = None
    jitter: float = 0.0
    """Which part of the delay chance adds or takes away, 0 to 1."""

    on: frozenset[RetryCause] = frozenset({RetryCause.FAILED, RetryCause.TIMED_OUT})
    exit_codes: frozenset[int] | None = None
    """What failed is tried again only after these exit codes; None: after any, and also where there was none.

    What was killed by a signal or could not be started has none. Other causes are not narrowed.
    """

    max_elapsed_seconds: float | None = None
    """No attempt starts later than this after the first."""


ONCE = Retry()


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat:
    """Do it again after each success until ``until`` holds, or while ``while_`` does; at most ``max_times`` in all."""

    until: str | None = None
    while_: str | None = None
    max_times: int = 100
    interval_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """Run the task for each of ``items``: a list whose texts may hold expressions, or an expression that gives one."""

    items: str | tuple[Any, ...]
    max_parallel: int | None = None
    """How many items may run at once."""

    fail_fast: bool = False
    """End the other items when one has failed."""


class Policy(StrEnum):
    """What becomes of a run that finds its concurrency group full."""

    QUEUE = "queue"
    SKIP = "skip"
    REPLACE = "replace"
    """It waits while the oldest runs of the group are cancelled, and those that wait to replace others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Concurrency:
    """How many runs of a group may go on at once; the group is the workflow's own if it is not named."""

    limit: int
    policy: Policy = Policy.QUEUE
    group: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRequest:
    """What a person is asked: ``form`` are typed fields (``ParamDefinition``) whose values become the outputs."""

    message: str
    deadline_seconds: float | None = None
    users: tuple[str, ...] = ()
    """Who may answer, and who else by ``groups``; nobody named: whoever may run workflows."""

    groups: tuple[str, ...] = ()
    form: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRequest:
    """Which workflow a task runs, and with what params."""

    workflow: WorkflowName
    params: Mapping[str, Any] = field(default_factory=dict)
