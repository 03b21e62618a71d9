"""The exception tree: a leaf takes data, builds its sentence and has a stable ``kind``.

``wire.ERRORS`` turns the kind into an RPC code, an HTTP status and an exit code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing wrong with a document: where (line and column from 1), what, and the way to mend it."""

    line: int | None
    column: int | None
    path: str
    message: str
    hint: str = ""
    file: str = ""
    """The file, where more than one was read."""

    def as_dict(self) -> dict[str, Any]:
        """Return the shape that ``workflow.validate`` answers with."""
        return {
            "line": self.line,
            "column": self.column,
            "path": self.path,
            "message": self.message,
            "hint": self.hint,
        }

    def __str__(self) -> str:
        place = f"line {self.line}, column {self.column}: " if self.line else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{place}{self.message}{hint}"


class BarbossaError(Exception):
    """Anything Barbossa says no with."""

    kind: ClassVar[str] = "error"

    def details(self) -> dict[str, Any]:
        """Return what a program may want to read beside the sentence."""
        return {}


class NotFoundError(BarbossaError):
    """A named thing does not exist."""

    kind = "not_found"

    def __init__(self, what: str, name: str, hint: str = "") -> None:
        super().__init__(f"there is no {what} {name!r}" + (f"; {hint}" if hint else ""))
        self.what, self.name = what, name

    def details(self) -> dict[str, Any]:
        """Return the class of thing and the name that was asked for."""
        return {"what": self.what, "name": self.name}


class ConflictError(BarbossaError):
    """What is asked contradicts what is."""

    kind = "conflict"


class InvalidParamsError(BarbossaError):
    """Parameters of a call or of a workflow are not acceptable; every fault is listed."""

    kind = "invalid_params"

    def __init__(self, subject: str, faults: Sequence[Fault]) -> None:
        super().__init__(f"{subject}: " + "; ".join(str(fault) for fault in faults))
        self.faults = tuple(faults)

    def details(self) -> dict[str, Any]:
        """Return every fault."""
        return {"faults": [fault.as_dict() for fault in self.faults]}


class InvalidDocumentError(BarbossaError):
    """A YAML file has faults; all of them are listed with their places."""

    def __init__(self, subject: str, faults: Sequence[Fault]) -> None:
        count = len(faults)
        first = str(faults[0]) if faults else "no reason given"
        more = f" (and {count - 1} more)" if count > 1 else ""
        super().__init__(f"{subject}: {first}{more}")
        self.subject = subject
        self.faults = tuple(faults)

    def details(self) -> dict[str, Any]:
        """Return every fault."""
        return {"faults": [fault.as_dict() for fault in self.faults]}


class InvalidWorkflowError(InvalidDocumentError):
    """A workflow file is not acceptable."""

    kind = "invalid_workflow"


class InvalidConfigError(InvalidDocumentError):
    """The config file is not acceptable."""

    kind = "invalid_config"


class PermissionDeniedError(BarbossaError):
    """The caller's role does not allow this."""

    kind = "permission_denied"


class NotAskedError(PermissionDeniedError):
    """An approval is to be answered by somebody else, whatever the caller's role."""

    def __init__(self, subject: str, named: Sequence[str], caller: str) -> None:
        super().__init__(f"{subject} is to be answered by {' or '.join(named)}; user {caller} is none of them")

    def details(self) -> dict[str, Any]:
        """Return what would help, which no role does."""
        return {"hint": "one of them has to answer"}


class UnavailableError(BarbossaError):
    """The daemon cannot do this now: it stops, or its store does not accept changes."""

    kind = "unavailable"


class TimedOutError(BarbossaError):
    """A wait ended before what it waited for."""

    kind = "timed_out"


class StoreError(BarbossaError):
    """The state file is locked, damaged or not writable."""

    kind = "unavailable"


class StateError(BarbossaError):
    """A compare-and-set found another state than expected: a fault of Barbossa, never of the user."""

    kind = "internal_error"


class AlreadyRunningError(BarbossaError):
    """A second daemon was started on the same state folder."""

    kind = "conflict"
