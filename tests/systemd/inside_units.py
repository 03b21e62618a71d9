"""What the watcher of units sees of a real systemd; run in the container by ``test_unit_triggers.py``."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from barbossad.clock import SystemClock
from barbossad.model.schedules import UnitTrigger
from barbossad.scheduler import units
from barbossad.scheduler.units import UnitEvent, UnitWatcher
from tests.helpers.waiting import eventually_async

ALL = ("active", "inactive", "failed", "activating", "deactivating")
FOLDER = Path("/run/systemd/system")
WAIT_SECONDS = 20.0


@dataclass
class Seen:
    """A watcher, and what it has told so far."""

    told: list[tuple[str, UnitEvent]] = field(default_factory=list)
    watcher: UnitWatcher = field(init=False)

    def __post_init__(self) -> None:
        self.watcher = UnitWatcher(SystemClock(), lambda schedule, event: self.told.append((schedule, event)))

    async def watch(self, unit: str, *states: str, schedule: str = "w/unit-1") -> None:
        self.watcher.watch(schedule, UnitTrigger(name=unit, states=states or ALL))
        await self.knows(unit)

    async def knows(self, unit: str) -> None:
        """Wait until the watcher knows what state the unit is in."""
        name = unit if "." in unit else f"{unit}.service"
        await eventually_async(
            lambda: (
                (found := self.watcher._units.get(name)) is not None and found.connection == self.watcher._connection
            ),
            WAIT_SECONDS,
            f"{unit} is followed: {self.watcher.trouble('w/unit-1')}",
        )

    def states(self, schedule: str = "w/unit-1") -> list[tuple[str, str]]:
        return [(event.before, event.state) for name, event in self.told if name == schedule]

    async def until(self, *last: str) -> None:
        """Wait until the last thing that was told is that."""
        await eventually_async(lambda: self.states()[-1:] == [last], WAIT_SECONDS, f"{last}, not {self.states()}")


@pytest.fixture(scope="module", autouse=True)
def units_are_removed() -> Iterator[None]:
    """The container is left as it was."""
    before = set(FOLDER.iterdir()) if FOLDER.exists() else set()
    yield
    for path in set(FOLDER.iterdir()) - before:
        path.unlink()
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    subprocess.run(["systemctl", "reset-failed"], check=True)


@pytest.fixture
async def seen() -> AsyncIterator[Seen]:
    seen = Seen()
    yield seen
    await seen.watcher.close()


async def run(*words: str) -> None:
    """Run a command that has to succeed."""
    process = await asyncio.create_subprocess_exec(*words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output, _ = await process.communicate()
    assert process.returncode == 0, output


async def make(name: str, command: str, *settings: str) -> None:
    """Make a unit that systemd has not loaded before."""
    service = "\n".join(["[Service]", f"ExecStart={command}", *settings])
    (FOLDER / name).write_text(f"{service}\n")
    await run("systemctl", "daemon-reload")


async def test_a_unit_that_is_not_loaded(seen: Seen) -> None:
    """It is heard of when it starts and stops; the state that it was in is no news."""
    await make("seen-1.service", "/bin/sleep 1000")
    await seen.watch("seen-1")
    assert seen.watcher.trouble("w/unit-1") == ""
    before_ms = SystemClock().now_ms()
    await run("systemctl", "start", "seen-1.service")
    await seen.until("inactive", "active")
    assert seen.told[-1][1].unit == "seen-1.service"
    assert before_ms <= seen.told[-1][1].at_ms <= SystemClock().now_ms()
    await run("systemctl", "stop", "seen-1.service")
    await seen.until("deactivating", "inactive")
    assert seen.states() == [("inactive", "active"), ("active", "deactivating"), ("deactivating", "inactive")]


async def test_each_failure_is_told(seen: Seen) -> None:
    """Only states that are asked for fire, each time they are entered anew, however quick it is."""
    await make("fails.service", "/bin/false")
    await seen.watch("fails.service", "failed")
    for number in range(1, 6):
        await run("systemctl", "start", "fails.service")
        await eventually_async(lambda n=number: len(seen.told) == n, WAIT_SECONDS, f"failure {number}")  # type: ignore[misc]
        await run("systemctl", "daemon-reload")
    assert {event.state for _, event in seen.told} == {"failed"}


async def test_a_unit_that_failed_before(seen: Seen) -> None:
    """That a unit is in a state does not fire, only that it enters it."""
    await make("failed.service", "/bin/false")
    await run("systemctl", "start", "failed.service")
    await eventually_async(
        lambda: subprocess.run(["systemctl", "is-failed", "--quiet", "failed.service"], check=False).returncode == 0,
        WAIT_SECONDS, "it failed",
    )  # fmt: skip
    await seen.watch("failed.service")
    await run("systemctl", "reset-failed", "failed.service")
    await seen.until("failed", "inactive")
    assert len(seen.told) == 1


async def test_templates_timers_and_aliases(seen: Seen) -> None:
    """An instance is watched by its exact name, units of other types too, and an alias for what it stands for."""
    await make("room@.service", "/bin/sleep 1000")
    await make("real.service", "/bin/sleep 1000")
    (FOLDER / "other.service").symlink_to(FOLDER / "real.service")
    await run("systemctl", "daemon-reload")
    await seen.watch("room@one.service", "active")
    await seen.watch("other.service", "active", schedule="w/alias")
    await seen.watch("seen.timer", "active", schedule="w/timer")
    assert seen.watcher.trouble("w/timer") == "seen.timer is not installed here; it is waited for"
    await run("systemctl", "start", "room@two.service", "real.service")
    await run("systemd-run", "--quiet", "--unit=seen", "--on-active=1h", "/bin/true")
    await run("systemctl", "start", "room@one.service")
    await seen.until("inactive", "active")
    await eventually_async(lambda: len(seen.told) == 3, WAIT_SECONDS, "all three are told of")
    told = {(schedule, event.unit) for schedule, event in seen.told}
    assert told == {("w/unit-1", "room@one.service"), ("w/alias", "other.service"), ("w/timer", "seen.timer")}
    assert seen.watcher.trouble("w/timer") == ""
    await run("systemctl", "stop", "room@one.service", "room@two.service", "real.service", "seen.timer")


async def test_a_name_that_is_none(seen: Seen) -> None:
    """What systemd does not take for a unit's name is said in words, and others are watched all the same."""
    await seen.watch("no such unit.service")
    assert "no such unit" in seen.watcher.trouble("w/unit-1")
    await make("good.service", "/bin/sleep 1000")
    await seen.watch("good.service", "active", schedule="w/good")
    await run("systemctl", "start", "good.service")
    await eventually_async(lambda: bool(seen.told), WAIT_SECONDS, "the good one is told of")
    await run("systemctl", "stop", "good.service")


