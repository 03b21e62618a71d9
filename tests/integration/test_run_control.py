"""Pause, resume, retry, approve and reject: with a real daemon and the real command line."""

from __future__ import annotations

import getpass
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import cli_process
from tests.helpers.cli_process import OnTerminal
from tests.helpers.daemon import Daemon
from tests.helpers.rpc_client import RpcError

FLAKY = """name: flaky
params: {mark: {type: path}, word: {type: string, default: one}}
tasks:
  - id: first
    shell: echo "word=$word" >> "$BARBOSSA_OUTPUT"; echo first >> "$mark.log"
  - id: beside
    depends_on: []
    rollback: {shell: echo undone >> "$mark.log"}
    shell: echo beside >> "$mark.log"
  - id: checks
    depends_on: [first]
    parallel:
      - {id: good, shell: echo good >> "$mark.log"}
      - {id: bad, shell: test -e "$mark"}
  - id: each
    depends_on: [first]
    for_each: [x, y]
    shell: echo "item $BARBOSSA_ITEM" >> "$mark.log"
  - id: last
    depends_on: [checks, each]
    shell: [sh, -c, 'echo "last {{ tasks.first.outputs.word }}" >> "$mark.log"']
"""
ASKING = """name: asking
tasks:
  - id: ok
    approval:
      message: May it go on?
      USERS
      form:
        minutes: {type: integer, default: 10, minimum: 1, maximum: 60}
        why: {type: string, description: What to tell the users}
  - id: after
    shell: [echo, "{{ tasks.ok.outputs.minutes }} {{ tasks.ok.outputs.why }} by {{ tasks.ok.outputs.by }}"]
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("d")) as running:
        running.apply(FLAKY)
        running.apply(ASKING.replace("USERS", ""))
        running.apply(ASKING.replace("USERS", "users: [nobody-there]").replace("asking", "named"))
        running.apply(ASKING.replace("USERS", f"users: [{getpass.getuser()}]").replace("asking", "mine"))
        running.apply("name: chain\ntasks:\n  - {id: a, shell: 'read line < \"$pipe\"'}\n  - {id: b, shell: 'true'}\n"
                      "params: {pipe: {type: path}}\n")  # fmt: skip
        yield running


def ctl(daemon: Daemon, *arguments: str) -> subprocess.CompletedProcess[str]:
    return cli_process.run(daemon.socket_path, *arguments)


def ended(daemon: Daemon, workflow: str, **params: Any) -> dict[str, Any]:
    run_id = daemon.call("run.start", workflow=workflow, params=params)["id"]
    found: dict[str, Any] = daemon.call("run.wait", run_id=run_id)
    return found


def asks(daemon: Daemon, workflow: str) -> str:
    """Return a run whose task waits for a person."""
    run_id: str = daemon.call("run.start", workflow=workflow)["id"]
    daemon.eventually(lambda: task(daemon, run_id, "ok")["state"] == "waiting", "it asks")
    return run_id


def task(daemon: Daemon, run_id: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in daemon.call("run.get", run_id=run_id)["tasks"] if one["id"] == name)
    return found


# -- retry -----------------------------------------------------------------------------------------------------


def log_of(mark: Path) -> list[str]:
    """Return what the tasks wrote, and forget it."""
    file = Path(f"{mark}.log")
    lines = sorted(file.read_text().splitlines()) if file.exists() else []
    file.write_text("")
    return lines


def test_a_retry_runs_what_had_failed_and_what_hangs_on_it(daemon: Daemon, tmp_path: Path) -> None:
    """What succeeded is not run again, in groups and loops too; what was rolled back is; outputs are still there."""
    mark = tmp_path / "mark"
    before = ended(daemon, "flaky", mark=str(mark))
    assert before["state"] == "failed"
    assert log_of(mark) == ["beside", "first", "good", "item x", "item y", "undone"]
    mark.touch()
    done = ctl(daemon, "retry", before["id"], "--wait", "--json")
    assert done.returncode == 0, done.stderr
    after = json.loads(done.stdout)
    assert log_of(mark) == ["beside", "last one"]
    assert (after["retry_of"], after["trigger"], after["version"]) == (before["id"], "retry", before["version"])
    assert after["params"] == before["params"]
    kept = {one["id"] for one in after["tasks"] if one["kept"]}
    assert kept == {"first", "checks.good", "each", "each[0]", "each[1]"}
    assert {one["state"] for one in after["tasks"]} == {"succeeded"}
    assert daemon.call("run.get", run_id=before["id"])["state"] == "failed"


def test_a_retry_is_followed_like_a_start(daemon: Daemon, tmp_path: Path) -> None:
    """The command stays with the new run, says of which it is a retry, and ends with its exit code."""
    mark = tmp_path / "mark"
    before = ended(daemon, "flaky", mark=str(mark))["id"]
    again = ctl(daemon, "retry", before)
    assert again.returncode == 1
    lines = again.stderr.splitlines()
    assert re.fullmatch(rf"run \w+ of flaky, a retry of {before}", lines[0])
    assert lines[1] == "5 tasks of that run are done and not run again"
    assert not any(line.startswith("task first") for line in lines)
    shown = ctl(daemon, "run", "get", "last").stdout.splitlines()
    assert f"retry of\t{before}" in shown
    (first,) = [line for line in shown if line.startswith("task\tfirst\t")]
    assert "in the run before" in first
    assert (
        f"has no output: that of what was done before is with run {before}"
        in ctl(daemon, "logs", "last", "first").stderr
    )


def test_a_retry_from_a_task_with_other_params(daemon: Daemon, tmp_path: Path) -> None:
    """From a task on it and all after it run again, with what params are given; others keep their values."""
    mark = tmp_path / "mark"
    mark.touch()
    before = ended(daemon, "flaky", mark=str(mark))
    assert before["state"] == "succeeded"
    log_of(mark)
    done = ctl(daemon, "retry", before["id"], "--from", "first", "-p", "word=two", "--wait")
    assert done.returncode == 0, done.stderr
    assert log_of(mark) == ["first", "good", "item x", "item y", "last two"]
    assert ctl(daemon, "retry", before["id"], "--from", "checks.bad", "--wait").returncode == 0
    assert log_of(mark) == ["last one"]
    assert ctl(daemon, "retry", before["id"], "--from", "start", "--wait").returncode == 0
    assert log_of(mark) == ["beside", "first", "good", "item x", "item y", "last one"]


def test_what_cannot_be_retried(daemon: Daemon, tmp_path: Path) -> None:
    """A run that goes on, one with nothing to do, a task that is not there, a param that is none: one line each."""
    mark = tmp_path / "mark"
    mark.touch()
    good = ended(daemon, "flaky", mark=str(mark))["id"]
    for arguments, words, code in (
        ((good,), "retry it from the start (--from start), or from a task (--from TASK)", 1),
        ((good, "--from", "frist"), "did you mean 'first'", 1),
        ((good, "--from", "each[1]"), "retry from 'each'", 1),
        ((good, "--from", "start", "-p", "wrod=x"), "unknown param 'wrod'", 2),
        ((asks(daemon, "asking"),), "it can be retried when it has ended", 1),
    ):
        done = ctl(daemon, "retry", *arguments)
        assert (done.returncode, done.stdout) == (code, ""), done.stderr
        assert words in done.stderr
        assert done.stderr.count("\n") == 1
    daemon.call("workflow.disable", name="flaky")
    assert "is disabled" in ctl(daemon, "retry", good, "--from", "start").stderr
    daemon.call("workflow.enable", name="flaky")


def test_a_retry_of_a_workflow_that_was_deleted(daemon: Daemon) -> None:
    """It says that the workflow has to be applied again, and what prints the file that ran."""
    daemon.apply("name: gone\ntasks: [{shell: 'true'}]\n")
    before = ended(daemon, "gone")["id"]
    daemon.call("workflow.delete", name="gone")
    done = ctl(daemon, "retry", before, "--from", "start")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"barbossactl: the workflow 'gone' of run {before} was deleted; "
        f"apply it again first (barbossactl run definition {before} prints what ran)\n"
    )


def test_a_retry_is_of_the_version_that_ran(daemon: Daemon, tmp_path: Path) -> None:
    """What was applied meanwhile has nothing to do with it."""
    mark = tmp_path / "mark"
    before = ended(daemon, "flaky", mark=str(mark))
    daemon.apply("name: flaky\ntasks: [{id: other, shell: 'true'}]\n")
    mark.touch()
    after = json.loads(ctl(daemon, "retry", before["id"], "--wait", "--json").stdout)
    assert (after["state"], after["version"]) == ("succeeded", before["version"])
    daemon.apply(FLAKY)


def test_what_was_done_already_still_is(daemon: Daemon, tmp_path: Path) -> None:
    """A task that found its work done counts as done in a retry too: what depends on it runs."""
    mark = tmp_path / "mark"
    daemon.apply(
        "name: lazy\nparams: {mark: {type: path}}\ntasks:\n  - {id: build, creates: /etc/passwd, shell: 'false'}\n"
        "  - {id: ship, shell: test -e \"$mark\"}\n  - {id: never, depends_on: [], when: false, shell: 'true'}\n"
    )
    before = ended(daemon, "lazy", mark=str(mark))
    assert [one["state"] for one in before["tasks"]] == ["skipped", "failed", "skipped"]
    mark.touch()
    after = json.loads(ctl(daemon, "retry", before["id"], "--wait", "--json").stdout)
    assert [(one["state"], one["kept"]) for one in after["tasks"]] == [
        ("skipped", True), ("succeeded", False), ("skipped", True)
    ]  # fmt: skip


# -- retry of what was approved ----------------------------------------------------------------------------------

DEPLOY = """name: deploy
params: {v: {type: string, default: one}, mark: {type: path}}
tasks:
  - {id: ok, approval: {message: "deploy {{ params.v }}?"}}
  - {id: dep, shell: 'echo "$v" >> "$mark.log"; test -e "$mark"'}
  - {id: boom, shell: 'echo boom >> "$mark.log"'}
