"""What the expressions of a rollback see."""

from __future__ import annotations

from pathlib import Path

from barbossad import Barbossa, TriggerType

WORKFLOW = """\
name: x
tasks:
  - id: make
    shell: echo "p=made" >> "$BARBOSSA_OUTPUT"
    rollback:
      - id: one
        shell: echo "q=one" >> "$BARBOSSA_OUTPUT"
      - id: two
        shell: [echo, "{{ tasks.one.outputs.q }} {{ tasks.make.outputs.p }}"]
  - id: loop
    for_each: [a, b]
    shell: [sh, -c, 'echo "p=$1" >> "$BARBOSSA_OUTPUT"', x, "{{ item }}"]
    rollback:
      shell: [echo, "{{ item }} {{ tasks.loop.outputs.p }} {{ tasks.make.outputs.p }}"]
  - id: site
    for_each: [c]
    parallel:
      - id: check
        shell: [sh, -c, 'echo "p=$1" >> "$BARBOSSA_OUTPUT"', x, "{{ item }}"]
        rollback:
          parallel:
            - id: many
              for_each: [1]
              shell: [echo, "{{ item }} {{ tasks.check.outputs.p }} {{ tasks.site.check.outputs.p }}"]
  - shell: exit 1
"""


async def test_a_rollback_sees_the_task_that_it_takes_back(tmp_path: Path) -> None:
    """Under its task's name it finds that task, of a loop the item's; beside that, the other tasks of the rollback."""
    async with Barbossa.open(tmp_path) as barbossa:
        workflow = barbossa.engine.create_workflow(WORKFLOW)
        result = await barbossa.engine.execute_workflow(workflow, TriggerType.MANUAL)
        said = {
            name: [line.text for line in await barbossa.engine.output(result, name)]
            for name in result.tasks
            if name.startswith("rollback.")
        }
    assert {name: lines for name, lines in said.items() if lines} == {
        "rollback.make.two": ["one made"],
        "rollback.loop[0]": ["a a made"],
        "rollback.loop[1]": ["b b made"],
        "rollback.site[0].check.many[0]": ["1 c c"],
    }
