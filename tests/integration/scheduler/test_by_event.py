"""Triggers: runs of other workflows, boots, files, each once, also over restarts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from barbossad.errors import ConflictError
from barbossad.model.names import RunId
from barbossad.model.schedules import FireState
from barbossad.model.states import TriggerType
from barbossad.process.launcher import Verdict
from barbossad.scheduler.starting import MOST_CHAINED
from barbossad.store.highwater import UNKNOWN
from tests.helpers.records import NOON_MS
from tests.helpers.schedule_house import DAY, HOUR, MINUTE, ScheduleHouse

FIRST = "name: first\nschedules: [{every: 1h, overlap: allow}]\ntasks: [{id: one, shell: ':'}]\n"
SECOND = """
name: second
params: {of: {type: string, default: nobody}, how: {type: string, default: ''}}
triggers:
  - workflow: {name: first, states: [succeeded, failed]}
    params: {of: '{{ trigger.run }}', how: '{{ trigger.state }}'}
tasks: [{id: two, shell: ':'}]
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the state file is."""
    return tmp_path / "barbossa.db"


async def test_after_another_workflow(path: Path) -> None:
    """The end of a run of another workflow makes a run, which knows whose end it was."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(FIRST)
        await house.apply(SECOND)
        await house.pass_time(HOUR)
        await house.end(await house.process(), 1)
        process = await house.process()
        assert process.task == "two"
        first, second = house.runs()
        assert (second.trigger, second.params) == (TriggerType.EVENT, {"of": first.id, "how": "failed"})
        await house.end(process)
        assert await house.states("second/workflow-1") == ["succeeded"]


async def test_an_end_that_nobody_heard(path: Path) -> None:
    """A run that ended just before a crash makes its trigger fire after it, and only once."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(FIRST)
        await house.apply(SECOND)
        await house.pass_time(HOUR)
        process = await house.process()
        house.house.engine.on_end = None
        process.exit()
        await house.house.ended(house.runs()[0].id)
    for _ in range(3):
        async with ScheduleHouse.open(path, NOON_MS + 61 * MINUTE) as house:
            await house.heard()
            assert [fire.key for fire in await house.fires("second/workflow-1")] == [house.runs()[0].id]


async def test_not_for_runs_from_before(path: Path) -> None:
    """A trigger that is new does not fire for runs that ended before it was there."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(FIRST)
        await house.pass_time(HOUR)
        await house.end(await house.process())
        await house.apply(SECOND)
    async with ScheduleHouse.open(path, NOON_MS + 61 * MINUTE) as house:
        await house.heard()
        assert await house.fires("second/workflow-1") == []


BOOT = "name: up\nschedules: [{boot: {delay: 2m}}]\ntasks: [{id: one, shell: ':'}]\n"


async def test_once_a_boot(path: Path) -> None:
    """A boot makes it fire once, after its delay, however often the daemon starts; that it was added in does not."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(BOOT)
        await house.heard()
        assert await house.fires() == []
    for _ in range(2):
        async with ScheduleHouse.open(path, boot_id="second-boot") as house:
            await house.heard()
            (fire,) = await house.fires()
            assert (fire.key, fire.nominal_ms) == ("second-boot", NOON_MS - HOUR)
            assert fire.due_ms == fire.nominal_ms + 2 * MINUTE


async def test_a_boot_that_an_older_release_named(path: Path) -> None:
    """Its name for the same boot, the kernel's word alone, is taken over; the next boot of a container is one."""
    async with ScheduleHouse.open(path, boot_id="kernel") as house:
        await house.apply(BOOT)
    for boot_id, fires in (("kernel@7", 0), ("kernel@7", 0), ("kernel@9", 1), ("kernel@9", 1), ("kernel", 1)):
        async with ScheduleHouse.open(path, boot_id=boot_id) as house:
            await house.heard()
            assert len(await house.fires()) == fires, boot_id


