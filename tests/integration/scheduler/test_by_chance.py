"""Schedules by chance: whatever happens to the daemon and its clock, each instant is decided once, and runs once."""

from __future__ import annotations

import contextlib
import random
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from barbossad.errors import ConflictError
from barbossad.model.holds import Hold
from barbossad.model.schedules import FIRE_ACTIVE, Fire, Overlap
from barbossad.model.states import RUN_ENDED
from barbossad.process.launcher import Verdict
from tests.helpers import cron_oracle, invariants
from tests.helpers.records import NOON_MS
from tests.helpers.schedule_house import DAY, HOUR, MINUTE, SECOND, ScheduleHouse

STORIES = 40
STEPS = 50
STARTS = (NOON_MS, 1772953200_000 - 2 * HOUR, 1793509200_000 - 2 * HOUR)
"""A plain day, and the two nights of 2026 in which New York changes its clocks."""

ZONES = ("UTC", "America/New_York", "Australia/Lord_Howe")
CRONS = ("*/5 * * * *", "*/20 * * * * *", "0,30 * * * *", "30 1 * * *", "7-50/9 * * * *", "15 */2 * * *")
EVERY = {"90s": 90 * SECOND, "7m": 7 * MINUTE, "1h": HOUR}
LABEL = "team=infra"


