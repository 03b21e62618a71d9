"""The alarm on the wall clock: the kernel's own, and the one of the tests, which keeps the same rules."""

from __future__ import annotations

import asyncio
import ctypes
import errno
from collections.abc import AsyncIterator

import pytest

from barbossad import alarm as module
from barbossad.alarm import Alarm, AlarmClock, Jump
from barbossad.clock import SystemClock
from tests.helpers.clock import StillClock
from tests.helpers.fake_alarm import FakeAlarm
from tests.helpers.records import NOON_MS

_CLOCK = SystemClock()


@pytest.fixture
async def real() -> AsyncIterator[Alarm]:
    """The kernel's."""
    alarm = Alarm()
    yield alarm
    alarm.close()


@pytest.fixture
def fake() -> FakeAlarm:
    """One at noon."""
    return FakeAlarm(StillClock())


@pytest.fixture(params=["real", "fake"])
async def either(request: pytest.FixtureRequest, real: Alarm, fake: FakeAlarm) -> AlarmClock:
    """Both, one after the other."""
    return {"real": real, "fake": fake}[request.param]


def soon(alarm: AlarmClock, at_ms: int | None) -> asyncio.Task[Jump | None]:
    """Begin to wait."""
    return asyncio.create_task(alarm.wait_until(at_ms))


async def a_moment() -> None:
    """Let whoever can run do so."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_never_is_beyond_any_clock(real: Alarm) -> None:
    """To wait for nothing is to wait, also where the clock shows the last instant to which it can be set."""
    last_ms = (2**63 // 10**9 - 30 * 365 * 86_400) * 1000
    assert last_ms < module._NEVER_MS
    waiting = soon(real, None)
    await a_moment()
    assert not waiting.done()
    real.wake()
    assert await waiting is None


@pytest.mark.parametrize("at_ms", [-5, 0, 1, NOON_MS - 1])
async def test_what_is_past_is_not_waited_for(either: AlarmClock, at_ms: int) -> None:
    """An instant that has been ends the wait at once."""
    assert await asyncio.wait_for(either.wait_until(at_ms), 30) is None


@pytest.mark.parametrize("at_ms", [None, 2**62])
async def test_a_wake_ends_the_wait(either: AlarmClock, at_ms: int | None) -> None:
    """Who waits is woken; the wait after that is a whole one again."""
    waiting = soon(either, at_ms)
    await a_moment()
    assert not waiting.done()
    either.wake()
    assert await asyncio.wait_for(waiting, 30) is None
    again = soon(either, at_ms)
    await a_moment()
    assert not again.done()
    again.cancel()


async def test_a_wake_between_two_waits_is_not_lost(either: AlarmClock) -> None:
    """It ends the next one, and only that; two of them are as one."""
    either.wake()
    either.wake()
    assert await asyncio.wait_for(either.wait_until(None), 30) is None
    again = soon(either, None)
    await a_moment()
    assert not again.done()
    again.cancel()


async def test_a_cancelled_wait_leaves_nothing_behind(either: AlarmClock) -> None:
    """The next one waits for its own instant."""
    waiting = soon(either, None)
    await a_moment()
    waiting.cancel()
    await asyncio.wait([waiting])
    assert await asyncio.wait_for(either.wait_until(0), 30) is None


async def test_it_wakes_at_the_instant(real: Alarm) -> None:
    """Never early, and within a few milliseconds, but where the host is busy: then it is asked again."""
    for ahead_ms in (1, 7, 20, 33, 50):
        for _ in range(200):
            at_ms = _CLOCK.now_ms() + ahead_ms
            assert await real.wait_until(at_ms) is None
            late_ms = _CLOCK.now_ms() - at_ms
            assert late_ms >= 0
            if late_ms <= 20:
                break
        else:
            pytest.fail(f"it was never in time, {late_ms} ms late the last time")


async def test_an_instant_that_nobody_waits_for_any_more(real: Alarm) -> None:
    """What the timer rang for between two waits does not end the second."""
    waiting = soon(real, _CLOCK.now_ms() + 20)
    await a_moment()
    real.wake()
    await waiting
    await asyncio.wait_for(real.wait_until(_CLOCK.now_ms() + 40), 30)
    waiting = soon(real, None)
    real._read()  # what the loop would call if it had seen the timer just before it was set anew
    await a_moment()
    assert not waiting.done()
    waiting.cancel()


async def test_waiting_costs_nothing(real: Alarm) -> None:
    """While it waits the loop has nothing to wake up for: neither a time of its own nor a call that is due."""
    waiting = soon(real, _CLOCK.now_ms() + 3_600_000)
    await a_moment()
    loop = asyncio.get_running_loop()
    assert [handle for handle in loop._scheduled if not handle.cancelled()] == []  # type: ignore[attr-defined]
    waiting.cancel()


async def test_close_can_be_repeated(real: Alarm) -> None:
    """The descriptor is closed once; the fixture of all tests looks for it."""
    real.close()
    real.close()


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What the clocks are said to be apart, in seconds: by setting, and by suspend."""
    values = [0, 0]
    monkeypatch.setattr(module, "_readings", lambda: (values[0] * 1_000_000_000, values[1] * 1_000_000_000))
    return values