async def test_the_delay_after_a_boot(path: Path) -> None:
    """It waits until the delay has passed since the boot."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(BOOT.replace("2m", "90m"))
    async with ScheduleHouse.open(path, boot_id="second-boot") as house:
        await house.heard()
        assert await house.fires() == []
        await house.pass_time(30 * MINUTE)
        assert len(await house.fires()) == 1


async def is_disabled_and_enabled(house: ScheduleHouse) -> None:
    await house.scheduler.control.enable("up", is_enabled=False, by="anne")
    await house.scheduler.control.enable("up", is_enabled=True, by="anne")


async def is_restarted_too(house: ScheduleHouse) -> None:
    await is_disabled_and_enabled(house)
    await house.scheduler.control.changed("up")


async def is_longer(house: ScheduleHouse) -> None:
    await house.apply(BOOT.replace("2m", "5h"))


async def is_another(house: ScheduleHouse) -> None:
    await house.apply("name: up\nschedules: [{name: boot-1, every: 1d}]\ntasks: [{id: one, shell: ':'}]\n")


async def is_disabled(house: ScheduleHouse) -> None:
    await house.scheduler.control.enable("up", is_enabled=False, by="anne")


@pytest.mark.parametrize(
    ("change", "states"),
    [
        (is_disabled, ["skipped"]),
        (is_disabled_and_enabled, ["started"]),
        (is_restarted_too, ["started"]),
        (is_longer, []),
        (is_another, []),
    ],
)
async def test_what_changes_in_the_delay_after_a_boot(
    path: Path, change: Callable[[ScheduleHouse], Awaitable[None]], states: list[str]
) -> None:
    """It counts as it stands when the delay has passed; one that means something else by then begins anew."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(BOOT.replace("2m", "90m"))
    async with ScheduleHouse.open(path, boot_id="second-boot") as house:
        await change(house)
        await house.pass_time(5 * HOUR)
        assert await house.states() == states


@pytest.mark.parametrize("by_ms", [-3 * HOUR, 365 * DAY])
async def test_a_clock_set_in_the_delay_after_a_boot(path: Path, by_ms: int) -> None:
    """The delay is real time, whatever the clock shows: many hosts know the time only after they are up."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(BOOT.replace("2m", "90m"))
    async with ScheduleHouse.open(path, boot_id="second-boot") as house:
        await house.pass_time(10 * MINUTE)
        await house.alarm.set_clock(NOON_MS + 10 * MINUTE + by_ms)
        await house.heard()
        await house.pass_time(20 * MINUTE - 1)
        assert await house.fires() == []
        await house.pass_time(1)
        (fire,) = await house.fires()
        assert fire.nominal_ms == NOON_MS - HOUR + by_ms


FILES = """
name: files
params: {{incoming: {{type: path}}}}
triggers:
  - file: {{path: {folder}, pattern: '*.csv', debounce: 50ms}}
    params: {{incoming: '{{{{ trigger.path }}}}'}}
tasks: [{{id: one, shell: ':'}}]
"""


async def test_a_file(path: Path, tmp_path: Path) -> None:
    """A file that comes makes a run that is told which; those that come meanwhile wait their turn."""
    folder = tmp_path / "in"
    folder.mkdir()
    async with ScheduleHouse.open(path) as house:
        await house.apply(FILES.format(folder=folder))
        assert house.scheduler.board.state_of(house.scheduler.board.find("files")) == ""
        for name in ("a.csv", "b.txt", "c.csv", "d.csv"):
            (folder / name).write_text("x")
        seen = set()
        for _ in range(3):
            process = await house.process()
            details = await house.end(process)
            seen.add(Path(str(details.run.params["incoming"])).name)
        assert seen == {"a.csv", "c.csv", "d.csv"}
        assert await house.states() == ["succeeded"] * 3


async def test_by_hand_without_an_event(path: Path) -> None:
    """A trigger whose params come of what happens is not fired by hand with nothing: it says what to do instead."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(FIRST)
        await house.apply(SECOND)
        with pytest.raises(ConflictError, match="barbossactl start second -p"):
            await house.scheduler.control.trigger("second", by="anne")
        assert await house.fires() == []


async def test_an_expression_without_a_value(path: Path) -> None:
    """An event whose params cannot be made is refused with the reason."""
    async with ScheduleHouse.open(path) as house:
        await house.apply(FIRST)
        text = SECOND.replace("{{ trigger.run }}", "{{ trigger.outputs.missing }}")
        await house.apply(text)
        await house.pass_time(HOUR)
        await house.end(await house.process())
        (fire,) = await house.fires("second/workflow-1")
        assert fire.state is FireState.REFUSED
        assert "missing" in str(fire.reason)
        assert house.scheduler.board.find("second").failures == 1


