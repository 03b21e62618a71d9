"""Versions of workflows, and how runs differ: with a real daemon and the real command line."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import cli_process
from tests.helpers.daemon import Daemon
from tests.helpers.rpc_client import RpcError

FIRST = """name: greet
params: {who: {type: string, default: world}}
env: {TONE: warm}
tasks:
  - id: greet
    shell: |
      echo "said=$who" >> "$BARBOSSA_OUTPUT"
"""
SECOND = FIRST.replace("warm", "cold") + "  - {id: after, shell: exit 3}\n"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(tmp_path_factory.mktemp("d")) as running:
        yield running


def ctl(daemon: Daemon, *arguments: str) -> subprocess.CompletedProcess[str]:
    return cli_process.run(daemon.socket_path, *arguments)


def versions(daemon: Daemon, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = daemon.call("workflow.versions", name=name)["items"]
    return found


def two_versions(daemon: Daemon, name: str) -> tuple[str, str]:
    first = daemon.call("workflow.apply", yaml=FIRST.replace("greet", name))["version"]
    second = daemon.call("workflow.apply", yaml=SECOND.replace("greet", name))["version"]
    return first, second


def test_the_last_change_is_shown_as_a_diff(daemon: Daemon) -> None:
    """Without versions, what is in force is compared with what was before it; a diff can be fed to patch."""
    first, second = two_versions(daemon, "lastly")
    done = ctl(daemon, "workflow", "diff", "lastly")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[:2] == [f"--- lastly {first}", f"+++ lastly {second}"]
    assert {"-env: {TONE: warm}", "+env: {TONE: cold}", "+  - {id: after, shell: exit 3}"} <= set(lines)
    told = json.loads(ctl(daemon, "workflow", "diff", "lastly", second, first, "--json").stdout)
    assert (told["from"], told["to"], told["changed"]) == (second, first, True)
    assert "+env: {TONE: warm}" in told["diff"].splitlines()


def test_a_version_does_not_differ_from_itself(daemon: Daemon) -> None:
    """Equal versions are no data, and said to be equal."""
    _, second = two_versions(daemon, "itself")
    done = ctl(daemon, "workflow", "diff", "itself", second)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"{second} and {second} are the same\n"


def test_a_first_version_has_none_before_it(daemon: Daemon) -> None:
    """That there is nothing to compare with is said in one line."""
    daemon.apply("name: single\ntasks: [{shell: echo}]\n")
    done = ctl(daemon, "workflow", "diff", "single")
    assert done.returncode == 1
    assert "it is the first one" in done.stderr
    assert done.stderr.count("\n") == 1
    with pytest.raises(RpcError) as caught:
        daemon.call("workflow.diff", **{"name": "single", "from": "0123456789abcdef"})
    assert caught.value.kind == "not_found"


def test_a_last_line_without_an_end_is_told_as_diff_does(daemon: Daemon) -> None:
    """Two texts that differ in their last line end differ."""
    daemon.apply("name: ending\ntasks: [{shell: echo}]")
    daemon.apply("name: ending\ntasks: [{shell: echo}]\n")
    diff = daemon.call("workflow.diff", name="ending")["diff"]
    assert "-tasks: [{shell: echo}]\n\\ No newline at end of file\n+tasks: [{shell: echo}]\n" in diff


def test_an_old_version_is_put_in_force_again(daemon: Daemon) -> None:
    """After a rollback new runs are of the old version, and the history says who did it, as of any other."""
    first, second = two_versions(daemon, "backagain")
    done = ctl(daemon, "workflow", "rollback", "backagain", first)
    assert (done.returncode, done.stdout) == (0, "")
    assert f"backagain is at version {first} again" in done.stderr
    assert daemon.call("workflow.get", name="backagain")["version"] == first
    assert [(item["version"], item["current"]) for item in versions(daemon, "backagain")] == [
        (first, True),
        (second, False),
    ]
    assert daemon.call("run.start", workflow="backagain")["version"] == first


def test_what_is_in_force_cannot_be_rolled_back_to(daemon: Daemon) -> None:
    """A rollback that would change nothing is refused rather than said to be done."""
    _, second = two_versions(daemon, "inforce")
    done = ctl(daemon, "workflow", "rollback", "inforce", second)
    assert done.returncode == 1
    assert "is the one in force already" in done.stderr
    done = ctl(daemon, "workflow", "rollback", "inforce", "0123456789abcdef")
    assert done.returncode == 1
    assert "there is no version" in done.stderr


def finished(daemon: Daemon, workflow: str, **params: Any) -> str:
    run_id: str = daemon.call("run.start", workflow=workflow, params=params)["id"]
    daemon.call("run.wait", run_id=run_id)
    return run_id


def test_runs_are_compared(daemon: Daemon) -> None:
    """What two runs were given and what came out of them is told where it differs, and how their files do."""
    daemon.apply(FIRST.replace("greet", "compared"))
    before = finished(daemon, "compared", who="ada")
    daemon.apply(SECOND.replace("greet", "compared"))
    after = finished(daemon, "compared", who="eve")
    told = json.loads(ctl(daemon, "run", "diff", before, after, "--json").stdout)
    differences = {(one["what"], one["name"]): (one["from"], one["to"]) for one in told["differences"]}
    assert differences["param", "who"] == ("ada", "eve")
    assert differences["env", "TONE"] == ("warm", "cold")
    assert differences["state", ""] == ("succeeded", "failed")
    assert differences["state", "after"] == (None, "failed")
    assert differences["outputs", "compared"] == ({"said": "ada"}, {"said": "eve"})
    assert ("state", "compared") not in differences
    assert "+env: {TONE: cold}" in told["diff"].splitlines()
    assert {"", "compared", "after"} == {one["task"] for one in told["durations"]}
    lines = ctl(daemon, "run", "diff", before, "last").stdout.splitlines()
    assert "param\twho\tada\teve" in lines
    assert "state\t-\tsucceeded\tfailed" in lines
    assert "+env: {TONE: cold}" in lines


def test_runs_that_are_alike_have_nothing_to_tell(daemon: Daemon) -> None:
    """Two runs of one version with the same params and outcome do not differ but in how long they took."""
    daemon.apply(FIRST.replace("greet", "alike"))
    runs = [finished(daemon, "alike") for _ in range(2)]
    told = daemon.call("run.diff", run_id=runs[0], other=runs[1])
    assert (told["differences"], told["diff"]) == ([], "")


def test_what_a_run_ran_is_kept(daemon: Daemon, tmp_path: Path) -> None:
    """The file of a run is there as it was, though the workflow has changed, or is gone."""
    daemon.apply(FIRST.replace("greet", "kept"))
    run_id = finished(daemon, "kept")
    daemon.apply(SECOND.replace("greet", "kept"))
    daemon.call("workflow.delete", name="kept")
    assert ctl(daemon, "run", "definition", run_id).stdout == FIRST.replace("greet", "kept")
    told = json.loads(ctl(daemon, "run", "definition", run_id, "--json").stdout)
    assert told["yaml"] == FIRST.replace("greet", "kept")
