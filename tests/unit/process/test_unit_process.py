"""What is asked of a unit that has ended, and what becomes of the answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from barbossad.model.isolation import UNCONFINED, Isolation, Sandbox
from barbossad.model.names import RunId, TaskId
from barbossad.model.records import LogRecord
from barbossad.process.launcher import AttemptKey, EndCause, LaunchSpec, Process, ProcessEnd
from barbossad.process.systemd import bus
from barbossad.process.systemd.unit_journal import Journal, Start
from barbossad.process.systemd.unit_process import ACCOUNTS, STATE, WHY, UnitProcess

INVOCATION = (bus.UNIT, "InvocationID")
RESULT, ACTIVE_UNTIL, *_ = WHY
GOOD: dict[str, Any] = {"ExecMainCode": 1, "ExecMainStatus": 0, "Result": "success", "MainPID": 0}


class Nobody:
    """Watches nothing and controls nothing."""

    def started(self, process: Process, started_at_ms: int) -> None:
        """Mind nothing."""

    def ended(self, process: Process, end: ProcessEnd) -> None:
        """Mind nothing."""

    def kill(self, process: UnitProcess, number: int) -> None:
        """Kill nothing."""

    def let_go(self, process: UnitProcess) -> None:
        """Let nothing go."""


def ended(*, program: str = "/bin/true", isolation: Isolation = UNCONFINED, **changed: Any) -> UnitProcess:
    """Return a process of which systemd told that it ended."""
    key = AttemptKey(RunId("01m89c39k4"), TaskId("task"), 1)
    spec = LaunchSpec(key=key, argv=(program,), env={}, working_dir="/", isolation=isolation)
    process = UnitProcess(spec, Nobody(), Nobody())
    assert process.hear({**GOOD, **changed})
    return process


def end(process: UnitProcess, **more: Any) -> ProcessEnd:
    """Return its end, given answers by the names of properties."""
    names = (*ACCOUNTS, INVOCATION, *WHY)
    answers = {name: more.get(name[1]) for name in names if name[1] in more or name in {*ACCOUNTS, INVOCATION}}
    return process.end(answers, None, 5)(log=LogRecord(), output=None)


def test_a_plain_success_is_not_asked_why() -> None:
    """Exit 0, told by systemd: only whether the unit is still there, what it cost, and its invocation are missing."""
    process = ended()
    assert set(process.wanted()) == {*ACCOUNTS, INVOCATION}
    told = end(process, ActiveState="active", InvocationID=[0xAB, 0xCD], CPUUsageNSec=2_000_000)
    assert (told.cause, told.exit_code, told.cpu_seconds) == (EndCause.EXITED, 0, 0.002)
    assert process.invocation_id == "abcd"


def test_what_is_known_is_not_asked_again() -> None:
    """A process that lived long enough to be announced has its invocation."""
    process = ended()
    process.invocation_id = "abcd"
    assert set(process.wanted()) == set(ACCOUNTS)


@pytest.mark.parametrize("changed", [{"ExecMainStatus": 7}, {"ExecMainCode": 2}, {"Result": "exit-code"}])
def test_anything_else_is_asked_why(changed: dict[str, Any]) -> None:
    """Whether its program was executed at all decides what an exit status means."""
    assert set(ended(**changed).wanted()) == {*ACCOUNTS, INVOCATION, *WHY}


def test_exit_0_of_a_unit_that_failed_is_no_success() -> None:
    """The kernel's word about memory may come after the exit: the unit is not active, is asked why, and that counts."""
    told = end(ended(), ActiveState="failed", Result="oom-kill", ActiveExitTimestamp=1)
    assert told.cause is EndCause.OUT_OF_MEMORY


def test_exit_0_of_a_unit_that_is_gone_is_no_success() -> None:
    """Somebody stopped it by hand: what systemd says of a unit that it does not know is evidence of nothing."""
    told = end(ended(), ActiveState="inactive", Result="success", ActiveExitTimestamp=0)
    assert told.cause is EndCause.REMOVED


def test_the_state_is_always_asked() -> None:
    """No success without a unit that is there."""
    assert STATE in ended().wanted()
    assert RESULT not in ended().wanted()
    assert ACTIVE_UNTIL not in ended().wanted()


