"""Workflow files are checked by the daemon's own package, with no daemon running."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from barbossactl import cli, local
from tests.helpers import cli_process

NOWHERE = Path("/nonexistent/barbossad.sock")
BAD = """name: broken
tasks:
  - id: one
    shel: echo
  - {id: two, timeout: soon, shell: echo}
"""
GOOD = "name: good\ntasks: [{shell: echo}]\n"


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    """A good file and a bad one."""
    for name, text in (("good.yaml", GOOD), ("bad.yaml", BAD)):
        (tmp_path / name).write_text(text)
    return str(tmp_path / "good.yaml"), str(tmp_path / "bad.yaml")


def test_each_fault_is_shown_in_its_place(files: tuple[str, str]) -> None:
    """A fault is FILE:LINE:COLUMN: message, then the line with a caret beneath the place, then the hint; exit 2."""
    good, bad = files
    done = cli_process.run(NOWHERE, "validate", good, bad)
    assert (done.returncode, done.stderr) == (2, "")
    assert done.stdout.splitlines() == [
        f"{good}: valid",
        f"{bad}:4:5: unknown key 'shel'",
        "        shel: echo",
        "        ^",
        "  hint: did you mean 'shell'?",
        f"{bad}:5:15: 'timeout' is not a duration: 'soon'",
        "      - {id: two, timeout: soon, shell: echo}",
        "                  ^",
        "  hint: write seconds, or 90s, 5m, 1h30m, 2d, 250ms",
    ]


def test_good_files_are_a_success(files: tuple[str, str]) -> None:
    """Where every file is valid the exit code is 0, and a program can read so."""
    done = cli_process.run(NOWHERE, "validate", "--json", files[0])
    assert done.returncode == 0
    assert json.loads(done.stdout)["items"] == [{"file": files[0], "valid": True, "faults": []}]


def test_stdin_and_files_that_cannot_be_read(tmp_path: Path) -> None:
    """A file called - is stdin; one that is not there, or no text, is a fault of that file and of no other."""
    (tmp_path / "latin").write_bytes(b"name: a\n# \xe4\n")
    done = cli_process.run(NOWHERE, "validate", str(tmp_path / "gone"), str(tmp_path / "latin"), "-", stdin=GOOD)
    assert done.returncode == 2
    assert done.stdout.splitlines() == [
        f"{tmp_path}/gone: cannot be read: No such file or directory",
        f"{tmp_path}/latin:2:1: is not UTF-8",
        "  hint: save the file as UTF-8",
        "-: valid",
    ]


def test_what_a_file_holds_cannot_act_on_a_terminal(tmp_path: Path) -> None:
    """Control characters of a file are shown as escapes, and the caret still stands beneath the place."""
    (tmp_path / "evil.yaml").write_text('name: evil\ntasks: [{shell: echo, "\\x1b\u202e": 1}]\n')
    done = cli_process.run(NOWHERE, "validate", str(tmp_path / "evil.yaml"))
    assert done.returncode == 2
    assert "\u202e" not in done.stdout
    message, line, caret, *_ = done.stdout.splitlines()
    column = int(message.split(":")[2])
    assert line[caret.index("^")] == '"'
    assert column == caret.index("^") - 4 + 1


def test_the_program_itself_can_be_asked(files: tuple[str, str]) -> None:
    """``barbossad check`` tells a fault on one line, for where there is no barbossactl."""
    done = subprocess.run(
        [sys.executable, "-m", "barbossad", "check", files[1]], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stdout.splitlines()[0] == f"{files[1]}:4:5: unknown key 'shel' (did you mean 'shell'?)"


def test_the_schema_is_that_of_the_reference() -> None:
    """``schema`` prints what editors are given."""
    done = cli_process.run(NOWHERE, "schema")
    assert done.returncode == 0
    assert json.loads(done.stdout) == json.loads((cli_process.ROOT / "docs/reference/workflow.schema.json").read_text())


def test_without_the_package_it_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Where the daemon's package cannot be run, one line says so and what to do next."""
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho 'No module named pydantic' >&2\nexit 1\n")
    broken.chmod(0o755)
    for program, words in ((str(broken), "No module named pydantic"), (str(tmp_path / "none"), "No such file")):
        monkeypatch.setattr(local.sys, "executable", program)
        assert cli.run(["validate", "x.yaml"]) == 1
        said = capsys.readouterr().err
        assert words in said
        assert said.count("\n") == 1
        assert "install Barbossa's package" in said
