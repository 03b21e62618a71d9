"""The road of a new user: a file is applied, started with the real command line on the real daemon, and followed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.daemon import Daemon

GOOD = """
name: good
params:
  who: {type: string, default: world}
tasks:
  - id: one
    shell: echo "hello $who"; echo "size=42" >> "$BARBOSSA_OUTPUT"
  - id: two
    shell: [printf, "%s|%s", "{{ tasks.one.outputs.size }}", "{{ params.who }}"]
  - id: three
    shell: echo to-stderr >&2
  - id: four
    python: |
      print(f"python got {params['who']!r}")
"""
BAD = """
name: bad
tasks:
  - id: fine
    shell: echo fine
  - id: broken
    shell: |
      for line in 1 2 3; do echo "line $line"; done
      exit 7
  - id: never
    shell: echo never
"""


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """Yield a running daemon."""
    with Daemon(tmp_path) as running:
        yield running


def ctl(daemon: Daemon, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run the real barbossactl against it."""
    return subprocess.run(
        [sys.executable, "-m", "barbossactl", *arguments],
        env={**daemon.environment, "BARBOSSA_SOCKET": str(daemon.socket_path)},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_good_run_is_shown_to_its_end(daemon: Daemon) -> None:
    """Three shell tasks and a Python task: states and output are printed as they come, and the exit code is 0."""
    assert ctl(daemon, "apply", "-", stdin=GOOD).returncode == 0
    done = ctl(daemon, "start", "good", "-p", "who=O'Brien; $(id)")
    assert done.returncode == 0, done
    lines = done.stdout.splitlines()
    assert lines == [  # the order of the tasks
        "one | hello O'Brien; $(id)",
        "two | 42|O'Brien; $(id)",
        "three | to-stderr",
        'four | python got "O\'Brien; $(id)"',
    ]
    assert [
        line.split()[1] for line in done.stderr.splitlines() if "succeeded" in line and line.startswith("task")
    ] == [
        "one",
        "two",
        "three",
        "four",
    ]
    assert "succeeded" in done.stderr.splitlines()[-1]


def test_a_bad_run_names_the_task_its_exit_code_and_its_last_lines(daemon: Daemon) -> None:
    """A failing task ends the command with 1, and what to know of it stands together."""
    assert ctl(daemon, "apply", "-", stdin=BAD).returncode == 0
    done = ctl(daemon, "start", "bad")
    assert done.returncode == 1, done
    told = done.stderr[done.stderr.index("task broken failed: exit code 7") :]
    assert [line.strip(" |") for line in told.splitlines()[1:4]] == ["line 1", "line 2", "line 3"]
    assert "task never" in done.stderr


def test_a_detached_run_can_be_waited_for_listed_and_read(daemon: Daemon) -> None:
    """`--detach` prints the id alone; `wait`, `list`, `get` and `logs` know it."""
    ctl(daemon, "apply", "-", stdin=GOOD)
    run_id = ctl(daemon, "start", "good", "--detach").stdout.strip()
    assert ctl(daemon, "run", "wait", run_id).returncode == 0
    (item,) = json.loads(ctl(daemon, "run", "list", "--json").stdout)["items"]
    assert (item["id"], item["state"]) == (run_id, "succeeded")
    assert json.loads(ctl(daemon, "run", "get", run_id, "--json").stdout)["tasks"][0]["outputs"] == {"size": "42"}
    assert ctl(daemon, "logs", "last", "one").stdout == "hello world\n"


def test_cancel_ends_the_run_with_five(daemon: Daemon) -> None:
    """A cancelled run ends the command that waits for it with 5."""
    ctl(daemon, "apply", "-", stdin="name: long\ntasks: [{id: nap, shell: sleep 600}]\n")
    run_id = ctl(daemon, "start", "long", "--detach").stdout.strip()
    assert ctl(daemon, "cancel", run_id).returncode in (0, 5)
    assert ctl(daemon, "run", "wait", run_id).returncode == 5


def test_faults_are_told_all_at_once(daemon: Daemon) -> None:
    """A broken file ends with 2, each fault with its line and the way to mend it, and nothing is applied."""
    broken = "name: broken\ntasks:\n  - id: one\n    shel: echo\n  - id: one\n    shell: echo\n    depends_on: [tow]\n"
    done = ctl(daemon, "apply", "-", stdin=broken)
    assert done.returncode == 2
    assert "did you mean 'shell'?" in done.stderr
    assert "tow" in done.stderr
    assert daemon.call("workflow.list")["items"] == []


def test_history_is_there_after_a_restart(tmp_path: Path) -> None:
    """What an earlier daemon ran is shown by the next one, whether or not it has read that workflow yet."""
    with Daemon(tmp_path) as first:
        ctl(first, "apply", "-", stdin=GOOD)
        run_id = ctl(first, "start", "good", "--detach").stdout.strip()
        before = first.call("run.wait", run_id=run_id)
    with Daemon(tmp_path) as second:
        assert second.call("run.get", run_id=run_id) == before
        assert second.call("run.get", run_id=run_id) == before
        assert second.call("run.logs", run_id=run_id, task="one")["items"][0]["text"] == "hello world"