"""


def approved(daemon: Daemon, run_id: str, message: str) -> dict[str, Any]:
    """Wait until a run asks, say yes, and return it when it has ended."""
    daemon.eventually(lambda: task(daemon, run_id, "ok")["state"] == "waiting", "it asks")
    assert task(daemon, run_id, "ok")["asks"]["message"] == message
    daemon.call("run.approve", run_id=run_id, task="ok")
    found: dict[str, Any] = daemon.call("run.wait", run_id=run_id)
    return found


def test_what_was_approved_is_approved_once_and_with_its_params(daemon: Daemon, tmp_path: Path) -> None:
    """A retry goes on with the yes of its run; other params, a second retry, and what was done need another one."""
    daemon.apply(DEPLOY)
    mark = tmp_path / "mark"
    log_of(mark)
    first = daemon.call("run.start", workflow="deploy", params={"mark": str(mark)})["id"]
    assert approved(daemon, first, "deploy one?")["state"] == "failed"
    edited = daemon.call("run.retry", run_id=first, params={"v": "two"})["id"]
    assert log_of(mark) == ["one"]
    assert approved(daemon, edited, "deploy two?")["state"] == "failed"
    assert log_of(mark) == ["two"]
    mark.touch()
    good = daemon.call("run.wait", run_id=daemon.call("run.retry", run_id=edited)["id"])
    assert good["state"] == "succeeded"
    assert [one["kept"] for one in good["tasks"]] == [True, False, False]
    assert log_of(mark) == ["boom", "two"]
    for run_id, params in ((edited, {"run_id": edited}), (good["id"], {"run_id": good["id"], "from": "boom"})):
        again = daemon.call("run.retry", **params)
        assert again["retry_of"] == run_id
        assert approved(daemon, again["id"], "deploy two?")["state"] == "succeeded"
        assert log_of(mark) == ["boom", "two"]


def test_of_two_retries_at_once_one_takes_the_approval(daemon: Daemon, tmp_path: Path) -> None:
    """The second asks again, though it was asked for before the first was recorded."""
    daemon.apply(DEPLOY)
    first = daemon.call("run.start", workflow="deploy", params={"mark": str(tmp_path / "mark")})["id"]
    assert approved(daemon, first, "deploy one?")["state"] == "failed"
    retry = {"jsonrpc": "2.0", "method": "run.retry", "params": {"run_id": first}}
    with daemon.client() as client:
        client.send(b"".join(json.dumps({**retry, "id": number}).encode() + b"\n" for number in range(6)))
        found = [client.receive()["result"]["tasks"] for _ in range(6)]
    assert sorted(tasks[0]["kept"] for tasks in found) == [False] * 5 + [True]


# -- pause -----------------------------------------------------------------------------------------------------


def test_a_paused_run_starts_nothing(daemon: Daemon, tmp_path: Path) -> None:
    """What runs ends, what comes next waits and says so, until the run is resumed."""
    pipe = tmp_path / "pipe"
    subprocess.run(["mkfifo", str(pipe)], check=True)
    run_id = daemon.call("run.start", workflow="chain", params={"pipe": str(pipe)})["id"]
    daemon.eventually(lambda: task(daemon, run_id, "a")["state"] == "running", "it runs")
    done = ctl(daemon, "pause", run_id, "--reason", "the disk is changed")
    assert (done.returncode, done.stdout) == (0, "")
    assert f"barbossactl resume {run_id}" in done.stderr
    pipe.write_text("go\n")
    daemon.eventually(lambda: task(daemon, run_id, "a")["state"] == "succeeded", "what ran has ended")
    view = daemon.call("run.get", run_id=run_id)
    assert (view["state"], view["tasks"][1]["state"]) == ("paused", "waiting")
    assert view["waiting"].startswith("paused since ")
    assert view["paused_at"] is not None
    assert "paused" in view["tasks"][1]["reason"]
    assert (
        f"task 'b' of run {run_id} asks nobody now: waiting: the run is paused"
        in ctl(daemon, "approve", run_id, "b").stderr
    )
    (line,) = [one for one in ctl(daemon, "ps").stdout.splitlines() if one.startswith(run_id)]
    assert line.split("\t")[2] == "paused"
    assert "paused since" in line
    assert run_id in ctl(daemon, "run", "list", "--state", "paused").stdout
    assert ctl(daemon, "pause", run_id).returncode == 1
    assert ctl(daemon, "resume", run_id).returncode == 0
    assert daemon.call("run.wait", run_id=run_id)["state"] == "succeeded"
    refused = ctl(daemon, "resume", run_id)
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "is not paused: it is succeeded" in refused.stderr


# -- approvals -------------------------------------------------------------------------------------------------


def test_an_approval_is_shown_with_the_words_that_answer_it(daemon: Daemon) -> None:
    """Who looks at the run sees what is asked, what is to be filled in, and the command."""
    run_id = asks(daemon, "asking")
    told = ctl(daemon, "run", "get", run_id).stderr
    assert "task ok waits for a person: May it go on?" in told
    assert "-v why=string: What to tell the users" in told
    assert f"yes: barbossactl approve {run_id} ok -v why=…" in told
    form = task(daemon, run_id, "ok")["asks"]["form"]
    assert [(field["name"], field["type"], field["required"]) for field in form] == [
        ("minutes", "integer", False),
        ("why", "string", True),
    ]


def test_an_approval_goes_on_with_the_values_of_its_form(daemon: Daemon) -> None:
    """All faults of a form are told at once and nothing has happened; what is filled in is the task's outputs."""
    run_id = asks(daemon, "asking")
    refused = ctl(daemon, "approve", run_id, "-v", "minutes=99", "-v", "hwy=x")
    assert refused.returncode == 2
    for words in ("'minutes' must be at most 60", "the field 'why' is missing", "unknown field 'hwy'"):
        assert words in refused.stderr
    assert task(daemon, run_id, "ok")["state"] == "waiting"
    assert ctl(daemon, "approve", run_id, "-v", "minutes=30", "-v", "why=upgrade").returncode == 0
    assert daemon.call("run.wait", run_id=run_id)["state"] == "succeeded"
    printed = ctl(daemon, "logs", run_id).stdout
    assert printed == f"after | 30 upgrade by {getpass.getuser()}\n"


