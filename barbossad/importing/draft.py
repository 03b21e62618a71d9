"""A workflow on its way from elsewhere, before it is text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from barbossad.errors import Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What a workflow file is to say."""

    name: str
    description: str = ""
    source: str
    """Where it comes from, in words: ``/etc/crontab, line 5``."""

    origin: tuple[str, ...] = ()
    """What stood there, for a comment."""

    line: int | None = None
    schedules: tuple[Mapping[str, Any], ...]
    """Entries of ``schedules``."""

    remarks: Mapping[str, str] = field(default_factory=dict)
    """From keys of schedules and of the task to what is said behind them in a comment."""

    env: Mapping[str, str] = field(default_factory=dict)
    """Variables, literally: no expression is meant."""

    task: Mapping[str, Any]
    """The keys of its one task."""

    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class Found:
    """What an import gives."""

    drafts: list[Draft] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    """What could not be imported, and why."""

    notes: list[str] = field(default_factory=list)
    """What is to be known of all of it."""

    def refuse(self, line: int | None, path: str, message: str, hint: str = "") -> None:
        """Add a fault."""
        self.faults.append(Fault(line=line, column=None, path=path, message=message, hint=hint))
