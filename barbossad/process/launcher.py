"""The small interface that every launcher keeps, and the records that pass over it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple, Protocol

from barbossad.errors import BarbossaError
from barbossad.model.definition import DEFAULT_GRACE_SECONDS
from barbossad.model.isolation import UNCONFINED, Isolation
from barbossad.model.names import RunId, TaskId
from barbossad.model.records import AttemptRecord, LogRecord
from barbossad.model.states import AttemptState
from barbossad.process import in_force, procfs

SCRIPT: Final = "\0script"
"""In ``LaunchSpec.argv``: stands for the path of the file that holds ``LaunchSpec.script``."""

OUTPUT_VARIABLE: Final = "BARBOSSA_OUTPUT"
"""Names the file to which a task appends its outputs."""


class CannotEnforceError(BarbossaError):
    """A launcher cannot give a task the user, limits or sandbox that it asks for; the sentence names what."""

    kind = "unavailable"

    def __init__(self, launcher: str, missing: Sequence[str], *, can_be_waived: bool = True) -> None:
        waiver = ", or say sandbox: {best_effort: true} to go without" if can_be_waived else ""
        super().__init__(
            f"the {launcher} launcher cannot enforce {', '.join(missing)}; run the daemon under systemd{waiver}"
        )
        self.missing = tuple(missing)


class Mask(Protocol):
    """Takes secrets out of one stream of output, also where one is split over several chunks."""

    @property
    def held(self) -> bytes:
        """What was fed and has not come out yet."""

    @property
    def starred(self) -> int:
        """How many bytes of what is held belong to a secret that has been masked already."""

    def resume(self, held: bytes, starred: int) -> bytes:
        """Go on where another mask stood; return what it held back and this one does not."""

    def feed(self, data: bytes, *, is_last: bool = False) -> bytes:
        """Return what may be recorded now. What may be the beginning of a secret is held back until ``is_last``."""


class AttemptKey(NamedTuple):
    """Which try of which task of which run."""

    run_id: RunId
    task_id: TaskId
    number: int

    def __str__(self) -> str:
        return f"{self.run_id}/{self.task_id}/{self.number}"


def own_variables(key: AttemptKey, output: str) -> dict[str, str]:
    """Return what a launcher adds to the environment of an attempt: the file for its outputs, and which one it is."""
    return {OUTPUT_VARIABLE: output, procfs.MARKER: str(key)}


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchSpec:
    """All that a launcher needs to start one attempt.

    ``env`` is the whole environment but for what the launcher adds (``own_variables``). ``script`` is put into a file
    of mode 0500. ``make_mask`` makes the mask of one stream of its output (None: there are no secrets in it), which are
    ``secrets``. These are in ``env`` in clear, so neither is told.
    """

    key: AttemptKey
    argv: tuple[str, ...]
    script: bytes | None = None
    env: Mapping[str, str] = field(repr=False)
    working_dir: str
    isolation: Isolation = UNCONFINED
    timeout_seconds: float | None = None
    grace_seconds: float = DEFAULT_GRACE_SECONDS
    detach: bool = False
    make_mask: Callable[[], Mask] | None = field(default=None, repr=False)
    secrets: frozenset[str] = field(default=frozenset(), repr=False)


class EndCause(StrEnum):
    """How a process came to its end."""

    EXITED = "exited"
    """It exited by itself; ``exit_code`` says how."""

    SIGNALLED = "signalled"
    """A signal ended it; ``signal`` says which."""

    START_FAILED = "start_failed"
    """It never ran; ``message`` says why."""

    OUT_OF_MEMORY = "out_of_memory"
    """The kernel killed it, or a process of it, for want of memory."""

    TIMED_OUT = "timed_out"
    """The launcher ended it because its time was over, while the daemon was away."""

    NEVER_STARTED = "never_started"
    """It was asked to end before it was started; ``message`` says so."""

    REMOVED = "removed"
    """Somebody else ended it: stopped its unit by hand, say. ``message`` says how."""

    LOST = "lost"
    """What became of it is not known; it is gone. ``message`` says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessEnd:
    """The end of an attempt, told once, when nothing of its process tree is left and its log is complete.

    ``output`` is what the task wrote to ``BARBOSSA_OUTPUT`` (None: nothing); at most ``OUTPUT_LIMIT`` + 1 bytes
    of it, so that too much can be told from enough.
    """

    cause: EndCause
    exit_code: int | None = None
    signal: int | None = None
    message: str | None = None
    started_at_ms: int | None = None
    finished_at_ms: int
    cpu_seconds: float | None = None
    peak_memory_bytes: int | None = None
    io_read_bytes: int | None = None
    io_write_bytes: int | None = None
    log: LogRecord
    output: bytes | None = None


CATCH_UP_SECONDS: Final = 2.0
"""How soon an adopted attempt that had ended is heard of, as a rule; what only looks late until then is left alone."""

OUTPUT_LIMIT: Final = 1024 * 1024
"""Bytes of outputs that a task may write."""


NEVER_STARTED: Final = "it was stopped before it started"


class Process(Protocol):
    """One live attempt."""

    pid: int | None
    """Its first process, once it exists."""

    pid_started_ticks: int | None
    """When that was made, in clock ticks since boot (proc(5), field 22): pid and this name it for ever."""

    invocation_id: str | None
    """What systemd calls this start of its unit, where there is one."""

    @property
    def log(self) -> LiveLog:
        """Its output so far."""

    def stop(self, grace_seconds: float) -> None:
        """Ask every process of the attempt to end (SIGTERM); kill what is left after the grace (0: at once).

        May be called again with a shorter grace. The end is told to the watcher as usual.
        """

    def release(self) -> None:
        """Its end is recorded: let go of what was kept in case that it would not be."""