def test_a_rejected_approval_fails(daemon: Daemon) -> None:
    """A no needs no form, and the reason is kept."""
    run_id = asks(daemon, "asking")
    assert ctl(daemon, "reject", run_id, "ok", "--comment", "not today").returncode == 0
    view = daemon.call("run.wait", run_id=run_id)
    assert view["state"] == "failed"
    assert task(daemon, run_id, "ok")["reason"] == f"rejected by {getpass.getuser()}: not today"
    late = ctl(daemon, "approve", run_id, "ok")
    assert late.returncode == 1
    assert "waits for nobody: it is failed" in late.stderr
    assert "no task of run" in ctl(daemon, "approve", run_id).stderr


def test_a_task_that_there_is_not_is_told_from_one_that_does_not_wait(daemon: Daemon) -> None:
    """An answer for no task of the run says so, with the tasks that there are, while the run goes on and later."""
    run_id = asks(daemon, "asking")
    for task_id, words in (("okay", "did you mean 'ok'?"), ("nope", "its tasks: after, ok")):
        for values in ([], ["-v", "why=x"]):
            refused = ctl(daemon, "approve", run_id, task_id, *values)
            assert refused.stderr == f"barbossactl: there is no task of run {run_id} '{task_id}'; {words}\n"
            assert refused.returncode == 1
    early = ctl(daemon, "approve", run_id, "after")
    assert "task 'after' of run" in early.stderr
    assert "waits for nobody: it is pending" in early.stderr
    with pytest.raises(RpcError) as raised:
        daemon.call("run.approve", run_id=run_id, task="nope")
    assert raised.value.kind == "not_found"
    assert ctl(daemon, "reject", run_id, "ok").returncode == 0
    daemon.call("run.wait", run_id=run_id)
    assert "there is no task of run" in ctl(daemon, "reject", run_id, "nope").stderr