@pytest.mark.parametrize(
    ("by", "suspended", "jump"),
    [
        (3600, 0, Jump(by_ms=3_600_000)),
        (-3600, 0, Jump(by_ms=-3_600_000)),
        (0, 28_800, Jump(by_ms=0, suspended_ms=28_800_000)),
        (-2, 60, Jump(by_ms=-2000, suspended_ms=60_000)),
    ],
)
async def test_what_a_jump_says(readings: list[int], real: Alarm, by: int, suspended: int, jump: Jump) -> None:
    """Setting the clock is a jump by so much; a suspend is told, and is none."""
    readings[:] = 0, 0
    real._readings = module._readings()
    waiting = soon(real, None)
    await a_moment()
    readings[:] = by, suspended
    real._note_jump()
    assert await asyncio.wait_for(waiting, 30) == jump


async def test_jumps_between_two_waits_are_added(readings: list[int], real: Alarm) -> None:
    """Nobody waited when the clock was set, twice: the next wait ends at once, with the sum, and is told it once."""
    readings[:] = 0, 0
    real._readings = module._readings()
    for by in (10, 3):
        readings[0] = by
        real._note_jump()
    assert await asyncio.wait_for(real.wait_until(None), 30) == Jump(by_ms=3000)
    again = soon(real, None)
    await a_moment()
    assert not again.done()
    again.cancel()


class _Adjustment(ctypes.Structure):
    """``struct timex``, see adjtimex(2)."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("until_seconds", ctypes.c_long * 8),
        ("seconds", ctypes.c_long),
        ("fraction", ctypes.c_long),
        ("rest", ctypes.c_long * 32),
    )


def set_the_clock_by(nanoseconds: int) -> None:
    """Have the kernel set this host's clock: by so little, in one step, that nobody can be harmed."""
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    set_offset_in_nanoseconds = 0x2100  # ADJ_SETOFFSET | ADJ_NANO
    adjustment = _Adjustment(modes=set_offset_in_nanoseconds, seconds=seconds, fraction=fraction)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.adjtimex(ctypes.byref(adjustment)) < 0:
        if ctypes.get_errno() == errno.EPERM:
            pytest.skip("only who has CAP_SYS_TIME may set the clock")
        raise OSError(ctypes.get_errno(), "adjtimex")


@pytest.mark.parametrize("at_ms", [None, NOON_MS * 2])
async def test_setting_the_clock_ends_the_wait(real: Alarm, at_ms: int | None) -> None:
    """The kernel says at once that the clock was set, whatever is waited for: here by a nanosecond, which is 0 ms."""
    waiting = soon(real, at_ms)
    await a_moment()
    assert not waiting.done()
    set_the_clock_by(1)
    assert await asyncio.wait_for(waiting, 30) == Jump(by_ms=0)
    set_the_clock_by(-1)  # between two waits
    assert await asyncio.wait_for(real.wait_until(at_ms), 30) == Jump(by_ms=0)


async def test_setting_the_clock_just_before_the_timer_is_set(real: Alarm) -> None:
    """A jump that the loop had no turn to see is told when the timer is set."""
    set_the_clock_by(1)
    real._set(NOON_MS * 2)
    assert real._jump == Jump(by_ms=0)
    set_the_clock_by(-1)
    assert await asyncio.wait_for(real.wait_until(None), 30) == Jump(by_ms=0)


async def sleeper(alarm: AlarmClock, instants: list[int | None], seen: list[tuple[int, Jump | None]]) -> None:
    """Wait for one instant after the other as the scheduler does, with work in a thread between them."""
    clock = alarm.clock  # type: ignore[attr-defined]
    for at_ms in instants:
        jump = await alarm.wait_until(at_ms)
        await asyncio.to_thread(lambda: None)
        seen.append((clock.now_ms() - NOON_MS, jump))
    await alarm.wait_until(None)


async def test_the_fake_stops_at_each_instant(fake: FakeAlarm) -> None:
    """Time is moved from instant to instant, and moved on only when who was woken sleeps again."""
    seen: list[tuple[int, Jump | None]] = []
    task = asyncio.create_task(sleeper(fake, [NOON_MS + 10, NOON_MS + 20, NOON_MS + 35], seen))
    await fake.advance_to(NOON_MS + 9)
    assert seen == []
    await fake.advance_to(NOON_MS + 30)
    assert seen == [(10, None), (20, None)]
    assert fake.clock.now_ms() == NOON_MS + 30
    await fake.advance_to(NOON_MS + 40)
    assert seen[2:] == [(35, None)]
    task.cancel()


async def test_the_fake_jumps(fake: FakeAlarm) -> None:
    """Setting the clock wakes whoever waits, and takes no time; a suspend takes it, and is no jump."""
    seen: list[tuple[int, Jump | None]] = []
    task = asyncio.create_task(sleeper(fake, [NOON_MS + 1000, None, None], seen))
    before = fake.clock.monotonic()
    await fake.set_clock(NOON_MS + 5000)
    await fake.set_clock(NOON_MS - 5000)
    assert fake.clock.monotonic() == before
    await fake.suspend_until(NOON_MS)
    assert fake.clock.monotonic() == before + 5
    assert seen == [
        (5000, Jump(by_ms=5000)), (-5000, Jump(by_ms=-10_000)), (0, Jump(by_ms=0, suspended_ms=5000)),
    ]  # fmt: skip
    task.cancel()


async def test_the_fake_says_when_nobody_sleeps(fake: FakeAlarm, monkeypatch: pytest.MonkeyPatch) -> None:
    """A scheduler that died fails the test, it does not hang it."""
    monkeypatch.setattr("tests.helpers.fake_alarm._PATIENCE_SECONDS", 0.01)
    with pytest.raises(AssertionError, match="nobody waits"):
        await fake.advance_to(NOON_MS + 1)