async def test_forgetting(seen: Seen) -> None:
    """Who is forgotten hears nothing, and the bus is told so; others go on."""
    await make("kept.service", "/bin/sleep 1000")
    await seen.watch("kept.service", "active")
    await seen.watch("kept.service", "active", schedule="w/other")
    await seen.watch("fails.service", "failed", schedule="w/gone")
    seen.watcher.forget("w/other")
    seen.watcher.forget("w/gone")
    await eventually_async(lambda: len(seen.watcher._rules) == 1, WAIT_SECONDS, "one rule is left")
    await run("systemctl", "start", "kept.service")
    await seen.until("inactive", "active")
    assert [schedule for schedule, _ in seen.told] == ["w/unit-1"]
    await run("systemctl", "stop", "kept.service")


async def test_more_units_than_the_bus_has_rules(seen: Seen) -> None:
    """Hundreds of units are watched by one rule."""
    await make("many@.service", "/bin/sleep 1000")
    for number in range(600):
        seen.watcher.watch(f"w/{number}", UnitTrigger(name=f"many@{number}.service", states=("active",)))
    await seen.knows("many@99.service")
    await run("systemctl", "start", "many@7.service", "many@599.service")
    await eventually_async(lambda: len(seen.told) == 2, WAIT_SECONDS, "both are told of")
    assert {schedule for schedule, _ in seen.told} == {"w/7", "w/599"}
    assert len(seen.watcher._rules) == 1
    await run("systemctl", "stop", "many@7.service", "many@599.service")


async def test_the_bus_goes_away(seen: Seen, caplog: pytest.LogCaptureFixture) -> None:
    """When it is back, units are heard of again, and what they did meanwhile is told."""
    await make("lost.service", "/bin/sleep 1000")
    await seen.watch("lost.service", "active", "failed")
    await run("systemctl", "start", "lost.service")
    await seen.until("inactive", "active")
    before = seen.watcher._connection
    # Both without the bus: systemctl speaks to systemd through a socket of its own.
    await run("systemctl", "stop", "dbus.socket", "dbus.service")
    await eventually_async(lambda: "was lost" in seen.watcher.trouble("w/unit-1"), WAIT_SECONDS, "it is missed")
    await run("systemctl", "kill", "--signal=KILL", "lost.service")
    await run("systemctl", "start", "dbus.socket", "dbus.service")
    await seen.until("active", "failed")
    assert seen.watcher._connection > before
    await seen.knows("lost.service")
    assert seen.watcher.trouble("w/unit-1") == ""
    await run("systemctl", "reset-failed", "lost.service")
    await run("systemctl", "start", "lost.service")
    await seen.until("inactive", "active")
    await run("systemctl", "stop", "lost.service")


async def test_a_bus_that_is_not_there_yet(seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is waited for, which is said in words."""
    monkeypatch.setattr(units, "RETRY_SECONDS", 0.1)
    await run("systemctl", "stop", "dbus.socket", "dbus.service")
    seen.watcher.watch("w/unit-1", UnitTrigger(name="late.service", states=ALL))
    await eventually_async(
        lambda: "cannot be reached" in seen.watcher.trouble("w/unit-1"), WAIT_SECONDS, "it is missed"
    )
    await run("systemctl", "start", "dbus.socket", "dbus.service")
    await seen.knows("late.service")
    await make("late.service", "/bin/sleep 1000")
    await run("systemctl", "start", "late.service")
    await seen.until("inactive", "active")
    await run("systemctl", "stop", "late.service")
