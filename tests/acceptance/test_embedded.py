"""Barbossa in a plain script of somebody's own, as INTERFACES.md shows it, without a daemon."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.helpers.daemon import ROOT, Daemon

EXAMPLE = """
import asyncio, json, sys
from barbossad import Barbossa, TriggerType

async def main(state_dir, folder, source):
    async with Barbossa.open(state_dir) as barbossa:
        workflow = barbossa.engine.create_workflow_from_template(
            'host_report', {'folder': folder, 'source': source})
        result = await barbossa.engine.execute_workflow(workflow, TriggerType.MANUAL)
        lines = await barbossa.engine.output(result, 'result')
        print(json.dumps({
            'state': result.run.state,
            'trigger': result.run.trigger,
            'tasks': {name: task.state for name, task in result.tasks.items()},
            'outputs': dict(result.tasks['verify'].outputs),
            'output': [line.text for line in lines],
        }))

asyncio.run(main(*sys.argv[1:]))
"""

GENERAL = """
import asyncio, json, sys
from barbossad import Barbossa, TriggerType

async def main(state_dir, text, params):
    async with Barbossa.open(state_dir) as barbossa:
        workflow = barbossa.engine.create_workflow(text)
        result = await barbossa.engine.execute_workflow(workflow, TriggerType.MANUAL, json.loads(params))
        print(json.dumps([result.run.id, result.run.state, [task.reason for task in result.tasks.values()]]))

try:
    asyncio.run(main(*sys.argv[1:]))
except Exception as error:
    print(json.dumps([type(error).__name__, str(error)]))
"""


def script(text: str, *arguments: str) -> Any:
    """Run a script with warnings as errors; return what it printed, as JSON. It says nothing else."""
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", text, *arguments],
        env={"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": str(ROOT), "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    return json.loads(ended.stdout)


def test_the_example(tmp_path: Path) -> None:
    """A template becomes a workflow, the workflow is run, and its states, outputs and output are there."""
    source = tmp_path / "source"
    source.mkdir()
    for name in ("a", "b", "c"):
        (source / name).write_text(name)
    found = script(EXAMPLE, str(tmp_path / "state"), str(tmp_path / "out"), str(source))
    assert (found["state"], found["trigger"]) == ("succeeded", "manual")
    assert set(found["tasks"].values()) == {"succeeded"}
    assert found["outputs"] == {"files": "3"}
    assert any("3 files" in line for line in found["output"])
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["archive"]["files_verified"] == 3


def test_a_failing_run_is_a_result(tmp_path: Path) -> None:
    """A run that fails raises nothing; its result says what failed."""
    found = script(GENERAL, str(tmp_path), "name: x\ntasks: [{shell: exit 5}]\n", "{}")
    assert found[1:] == ["failed", ["exit code 5"]]


def test_a_faulty_workflow_is_an_exception(tmp_path: Path) -> None:
    """Text that is no workflow, or params that are none of it, raise with the faults, and nothing is run."""
    kind, message = script(GENERAL, str(tmp_path), "name: x\ntasks: [{shel: exit 5}]\n", "{}")
    assert kind == "InvalidWorkflowError"
    assert "line 2" in message
    kind, message = script(GENERAL, str(tmp_path), "name: x\ntasks: [{shell: exit 5}]\n", '{"y": 1}')
    assert kind == "InvalidParamsError"
    assert "y" in message


def test_a_daemon_reads_what_a_script_left(tmp_path: Path) -> None:
    """The state is the same: a daemon on the folder shows the script's runs; while it runs, a script is refused."""
    daemon = Daemon(tmp_path)
    run_id, state, _ = script(GENERAL, str(daemon.state_dir), "name: x\ntasks: [{shell: echo hi}]\n", "{}")
    assert state == "succeeded"
    with daemon:
        assert daemon.call("run.get", run_id=run_id)["state"] == "succeeded"
        assert [line["text"] for line in daemon.call("run.logs", run_id=run_id, task="shell-1")["items"]] == ["hi"]
        kind, message = script(GENERAL, str(daemon.state_dir), "name: x\ntasks: [{shell: echo hi}]\n", "{}")
        assert kind == "AlreadyRunningError"
        assert f"(pid {daemon.pid})" in message


PAGE = """
import asyncio, json, sys
from barbossad import Barbossa, TriggerType

async def main(state_dir, backup_dir, settings_dir):
    async with Barbossa.open(state_dir) as barbossa:
        workflow = barbossa.engine.create_workflow_from_template(
            'system_maintenance', {'backup_dir': backup_dir, 'log_retention_days': 30, 'settings_dir': settings_dir})
        result = await barbossa.engine.execute_workflow(workflow, TriggerType.MANUAL)
        print(json.dumps([workflow.workflow_id, result.run.state, dict(result.run.outputs)]))

asyncio.run(main(*sys.argv[1:]))
"""


