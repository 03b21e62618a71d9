"""Shell completion: commands, and names that live in the daemon."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import cli_process
from tests.helpers.cli_process import Ctl
from tests.helpers.cli_run import RUN_ID, FakeRun
from tests.helpers.cli_stub import StubDaemon, StubError

pytest_plugins = ("tests.helpers.cli_fixtures",)


def complete(socket: Path, *words: str, expected_code: int = 0) -> list[str]:
    """Return what bash is told for the last of ``words``, as the completion script asks."""
    done = cli_process.run(
        socket,
        more={
            "_BARBOSSACTL_COMPLETE": "bash_complete",
            "COMP_WORDS": " ".join(("barbossactl", *words)),
            "COMP_CWORD": str(len(words)),
        },
    )
    assert done.stderr == ""
    assert done.returncode == expected_code
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


@pytest.fixture
def populated(stub_daemon: StubDaemon) -> StubDaemon:
    """A daemon with two workflows and one run."""
    run = FakeRun("build", "test")
    run.leave("test", "waiting")
    stub_daemon.handlers |= run.handlers(stub_daemon)
    workflows = [{"name": "backup", "description": "Keep\nall"}, {"name": "cleanup", "description": None}]
    stub_daemon.handlers["workflow.list"] = lambda _: {"items": workflows, "next_cursor": None}
    params = [{"name": "keep_days", "type": "integer"}, {"name": "target", "type": "path"}]
    stub_daemon.handlers["workflow.get"] = lambda asked: {"params": params if asked["name"] == "backup" else []}
    schedules = [{"id": f"backup/{name}", "when": "every 1h"} for name in ("nightly", "often")]
    stub_daemon.handlers["schedule.list"] = lambda _: {"items": schedules, "next_cursor": None}
    known = [{"version": name, "current": name == "ab12", "applied_at": None} for name in ("ab12", "cd34")]
    stub_daemon.handlers["workflow.versions"] = lambda _: {"items": known, "next_cursor": None}
    return stub_daemon


@pytest.mark.parametrize(
    ("words", "proposed"),
    [
        (["sta"], ["start", "status"]),
        (["run", "c"], ["cancel"]),
        (["start", ""], ["backup", "cleanup"]),
        (["start", "b"], ["backup"]),
        (["workflow", "delete", "c"], ["cleanup"]),
        (["retry", RUN_ID, "--from", ""], ["failed", "start", "build", "test"]),
        (["approve", RUN_ID, ""], ["test"]),
        (["plan", "b"], ["backup"]),
        (["workflow", "rollback", "backup", ""], ["ab12", "cd34"]),
        (["workflow", "diff", "backup", "ab12", "c"], ["cd34"]),
        (["run", "list", "--workflow", ""], ["backup", "cleanup"]),
        (["logs", ""], [RUN_ID, "last"]),
        (["cancel", "0"], [RUN_ID]),
        (["run", "diff", RUN_ID, "l"], ["last"]),
        (["logs", RUN_ID, ""], ["build", "test"]),
        (["run", "logs", "last", "t"], ["test"]),
        (["start", "backup", "-p", ""], ["keep_days=", "target="]),
        (["run", "list", "--state", "f"], ["failed"]),
        (["completion", ""], ["bash", "zsh", "fish"]),
        (["schedule", "explain", "backup/n"], ["backup/nightly"]),
        (["schedule", "history", ""], ["backup/nightly", "backup/often"]),
        (["schedule", "add", "b"], ["backup"]),
        (["nonsense", ""], ["daemon", "workflow", "run"]),
    ],
)
def test_names_are_proposed(populated: StubDaemon, words: list[str], proposed: list[str]) -> None:
    """Commands come from the program, workflows, schedules, runs, tasks and params from the daemon."""
    assert complete(populated.path, *words)[: len(proposed)] == proposed


def test_the_socket_on_the_command_line_is_asked(populated: StubDaemon, socket_folder: Path) -> None:
    """--socket before the command counts for its completion too."""
    elsewhere = socket_folder / "none.sock"
    assert complete(elsewhere, "--socket", str(populated.path), "start", "") == ["backup", "cleanup"]


def test_without_a_daemon_completion_is_silent(socket_folder: Path) -> None:
    """A shell never sees an error while one types."""
    assert complete(socket_folder / "none.sock", "start", "") == []


def test_an_error_of_the_daemon_is_silent(stub_daemon: StubDaemon) -> None:
    """Neither a refusal nor an answer of another shape shows while one types."""

    def refuse(_: dict[str, Any]) -> object:
        raise StubError("permission_denied", "no")

    stub_daemon.handlers["workflow.list"] = refuse
    stub_daemon.handlers["run.list"] = lambda _: {"items": "strange"}
    assert complete(stub_daemon.path, "start", "") == []
    assert complete(stub_daemon.path, "logs", "") == []


def test_a_slow_daemon_does_not_hold_the_shell(stub_daemon: StubDaemon) -> None:
    """What does not answer within the short timeout proposes nothing."""
    stub_daemon.handlers["workflow.list"] = lambda _: stub_daemon.stopping.wait(30)
    assert complete(stub_daemon.path, "start", "") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script(ctl: Ctl, shell: str) -> None:
    """The script names the program and the variable by which it asks."""
    ended = ctl("completion", shell)
    assert ended.code == 0
    assert "barbossactl" in ended.out
    assert f"_BARBOSSACTL_COMPLETE={shell}_complete" in ended.out


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_takes_the_script(populated: StubDaemon, tmp_path: Path, ctl: Ctl) -> None:
    """Loaded into a real bash, the script completes a workflow's name."""
    script = tmp_path / "complete.bash"
    script.write_text(ctl("completion", "bash").out)
    program = tmp_path / "barbossactl"
    program.write_text(f'#!/bin/sh\nexec "{cli_process.COMMAND[0]}" -m barbossactl "$@"\n')
    program.chmod(0o755)
    ask = (
        f'PATH="{tmp_path}:$PATH"; source "{script}"; COMP_WORDS=(barbossactl start ba); COMP_CWORD=2; '
        '_barbossactl_completion barbossactl ba start; echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", ask],
        env=cli_process.environment(populated.path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["backup"], done.stderr
