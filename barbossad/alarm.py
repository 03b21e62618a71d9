"""Wake at an instant of the wall clock, and hear at once when that clock is set.

A sleep of so many seconds is wrong as soon as the clock is set or the host sleeps; the kernel's own timer on the
wall clock is not. Source: timerfd_create(2).
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import time
from dataclasses import dataclass
from typing import Final, Protocol

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_ABSOLUTE: Final = 1
_CANCEL_ON_SET: Final = 2
_NEVER_MS: Final = 9_200_000_000_000
"""The year 2261. A timer must be set for its cancelling to be told; the kernel's nanoseconds end in 2262, and its clock
can be set up to thirty years before that."""

_READINGS: Final = 5
"""How often clocks are compared; the quickest comparison counts."""

_NANOSECONDS: Final = 1_000_000
"""In a millisecond."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Jump:
    """The wall clock went on otherwise than by the passing of time, or time passed while the host slept."""

    by_ms: int
    """Forth, or back if it is negative; 0 if the clock was set to what it showed, or only a suspend is told of.

    Time that passes in suspend is no jump: the clock shows what it should.
    """

    suspended_ms: int = 0
    """How long the host slept."""


class AlarmClock(Protocol):
    """What the scheduler asks of an alarm."""

    async def wait_until(self, at_ms: int | None) -> Jump | None:
        """Wait until the wall clock shows ``at_ms``, with None until something else ends the wait.

        Return None when it does, and after a ``wake``; return the jump at once when there is one, also if it was
        between two waits. One task waits at a time.
        """

    def wake(self) -> None:
        """End the wait; if nobody waits, the next one."""

    def close(self) -> None:
        """Give up what it holds; nobody waits any more."""


class _Interval(ctypes.Structure):
    """``struct itimerspec``."""

    _fields_ = tuple(
        (name, ctypes.c_long)
        for name in ("interval_seconds", "interval_nanoseconds", "value_seconds", "value_nanoseconds")
    )


class Alarm:
    """The host's: a timer of the kernel on its wall clock, in the running event loop. See ``AlarmClock``."""

    def __init__(self) -> None:
        flags = os.O_NONBLOCK | os.O_CLOEXEC  # the values of TFD_NONBLOCK and TFD_CLOEXEC
        self._timer = _LIBC.timerfd_create(time.CLOCK_REALTIME, flags)
        if self._timer < 0:
            raise OSError(ctypes.get_errno(), "cannot make a timer of the kernel")
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._is_woken = False
        self._jump: Jump | None = None
        self._readings = _readings()
        self._set(_NEVER_MS)  # a jump before the first wait is told too
        self._loop.add_reader(self._timer, self._read)

    async def wait_until(self, at_ms: int | None) -> Jump | None:
        """See ``AlarmClock``. It is never early, and late by what the event loop is late."""
        if self._jump is None and not self._is_woken:
            self._news.clear()  # what an earlier wait had set the timer to is of no interest
            self._set(_NEVER_MS if at_ms is None else at_ms)
        await self._news.wait()
        self._news.clear()
        self._is_woken = False
        jump, self._jump = self._jump, None
        return jump

    def wake(self) -> None:
        """See ``AlarmClock``."""
        self._is_woken = True
        self._news.set()

    def close(self) -> None:
        """See ``AlarmClock``."""
        if self._timer >= 0:
            self._loop.remove_reader(self._timer)
            os.close(self._timer)
            self._timer = -1

    def _set(self, at_ms: int) -> None:
        seconds, milliseconds = divmod(max(1, min(at_ms, _NEVER_MS)), 1000)  # 0 would switch it off
        value = _Interval(0, 0, seconds, milliseconds * _NANOSECONDS)
        if _LIBC.timerfd_settime(self._timer, _ABSOLUTE | _CANCEL_ON_SET, ctypes.byref(value), None) == 0:
            return
        if ctypes.get_errno() != errno.ECANCELED:
            raise OSError(ctypes.get_errno(), "cannot set a timer of the kernel")
        self._note_jump()  # since it was set last; it is set all the same

    def _read(self) -> None:
        try:
            os.read(self._timer, 8)
        except BlockingIOError:  # it was set anew before this was called
            return
        except OSError as error:
            if error.errno != errno.ECANCELED:
                raise
            self._note_jump()
        self._news.set()

    def _note_jump(self) -> None:
        """Add what the clocks say of it to a jump that nobody has heard of yet."""
        before, self._readings = self._readings, _readings()
        by, suspended = (now - then for now, then in zip(self._readings, before, strict=True))
        known = self._jump or Jump(by_ms=0)
        self._jump = Jump(
            by_ms=known.by_ms + round(by / _NANOSECONDS),
            suspended_ms=known.suspended_ms + round(suspended / _NANOSECONDS),
        )
        self._news.set()


def _readings() -> tuple[int, int]:
    """Return how far the wall clock is ahead of the time since boot, and how long the host slept in that. Nanoseconds.

    Only setting the clock changes the first, and only sleeping the second: a clock that is slewed takes all along.
    """
    return min(_reading() for _ in range(_READINGS))[1:]


def _reading() -> tuple[int, int, int]:
    """Return how long it took to read the clocks, and what they say: other processes may come in between."""
    begin = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    wall = time.clock_gettime_ns(time.CLOCK_REALTIME)
    awake = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    took = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - begin
    since_boot = begin + took // 2
    return took, wall - since_boot, since_boot - awake