def test_the_template_of_the_interfaces_page(tmp_path: Path) -> None:
    """The maintenance template runs as it comes, and hands on where its archive is."""
    settings = tmp_path / "etc"
    settings.mkdir()
    (settings / "hostname").write_text("here\n")
    name, state, outputs = script(PAGE, str(tmp_path / "state"), str(tmp_path / "backup"), str(settings))
    assert (name, state) == ("system-maintenance", "succeeded")
    assert outputs["files"] == 2
    assert Path(outputs["archive"]).stat().st_size > 0
    assert Path(outputs["archive"]).parent == tmp_path / "backup"


STEERED = """
import asyncio, json, sys
from barbossad import Barbossa, TriggerType
from barbossad.errors import BarbossaError

ASKING = '''
name: asking
params: {who: {type: string, default: anne}}
tasks:
  - id: before
    shell: [echo, "{{ params.who }}"]
  - id: ask
    approval: {message: "May {{ tasks.before.stdout }}?", form: {minutes: {type: integer, maximum: 60}}}
  - id: after
    shell: |
      test -e "$GATE"
    env: {GATE: "%s/gate", MINUTES: "{{ tasks.ask.outputs.minutes }}"}
outputs: {minutes: "{{ tasks.ask.outputs.minutes }}"}
'''

async def refusal(call):
    try:
        await call
    except BarbossaError as error:
        return type(error).__name__

async def main(state_dir, folder):
    said = {}
    async with Barbossa.open(state_dir) as barbossa:
        engine = barbossa.engine
        said['faults'] = [fault.message for fault in await engine.validate('name: x\\ntasks: [{shel: echo}]')]
        workflow = engine.create_workflow(ASKING % folder)
        plan = await engine.plan(workflow)
        said['plan'] = [task.id for task in plan.tasks]
        run = await engine.start_workflow(workflow, TriggerType.MANUAL, {'who': 'bob'})
        run_id = run.run.id
        while 'ask' not in engine.run(run_id).tasks:
            await asyncio.sleep(0.01)
        said['why'] = engine.why(run_id)['ask']
        said['early'] = await refusal(engine.retry(run_id))
        said['too many'] = await refusal(engine.approve(run_id, 'ask', values={'minutes': 61}))
        said['paused'] = (await engine.pause(run_id)).run.state
        await engine.approve(run_id, 'ask', values={'minutes': '5'}, comment='fine')
        said['resumed'] = (await engine.resume(run_id)).run.state
        ended = await engine.wait(run_id)
        said['ended'] = [ended.run.state, ended.run.reason]
        open(folder + '/gate', 'w').close()
        again = await engine.wait((await engine.retry(run_id)).run.id)
        said['again'] = [again.run.state, again.run.retry_of == run_id, dict(again.run.outputs), len(again.attempts)]
        third = await engine.start_workflow(workflow, TriggerType.MANUAL)
        while 'ask' not in engine.run(third.run.id).tasks:
            await asyncio.sleep(0.01)
        await engine.cancel(third.run.id, 'enough')
        said['cancelled'] = (await engine.wait(third.run.id)).run.state
        said['runs'] = [run.state for run in (await engine.runs()).items]
        fourth = await engine.start_workflow(workflow, TriggerType.MANUAL)
        while 'ask' not in engine.run(fourth.run.id).tasks:
            await asyncio.sleep(0.01)
        said['rejected'] = (await engine.reject(fourth.run.id, 'ask', comment='not now')).tasks['ask'].reason
    print(json.dumps(said))

asyncio.run(main(*sys.argv[1:]))
"""


def test_everything_that_steers_a_run(tmp_path: Path) -> None:
    """A script can check, plan, start, pause, answer, retry and cancel, and is refused what a client would be."""
    said = script(STEERED, str(tmp_path / "state"), str(tmp_path))
    assert said["faults"] == ["unknown key 'shel'"]
    assert said["plan"] == ["before", "ask", "after"]
    assert said["why"] == "May bob?"
    assert (said["early"], said["too many"]) == ("ConflictError", "InvalidParamsError")
    assert said["paused"] == "paused" != said["resumed"]
    assert said["ended"] == ["failed", "task after failed"]
    assert said["again"] == ["succeeded", True, {"minutes": 5}, 1], "only the last task ran again"
    assert said["cancelled"] == "cancelled"
    assert said["runs"] == ["cancelled", "succeeded", "failed"]
    assert "not now" in said["rejected"]


