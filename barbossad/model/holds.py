"""Holds: schedules of workflows with a label let their fires pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Schedules of workflows with a label are held: their fires are skipped."""

    label: str
    """``team=infra``, or ``team`` for whatever value; empty: all schedules."""

    reason: str
    until_ms: int | None = None
    at_ms: int
    by: str

    @property
    def words(self) -> str:
        """Why what it holds does not fire."""
        return f"held{f' by label {self.label}' if self.label else ''}: {self.reason}"

    def is_over(self, at_ms: int) -> bool:
        """Say whether it has ended by itself by an instant."""
        return self.until_ms is not None and self.until_ms <= at_ms

    def holds_at(self, at_ms: int) -> bool:
        """Say whether it held at an instant."""
        return self.at_ms <= at_ms and not self.is_over(at_ms)

    def covers(self, labels: Mapping[str, str]) -> bool:
        """Say whether a schedule with these labels is held."""
        key, equals, value = self.label.partition("=")
        return not self.label or (labels.get(key) == value if equals else key in labels)