def test_only_those_who_are_asked_may_answer(daemon: Daemon) -> None:
    """An approval that names somebody is answered by nobody else, whatever their role."""
    run_id = asks(daemon, "named")
    refused = ctl(daemon, "approve", run_id, "-v", "why=x")
    assert refused.returncode == 4
    assert refused.stderr.endswith(
        "user nobody-there; user root is none of them; one of them has to answer\n".replace("root", getpass.getuser())
    )
    assert task(daemon, run_id, "ok")["state"] == "waiting"
    daemon.call("run.cancel", run_id=run_id)
    mine = asks(daemon, "mine")
    assert ctl(daemon, "approve", mine, "-v", "why=x").returncode == 0


def test_who_follows_a_run_is_told_what_it_waits_for(daemon: Daemon) -> None:
    """In a pipe and on a terminal a question is told with its commands when it comes up, and the run goes on."""
    for is_terminal in (False, True):
        with OnTerminal(daemon.socket_path, "start", "asking", TERM="xterm" if is_terminal else "dumb") as shown:
            shown.read_until("reject")
            found = re.search(r"barbossactl approve (\w+) ok -v why=…", shown.text)
            assert found is not None
            assert ctl(daemon, "approve", found[1], "-v", "why=x").returncode == 0
            assert shown.end() == 0


