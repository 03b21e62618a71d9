"""An alarm on a clock that stands still until the test moves it."""

from __future__ import annotations

import asyncio

from barbossad.alarm import Jump
from tests.helpers.clock import StillClock

_PATIENCE_SECONDS = 30.0
"""In real time; whoever waits on this alarm has died if it does not sleep again by then."""


class FakeAlarm:
    """Wakes whoever waits when the test moves ``clock`` by it, and waits until that sleeps again. See ``AlarmClock``.

    What it woke may await threads and other tasks meanwhile: sleeping again is waiting for this alarm again.
    """

    def __init__(self, clock: StillClock) -> None:
        self.clock = clock
        self.at_ms: int | None = None
        """What is waited for, while somebody sleeps; None: nothing but a jump or a wake."""

        self._waiter: asyncio.Future[None] | None = None
        self._asleep = asyncio.Event()
        self._is_woken = False
        self._jump: Jump | None = None

    async def wait_until(self, at_ms: int | None) -> Jump | None:
        """See ``AlarmClock``."""
        if not self._is_woken and self._jump is None and (at_ms is None or at_ms > self.clock.at_ms):
            self.at_ms = at_ms
            self._waiter = asyncio.get_running_loop().create_future()
            self._asleep.set()
            try:
                await self._waiter
            finally:
                self._waiter = None
                self._asleep.clear()
        else:
            await asyncio.sleep(0)  # as the real one, it lets others run
        self._is_woken = False
        jump, self._jump = self._jump, None
        return jump

    def wake(self) -> None:
        """See ``AlarmClock``."""
        self._is_woken = True
        self._ring()

    def close(self) -> None:
        """See ``AlarmClock``."""

    async def asleep(self) -> None:
        """Wait until somebody sleeps who is not being woken."""
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await self._asleep.wait()
        except TimeoutError:
            raise AssertionError("nobody waits for the alarm again") from None

    async def advance_to(self, at_ms: int) -> None:
        """Let time pass until ``at_ms``, stopping at each instant that is waited for on the way."""
        await self.asleep()
        while self.at_ms is not None and self.at_ms <= at_ms:
            self.clock.at_ms = self.at_ms
            self._ring()
            await self.asleep()
        self.clock.at_ms = max(self.clock.at_ms, at_ms)

    async def set_clock(self, at_ms: int) -> None:
        """Set the clock, which is told as a jump."""
        await self.asleep()
        by_ms = at_ms - self.clock.at_ms
        self.clock.set_to(at_ms)
        await self._tell(Jump(by_ms=by_ms))

    async def suspend_until(self, at_ms: int) -> None:
        """Let the host sleep until then: time passes, and nobody is woken on the way."""
        await self.asleep()
        slept_ms = at_ms - self.clock.at_ms
        self.clock.at_ms = at_ms
        await self._tell(Jump(by_ms=0, suspended_ms=slept_ms))

    async def _tell(self, jump: Jump) -> None:
        self._jump = jump
        self._ring()
        await self.asleep()

    def _ring(self) -> None:
        self._asleep.clear()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