class Told(bus.Bus, Journal):
    """A systemd, and a journal, that say what a test has them say; the journal counts how often it is asked."""

    def __init__(self, start: Start | None, **answers: Any) -> None:
        self.start = start
        self.given = {"InvocationID": [0xAB], **answers}
        self.times_asked = 0

    async def answers(self, path: str, names: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Any]:
        """Answer as told."""
        return {name: self.given.get(name[1]) for name in names}

    async def start_of(self, unit: str, invocation_id: str) -> Start | None:
        """Answer as told."""
        assert (unit, invocation_id) == ("barbossa-01m89c39k4-task-1.service", "ab")
        self.times_asked += 1
        return self.start


FAILED = {"ActiveState": "failed", "Result": "exit-code", "ActiveExitTimestamp": 0}


async def told(process: UnitProcess, said: Told) -> ProcessEnd:
    """Return the end of a process, as systemd and the journal tell it."""
    return process.end(await process.ask_why(said, said), None, 5)(log=LogRecord(), output=None)


@pytest.mark.parametrize("status", [200, 203, 217, 226, 243])
async def test_an_exit_status_of_systemds_is_the_programs_if_that_was_executed(status: int) -> None:
    """An exit that came before systemd saw the start is the program's where the journal tells of no failed start."""
    end = await told(ended(ExecMainStatus=status), Told(Start(was_executed=True), **FAILED))
    assert (end.cause, end.exit_code, end.message) == (EndCause.EXITED, status, None)


async def test_a_start_that_failed_is_told_with_the_reason_of_the_kernel() -> None:
    """What systemd could not set up never ran, and the journal says why."""
    said = Told(Start(was_executed=False, error_number=13), **FAILED)
    end = await told(ended(ExecMainStatus=218), said)
    assert (end.cause, end.exit_code, end.message) == (EndCause.START_FAILED, None, "its capabilities cannot be set")
    end = await told(ended(ExecMainStatus=205), said)
    assert end.message == "a limit cannot be set: Permission denied"


async def test_without_a_journal_what_can_be_seen_decides() -> None:
    """A program that is not there was not executed; otherwise the code is the program's, and the doubt is told."""
    end = await told(ended(program="/no/such", ExecMainStatus=203), Told(None, **FAILED))
    assert (end.cause, end.message) == (EndCause.START_FAILED, "cannot start '/no/such': it does not exist")
    end = await told(ended(ExecMainStatus=203), Told(None, **FAILED))
    assert (end.cause, end.exit_code) == (EndCause.EXITED, 203)
    assert end.message == "or, as systemd uses this code where a start fails: cannot start '/bin/true'"


@pytest.mark.parametrize("path", ["/run/systemd/journal", "-/var/run/systemd/", "/run", "/"])
async def test_a_process_that_does_not_reach_the_journal_proves_nothing_by_silence(path: str) -> None:
    """Where the task's own list hides the journal, a start that failed may leave no word there."""
    isolation = Isolation(sandbox=Sandbox(properties={"InaccessiblePaths": (path,)}))
    end = await told(ended(isolation=isolation, ExecMainStatus=203), Told(Start(was_executed=True), **FAILED))
    assert (end.cause, end.exit_code) == (EndCause.EXITED, 203)
    assert end.message == "or, as systemd uses this code where a start fails: cannot start '/bin/true'"


@pytest.mark.parametrize("path", ["/run/systemd", "-/var/run/systemd/", "+/run", "/"])
async def test_what_takes_systemds_own_folder_away_is_told(path: str) -> None:
    """With that no view can be made, and the process that could not do it has said so to nobody."""
    isolation = Isolation(sandbox=Sandbox(properties={"InaccessiblePaths": (path,)}))
    end = await told(ended(isolation=isolation, ExecMainStatus=226), Told(Start(was_executed=True), **FAILED))
    assert end.cause is EndCause.START_FAILED
    assert end.message is not None
    assert end.message.startswith("its view of the file system cannot be made: '/")
    assert end.message.endswith("under 'InaccessiblePaths', and systemd needs what it has in /run/systemd to make it")


async def test_the_journal_is_asked_only_in_doubt() -> None:
    """Neither a program that systemd saw executed nor an exit status that is nobody else's costs a look at it."""
    said = Told(None, **FAILED)
    await told(ended(ExecMainStatus=1), said)
    said.given["ActiveExitTimestamp"] = 1
    end = await told(ended(ExecMainStatus=203), said)
    assert (end.cause, end.exit_code, end.message, said.times_asked) == (EndCause.EXITED, 203, None, 0)


