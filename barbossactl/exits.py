"""Exit codes, and the one exception a command ends with when it cannot do what was asked."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from barbossad import wire


class Exit(IntEnum):
    """What a command's exit code means; scripts rely on these numbers."""

    SUCCEEDED = 0
    """Done; of a run: it succeeded."""

    FAILED = 1
    """Not done; of a run: it failed or was interrupted by the end of the daemon or the host."""

    USAGE = 2
    """The command, a parameter or a file given to it is not acceptable."""

    UNREACHABLE = 3
    """No daemon answers on the socket."""

    REFUSED = 4
    """The caller may not do this."""

    CANCELLED = 5
    """The run was cancelled."""

    TIMED_OUT = 6
    """The run, or the wait for it, took longer than it may."""

    INTERRUPTED = 130
    """Ctrl-C ended the command; what it was looking at goes on."""


RUN_EXITS: Final[dict[str, Exit]] = {
    "succeeded": Exit.SUCCEEDED,
    "failed": Exit.FAILED,
    "interrupted": Exit.FAILED,
    "cancelled": Exit.CANCELLED,
    "timed_out": Exit.TIMED_OUT,
}
"""From the state in which a run ended to the exit code of the command that waited for it."""


class CommandError(Exception):
    """Say in one sentence what could not be done, and in ``hint`` what to do next."""

    def __init__(self, message: str, *, hint: str = "", exit_code: Exit = Exit.FAILED) -> None:
        super().__init__(message)
        self.hint = hint
        self.exit_code = exit_code


class UnreachableError(CommandError):
    """Nothing that speaks the protocol answers on the socket."""

    def __init__(self, message: str, *, hint: str = "", exit_code: Exit = Exit.UNREACHABLE) -> None:
        super().__init__(message, hint=hint, exit_code=exit_code)


class LostError(UnreachableError):
    """The connection ended before the answer came; whether the call was carried out is not known."""


class StrangerError(UnreachableError):
    """Something else than the daemon answered."""


class DaemonError(CommandError):
    """The daemon answered with an error; ``kind`` is its stable name, ``data`` its details."""

    def __init__(self, kind: str, message: str, data: dict[str, object]) -> None:
        known = wire.ERRORS.get(kind)
        hint = data.get("hint")
        super().__init__(
            message,
            hint=hint if isinstance(hint, str) else _hint(kind, message),
            exit_code=Exit(known.exit_code) if known else Exit.FAILED,
        )
        self.kind = kind
        self.data = data


def _hint(kind: str, message: str) -> str:
    hint = _HINTS.get(kind, "")
    return "" if hint.startswith(_WHO) and _WHO in message else hint  # it says so itself


_WHO: Final = "an administrator"
_HINTS: Final = {
    "method_not_found": "the daemon is older than this barbossactl; restart it after an upgrade",
    "permission_denied": f"{_WHO} maps users and groups to roles in the daemon's config",
    "unavailable": "see: barbossactl status",
    "too_many_requests": "try again in a moment",
}
