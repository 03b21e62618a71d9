"""What starts runs by itself, as data: schedules by time, triggers by events, and the fires that come of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from barbossad.model.flow import Backoff
from barbossad.model.names import RunId, WorkflowName
from barbossad.model.states import RunState

CATCH_UP_WINDOW_SECONDS: Final = 86_400.0
"""How far back a missed fire is caught up, where a schedule does not say."""

CATCH_UP_LIMIT: Final = 100
"""How many missed fires ``catch_up: all`` runs at most, the newest, where a schedule does not say."""


class ScheduleKind(StrEnum):
    """What makes a schedule fire."""

    CRON = "cron"
    EVERY = "every"
    AT = "at"
    BOOT = "boot"
    """The host was booted (``boot``, ``cron: "@reboot"``)."""

    FILE = "file"
    WORKFLOW = "workflow"
    """A run of another workflow ended."""

    UNIT = "unit"
    """A unit of systemd changed its state."""


TIME_KINDS: Final = frozenset({ScheduleKind.CRON, ScheduleKind.EVERY, ScheduleKind.AT})
"""Those that fire by the clock: they have nominal instants that can be told beforehand."""


class Dst(StrEnum):
    """What becomes of a fixed time of day that a change of the clocks makes missing or come twice.

    Wildcards, steps that begin with ``*`` and intervals follow real time and need none of it.
    """

    ONCE = "once"
    """Missing: right after the gap. Twice: the first time."""

    SKIP = "skip"
    """Missing: not at all. Twice: the first time."""

    LAST = "last"
    """Missing: right after the gap. Twice: the second time."""

    BOTH = "both"
    """Missing: right after the gap. Twice: both times."""


class OnHoliday(StrEnum):
    """What becomes of a fire on a holiday."""

    SKIP = "skip"
    BEFORE = "before"
    """On the last day before that is none, at the same time of day."""

    AFTER = "after"


class CatchUp(StrEnum):
    """Which of the fires that were missed are run later."""

    NONE = "none"
    LAST = "last"
    """The newest: one run makes up for all."""

    ALL = "all"


class Overlap(StrEnum):
    """What becomes of a fire while a run of the same schedule goes on."""

    SKIP = "skip"
    QUEUE = "queue"
    REPLACE = "replace"
    """The run that goes on is cancelled; the new one begins when that has ended."""

    ALLOW = "allow"


class FireState(StrEnum):
    """What became of a fire."""

    QUEUED = "queued"
    """It waits for the end of the run before it."""

    STARTED = "started"
    """It has a run, which goes on; the row was written in one transaction with that."""

    RETRYING = "retrying"
    """Its run failed, and another one will be made."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    """Its run ended in another way, and none of its retries did better."""

    SKIPPED = "skipped"
    """There was a reason to let it pass: overlap, hold, holiday, blackout, disabled, a full concurrency group."""

    MISSED = "missed"
    """Nobody was there at its time, and catch-up did not want it."""

    REFUSED = "refused"
    """No run could be made of it: the workflow or its params are not acceptable. It counts as a failure."""


class FileChange(StrEnum):
    """What may happen to a file."""

    CREATED = "created"
    CHANGED = "changed"
    DELETED = "deleted"


FIRE_ACTIVE: Final = frozenset({FireState.QUEUED, FireState.STARTED, FireState.RETRYING})
"""The states of a fire of which more is to come."""

FIRE_MOVES: Final[Mapping[FireState, frozenset[FireState]]] = {
    FireState.QUEUED: frozenset({FireState.STARTED, FireState.SKIPPED, FireState.REFUSED}),
    FireState.STARTED: frozenset({FireState.RETRYING, FireState.SUCCEEDED, FireState.FAILED}),
    FireState.RETRYING: frozenset({FireState.STARTED, FireState.FAILED}),
}
"""From each state that is left again, the states that may follow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holidays:
    """Which days are holidays: those of a country, or of part of it, and those of an iCalendar file."""

    country: str | None = None
    """ISO 3166-1 alpha-2, as the ``holidays`` library has it."""

    subdivision: str | None = None
    file: str | None = None
    """Absolute path of an iCalendar file; each day that one of its events touches is a holiday."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """What decides the nominal instants of a schedule by time. Instants are milliseconds since the epoch.

    If any of it changes, the schedule begins anew: what the old one missed is not caught up.
    """

    cron: str | None = None
    """Five fields, or six with seconds first, or a name such as ``@daily``."""

    every_ms: int | None = None
    anchor_ms: int = 0
    """For ``every``: an instant of the row; the others are multiples of ``every_ms`` away, before and after."""

    at_ms: tuple[int, ...] = ()
    """For ``at``: the instants, in their order."""

    timezone: str = "UTC"
    """IANA name. Of cron, of windows and of holidays."""

    dst: Dst = Dst.ONCE
    start_ms: int | None = None
    """``between``: from here on."""

    end_ms: int | None = None
    """``between``: before this."""

    within: tuple[str, ...] = ()
    """Windows outside of which there are no instants, such as ``Mon-Fri 08:00-18:00``."""

    blackout: tuple[str, ...] = ()
    """Windows in which instants are skipped, and recorded as such."""

    holidays: Holidays | None = None
    on_holiday: OnHoliday = OnHoliday.SKIP


@dataclass(frozen=True, slots=True, kw_only=True)
class FileTrigger:
    """Files below a folder, or one file."""

    path: str
    pattern: str = "*"
    """What the name of a file must match (fnmatch), where ``path`` is a folder."""

    changes: tuple[FileChange, ...] = (FileChange.CREATED, FileChange.CHANGED)
    is_recursive: bool = False
    debounce_seconds: float = 1.0
    """A file fires when nothing has happened to it for so long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowTrigger:
    """Ends of runs of another workflow."""

    name: WorkflowName
    states: tuple[RunState, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitTrigger:
    """Changes of a unit of systemd."""

    name: str
    states: tuple[str, ...] = ("failed",)
    """Values of ActiveState that fire when they are entered: failed, active, inactive…"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """The dead-man's switch: what is told if it does not hold. Seconds."""

    start_within_seconds: float | None = None
    """From the time that it is due to the start of its run."""

    max_duration_seconds: float | None = None
    min_duration_seconds: float | None = None
    """A run that succeeds sooner is suspicious."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRetry:
    """How a scheduled run that failed is tried again, as a run of its own."""

    attempts: int
    """In all, the first included."""

    delay_seconds: float = 60.0
    backoff: Backoff = Backoff.CONSTANT
    max_delay_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleDefinition:
    """One entry of ``schedules`` or ``triggers``, checked. Exactly one of the members that ``kind`` names is set."""

    name: str
    kind: ScheduleKind
    timing: Timing | None = None
    file: FileTrigger | None = None
    workflow: WorkflowTrigger | None = None
    unit: UnitTrigger | None = None
    delay_seconds: float = 0.0
    """For ``boot``: how long after it."""

    description: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    """Values of the workflow's parameters; those of a trigger may hold expressions over ``trigger``."""

    is_enabled: bool = True
    jitter_seconds: float = 0.0
    overlap: Overlap = Overlap.SKIP
    queue_depth: int = 1
    """For ``overlap: queue``: how many fires may wait; more are skipped."""

    catch_up: CatchUp = CatchUp.LAST
    catch_up_window_seconds: float = CATCH_UP_WINDOW_SECONDS
    catch_up_limit: int = CATCH_UP_LIMIT
    expect: Expectation = Expectation()
    disable_after: int | None = None
    """Failures in a row after which it is disabled."""

    retry: ScheduleRetry | None = None


class ScheduleSource(StrEnum):
    """Where a schedule comes from."""

    FILE = "file"
    """The workflow's own text: it goes when that says so no longer."""

    ADDED = "added"
    """``schedule.add``: it stays until it is removed, or the workflow is deleted."""


def schedule_id(workflow: str, name: str) -> str:
    """Return the id of a schedule: ``nightly-backup/cron-1``."""
    return f"{workflow}/{name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRecord:
    """A schedule as the store has it."""

    id: str
    workflow: WorkflowName
    definition: ScheduleDefinition
    source: ScheduleSource
    labels: Mapping[str, str] = field(default_factory=dict)
    """Those of its workflow."""

    is_enabled: bool = True
    disabled_reason: str | None = None
    watermark: int
    """What lies up to here is decided. By time: a nominal instant in milliseconds; by workflow: an event's number."""

    mark: str | None = None
    """For ``boot``: the boot id that it fired for last."""

    failures: int = 0
    """In a row."""

    added_at_ms: int
    added_by: str


BY_HAND: Final = "manual:"
"""What the key of a fire begins with that a person asked for; its instant follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fire:
    """One fire of a schedule, or a stretch of fires that were let pass for the same reason.

    ``key`` is unique within a schedule, and with it a fire: by time the nominal instant in milliseconds, by workflow
    the id of the run that ended, by boot the boot id.
    """

    schedule: str
    key: str
    nominal_ms: int
    """When it should be by its schedule; of an event: when that happened."""

    due_ms: int
    """The same with jitter or delay."""

    decided_at_ms: int
    state: FireState
    reason: str | None = None
    run_id: RunId | None = None
    """Its run, the newest if it was tried again."""

    tries: int = 0
    """How many runs it has had."""

    retry_at_ms: int | None = None
    """While it is ``retrying``."""

    count: int = 1
    until_ms: int | None = None
    """Of a stretch: how many fires it stands for, and the nominal instant of the last."""

    params: Mapping[str, Any] | None = None
    """Of a trigger: the values of params that came of the event, kept while it is queued."""

    @property
    def is_by_hand(self) -> bool:
        """Whether a person asked for it, who wants it whatever is held or disabled."""
        return self.key.startswith(BY_HAND)

    @property
    def lateness_ms(self) -> int:
        """Return how long after it was due it was decided."""
        return self.decided_at_ms - self.due_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class FireOutcome:
    """What becomes of a fire that went on or waited, and what that means for its schedule."""

    state: FireState
    reason: str | None = None
    retry_at_ms: int | None = None
    failures: int
    """Of the schedule, in a row, with this one."""

    disable_reason: str | None = None