def test_a_run_that_was_called_is_paused_with_its_caller(daemon: Daemon) -> None:
    """A call shows which run it waits for, and the called run by which it was called."""
    daemon.apply("name: caller\ntasks: [{id: call, workflow: asking}]\n")
    run_id = daemon.call("run.start", workflow="caller")["id"]
    by = {"run_id": run_id, "task": "call"}

    def found() -> list[dict[str, Any]]:
        return [one for one in daemon.call("run.list", workflow="asking")["items"] if one["parent"] == by]

    daemon.eventually(lambda: bool(found()), "it is called")
    (called,) = found()
    assert f"called by\t{run_id}" in ctl(daemon, "run", "get", called["id"]).stdout.splitlines()
    assert ctl(daemon, "pause", run_id).returncode == 0
    assert daemon.call("run.get", run_id=called["id"])["state"] == "paused"
    daemon.call("run.cancel", run_id=run_id)
    assert daemon.call("run.wait", run_id=run_id)["state"] == "cancelled"


# -- views -----------------------------------------------------------------------------------------------------


def test_long_loops_take_a_few_lines(daemon: Daemon) -> None:
    """A loop of hundreds is summed up by every command that shows it; what failed is named; all of it can be had."""
    daemon.apply(
        "name: many\ntasks:\n  - id: each\n    for_each: '{{ range(200) | list }}'\n    max_parallel: 8\n"
        '    shell: test "$BARBOSSA_ITEM" != 77\n'
    )
    followed = ctl(daemon, "start", "many")
    assert followed.returncode == 1
    assert len(followed.stderr.splitlines()) < 10
    assert "task each[77] failed" in followed.stderr
    lines = ctl(daemon, "run", "get", "last").stdout.splitlines()
    assert "items\teach\t200 items: 199 succeeded, 1 failed" in lines
    assert [line.split("\t")[1] for line in lines if line.startswith("task\t")] == ["each", "each[77]"]
    whole = ctl(daemon, "run", "get", "last", "--all").stdout.splitlines()
    assert len([line for line in whole if line.startswith("task\t")]) == 201
    run_id = daemon.call("run.list", workflow="many")["items"][0]["id"]
    brief = daemon.call("run.get", run_id=run_id, brief=True)["tasks"]
    assert [one["id"] for one in brief] == ["each", "each[77]"]
    assert brief[0]["item_states"] == {"succeeded": 199, "failed": 1}
    with OnTerminal(daemon.socket_path, "run", "get", "last") as shown:
        assert shown.end() == 0
    assert "200 items: 199 succeeded, 1 failed" in " ".join(shown.text.split())


