"""Slots: never more than the limit, first come, first served."""

from __future__ import annotations

import random
from dataclasses import dataclass

from barbossad.engine.admission import Admission


@dataclass
class Gate:
    closed: str | None = None


@dataclass
class Taken:
    count: int = 0


def admit_all(admission: Admission[int], taken: Taken) -> list[int]:
    """Use every slot there is."""
    admitted = []
    for claim in admission.admit(taken):
        taken.count += 1
        admitted.append(claim)
    return admitted


def test_first_come_first_served() -> None:
    """Claims get slots in their order; who does not use a slot leaves it to the next."""
    admission: Admission[int] = Admission(2, Gate())
    for number in range(5):
        admission.claim(number)
    taken = Taken()
    assert admit_all(admission, taken) == [0, 1]
    assert admit_all(admission, taken) == []
    assert len(admission) == 3
    taken.count -= 1
    unused = list(zip(admission.admit(taken), range(2), strict=False))
    assert [claim for claim, _ in unused] == [2, 3]


def test_limit_holds_whatever_happens() -> None:
    """Whatever is claimed, ended and set, no more are admitted than the limit of the moment allows."""
    for _ in range(200):
        admission: Admission[int] = Admission(random.randint(1, 5), Gate())
        taken, asked, served = Taken(), 0, []
        for _ in range(60):
            match random.randrange(4):
                case 0:
                    admission.claim(asked)
                    asked += 1
                case 1:
                    admission.limit = random.randint(1, 6)
                case 2:
                    taken.count = max(taken.count - 1, 0)
                case _:
                    before = taken.count
                    served += admit_all(admission, taken)
                    assert taken.count <= max(admission.limit, before)
                    assert taken.count >= admission.limit or not len(admission)
        assert served == list(range(len(served)))


def test_closed() -> None:
    """While it is closed nothing starts, and the reason says so."""
    gate = Gate()
    admission: Admission[int] = Admission(2, gate)
    admission.claim(1)
    gate.closed = "the daemon is stopping"
    assert admit_all(admission, Taken()) == []
    assert admission.reason(0) == "waiting: the daemon is stopping"
    gate.closed = None
    assert admission.reason(2) == "waiting for a slot: 2 of 2 taken"
    assert admit_all(admission, Taken()) == [1]


def test_closing_in_the_middle() -> None:
    """Closing takes effect before the next claim, also while slots are being given away."""
    gate = Gate()
    admission: Admission[int] = Admission(5, gate)
    for number in range(3):
        admission.claim(number)
    for _ in admission.admit(Taken()):
        gate.closed = "the daemon is stopping"
    assert len(admission) == 2


def test_forget() -> None:
    """Claims that nobody makes any more are dropped; the others keep their order."""
    admission: Admission[int] = Admission(9, Gate())
    for number in range(6):
        admission.claim(number)
    admission.forget(lambda claim: claim % 2 == 0)
    assert admit_all(admission, Taken()) == [1, 3, 5]