@pytest.mark.parametrize("overlap", ["queue", "allow"])
async def test_files_that_were_seen_when_the_daemon_stopped(path: Path, tmp_path: Path, overlap: str) -> None:
    """What had been seen and led to no run yet, settled or not, is run by the next daemon, once each."""
    folder = tmp_path / "in"
    folder.mkdir()
    text = FILES.format(folder=folder).replace("50ms}", f"1h}}\n    overlap: {overlap}")
    async with ScheduleHouse.open(path) as house:
        await house.apply(text)
        for name in ("a.csv", "b.txt", "c.csv"):
            (folder / name).write_text("x")
        with (folder / "d.csv").open("w") as file:
            file.write("half of it")
            await house.heard()
    for _ in range(2):
        async with ScheduleHouse.open(path, otherwise=Verdict.LIVE) as house:
            await house.heard()
    async with ScheduleHouse.open(path, otherwise=Verdict.LIVE) as house:
        assert len(house.house.launcher.adopted) == (3 if overlap == "allow" else 1)
        await house.end(house.house.launcher.adopted[0])
        for process in house.house.launcher.adopted[1:]:
            await house.end(process)
        while house.house.launcher.live:
            await house.end(await house.process())
        seen = [Path(str(run.params["incoming"])).name for run in house.runs()]
        assert sorted(seen) == ["a.csv", "c.csv", "d.csv"]
        assert await house.states() == ["succeeded"] * 3


async def test_a_file_is_not_late_for_its_debounce(path: Path, tmp_path: Path) -> None:
    """It fires when nothing more happens to the file, and is on time then."""
    folder = tmp_path / "in"
    folder.mkdir()
    async with ScheduleHouse.open(path) as house:
        await house.apply(FILES.format(folder=folder))
        (folder / "a.csv").write_text("x")
        await house.heard()
        house.clock.at_ms += MINUTE
        await house.end(await house.process())
        (fire,) = await house.fires()
        assert (fire.nominal_ms, fire.due_ms, fire.lateness_ms) == (NOON_MS, NOON_MS + MINUTE, 0)


async def test_what_an_older_state_file_did_not_hear_of(path: Path) -> None:
    """When one was put back, the end of a run, or a boot, that it had not dealt with makes no trigger fire."""
    async with ScheduleHouse.open(path) as house:
        for text in (FIRST, SECOND, BOOT):
            await house.apply(text)
        await house.pass_time(HOUR)
        process = await house.process()
        house.house.engine.on_end = None
        process.exit()
        await house.house.ended(house.runs()[0].id)
    for is_rolled_back in (True, False):
        after = NOON_MS + 61 * MINUTE
        async with ScheduleHouse.open(path, after, boot_id="second-boot", is_rolled_back=is_rolled_back) as house:
            await house.pass_time(10 * MINUTE)
            assert house.house.launcher.launched == []
            found = [(fire.state, fire.reason) for name in ("second/workflow-1", "up/boot-1")
                     for fire in await house.fires(name)]  # fmt: skip
            assert found == [(FireState.MISSED, UNKNOWN)] * 2
            assert await house.states("first/every-1") == ["succeeded"]


async def test_a_circle_ends(path: Path) -> None:
    """Workflows that start each other by their ends, one called by a third, are stopped, over a restart too."""
    ping = "name: ping\ntriggers: [{workflow: {name: pong, states: [failed]}}]\ntasks: [{id: one, shell: ':'}]\n"
    pong = "name: pong\nparams: {x: {type: string, default: ''}}\ntasks: [{id: two, shell: ':'}]\n"
    call = "{id: call, workflow: pong, continue_on_error: true}"
    caller = f"name: caller\ntriggers: [{{workflow: ping}}]\ntasks: [{call}]\n"
    async with ScheduleHouse.open(path) as house:
        await house.apply(ping)
        await house.apply(pong)
        await house.apply(caller)
        await house.house.start(house.house.workflows["ping"])
        for _ in range(9):
            await house.end(await house.process())
            await house.end(await house.process(), 1)
        await house.end(await house.process())
        process = await house.process()
        house.house.engine.on_end = None
        process.exit(1)
        await house.house.ended(RunId(process.spec.key.run_id))
    async with ScheduleHouse.open(path) as house:
        await house.end(await house.process())
        await house.heard()
        assert len(house.runs()) == MOST_CHAINED
        (last,) = [fire for fire in await house.fires("caller/workflow-1") if fire.run_id is None]
        assert last.state is FireState.REFUSED
        assert last.reason == "20 ends of runs, one after another, led to it; do triggers go round in a circle?"
        assert await house.states("ping/workflow-1") == ["succeeded"] * 10
