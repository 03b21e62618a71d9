"""What a loop puts out."""

from __future__ import annotations

from pathlib import Path

from barbossad import Barbossa, TriggerType

WORKFLOW = """\
name: x
tasks:
  - id: some
    for_each: [1, 2]
    shell: echo "n=$BARBOSSA_ITEM" >> "$BARBOSSA_OUTPUT"
  - id: none
    for_each: "{{ [] }}"
    shell: "true"
  - id: tell
    shell: [echo, "{{ tasks.some.outputs }} {{ tasks.none.outputs }}"]
"""


async def test_the_outputs_of_a_loop_are_a_list(tmp_path: Path) -> None:
    """One for each item, and an empty one where there are none."""
    async with Barbossa.open(tmp_path) as barbossa:
        workflow = barbossa.engine.create_workflow(WORKFLOW)
        result = await barbossa.engine.execute_workflow(workflow, TriggerType.MANUAL)
        lines = await barbossa.engine.output(result, "tell")
    assert [line.text for line in lines] == ['[{"n":"1"},{"n":"2"}] []']