STOPPED = {"ActiveState": "failed", "Result": "exit-code", "ActiveExitTimestamp": 100}
SEVEN = {"ExecMainStatus": 7, "Result": "exit-code"}


@pytest.mark.parametrize("asked", [False, True])
@pytest.mark.parametrize(("exited", "cause"), [(101, EndCause.REMOVED), (99, EndCause.EXITED)])
def test_an_exit_of_a_unit_that_was_being_stopped_is_no_end_of_its_own(
    exited: int, cause: EndCause, asked: bool
) -> None:
    """A unit that fails was active until its process had ended; one that is stopped, until before that."""
    process = ended(**SEVEN, ExecMainExitTimestamp=exited)
    if asked:
        process.asked_to_stop.set()
    assert end(process, **STOPPED).cause is cause


def test_a_process_that_had_to_be_killed_when_its_unit_was_stopped() -> None:
    """systemd calls that a timeout, as it does one of the task's, if that has any."""
    process = ended(ExecMainCode=2, ExecMainStatus=9, Result="timeout", ExecMainExitTimestamp=101)
    said = {**STOPPED, "Result": "timeout"}
    assert end(process, **said).cause is EndCause.REMOVED
    process.spec = replace(process.spec, timeout_seconds=5)
    times = {"ExecMainStartTimestampMonotonic": 1_000_000, "ActiveExitTimestampMonotonic": 5_900_000}
    assert end(process, **said, **times).cause is EndCause.REMOVED, "its time was not over yet"
    times["ActiveExitTimestampMonotonic"] = 8_000_000
    assert end(process, **said, **times).cause is EndCause.TIMED_OUT


@pytest.mark.parametrize(("seconds", "cause"), [(5, EndCause.TIMED_OUT), (None, EndCause.REMOVED)])
def test_a_start_that_took_too_long(seconds: float | None, cause: EndCause) -> None:
    """What was never active has a timeout for its start, or none: then only a stop by hand can have been too long."""
    process = ended(ExecMainCode=2, ExecMainStatus=15, Result="timeout", ExecMainExitTimestamp=101)
    process.spec = replace(process.spec, timeout_seconds=seconds)
    assert end(process, ActiveState="failed", Result="timeout", ActiveExitTimestamp=0).cause is cause


def test_what_went_with_its_unit_is_removed_though_it_was_asked_to_end_as_well() -> None:
    """A shutdown ends the unit, and the daemon hears of it only then, or asks it to end at the same moment."""
    process = ended()
    process.asked_to_stop.set()
    assert end(process, ActiveState="inactive", Result="success", ActiveExitTimestamp=0).cause is EndCause.REMOVED


RESTARTED = {"ActiveState": "failed", "Result": "resources", "ActiveExitTimestamp": 1}


@pytest.mark.parametrize("changed", [{"ExecMainCode": 2, "ExecMainStatus": 15}, {"ExecMainStatus": 3}, {}])
def test_restarted_by_hand_is_told_and_never_a_success(changed: dict[str, Any]) -> None:
    """A unit that was started again in vain, after its process had ended, was restarted, whatever that made of it."""
    end_of_it = end(ended(**changed), **RESTARTED)
    assert end_of_it.cause is EndCause.REMOVED
    assert "restarted by hand" in (end_of_it.message or "")


def test_another_invocation_is_a_restart() -> None:
    """It is told by its invocation while it has not failed yet."""
    process = ended(ExecMainStatus=3, Result="exit-code")
    process.invocation_id = "abcd"
    assert end(process, **{**FAILED, "InvocationID": [0xAB, 0xCD]}).cause is not EndCause.REMOVED
    assert end(process, **{**FAILED, "ActiveState": "activating", "InvocationID": [0xEF]}).cause is EndCause.REMOVED


@pytest.mark.parametrize(("state", "is_active"), [("active", True), ("failed", False), ("activating", False)])
async def test_a_unit_is_forgotten_as_it_was_left(state: str, is_active: bool) -> None:
    """Only a unit that was found active needs no more than to be stopped."""
    process = ended()
    said = Told(None, **{**RESTARTED, "ActiveState": state})
    await process.ask_why(said, said)
    assert process.was_left_active is is_active
