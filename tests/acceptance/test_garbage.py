"""What a run leaves in memory: nothing that only the garbage collector could find."""

from __future__ import annotations

import gc
from collections import Counter
from pathlib import Path

from barbossad.embedded import Barbossa
from barbossad.engine.active import ActiveRun, LiveAttempt
from barbossad.model.states import TriggerType
from barbossad.process.local.launcher import LocalProcess

WORKFLOW = 'name: small\ntasks:\n  - id: one\n    shell: [echo, hello]\n  - id: two\n    shell: [sh, -c, "exit 3"]\n'
PARTS = (ActiveRun, LiveAttempt, LocalProcess)
RUNS = 5


async def test_runs_leave_no_cycles(tmp_path: Path) -> None:
    """A run's parts go with its end, for the collector looks at what has lived for a while very seldom."""
    async with Barbossa.open(tmp_path) as barbossa:
        workflow = barbossa.engine.create_workflow(WORKFLOW)
        gc.collect()
        others = [thing for thing in gc.get_objects() if isinstance(thing, PARTS)]  # of other tests
        known = set(map(id, others))
        gc.disable()
        try:
            for _ in range(RUNS):
                await barbossa.engine.execute_workflow(workflow, TriggerType.MANUAL)
            found = [thing for thing in gc.get_objects() if isinstance(thing, PARTS) and id(thing) not in known]
            left = Counter(type(thing).__name__ for thing in found)
        finally:
            gc.enable()
    # The writer's thread holds its last batch until the next.
    assert left["ActiveRun"] <= 1
    assert left["LiveAttempt"] <= 2
    assert left["LocalProcess"] <= 2
