"""What errors say to people and to programs."""

from __future__ import annotations

from barbossad.errors import Fault, InvalidParamsError, InvalidWorkflowError, NotFoundError


def fault(number: int, hint: str = "") -> Fault:
    return Fault(line=number, column=1, path=f"p{number}", message=f"m{number}", hint=hint)


def test_fault() -> None:
    """A fault says where, what and how to mend it; without a place it does not make one up."""
    assert str(fault(3, "do")) == "line 3, column 1: m3 (do)"
    assert str(Fault(line=None, column=None, path="", message="m")) == "m"


def test_all_faults_are_listed() -> None:
    """All faults of parameters are in the sentence; of a file the first is, and how many more; programs get all."""
    params = InvalidParamsError("run.start", [fault(1), fault(2)])
    assert str(params) == "run.start: line 1, column 1: m1; line 2, column 1: m2"
    workflow = InvalidWorkflowError("x.yaml", [fault(1), fault(2), fault(3)])
    assert str(workflow) == "x.yaml: line 1, column 1: m1 (and 2 more)"
    for error in (params, workflow):
        assert [one["path"] for one in error.details()["faults"]][:2] == ["p1", "p2"]


def test_not_found() -> None:
    """What is not there is named, with what to do next if that is known."""
    error = NotFoundError("workflow", "bakup", "did you mean 'backup'?")
    assert str(error) == "there is no workflow 'bakup'; did you mean 'backup'?"
    assert error.details() == {"what": "workflow", "name": "bakup"}