REFUSED = """
import asyncio, json, sys
from barbossad import Barbossa, TriggerType
from barbossad.errors import BarbossaError

async def refusal(call):
    try:
        answer = call()
        await answer
    except BarbossaError as error:
        return [type(error).__name__, str(error)]

async def main(state_dir):
    said = {}
    async with Barbossa.open(state_dir) as barbossa:
        engine = barbossa.engine
        workflow = engine.create_workflow(
            'name: one\\nparams: {n: {type: integer, default: 1}}\\ntasks: [{id: a, shell: ":"}]')
        run_id = (await engine.execute_workflow(workflow, TriggerType.MANUAL)).run.id
        for word in ('zz', '', None):
            for verb in ('run', 'wait', 'cancel', 'pause', 'resume', 'retry'):
                said[f'{verb} {word}'] = await refusal(lambda: getattr(engine, verb)(word))
            for verb in ('approve', 'reject'):
                said[f'{verb} {word}'] = await refusal(lambda: getattr(engine, verb)(word, 'a'))
        said['runs zz'] = await refusal(lambda: engine.runs(before='zz'))
        said['no task'] = await refusal(lambda: engine.approve(run_id, 'nope'))
        said['no id of a task'] = await refusal(lambda: engine.approve(run_id, 'no pe'))
        said['comment'] = await refusal(lambda: engine.approve(run_id, 'a', comment='x' * 501))
        said['reason'] = await refusal(lambda: engine.cancel(run_id, 'x' * 501))
        said['since'] = await refusal(lambda: engine.retry(run_id, 'no pe'))
        said['timeout'] = await refusal(lambda: engine.wait(run_id, -1))
        said['limit'] = await refusal(lambda: engine.runs(limit=0))
        said['template'] = await refusal(
            lambda: engine.create_workflow_from_template('system_maintenance', {'log_retention_days': 'x'}))
        said['schedule'] = await refusal(
            lambda: barbossa.scheduler.add_scheduled_workflow('one', '0 2 * * *', params={'n': object()}))
    print(json.dumps(said))

asyncio.run(main(*sys.argv[1:]))
"""


def test_what_is_refused_is_refused_in_words(tmp_path: Path) -> None:
    """Whatever a script gives, no exception but Barbossa's own comes out; a word that is no id names no run."""
    said = script(REFUSED, str(tmp_path / "state"))
    about_runs = {key: said.pop(key) for key in list(said) if key.split()[-1] in {"zz", "", "None"} or key[-1] == " "}
    assert len(about_runs) == 3 * 8 + 1
    assert {kind for kind, _ in about_runs.values()} == {"NotFoundError"}
    assert about_runs["run zz"][1] == "there is no run 'zz'; ids have 10 characters, as `runs` returns them"
    kind, message = said.pop("no task")
    assert kind == "NotFoundError"
    assert message.endswith("'nope'; its tasks: a")
    assert {kind for kind, _ in said.values()} == {"InvalidParamsError"}
    assert said["template"][1] == ("template system_maintenance: 'log_retention_days' must be a whole number, not 'x'")


SCHEDULED = """
import asyncio, json, sys
from barbossad import Barbossa, TriggerType

async def main(state_dir):
    async with Barbossa.open(state_dir) as barbossa:
        workflow = barbossa.engine.create_workflow('name: beat\\ntasks: [{id: one, shell: "true"}]\\n')
        await barbossa.engine.execute_workflow(workflow, TriggerType.MANUAL)
        await barbossa.scheduler.add_scheduled_workflow(workflow.workflow_id, '0 2 * * 0')
        await barbossa.scheduler.add_scheduled_workflow(workflow.workflow_id, '0 2 * * 0')
        every = await barbossa.scheduler.add_scheduled_workflow(
            workflow.workflow_id, '* * * * * *', timezone='Europe/London', name='often')
        while not (runs := [run for run in (await barbossa.engine.runs()).items if run.schedule]):
            await asyncio.sleep(0.05)
        print(json.dumps({
            'schedules': [record.id for record in barbossa.scheduler.schedules()],
            'trigger': runs[0].trigger,
            'schedule': runs[0].schedule,
            'whole_second': runs[0].scheduled_for_ms % 1000 == 0,
        }))

asyncio.run(main(*sys.argv[1:]))
"""


def test_scheduled_in_a_script(tmp_path: Path) -> None:
    """A script has a workflow run by the clock; the same call again adds nothing, also in a later script."""
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", SCHEDULED, str(tmp_path / "state")],
            env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == {
            "schedules": ["beat/added-1", "beat/often"],
            "trigger": "schedule",
            "schedule": "beat/often",
            "whole_second": True,
        }
