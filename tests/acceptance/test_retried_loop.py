"""A loop of which some items failed: a retry does those alone, in a new run that has all of them."""

from __future__ import annotations

from pathlib import Path

from barbossad import Barbossa, TriggerType

WORKFLOW = """
name: copies
params: {folder: {type: path}}
tasks:
  - id: list
    output: json
    shell: echo '["a", "b", "c", "d"]'
  - id: copy
    for_each: "{{ tasks.list.outputs.value }}"
    max_parallel: 2
    shell: |
      echo "$BARBOSSA_ITEM" >> "$folder/tried"
      test "$BARBOSSA_ITEM" != c || test -e "$folder/gate"
      echo "name=$BARBOSSA_ITEM" >> "$BARBOSSA_OUTPUT"
  - id: told
    shell: [echo, "{{ tasks.copy.outputs | map(attribute='name') | join(' ') }}"]
"""


async def test_only_what_failed_runs_again(tmp_path: Path) -> None:
    """The items that were done are kept with their outputs; the loop and what follows end as if at the first try."""
    async with Barbossa.open(tmp_path / "state") as barbossa:
        workflow = barbossa.engine.create_workflow(WORKFLOW)
        params = {"folder": str(tmp_path)}
        first = await barbossa.engine.execute_workflow(workflow, TriggerType.MANUAL, params)
        assert (first.run.state, first.run.reason) == ("failed", "task copy[2] failed")
        (tmp_path / "gate").touch()
        second = await barbossa.engine.wait((await barbossa.engine.retry(first.run.id)).run.id)
    assert second.run.state == "succeeded"
    assert sorted((tmp_path / "tried").read_text().split()) == ["a", "b", "c", "c", "d"]
    assert set(second.attempts) == {"copy[2]", "told"}
    assert second.tasks["copy"].outputs == [{"name": name} for name in "abcd"]


async def test_the_daemon_goes_down_meanwhile(tmp_path: Path) -> None:
    """A retry that is interrupted goes on with what is left, and does nothing twice."""
    async with Barbossa.open(tmp_path / "state") as barbossa:
        workflow = barbossa.engine.create_workflow(WORKFLOW)
        first = await barbossa.engine.execute_workflow(workflow, TriggerType.MANUAL, {"folder": str(tmp_path)})
        barbossa.engine._services.engine.set_limit(0)  # nothing starts any more
        (tmp_path / "gate").touch()
        again = (await barbossa.engine.retry(first.run.id)).run.id
    async with Barbossa.open(tmp_path / "state") as barbossa:
        second = await barbossa.engine.wait(again)
    assert second.run.state == "succeeded"
    assert sorted((tmp_path / "tried").read_text().split()) == ["a", "b", "c", "c", "d"]
