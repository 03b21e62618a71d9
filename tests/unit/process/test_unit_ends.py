"""How the end of a unit is told: a cause and a sentence for whatever systemd says."""

from __future__ import annotations

import pytest

from barbossad.process.launcher import EndCause
from barbossad.process.systemd import unit_ends
from barbossad.process.systemd.unit_ends import Context, UnitFacts, Verdict, figure, verdict

CONTEXT = Context(program="/x", working_dir="/w", user="shop", group="data", detail="it does not exist")

CASES = {
    "exit": (UnitFacts(code=1, status=0), Verdict(cause=EndCause.EXITED, exit_code=0)),
    "exit with a status of systemd's own": (
        UnitFacts(result="exit-code", code=1, status=203),
        Verdict(cause=EndCause.EXITED, exit_code=203),
    ),
    "never executed": (
        UnitFacts(result="exit-code", code=1, status=203, was_active=False),
        Verdict(cause=EndCause.START_FAILED, message="cannot start '/x': it does not exist"),
    ),
    "no folder": (
        UnitFacts(result="exit-code", code=1, status=200, was_active=False),
        Verdict(cause=EndCause.START_FAILED, message="cannot enter the working directory '/w': it does not exist"),
    ),
    "no user": (
        UnitFacts(result="exit-code", code=1, status=217, was_active=False),
        Verdict(cause=EndCause.START_FAILED, message="the user 'shop' does not exist, or cannot be become"),
    ),
    "an end that came before systemd saw the start": (
        UnitFacts(result="exit-code", code=1, status=1, was_active=False),
        Verdict(cause=EndCause.EXITED, exit_code=1),
    ),
    "signal": (UnitFacts(result="signal", code=2, status=9), Verdict(cause=EndCause.SIGNALLED, signal=9)),
    "a signal that systemd calls clean": (UnitFacts(code=2, status=15), Verdict(cause=EndCause.SIGNALLED, signal=15)),
    "core": (UnitFacts(result="core-dump", code=3, status=11), Verdict(cause=EndCause.SIGNALLED, signal=11)),
    "no memory": (
        UnitFacts(result="oom-kill", code=2, status=9),
        Verdict(cause=EndCause.OUT_OF_MEMORY, signal=9, message="it ran out of memory"),
    ),
    "its time was over": (
        UnitFacts(result="timeout", code=2, status=15),
        Verdict(cause=EndCause.TIMED_OUT, signal=15),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_verdict(case: str) -> None:
    """Each way to end has its cause."""
    facts, wanted = CASES[case]
    assert verdict(facts, CONTEXT) == wanted


@pytest.mark.parametrize("code", [0, 1, 2, 3])
def test_stopped_by_hand_is_never_a_success(code: int) -> None:
    """A unit that somebody stopped is told so, whatever its process made of it (I8)."""
    found = verdict(UnitFacts(code=code, status=0, is_stopped=True), CONTEXT)
    assert found.cause is EndCause.REMOVED
    assert found.exit_code is None


def test_nothing_known_is_no_success() -> None:
    """Without an exit that systemd saw there is none (I8)."""
    assert verdict(UnitFacts(result="resources"), CONTEXT).cause is EndCause.START_FAILED
    assert verdict(UnitFacts(result="something new"), CONTEXT).message == "systemd says 'something new'"


def test_every_sentence_can_be_made() -> None:
    """No sentence asks for a fact that there is not."""
    for status in range(200, 256):
        assert "{" not in unit_ends.setup_failure(status, CONTEXT)


def test_figures() -> None:
    """What systemd does not know is None, not a huge number."""
    assert (figure(7), figure(None), figure(2**64 - 1)) == (7, None, None)
