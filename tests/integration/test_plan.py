"""A plan is made without side effects, and a run can be held to it: with a real daemon and the real command line."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from barbossactl import planned
from tests.helpers import cli_process
from tests.helpers.cli_process import OnTerminal
from tests.helpers.daemon import Daemon

TEXT = """name: copy
params: {target: {type: path}, days: {type: integer, default: 7}}
secrets: {PASSWORD: db-password}
tasks:
  - id: dump
    env: {FROM: "{{ params.target }}/in"}
    limits: {memory: 64M}
    sandbox: {best_effort: true}
    timeout: 2m
    shell: |
      touch "$target/ran"
      echo "size=1" >> "$BARBOSSA_OUTPUT"
  - id: show
    secrets: {}
    shell: [echo, "{{ params.days * 2 }}", "{{ tasks.dump.outputs.size }}"]
"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("d")) as running:
        secret = running.folder / "config" / "barbossa" / "secrets" / "db-password"
        secret.parent.mkdir(mode=0o700)
        secret.write_text("hunter2")
        secret.chmod(0o600)
        running.apply(TEXT)
        yield running


def ctl(daemon: Daemon, *arguments: str) -> subprocess.CompletedProcess[str]:
    return cli_process.run(daemon.socket_path, *arguments)


def plan(daemon: Daemon, **params: Any) -> dict[str, Any]:
    found: dict[str, Any] = daemon.call("workflow.plan", name="copy", params=params)
    return found


def test_a_plan_has_no_side_effects(daemon: Daemon, tmp_path: Path) -> None:
    """After a plan there is no run, nothing was touched, and the secret was not read out."""
    before = daemon.call("run.list")
    found = plan(daemon, target=str(tmp_path))
    assert daemon.call("run.list") == before
    assert list(tmp_path.iterdir()) == []
    assert "hunter2" not in json.dumps(found)
    assert found["tasks"][0]["secrets"] == {"PASSWORD": "db-password"}
    assert found["counts"] == {"run": 2, "skip": 0, "maybe": 0}


def test_people_read_what_would_happen(daemon: Daemon) -> None:
    """Each task is shown with its program, environment, account and limits; what is not known yet as written."""
    shown = list(planned.lines(plan(daemon, target="/srv")))
    for line in (
        "+ dump  (shell)",
        '      | touch "$target/ran"',
        "    env: FROM=/srv/in",
        "    secrets: PASSWORD (secret db-password)",
        "    timeout 2 min 00 s",
        "    after dump has succeeded",
        "    $ echo 14 '{{ tasks.dump.outputs.size }}'",
        "    as written: params.argv[2], known when dump has ended",
    ):
        assert line in shown
    assert any("limits memory 64M" in line for line in shown)


def test_programs_read_it_too(daemon: Daemon) -> None:
    """In a pipe there are fields and a line a task; as JSON all of it; params are checked as for a start."""
    lines = ctl(daemon, "plan", "copy", "-p", "target=/srv").stdout.splitlines()
    assert lines[1] == "workflow\tcopy"
    assert [line.split("\t")[1:5] for line in lines if line.startswith("task\t")] == [
        ["dump", "run", "shell", "main"],
        ["show", "run", "shell", "main"],
    ]
    told = json.loads(ctl(daemon, "plan", "copy", "-p", "target=/srv", "--json").stdout)
    assert told == plan(daemon, target="/srv")
    refused = ctl(daemon, "plan", "copy", "-p", "dayz=3")
    assert refused.returncode == 2
    assert "unknown param 'dayz'" in refused.stderr
    assert "'target' is missing" in refused.stderr


def test_a_file_that_is_not_applied_can_be_planned(daemon: Daemon, tmp_path: Path) -> None:
    """The plan of a file needs nothing in force, and one of what will fail ends with 1."""
    file = tmp_path / "new.yaml"
    file.write_text("name: fresh\ntasks: [{shell: [echo, '{{ 1 / 0 }}']}]\n")
    done = ctl(daemon, "plan", "--file", str(file))
    assert done.returncode == 1
    assert "division by zero" in done.stdout
    assert ctl(daemon, "workflow", "get", "fresh").returncode == 1
    assert ctl(daemon, "plan").returncode == 2


def test_an_older_version_can_be_planned(daemon: Daemon) -> None:
    """A version that is named is planned, whatever is in force."""
    first = daemon.call("workflow.apply", yaml="name: versions\ntasks: [{id: old, shell: ls}]\n")["version"]
    daemon.apply("name: versions\ntasks: [{id: new, shell: ls}]\n")
    lines = ctl(daemon, "plan", "versions", "--version", first).stdout.splitlines()
    assert f"version\t{first}" in lines
    assert [line.split("\t")[1] for line in lines if line.startswith("task\t")] == ["old"]


