from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from barbossad.errors import BarbossaError
from barbossad.process.launcher import SCRIPT
from barbossad.tasks._api import Command

HOSTILE = (
    *("a b", "", "$(touch /tmp/pwned)", "`id`", "; rm -rf /", "'", '"', "\\", "\n", "* ?", "-rf", "--", "$HOME"),
    *("{{ 7 * 7 }}", "{% if %}", "é\u202e", "#", "!!", "a=b", "${IFS}", "|", "&", ">x", "~"),
)


def run(command: Command, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    script = tmp_path / "script"
    if command.script is not None:
        script.write_bytes(command.script)
    argv = [str(script) if item == SCRIPT else item for item in command.argv]
    env = {"PATH": os.environ["PATH"], **command.env}
    return subprocess.run(argv, capture_output=True, text=True, env=env, cwd=tmp_path, check=False)


def test_text_is_a_script_of_sh_that_stops_at_errors(command_of: Any, tmp_path: Path) -> None:
    """Bare text is run by /bin/sh -e from a file."""
    command = command_of("shell: |\n      echo one\n      false\n      echo two\n")
    assert command.argv == ("/bin/sh", "-e", SCRIPT)
    done = run(command, tmp_path)
    assert (done.stdout, done.returncode) == ("one\n", 1)


def test_errors_may_be_passed_over(command_of: Any, tmp_path: Path) -> None:
    """With stop_on_error: false the script goes on."""
    done = run(command_of('shell: {script: "false; echo two", stop_on_error: false}'), tmp_path)
    assert (done.stdout, done.returncode) == ("two\n", 0)


def test_another_shell_may_be_named(command_of: Any, tmp_path: Path) -> None:
    """A map names the shell."""
    command = command_of('shell: {script: "echo $BASH", shell: /bin/bash}')
    assert command.argv == ("/bin/bash", "-e", SCRIPT)
    assert run(command, tmp_path).stdout.endswith("bash\n")


@pytest.mark.parametrize(
    ("line", "argv"),
    [
        ("#!/bin/bash", ("/bin/bash",)),
        ("#! /bin/bash -eu", ("/bin/bash", "-eu")),
        ("#!/usr/bin/env python3", ("/usr/bin/env", "python3")),
        ("#!/usr/bin/env -S bash -e -u  ", ("/usr/bin/env", "-S bash -e -u")),
    ],
)
def test_a_first_line_names_the_interpreter(command_of: Any, line: str, argv: tuple[str, ...]) -> None:
    """``#!`` is read as the kernel does: a program and at most one argument. No -e is added."""
    assert command_of(f"shell: |\n      {line}\n      echo x").argv == (*argv, SCRIPT)


def test_a_script_with_a_first_line_runs(command_of: Any, tmp_path: Path) -> None:
    """The interpreter that the script names runs it."""
    done = run(command_of("shell: |\n      #!/usr/bin/env python3\n      print(6 * 7)"), tmp_path)
    assert done.stdout == "42\n"


def test_a_list_is_run_without_a_shell(command_of: Any) -> None:
    """Items are arguments as they are, numbers and booleans as text."""
    assert command_of("shell: [echo, a b, 5, true, '*', '']").argv == ("echo", "a b", "5", "true", "*", "")


@pytest.mark.parametrize("value", HOSTILE)
def test_a_hostile_value_is_one_argument(command_of: Any, tmp_path: Path, value: str) -> None:
    """Whatever a param holds, an expression gives one argument with exactly that text."""
    command = command_of("shell: [printf, '<%s>', '{{ params.p }}', 'x{{ params.p }}']", {"p": value})
    assert command.argv == ("printf", "<%s>", value, f"x{value}")
    assert run(command, tmp_path).stdout == f"<{value}><x{value}>"
    assert not Path("/tmp/pwned").exists()


@pytest.mark.parametrize(
    ("value", "text"), [(3, "3"), (True, "true"), ([1, "a"], '[1,"a"]'), ({"a": 1}, '{"a":1}'), ([], "[]")]
)
def test_other_values_become_text(command_of: Any, value: object, text: str) -> None:
    """Numbers, booleans, lists and maps follow the same rule as in the environment; a list is one argument."""
    assert command_of("shell: [echo, '{{ params.p }}', 'x{{ params.p }}']", {"p": value}).argv == (
        *("echo", text, f"x{text}"),
    )


def test_what_cannot_be_an_argument_fails_the_task(command_of: Any) -> None:
    """A value that the kernel would refuse is refused before, with the reason."""
    with pytest.raises(BarbossaError, match=r"item 2 of 'shell' holds a NUL"):
        command_of("shell: [echo, '{{ params.p }}']", {"p": "a\0b"})
    with pytest.raises(BarbossaError, match=r"item 2 of 'shell' is 200002 bytes long"):
        command_of("shell: [echo, '{{ params.p }}']", {"p": "x" * 200_000})
    with pytest.raises(BarbossaError, match=r"item 2 of 'shell' has no value"):
        command_of("shell: [echo, '{{ none }}']")
    with pytest.raises(BarbossaError, match=r"item 2 of 'argv' has no value"):  # here it is written so
        command_of("shell: {argv: [echo, '{{ none }}']}")
    with pytest.raises(BarbossaError, match=r"there is no 'q' here"):
        command_of('shell: [echo, \'{{ params["q"+""] }}\']', {"p": "x"})


def test_the_program_may_not_vanish(command_of: Any) -> None:
    """An expression that gives an empty program is refused."""
    with pytest.raises(BarbossaError, match="names no program"):
        command_of("shell: ['{{ params.p }}']", {"p": ""})


def test_a_map_with_expressions_is_rendered_too(command_of: Any) -> None:
    """The long form is the same as the bare one."""
    assert command_of("shell: {argv: [ls, '{{ params.p }}']}", {"p": "/a b"}).argv == ("ls", "/a b")
