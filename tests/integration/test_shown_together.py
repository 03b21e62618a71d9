"""What many ask for at once is made once: the end of a run, and the description of the interface."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from barbossad import Barbossa, TriggerType, wire
from barbossad.model.names import RunId
from barbossad.operations import rpc, runs, showing
from barbossad.operations.registry import NoParams
from barbossad.operations.services import Call

WORKFLOW = """
name: quick
tasks:
  - id: each
    for_each: [1, 2, 3]
    wait: 50ms
  - shell: echo done=yes >> "$BARBOSSA_OUTPUT"
"""


@pytest.fixture
async def barbossa(tmp_path: Path) -> AsyncIterator[Barbossa]:
    async with Barbossa.open(tmp_path) as opened:
        yield opened


async def ended(barbossa: Barbossa, call: Call, count: int, *, brief: bool) -> tuple[RunId, list[Any]]:
    """Return a run, and what as many are told who wait for its end."""
    workflow = barbossa.engine.create_workflow(WORKFLOW)
    started = await barbossa.engine.start_workflow(workflow, TriggerType.MANUAL)
    asked = runs.WaitParams(run_id=started.run.id, brief=brief)
    return started.run.id, await asyncio.gather(*(runs.wait(call, asked) for _ in range(count)))


@pytest.mark.parametrize("brief", [False, True])
@pytest.mark.parametrize("quick_tasks", [1000, 0])
async def test_all_who_wait_are_told_the_same(
    barbossa: Barbossa, monkeypatch: pytest.MonkeyPatch, quick_tasks: int, brief: bool
) -> None:
    """The end of a large run is written once, at once or aside, and tells what looking at the run tells."""
    monkeypatch.setattr(showing, "SHARED_TASKS", 0)
    call = barbossa.engine._call
    run_id, told = await ended(barbossa, call, 20, brief=brief)
    monkeypatch.setattr(showing, "QUICK_TASKS", quick_tasks)
    run = await runs.wait(call, runs.WaitParams(run_id=run_id, brief=brief))
    assert isinstance(told[0], wire.Encoded)
    assert all(one is told[0] for one in told)
    assert isinstance(run, wire.Encoded) is (quick_tasks == 0)
    assert json.loads(told[0].text) == (json.loads(run.text) if isinstance(run, wire.Encoded) else run)


async def test_the_interface_is_described_once(barbossa: Barbossa) -> None:
    """Its description is written once, aside, and then at hand."""
    call = barbossa.engine._call
    first = rpc.discover(call, NoParams())
    written = await first if not isinstance(first, wire.Encoded) else first
    assert rpc.discover(call, NoParams()) is written
    assert json.loads(written.text) == rpc.document()
