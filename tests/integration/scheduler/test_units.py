"""The watcher of units where there is no systemd; with one, see tests/systemd/inside_units.py."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from barbossad import systemd
from barbossad.clock import SystemClock
from barbossad.model.schedules import UnitTrigger
from barbossad.scheduler.units import UnitWatcher
from tests.helpers.waiting import eventually_async


@pytest.fixture(autouse=True)
def no_systemd(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(systemd, "_BOOTED", str(tmp_path / "none"))


async def test_without_systemd(caplog: pytest.LogCaptureFixture) -> None:
    """It says in words, and once in the log, that there is none; who is not watched for has no trouble."""
    watcher = UnitWatcher(SystemClock(), lambda *_: None)
    assert watcher.trouble("w/unit-1") == ""
    for number in (1, 2):
        watcher.watch(f"w/unit-{number}", UnitTrigger(name="nginx.service"))
    expected = "there is no systemd here, so no unit of it can be watched"
    await eventually_async(lambda: watcher.trouble("w/unit-1") == expected, 30, "it is said")
    assert watcher.trouble("w/unit-2") == expected
    assert caplog.text.count(expected) == 1
    watcher.forget("w/unit-1")
    watcher.forget("w/unit-1")
    assert watcher.trouble("w/unit-1") == ""
    await watcher.close()


async def test_an_error_of_ours_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The loop that nobody waits for does not die in silence."""

    async def breaks(_: UnitWatcher) -> None:
        raise RuntimeError("what nobody thought of")

    monkeypatch.setattr(UnitWatcher, "_keep", breaks)
    watcher = UnitWatcher(SystemClock(), lambda *_: None)
    watcher.watch("w/unit-1", UnitTrigger(name="nginx.service"))
    await eventually_async(lambda: "nobody thought of" in watcher.trouble("w/unit-1"), 30, "it is said")
    assert "watched no longer" in caplog.text
    await watcher.close()


async def test_close_without_a_trigger() -> None:
    """A watcher that never had one holds nothing."""
    watcher = UnitWatcher(SystemClock(), lambda *_: None)
    await watcher.close()


def test_the_bus_is_loaded_when_it_is_needed() -> None:
    """A daemon without unit triggers does not pay for D-Bus."""
    script = "import sys, barbossad.scheduler.units; sys.exit('dbus_fast' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
