"""The checks that every test goes through see what they are for."""

from __future__ import annotations

import asyncio
import os
import subprocess

import pytest

from tests.helpers import leaks


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here is on its way out: no need to wait for it."""
    monkeypatch.setattr(leaks, "SETTLE_SECONDS", 0.05)


def test_open_file_is_found() -> None:
    """A file that is left open is named; once closed, nothing is left."""
    before = leaks.snapshot()
    descriptor = os.open("/dev/null", os.O_RDONLY)
    try:
        assert leaks.leaks_since(before) == [f"open file {descriptor} /dev/null"]
    finally:
        os.close(descriptor)
    assert leaks.leaks_since(before) == []


def test_child_is_found() -> None:
    """A child that lives, or died unreaped, is named with its command."""
    before = leaks.snapshot()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as child:
        assert f"child process {child.pid} (cat)" in leaks.leaks_since(before)
        assert child.stdin is not None
        child.stdin.close()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert f"child process {child.pid} (dead)" in leaks.leaks_since(before)
    assert leaks.leaks_since(before) == []


async def test_task_is_found() -> None:
    """A task that has not ended is named; the test's own, an ended and an expected one are not."""
    forgotten, known = (asyncio.create_task(asyncio.Event().wait(), name=name) for name in ("forgotten", "known"))
    ended = asyncio.create_task(asyncio.to_thread(int))
    await ended
    (found,) = leaks.leaked_tasks({known})
    assert found.startswith("asyncio task forgotten")
    for task in (forgotten, known):
        task.cancel()
    await asyncio.wait({forgotten, known})
    assert leaks.leaked_tasks() == []
