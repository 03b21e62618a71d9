"""A scheduler on a real state file and a real engine, with processes and a clock in the hand of the test."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from barbossad.model.names import RunId, run_id_from_number
from barbossad.model.records import RunRecord
from barbossad.model.schedules import Fire
from barbossad.process.launcher import Finding, Verdict
from barbossad.scheduler.parts import Parts
from barbossad.scheduler.scheduler import Scheduler
from barbossad.store.run_details import RunDetails
from barbossad.store.workflows import WorkflowStore
from barbossad.workflows.loader import Loader
from barbossad.workflows.reader import Reader
from barbossad.workflows.registry import Registry
from tests.helpers.clock import StillClock
from tests.helpers.fake_alarm import FakeAlarm
from tests.helpers.house import LIMIT_SECONDS, TYPES, House
from tests.helpers.records import NOON_MS
from tests.helpers.schedule_records import Stores
from tests.helpers.scripted import ScriptedProcess

SECOND, MINUTE, HOUR, DAY = 1000, 60_000, 3_600_000, 86_400_000


class ScheduleHouse:
    """What a daemon would have of schedules; leaving it without ado is a crash."""

    def __init__(self, house: House, clock: StillClock, boot_id: str) -> None:
        self.house = house
        self.clock = clock
        self.alarm = FakeAlarm(clock)
        self.stores = Stores(house.database)
        self.reader = Reader(Loader(TYPES))
        self.workflows = Registry(WorkflowStore(house.database), self.reader, clock)
        self.scheduler = Scheduler(
            Parts(
                clock=clock,
                alarm=self.alarm,
                schedules=self.stores.schedules,
                fires=self.stores.fires,
                holds=self.stores.holds,
                events=self.stores.events,
                runs=house.runs,
                workflows=self.workflows,
                runner=house.engine,
                host_name="host",
                boot_id=boot_id,
                booted_at_ms=lambda: NOON_MS - HOUR,
            )
        )
        self._seen = 0

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls,
        path: Path,
        at_ms: int = NOON_MS,
        *,
        boot_id: str = "first-boot",
        limit: int = 2000,
        otherwise: Verdict = Verdict.GONE,
        is_rolled_back: bool = False,
    ) -> AsyncIterator[ScheduleHouse]:
        """Start at an instant, with what an earlier one left on the file; processes of that are all ``otherwise``.

        ``is_rolled_back``: the file is an older one that was put back.
        """
        clock = StillClock(at_ms)
        async with House.open(path, clock=clock, limit=limit) as house:
            made = cls(house, clock, boot_id)
            await made.workflows.open()
            for record in made.workflows.records():
                house.workflows[record.name] = await made.workflows.definition(record.name)
            house.launcher.otherwise = Finding(otherwise, "the daemon ended while it ran")
            house.engine.seed_ids(await house.runs.newest_number())
            await house.recover(is_rolled_back=is_rolled_back)
            await made.scheduler.open(is_rolled_back=is_rolled_back)
            loop = asyncio.create_task(made.scheduler.run(), name="scheduler")
            try:
                await made.alarm.asleep()
                yield made
            finally:
                loop.cancel()
                ended = await asyncio.gather(loop, return_exceptions=True)
                await made.scheduler.close()
                made.reader.close()
                assert isinstance(ended[0], asyncio.CancelledError), ended[0]

    async def apply(self, text: str) -> str:
        """Put a workflow in force; return its name."""
        definition, _ = await self.workflows.apply(text, by="anne")
        self.house.workflows[definition.name] = definition
        await self.scheduler.control.changed(definition.name)
        await self.alarm.asleep()
        return definition.name

    async def pass_time(self, milliseconds: int) -> None:
        """Let time pass, stopping at each instant that the scheduler waits for."""
        await self.eventually(lambda: self.scheduler._backlog.is_empty)
        await self.alarm.advance_to(self.clock.at_ms + milliseconds)
        await self.house.settle()
        await self.alarm.asleep()

    async def process(self) -> ScriptedProcess:
        """Return the next process that is launched."""
        process = await self.house.launcher.next()
        process.begin()
        return process

    async def end(self, process: ScriptedProcess, code: int = 0) -> RunDetails:
        """End a process, and with it its run; return that after the scheduler has heard of it."""
        run_id = RunId(process.spec.key.run_id)
        process.exit(code)
        details = await self.house.ended(run_id)
        await self.heard()
        return details

    async def heard(self) -> None:
        """Return when the scheduler has done what it was told."""
        for _ in range(3):
            await self.eventually(lambda: self.scheduler._backlog.is_empty)
            await self.house.settle()
            await self.alarm.asleep()

    def runs(self) -> list[RunRecord]:
        """Return the runs of schedules, oldest first."""
        with closing(sqlite3.connect(self.house.database.path)) as connection:
            ids = connection.execute("SELECT id FROM runs WHERE schedule IS NOT NULL ORDER BY id").fetchall()
        found = [self.house.runs.record(run_id_from_number(number)) for (number,) in ids]
        return [run for run in found if run]

    async def fires(self, schedule: str | None = None) -> list[Fire]:
        """Return fires, the oldest first."""
        page = await self.stores.fires.page(schedule=schedule, limit=1000)
        return list(reversed(page.items))

    async def states(self, schedule: str | None = None) -> list[str]:
        """Return the states of fires, the oldest first."""
        return [fire.state.value for fire in await self.fires(schedule)]

    def told(self, kind: str) -> list[dict[str, Any]]:
        """Return the facts of events of a kind."""
        with closing(sqlite3.connect(self.house.database.path)) as connection:
            found = connection.execute("SELECT data FROM events WHERE kind = ? ORDER BY seq", (kind,)).fetchall()
        return [json.loads(row[0]) for row in found]

    async def eventually(self, check: Callable[[], bool]) -> None:
        """Return once something holds that other tasks bring about."""
        async with asyncio.timeout(LIMIT_SECONDS):
            while not check():
                await self.house.settle()