def test_a_run_can_be_held_to_its_plan(daemon: Daemon) -> None:
    """A start with the hash of a plan starts just that, and is refused when anything of it has changed."""
    known = plan(daemon, target="/tmp")["hash"]
    started = ctl(daemon, "start", "copy", "-p", "target=/tmp", "--plan", known, "--detach")
    assert (started.returncode, started.stderr) == (0, "")
    for arguments in (("-p", "target=/tmp", "-p", "days=8"), ("-p", "target=/var/tmp")):
        refused = ctl(daemon, "start", "copy", *arguments, "--plan", known, "--detach")
        assert refused.returncode == 1
        assert "nothing was started" in refused.stderr
        assert refused.stderr.count("\n") == 1
    refused = ctl(daemon, "start", "copy", "-p", "target=/tmp", "--plan", "zzz", "--detach")
    assert refused.returncode == 2
    assert refused.stderr == (
        "barbossactl: run.start: 'plan' is not the hash of a plan: 'zzz'"
        " (it has 16 hexadecimal digits and stands in what `barbossactl plan` shows)\n"
    )
    version = daemon.call("workflow.get", name="copy")["version"]
    daemon.apply(TEXT + "# another version\n")
    assert ctl(daemon, "start", "copy", "-p", "target=/tmp", "--plan", known, "--detach").returncode == 1
    daemon.call("workflow.rollback", name="copy", version=version)
    assert ctl(daemon, "start", "copy", "-p", "target=/tmp", "--plan", known, "--detach").returncode == 0


WHOLE = """name: whole
params: {hosts: {type: list, default: [a, b]}, full: {type: boolean, default: false}}
timeout: 1h
concurrency: {limit: 2, policy: skip, group: dumps}
tasks:
  - id: pick
    condition:
      if: "{{ params.full }}"
      then: [{id: full, shell: make full}]
      else: [{id: part, shell: make part}]
  - id: each
    for_each: "{{ params.hosts }}"
    max_parallel: 1
    retry: {attempts: 3, delay: 5s, backoff: exponential, max_delay: 1m}
    shell: [ping, "{{ item }}"]
    rollback: {shell: [forget, it]}
  - id: ok
    approval: {message: "Ship {{ params.hosts | length }} hosts?", users: [anne]}
  - id: side
    parallel:
      max_parallel: 2
      tasks:
        - {id: x, shell: "true", creates: /srv/x}
        - {id: y, when: "{{ tasks.x.exit_code == 0 }}", depends_on: [x], shell: "true"}
  - id: mend
    depends_on: [side]
    trigger: one_failed
    shell: "true"
  - id: call
    when: "{{ params.hosts }}"
    depends_on: [side]
    workflow: {name: other, params: {n: "{{ tasks.each.outputs | length }}"}}
on_failure:
  - shell: [mail, "{{ run.failed_tasks | join(', ') }}"]
"""


def test_the_whole_language_is_planned(daemon: Daemon, tmp_path: Path) -> None:
    """Groups, branches, loops, approvals, calls, rollback and hooks stand where they would run, in words."""
    file = tmp_path / "whole.yaml"
    file.write_text(WHOLE)
    told = json.loads(ctl(daemon, "plan", "--file", str(file), "--json").stdout)
    shown = list(planned.lines(told))
    for line in (
        "timeout 1 h 00 min; at most 2 at once in the group dumps; others are skipped",
        "  - pick.full  (shell, then)",
        "      the condition does not hold: {{ params.full }}",
        "  + pick.part  (shell, else)",
        "    for each of {{ params.hosts }}: 2 items, at most 1 at a time",
        "  + each[0]  (shell) for a",
        "      $ ping a",
        "    message: Ship 2 hosts?",
        "    at most 2 of its tasks at a time",
        "      skipped where /srv/x is there already",
        "  ? side.y  (shell)",
        "      when {{ tasks.x.exit_code == 0 }} (known when x has ended)",
        "    its when holds: {{ params.hosts }}",
        "    as written: params.params.n, known when each has ended",
        "rollback, that of the last task first:",
        "    if the run fails or is cancelled after each succeeded",
        "on_failure:",
        "    as written: params.argv[1], known when the run's outcome is known",
    ):
        assert line in shown, "\n".join(shown)
    assert "3 attempts, 5s apart, doubling each time up to 1m, when it failed or timed out" in "\n".join(shown)
    assert shown.count("    if side failed") == 1
    assert told["counts"] == {"run": 5, "skip": 1, "maybe": 2}
    with OnTerminal(daemon.socket_path, "plan", "--file", str(file), columns=160) as terminal:
        assert terminal.end() == 0
    assert [line.rstrip() for line in terminal.text.splitlines()] == shown


def test_every_fault_of_a_file_is_told(daemon: Daemon, tmp_path: Path) -> None:
    """A file that cannot be planned is refused with each fault in its place."""
    file = tmp_path / "bad.yaml"
    file.write_text("name: bad\ntasks:\n  - {id: a, shel: x}\n  - {id: b, shell: x, timeout: soon}\n")
    done = ctl(daemon, "plan", "--file", str(file))
    assert (done.returncode, done.stdout) == (2, "")
    assert [line.rpartition(f"{file}:")[2].split(":")[0] for line in done.stderr.splitlines()] == ["3", "4"]
