"""The engine that is measured by itself is made like the daemon's."""

from __future__ import annotations

from pathlib import Path

from benchmarks import engine


async def test_it_can_be_made(tmp_path: Path) -> None:
    """What it is put together from has changed more often than the bench was run."""
    async with engine._engine(tmp_path) as made:
        assert not made.crash.done()
