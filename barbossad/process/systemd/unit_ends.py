"""Say what the end of a unit means: from systemd's facts to a cause and a sentence. No I/O.

Sources: systemd.exec(5), "Process Exit Codes"; org.freedesktop.systemd1(5), ``Result``; waitid(2) for the codes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from barbossad.process.launcher import EndCause

_EXITED, _KILLED, _DUMPED = 1, 2, 3  # CLD_* of waitid(2)
_NO_NUMBER: Final = 2**64 - 1
"""What systemd says of a figure that the kernel does not give."""

_SETUP: Final[Mapping[int, str]] = {
    200: "cannot enter the working directory {working_dir!r}: {detail}",
    203: "cannot start {program!r}: {detail}",
    204: "there is not enough memory to start it",
    205: "a limit cannot be set: {detail}",
    206: "its scheduling priority for memory shortage cannot be set",
    207: "the signal mask cannot be set",
    208: "its standard input cannot be opened",
    209: "its standard output cannot be opened",
    214: "its processor scheduling cannot be set",
    216: "the group {group!r} does not exist, or cannot be taken on",
    217: "the user {user!r} does not exist, or cannot be become",
    218: "its capabilities cannot be set",
    219: "its control group cannot be entered",
    222: "its standard error cannot be opened",
    224: "its session cannot be opened by PAM",
    225: "it cannot be given a network of its own",
    226: "its view of the file system cannot be made: {detail}",
    227: "it cannot be kept from gaining privileges",
    228: "the filter of system calls cannot be set up",
    230: "its personality cannot be set",
    232: "the families of addresses cannot be restricted",
    233: "its runtime folder cannot be made",
    235: "a file cannot be given to its user",
    241: "its keyring cannot be made",
    243: "its script cannot be handed to its user",
}
"""From the exit status with which systemd ends a process that it could not set up, to the sentence."""

_RESULTS: Final[Mapping[str, str]] = {
    "resources": "systemd could not make it: a file is missing or a resource is used up; the journal says which",
    "protocol": "it did not start as systemd expects of a service",
    "start-limit-hit": "its unit was started too often",
    "exec-condition": "a condition of its unit does not hold",
    "watchdog": "its unit's watchdog ended it",
}


_STOPPED: Final = "its unit was stopped by hand (systemctl stop or restart, or the host shutting down)"
_RESTARTED: Final = "its unit was restarted by hand (systemctl restart), which ends a task and starts none"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitFacts:
    """What systemd knows of a unit's first process when it has ended. Instants are in microseconds, 0 for never."""

    result: str = "success"
    code: int = 0
    status: int = 0
    pid: int = 0
    started_at_us: int = 0
    exited_at_us: int = 0
    was_active: bool = True
    """Whether systemd saw that its program was executed; a quick end may come before that."""

    is_stopped: bool = False
    """Whether the unit itself was stopped, which only somebody else does."""

    is_restarted: bool = False
    """Whether the unit was started once more, which only somebody else does, and which stops it first."""

    @property
    def is_plain_success(self) -> bool:
        """Whether its first process exited with 0 and nothing else is known against it."""
        return (self.result, self.code, self.status, self.is_stopped) == ("success", _EXITED, 0, False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What sentences may name."""

    program: str
    working_dir: str
    user: str = "root"
    group: str = ""
    detail: str = "systemd could not do it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How an attempt ended."""

    cause: EndCause
    exit_code: int | None = None
    signal: int | None = None
    message: str | None = None


def verdict(facts: UnitFacts, context: Context) -> Verdict:
    """Return how an attempt ended; a success is only an exit code of 0 that systemd saw."""
    if facts.is_stopped or facts.is_restarted:
        how = _RESTARTED if facts.is_restarted else _STOPPED
        signal = facts.status if facts.code in {_KILLED, _DUMPED} else None
        return Verdict(cause=EndCause.REMOVED, signal=signal, message=how)
    if facts.result == "oom-kill":
        return Verdict(cause=EndCause.OUT_OF_MEMORY, signal=facts.status or None, message="it ran out of memory")
    if facts.result == "timeout":
        return Verdict(cause=EndCause.TIMED_OUT, signal=facts.status if facts.code == _KILLED else None)
    if facts.code in {_KILLED, _DUMPED}:
        return Verdict(cause=EndCause.SIGNALLED, signal=facts.status)
    if facts.code == _EXITED and not is_ambiguous(facts):
        return Verdict(cause=EndCause.EXITED, exit_code=facts.status)
    return Verdict(cause=EndCause.START_FAILED, message=_start_failure(facts, context))


def is_ambiguous(facts: UnitFacts) -> bool:
    """Say whether an exit status may be the program's as well as systemd's, for all that systemd tells.

    It hears of an exit before it hears that the program was executed, if both come at once.
    """
    return facts.code == _EXITED and facts.status in _SETUP and not facts.was_active


def in_doubt(facts: UnitFacts, context: Context) -> Verdict:
    """Return how an attempt ended of which nothing tells whether its program was executed: as if it was."""
    words = setup_failure(facts.status, replace(context, detail="")).rstrip(": ")
    message = f"or, as systemd uses this code where a start fails: {words}"
    return Verdict(cause=EndCause.EXITED, exit_code=facts.status, message=message)


def _start_failure(facts: UnitFacts, context: Context) -> str:
    if facts.code == _EXITED:
        return setup_failure(facts.status, context)
    return _RESULTS.get(facts.result, f"systemd says {facts.result!r}")


def setup_failure(status: int, context: Context) -> str:
    """Return the sentence for an exit status of systemd's own."""
    sentence = _SETUP.get(status, "systemd could not set it up (status {status})")
    return sentence.format(
        status=status,
        program=context.program,
        working_dir=context.working_dir,
        user=context.user,
        group=context.group,
        detail=context.detail,
    )


def figure(value: int | None) -> int | None:
    """Return a figure of systemd's, None where there is none."""
    return None if value is None or value >= _NO_NUMBER else value
