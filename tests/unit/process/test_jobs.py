"""systemd has no more jobs of ours at once than the bus lets it have, however many are asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

from barbossad.process.systemd import jobs
from barbossad.process.systemd.bus import Bus
from barbossad.process.systemd.jobs import MOST_JOBS, JobRoom


class Systemd:
    """Does some jobs between two questions, and has some of others that it never does."""

    def __init__(self, others: int = 0) -> None:
        self.others = others
        self.ours = 0
        self.most = 0
        self.questions = 0

    async def surely(self, ask: Callable[[], Awaitable[int]]) -> int:
        return await ask()

    async def get(self, *_: str) -> int:
        self.questions += 1
        self.ours = max(0, self.ours - 70)
        return self.ours + self.others

    async def call(self, *_: str) -> list[Any]:
        job = ("start", "waiting", "/job", "/unit")
        ours = [(number, f"barbossa-{number}.service", *job) for number in range(self.ours)]
        return [[*ours, *((number, f"{number}.mount", *job) for number in range(self.others))]]

    def start(self) -> None:
        self.ours += 1
        self.most = max(self.most, self.ours)


async def ask_for(systemd: Systemd, count: int) -> None:
    """Ask for so many jobs at once."""
    room = JobRoom(cast("Bus", systemd))

    async def one() -> None:
        await room.take()
        systemd.start()

    async with asyncio.timeout(20):
        await asyncio.gather(*(one() for _ in range(count)))


async def test_no_more_at_once(monkeypatch: Any) -> None:
    """There are never more than so many, and all are had in the end."""
    monkeypatch.setattr(jobs, "LOOK_SECONDS", 0)
    systemd = Systemd()
    await ask_for(systemd, 10 * MOST_JOBS)
    assert systemd.most == MOST_JOBS


async def test_few_are_not_asked_about() -> None:
    """Where there are few nobody asks."""
    systemd = Systemd()
    await ask_for(systemd, MOST_JOBS)
    assert systemd.questions == 0


async def test_jobs_of_others_hold_nobody_up(monkeypatch: Any) -> None:
    """A host that boots or goes down has many, which may wait for ours."""
    monkeypatch.setattr(jobs, "LOOK_SECONDS", 0)
    await ask_for(Systemd(others=3 * MOST_JOBS), 3 * MOST_JOBS)
