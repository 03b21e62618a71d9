"""What expressions read of a task that a retry took over is what they read in the run that did it."""

from __future__ import annotations

from pathlib import Path

from barbossad import Barbossa, TriggerType

WORKFLOW = """
name: release
params: {folder: {type: path}}
tasks:
  - id: check
    retry: {attempts: 3, delay: 0s}
    shell: echo tried >> "$folder/tried"; test "$(wc -l < "$folder/tried")" -eq 2
  - id: both
    parallel: [{id: left, shell: "true"}]
  - {id: gate, shell: test -e "$folder/gate"}
  - id: deploy
    when: "{{ tasks.check.exit_code == 0 and tasks.check.attempts == 2 and not tasks.check.error }}"
    shell: "true"
  - id: chosen
    depends_on: [gate]
    condition:
      if: "{{ tasks.both.left.exit_code == 0 and tasks.both.left.attempts == 1 }}"
      then: [{id: right, shell: "true"}]
      else: [{id: wrong, shell: "false"}]
"""


async def test_exit_code_and_attempts_go_along(tmp_path: Path) -> None:
    """In a retry of a retry that a restart of the daemon came between, branches go as they would have at first."""
    async with Barbossa.open(tmp_path / "state") as barbossa:
        workflow = barbossa.engine.create_workflow(WORKFLOW)
        first = await barbossa.engine.execute_workflow(workflow, TriggerType.MANUAL, {"folder": str(tmp_path)})
        second = await barbossa.engine.wait((await barbossa.engine.retry(first.run.id)).run.id)
        assert (first.run.reason, second.run.reason) == ("task gate failed", "task gate failed")
        (tmp_path / "gate").touch()
        barbossa.engine._services.engine.set_limit(0)  # nothing starts any more
        again = (await barbossa.engine.retry(second.run.id)).run.id
    async with Barbossa.open(tmp_path / "state") as barbossa:
        third = await barbossa.engine.wait(again)
    assert (third.run.state, third.run.reason) == ("succeeded", None)
    assert set(third.attempts) == {"gate", "deploy", "chosen.right"}
    assert (third.tasks["check"].kept_attempts, third.tasks["check"].kept_exit_code) == (2, 0)