class LiveLog(Protocol):
    """The output of a running attempt as far as it has been recorded."""

    def snapshot(self) -> LogRecord:
        """Return where the records stand now, readable by ``logs.read``."""

    async def changed(self, size_bytes: int) -> None:
        """Return when there is more than ``size_bytes`` of it, or the attempt has ended."""


class Watcher(Protocol):
    """Who is told of an attempt's life; called on the event loop, never from within ``launch``."""

    def started(self, process: Process, started_at_ms: int) -> None:
        """Its process exists. Not called if it ended before that could be told, or could not be started."""

    def ended(self, process: Process, end: ProcessEnd) -> None:
        """Take note that it is over; called exactly once."""


STOP_KIND_SECONDS: Final = 20.0
"""How long a launcher may take to find out why the daemon was told to end: it is not known on a host that has too much
to do, and what ends the tasks of a restart for that loses their work."""


class StopKind(StrEnum):
    """Why the daemon was told to stop."""

    STOP = "stop"
    """It is to be gone: its tasks are ended."""

    RESTART = "restart"
    """Another one follows at once: tasks that can do without a daemon go on."""

    HOST_DOWN = "host_down"
    """The host shuts down or reboots: ``on_reboot`` decides what becomes of its tasks."""


class Verdict(StrEnum):
    """What became of an attempt that an earlier daemon started."""

    LIVE = "live"
    """It runs, or has ended with everything kept: ``adopt`` it."""

    NEVER_STARTED = "never_started"
    """No process was ever made for it: ``launch`` it."""

    GONE = "gone"
    """Nothing of it is left, and how it ended is not known."""


def cut_off(by: str, attempt: AttemptRecord) -> str:
    """Say what cut an attempt off whose end nobody saw; of one that is not recorded as running, nor its start."""
    return f"{by} {'while it ran' if attempt.state is AttemptState.RUNNING else 'before it was known to have begun'}"


@dataclass(frozen=True, slots=True)
class Finding:
    """A verdict; for one that is gone why, and for one that lives the secrets that it was given, if they are known."""

    verdict: Verdict
    reason: str = ""
    secrets: frozenset[str] | None = field(default=None, repr=False)


class Launcher(ABC):
    """Starts attempts, each with a process tree of its own that nothing escapes."""

    name: str
    lacks: tuple[str, ...] = ()
    """What this launcher cannot do that another can, in words for ``daemon.status``."""

    on_fault: Callable[[BaseException], None] = staticmethod(lambda _error: None)
    """Is told of a fault of the launcher's own, over which an attempt might stay live for ever: end the daemon."""

    can_leave = False
    """Whether attempts go on without the daemon, so that a restart need not end them."""

    has_default_profile: bool = True
    """Whether a task that names no sandbox profile gets that of the settings; otherwise it runs without one."""

    def unit_name(self, key: AttemptKey) -> str | None:  # noqa: ARG002 (for launchers that make units)
        """Return the name of the systemd unit that an attempt will have, None for launchers without units."""
        return None

    def enforce(self, spec: LaunchSpec) -> Mapping[str, Any] | None:
        """Return what will be in force for this attempt, as ``run.get`` shows it; None where nothing was asked for.

        It goes into the attempt's record before the launch. Raise CannotEnforceError naming what cannot be, unless
        the task takes what there is; then that is listed under ``not_enforced``.
        """
        return in_force.words(spec.isolation, detach=spec.detach)

    @abstractmethod
    async def start(self) -> None:
        """Get ready to launch."""

    @abstractmethod
    def launch(self, spec: LaunchSpec, watcher: Watcher) -> Process:
        """Start an attempt that is committed as ``starting``. Return at once; faults are told as an end."""

    @abstractmethod
    async def survey(self, attempts: Sequence[AttemptRecord]) -> Mapping[AttemptKey, Finding]:
        """Find out what became of attempts that an earlier daemon started since the host booted.

        Of those that are gone no process is left on return. Raise ``UnavailableError`` if one cannot be killed.
        """

    def adopt(self, spec: LaunchSpec, watcher: Watcher) -> Process:
        """Take over an attempt that ``survey`` found live; its end is told as if it had been launched here."""
        raise NotImplementedError(f"{self.name} launches and cannot adopt {spec.key}, {watcher}")

    async def stop_kind(self) -> StopKind:
        """Find out why the daemon was told to stop."""
        return StopKind.STOP

    async def end_strays(
        self,
        known: Callable[[RunId, str], bool],  # noqa: ARG002 (for launchers that leave something)
        forsaken: Collection[AttemptKey] = (),  # noqa: ARG002 (as above)
    ) -> Sequence[str]:
        """End what carries our names and was not found live by ``survey``, or is forsaken, before anything is launched.

        What detached tasks that have ended left behind goes on. Return the names of those that not even the history
        knows: ``known`` says of a run whether one of its attempts had a unit of that name.
        """
        return ()

    @abstractmethod
    async def close(self, *, leave: bool = False) -> None:
        """Release everything; what still runs is ended without grace, or left for the next daemon to adopt."""