def test_the_output_of_items_is_read_by_their_ids(daemon: Daemon) -> None:
    """What items print is followed, and read afterwards all together or of one; an item that is not there is not."""
    daemon.apply('name: loud\ntasks:\n  - {id: each, for_each: [x, y], shell: echo "item $BARBOSSA_ITEM"}\n')
    lines = ["each[0] | item x", "each[1] | item y"]
    assert sorted(ctl(daemon, "start", "loud").stdout.splitlines()) == lines
    assert sorted(ctl(daemon, "logs", "last").stdout.splitlines()) == lines
    assert ctl(daemon, "logs", "last", "each[1]").stdout == "item y\n"
    assert ctl(daemon, "logs", "last", "each[1]", "-f").stdout == "item y\n"
    run_id = daemon.call("run.list", workflow="loud")["items"][0]["id"]
    with pytest.raises(RpcError, match="did you mean 'each"):
        daemon.call("run.logs", run_id=run_id, task="each[2]")


def test_no_output_of_a_long_loop_is_lost(daemon: Daemon) -> None:
    """Though old news of a long loop is left out, whoever follows it gets what every item printed."""
    daemon.apply(
        "name: talkative\ntasks:\n  - id: each\n    for_each: '{{ range(400) | list }}'\n    max_parallel: 8\n"
        '    shell: echo "item $BARBOSSA_ITEM"\n'
    )
    lines = sorted(f"each[{number}] | item {number}" for number in range(400))
    assert sorted(ctl(daemon, "start", "talkative").stdout.splitlines()) == lines
    assert sorted(ctl(daemon, "logs", "last").stdout.splitlines()) == lines


def test_last_is_the_run_that_somebody_started(daemon: Daemon) -> None:
    """A run that another one called is newer, and not what a person means."""
    daemon.apply("name: inner\ntasks: [{shell: ls}]\n")
    daemon.apply("name: outer\ntasks: [{id: call, workflow: inner}]\n")
    run_id = ended(daemon, "outer")["id"]
    assert daemon.call("run.list")["items"][0]["workflow"] == "inner"
    assert ctl(daemon, "run", "get", "last").stdout.splitlines()[0] == f"run\t{run_id}"


