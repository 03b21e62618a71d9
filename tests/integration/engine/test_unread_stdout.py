"""A task whose stdout is looked at, and cannot be read at its end: for want of descriptors, or as the disk fails."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import replace

from barbossad.model.records import LogRecord
from barbossad.model.states import RunState
from tests.helpers.house import House, load

FLOW = load("name: flow\ntasks: [{id: a, output: json, shell: make}]")
PRINTED = LogRecord(text=b'{"n": 1}', size_bytes=8)


def has(house: House, read_stdout: Callable[[LogRecord], str]) -> None:
    """Have what tasks printed read so."""
    house.engine._live._means = replace(house.engine._live._means, read_stdout=read_stdout)


async def test_for_want_of_descriptors(house: House) -> None:
    """Its end is told as soon as there are some, and once."""
    refusals = iter([errno.EMFILE, errno.ENFILE])

    def read(log: LogRecord) -> str:
        if number := next(refusals, None):
            raise OSError(number, os.strerror(number))
        return (log.text or b"").decode()

    has(house, read)
    run_id = await house.start(FLOW)
    (await house.launcher.next()).exit(log=PRINTED)
    details = await house.ended(run_id)
    assert (details.run.state, details.tasks["a"].outputs) == (RunState.SUCCEEDED, {"n": 1})
    assert house.engine.counts["running"] == 0
    assert not house.engine.crash.done()


async def test_on_a_disk_that_fails(house: House) -> None:
    """The task fails, and says why; the daemon does not end over it, and again over the same end when it is back."""

    def read(_log: LogRecord) -> str:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    has(house, read)
    run_id = await house.start(FLOW)
    (await house.launcher.next()).exit(log=PRINTED)
    task = (await house.ended(run_id)).tasks["a"]
    assert (task.state, task.reason) == ("failed", "its stdout cannot be read: Input/output error")
    assert not house.engine.crash.done()