@dataclass(slots=True)
class Story:
    """What happens, by chance, and what the checks must know of it."""

    chance: random.Random
    path: Path
    now_ms: int
    began_ms: int = 0
    latest_ms: int = 0
    """The furthest that the clock ever was."""

    is_set_back: bool = False
    instants: dict[str, list[int]] = field(default_factory=dict)
    """All instants of each schedule, as the oracle has them."""

    overlaps: dict[str, str] = field(default_factory=dict)
    disabled: defaultdict[str, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))
    """Between which instants schedules were disabled."""

    off: set[str] = field(default_factory=set)
    text: str = ""

    def __post_init__(self) -> None:
        self.began_ms = self.latest_ms = self.now_ms
        entries = "\n".join(f"  - {{{self._entry(number)}}}" for number in range(self.chance.randint(1, 4)))
        self.text = f"name: a\nlabels: {{team: infra}}\nschedules:\n{entries}\ntasks: [{{id: one, shell: ':'}}]\n"

    def _entry(self, number: int) -> str:
        """Write one schedule and note its instants."""
        chance, name = self.chance, f"s{number}"
        overlap = chance.choice(list(Overlap)).value
        keys = [f"name: {name}", f"overlap: {overlap}", f"catch_up: {chance.choice(['none', 'last', 'all'])}"]
        if overlap == "queue":
            keys.append(f"queue_depth: {chance.randint(1, 3)}")
        if "catch_up: none" not in keys:
            keys.append(f"catch_up_window: {chance.choice(['5m', '1h', '1d'])}")
        if "catch_up: all" in keys:
            keys.append(f"catch_up_limit: {chance.randint(1, 4)}")
        if chance.random() < 0.3:
            keys.append("retry: {attempts: 2, delay: 1m}")
        if chance.random() < 0.3:
            keys.append("jitter: 25s")
        end_ms = self.began_ms + 10 * DAY
        if chance.random() < 0.5:
            cron, zone = chance.choice(CRONS), chance.choice(ZONES)
            keys += [f'cron: "{cron}"', f"timezone: {zone}"]
            found = cron_oracle.fires(cron, zone, self.began_ms - DAY, end_ms)
        else:
            every = chance.choice(list(EVERY))
            keys.append(f"every: {every}")
            period = EVERY[every]
            found = list(range((self.began_ms - DAY) // period * period, end_ms, period))
        self.instants[f"a/{name}"], self.overlaps[f"a/{name}"] = found, overlap
        return ", ".join(keys)

    # -- what happens --------------------------------------------------------------------------------------

    async def play(self) -> None:
        """Live through some daemons, each of which dies without a word, and see all to its end."""
        steps = STEPS
        while steps:
            async with self._daemon() as house:
                steps = await self._live(house, steps)
        self.off.clear()
        async with self._daemon() as house:
            for name in self.instants:
                await house.scheduler.control.enable(name, is_enabled=True, by="anne")
            await house.scheduler.control.hold(Hold(label=LABEL, reason="the end", at_ms=self.now_ms, by="anne"))
            await self._finish(house)
            await self._check(house)

    @contextlib.asynccontextmanager
    async def _daemon(self) -> AsyncIterator[ScheduleHouse]:
        otherwise = self.chance.choice([Verdict.GONE, Verdict.LIVE])
        async with ScheduleHouse.open(self.path, self.now_ms, limit=50, otherwise=otherwise) as house:
            house.house.launcher.now_ms = house.clock.now_ms
            await house.apply(self.text)
            await house.heard()
            try:
                yield house
            finally:
                self.now_ms = house.clock.at_ms

    async def _live(self, house: ScheduleHouse, steps: int) -> int:
        """Let things happen until it dies; return how many steps are left."""
        while steps:
            steps -= 1
            what = self.chance.choices(
                [self._pass, self._end, self._set_clock, self._suspend, self._switch, self._hold, self._by_hand],
                [10, 8, 1, 1, 1.5, 1, 1],
            )[0]
            await what(house)
            await house.heard()
            self._note(house)
            await self._check_moment(house)
            if self.chance.random() < 0.07:
                break
        self.now_ms = house.clock.at_ms
        if self.chance.random() < 0.7:
            self._away(house)
        return steps

    def _note(self, house: ScheduleHouse) -> None:
        """Note how far the clock was, and between which instants schedules are disabled."""
        now_ms = house.clock.at_ms
        self.latest_ms = max(self.latest_ms, now_ms)
        for name in self.off:
            first, last = self.disabled[name][-1]
            self.disabled[name][-1] = min(first, now_ms), max(last, now_ms)

    def _away(self, house: ScheduleHouse) -> None:
        """Be away for a while; the clock may be wrong afterwards."""
        by_ms = self.chance.choice([SECOND, 3 * MINUTE, 2 * HOUR, 30 * HOUR])
        if self.chance.random() < 0.1:
            by_ms, self.is_set_back = -by_ms // 4, True
        house.clock.at_ms += by_ms
        self._note(house)

    async def _pass(self, house: ScheduleHouse) -> None:
        await house.pass_time(self.chance.choice([SECOND, MINUTE, 5 * MINUTE, 20 * MINUTE]))

    async def _end(self, house: ScheduleHouse) -> None:
        live = sorted(house.house.launcher.live, key=lambda process: process.spec.key)
        if live:
            ended_ms = house.clock.at_ms - self.chance.choice([0, 0, 0, SECOND, HOUR])  # it may be heard of late
            self.chance.choice(live).exit(self.chance.choice([0, 0, 0, 1]), finished_at_ms=ended_ms)

    async def _set_clock(self, house: ScheduleHouse) -> None:
        by_ms = self.chance.choice([-2 * HOUR, -10 * MINUTE, -1, 1, 10 * MINUTE, 3 * HOUR])
        self.is_set_back |= by_ms < 0
        await house.alarm.set_clock(house.clock.at_ms + by_ms)

    async def _suspend(self, house: ScheduleHouse) -> None:
        await house.alarm.suspend_until(house.clock.at_ms + self.chance.choice([MINUTE, HOUR]))

    async def _switch(self, house: ScheduleHouse) -> None:
        name = self.chance.choice(list(self.instants))
        self._note(house)
        is_enabled = name in self.off
        await house.scheduler.control.enable(name, is_enabled=is_enabled, by="anne", reason="not now")
        self.off ^= {name}
        if not is_enabled:
            self.disabled[name].append((house.clock.at_ms, house.clock.at_ms))

    async def _hold(self, house: ScheduleHouse) -> None:
        now_ms = house.clock.at_ms
        held = Hold(
            label=LABEL, reason="moving", until_ms=now_ms + self.chance.choice([MINUTE, HOUR]), at_ms=now_ms, by="a"
        )
        await house.scheduler.control.hold(held)

    async def _by_hand(self, house: ScheduleHouse) -> None:
        with contextlib.suppress(ConflictError):  # it overlaps, or is disabled
            await house.scheduler.control.trigger(self.chance.choice(list(self.instants)), by="anne")

    async def _finish(self, house: ScheduleHouse) -> None:
        """End all that runs, waits and is to be tried again."""
        for _ in range(300):
            for process in tuple(house.house.launcher.live):
                process.exit(0)
            await house.heard()
            if not await house.stores.fires.active():
                return
            await house.pass_time(30 * SECOND)
            self._note(house)
        raise AssertionError(f"it never ends: {await house.stores.fires.active()}")

    # -- what must hold ------------------------------------------------------------------------------------

    async def _check_moment(self, house: ScheduleHouse) -> None:
        """Check that no two runs of a schedule go on that must not, and that no more wait than may."""
        going_on = Counter(run.schedule for run in house.runs() if run.state not in RUN_ENDED)
        for name, overlap in self.overlaps.items():
            assert overlap == Overlap.ALLOW or going_on[name] <= 1, f"{name} overlaps"

    async def _check(self, house: ScheduleHouse) -> None:
        fires = (await house.stores.fires.page(limit=100_000)).items
        assert not [fire for fire in fires if fire.state in FIRE_ACTIVE]
        tries = sum(fire.tries for fire in fires if fire.run_id is not None)
        assert tries == len(house.runs()), "a run is of one fire, and each try of a fire is a run"
        for name, instants in self.instants.items():
            self._check_instants(
                name, instants, [fire for fire in fires if fire.schedule == name and not fire.is_by_hand]
            )

    def _check_instants(self, name: str, instants: list[int], fires: list[Fire]) -> None:
        """Check that the rows of a schedule tell of each instant once."""
        told: Counter[int] = Counter()
        ran: Counter[int] = Counter()
        for fire in fires:
            until_ms = fire.nominal_ms if fire.until_ms is None else fire.until_ms
            within = instants[bisect_left(instants, fire.nominal_ms) : bisect_right(instants, until_ms)]
            assert fire.nominal_ms in within[:1], f"{name} has no instant {fire.nominal_ms}"
            left_out = [at for at in within if self.is_set_back or self._was_off(name, at)]
            assert len(within) - len(left_out) <= fire.count <= len(within), f"{fire} tells of {len(within)}"
            told.update(within)
            if fire.run_id is not None:
                assert fire.count == 1
                ran[fire.nominal_ms] += 1
        assert max(ran.values(), default=1) == 1
        if not self.is_set_back:
            assert max(told.values(), default=1) == 1, f"{name} tells of one instant twice"
        first, last = bisect_right(instants, self.began_ms), bisect_right(instants, self.latest_ms - MINUTE)
        lost = [at for at in instants[first:last] if not told[at] and not self._was_off(name, at)]
        assert not lost, f"{name} lost {lost}"
        assert not [at for at in told if at > self.latest_ms], f"{name} fired before its time"

    def _was_off(self, name: str, at: int) -> bool:
        return any(first - MINUTE <= at <= last + MINUTE for first, last in self.disabled[name])


@pytest.mark.by_chance
@pytest.mark.parametrize("number", range(STORIES))
async def test_any_story(tmp_path: Path, number: int) -> None:
    """No instant is lost, told twice or run twice; nothing overlaps that must not, and all comes to an end."""
    chance = random.Random(random.getrandbits(64))
    story = Story(chance, tmp_path / "barbossa.db", chance.choice(STARTS))
    await story.play()
    assert invariants.broken(story.path, has_texts=False) == []