def test_groups_are_trees_on_a_terminal(daemon: Daemon, tmp_path: Path) -> None:
    """Members and items stand indented beneath what they are in, while a run is followed and afterwards."""
    for command in (("start", "flaky", "-p", f"mark={tmp_path}/none"), ("run", "get", "last")):
        with OnTerminal(daemon.socket_path, *command, NO_COLOR="1") as shown:
            shown.end()
        plain = re.sub("\x1b\\[[0-9;]*m", "", shown.text)
        lines = [re.sub("^[✘✔]", " ", line) for line in plain.splitlines()]
        start = "   " if command[0] == "start" else ""
        for name, depth in (("checks", 0), ("checks.good", 1), ("checks.bad", 1), ("each", 0), ("each[0]", 1)):
            head = f"{start}{'  ' * depth}{name} "
            assert any(line.startswith(head) for line in lines), f"{head!r} is not in:\n{shown.text}"


def test_a_long_reason_cuts_no_name(daemon: Daemon) -> None:
    """On a narrow terminal the reason gives way, not the name of a task or its state."""
    daemon.apply(
        f'name: wordy\ntasks:\n  - {{id: {"a" * 24}, when: "{{{{ {"1 == 2 or " * 20} false }}}}", shell: ls}}\n'
    )
    with OnTerminal(daemon.socket_path, "start", "wordy", columns=60, NO_COLOR="1") as shown:
        assert shown.end() == 0
    assert f"{'a' * 24}  skipped" in re.sub("\x1b\\[[0-9;]*m", "", shown.text)


def test_a_run_that_waits_for_its_group_says_so(daemon: Daemon) -> None:
    """A queued run tells in words which others it waits for."""
    daemon.apply("name: narrow\nconcurrency: {limit: 1}\ntasks: [{id: ok, approval: 'Go on?'}]\n")
    first = asks(daemon, "narrow")
    second = daemon.call("run.start", workflow="narrow")
    assert second["state"] == "queued"
    assert "1 of 1 in group narrow" in second["waiting"]
    (line,) = [one for one in ctl(daemon, "ps").stdout.splitlines() if one.startswith(second["id"])]
    assert "1 of 1 in group narrow" in line
    for run_id in (first, second["id"]):
        daemon.call("run.cancel", run_id=run_id)


def test_warnings_are_counted(daemon: Daemon) -> None:
    """A run that succeeded though a task failed that may is shown with the number of them."""
    daemon.apply(
        "name: lenient\ntasks:\n  - {id: lint, shell: exit 3, continue_on_error: true}\n  - {id: build, shell: ls}\n"
    )
    followed = ctl(daemon, "start", "lenient")
    assert followed.returncode == 0
    assert "with 1 failed task that it allows" in followed.stderr
    view = daemon.call("run.list", workflow="lenient")["items"][0]
    assert view["warnings"] == 1
    (line,) = [one for one in ctl(daemon, "ps", "--all").stdout.splitlines() if one.startswith(view["id"])]
    assert line.endswith("1 warning")


def test_hooks_and_rollback_are_shown_at_the_end(daemon: Daemon) -> None:
    """Only once they run, with their section, after everything else; and meanwhile the outcome is known."""
    daemon.apply(
        "name: hooked\ntasks:\n  - {id: a, shell: 'true', rollback: {shell: 'true'}}\n  - {id: b, shell: exit 1}\n"
        "on_failure:\n  - {id: ask, approval: 'Seen?'}\non_success:\n  - {id: cheer, shell: 'true'}\n"
    )
    run_id = daemon.call("run.start", workflow="hooked")["id"]
    daemon.eventually(lambda: daemon.call("run.get", run_id=run_id)["tasks"][-1]["state"] == "waiting", "its hook asks")
    view = daemon.call("run.get", run_id=run_id)
    assert [(one["id"], one["section"]) for one in view["tasks"]] == [
        ("a", "main"), ("b", "main"), ("rollback.a", "rollback"), ("on_failure.ask", "on_failure")
    ]  # fmt: skip
    assert (view["state"], view["outcome"]) == ("running", "failed")
    (line,) = [one for one in ctl(daemon, "ps").stdout.splitlines() if one.startswith(run_id)]
    assert "failed, cleaning up" in line
    assert ctl(daemon, "approve", run_id, "on_failure.ask").returncode == 0
    assert daemon.call("run.wait", run_id=run_id)["state"] == "failed"
