"""A clock that stands still until it is moved."""

from __future__ import annotations

from tests.helpers.records import NOON_MS


class StillClock:
    """Noon, until the test says otherwise."""

    def __init__(self, at_ms: int = NOON_MS) -> None:
        self.at_ms = at_ms
        self.jumped_ms = 0
        """How much of what it shows comes of its being set, not of time that passed."""

    def set_to(self, at_ms: int) -> None:
        """Set the wall clock, while no time passes."""
        self.jumped_ms += at_ms - self.at_ms
        self.at_ms = at_ms

    def now_ms(self) -> int:
        """See ``clock.Clock``."""
        return self.at_ms

    def now_ns(self) -> int:
        """See ``clock.Clock``."""
        return self.at_ms * 1_000_000

    def monotonic(self) -> float:
        """See ``clock.Clock``."""
        return (self.at_ms - self.jumped_ms) / 1000
