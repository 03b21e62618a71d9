"""What is asked of a unit that has ended, and what becomes of the answers."""

from __future__ import annotations

from typing import Any

import pytest

from barbossad.model.names import RunId, TaskId
from barbossad.model.records import LogRecord
from barbossad.process import bus
from barbossad.process.launcher import AttemptKey, EndCause, LaunchSpec, Process, ProcessEnd
from barbossad.process.unit_process import ACCOUNTS, STATE, WHY, UnitProcess

INVOCATION = (bus.UNIT, "InvocationID")
RESULT, ACTIVE_SINCE = WHY
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


def ended(**changed: Any) -> UnitProcess:
    """Return a process of which systemd told that it ended."""
    key = AttemptKey(RunId("01m89c39k4"), TaskId("task"), 1)
    process = UnitProcess(LaunchSpec(key=key, argv=("/bin/true",), env={}, working_dir="/"), Nobody(), Nobody())
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
    told = end(ended(), ActiveState="failed", Result="oom-kill", ActiveEnterTimestampMonotonic=1)
    assert told.cause is EndCause.OUT_OF_MEMORY


def test_exit_0_of_a_unit_that_is_gone_is_no_success() -> None:
    """Somebody stopped it by hand: what systemd says of a unit that it does not know is evidence of nothing."""
    told = end(ended(), ActiveState="inactive", Result="success", ActiveEnterTimestampMonotonic=0)
    assert told.cause is EndCause.REMOVED


def test_the_state_is_always_asked() -> None:
    """No success without a unit that is there."""
    assert STATE in ended().wanted()
    assert RESULT not in ended().wanted()
    assert ACTIVE_SINCE not in ended().wanted()
