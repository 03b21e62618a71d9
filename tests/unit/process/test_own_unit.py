"""What the daemon is told to end for, by the answers of systemd."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from barbossad.process.launcher import StopKind
from barbossad.process.systemd import own_unit
from barbossad.process.systemd.bus import Bus, SystemdError

GONE = SystemdError("org.freedesktop.DBus.Error.UnknownObject", "Unknown object '/org/freedesktop/systemd1/job/7'.")


class Systemd:
    """Gives the answers that it is made with, by the property that is asked for, one after another."""

    def __init__(self, **answers: list[Any]) -> None:
        self._answers = {"SystemState": ["running"], **answers}

    def hold_out(self) -> None:
        """See ``Bus``."""

    async def surely(self, ask: Callable[[], Awaitable[StopKind]]) -> StopKind:
        return await ask()

    async def call(self, *_words: object) -> list[str]:
        return ["/unit"]

    async def get(self, _path: str, _interface: str, name: str) -> Any:
        answer = self._answers[name].pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        ({"Job": [(7, "/job/7")], "JobType": ["restart"]}, StopKind.RESTART),
        ({"Job": [(7, "/job/7")], "JobType": ["stop"]}, StopKind.STOP),
        ({"Job": [(0, "/")]}, StopKind.STOP),
        ({"Job": [(7, "/job/7"), (8, "/job/8")], "JobType": [GONE, "restart"]}, StopKind.RESTART),
        ({"Job": [(7, "/job/7"), (0, "/")], "JobType": [GONE]}, StopKind.STOP),
        ({"SystemState": ["stopping"]}, StopKind.HOST_DOWN),
    ],
)
async def test_the_job_tells(answers: dict[str, list[Any]], kind: StopKind) -> None:
    """One that was replaced by another while it was asked about says nothing: the other one counts."""
    assert await own_unit.stop_kind(cast("Bus", Systemd(**answers))) is kind
