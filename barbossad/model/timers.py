"""What is known of a timer of systemd and of the unit that it starts. Source: systemd.timer(5), systemd.service(5)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceFacts:
    """What a service runs, as far as one command says it all; durations do not matter here."""

    command: tuple[str, ...] = ()
    """The arguments of its only ExecStart; empty where there are several, or one with a prefix."""

    user: str = ""
    working_directory: str = ""
    environment: tuple[str, ...] = ()
    """``NAME=value``."""

    is_simple: bool = False
    """Nothing else decides what it does: no other commands, no files of variables, no other root."""

    stays_active: bool = False
    """RemainAfterExit: it never ends by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerFacts:
    """A timer as systemd has it. Durations are seconds."""

    name: str
    """With its type: ``backup.timer``."""

    unit: str
    """What it starts."""

    description: str = ""
    """Of what it starts, or else of itself."""

    calendars: tuple[str, ...] = ()
    """The expressions of OnCalendar."""

    monotonic: tuple[tuple[str, float], ...] = ()
    """Names of settings (OnBootSec) with their spans."""

    random_delay_seconds: float = 0.0
    is_persistent: bool = False
    on_changes: tuple[str, ...] = ()
    """Those of OnClockChange and OnTimezoneChange that are set."""

    wakes_system: bool = False

    file_state: str = ""
    """UnitFileState: enabled, disabled, static, transient…"""

    path: str = ""
    """Where its file is."""

    service: ServiceFacts | None = None
