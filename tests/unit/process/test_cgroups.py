"""Whether something lives in a unit, as its control group tells."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from barbossad.process import cgroups
from tests.helpers.launching import no_descriptors

UNIT = "barbossa-01m89c39k4-task-1.service"


@pytest.fixture(params=["cgroup.events", "cgroup.procs"])
def group(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A control group with a member, by either of the files that tell of it."""
    folder = tmp_path / cgroups.SLICE / UNIT
    folder.mkdir(parents=True)
    (folder / request.param).write_text("populated 1\nfrozen 0\n" if request.param == "cgroup.events" else "4711\n")
    monkeypatch.setattr(cgroups, "_HIERARCHIES", (str(tmp_path),))
    return folder


async def test_nothing_is_gone_that_was_not_looked_at(group: Path) -> None:
    """Without descriptors it is not known whether something lives; who has to know it waits until there are some."""
    assert cgroups.is_populated(UNIT)
    with no_descriptors():
        with pytest.raises(OSError, match="Too many open files"):
            cgroups.is_populated(UNIT)
        waiting = asyncio.create_task(cgroups.is_surely_populated(UNIT))
        await asyncio.sleep(0)
        assert not waiting.done()
    async with asyncio.timeout(20):
        assert await waiting
    for file in group.iterdir():
        file.unlink()
    assert not await cgroups.is_surely_populated(UNIT)
