from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from barbossad.process.launcher import SCRIPT

PYTHONS = sorted(
    {
        sys.executable,
        *(str(path) for path in Path.home().glob(".pyenv/versions/3.*/bin/python3")),
        *(str(path) for path in Path("/usr/bin").glob("python3.[0-9]*") if path.name[-1].isdigit()),
    }
)
"""The interpreters of this host; one is always there."""


class Runner:
    """Runs inline code as a task does, from a script file that is gone when the code runs into trouble."""

    def __init__(self, command_of: Any, folder: Path) -> None:
        self._command_of = command_of
        self._folder = folder

    def __call__(
        self, code: str, params: dict[str, Any] | None = None, *, python: str = sys.executable, more: str = ""
    ) -> subprocess.CompletedProcess[str]:
        code = json.dumps(textwrap.dedent(code).strip())  # JSON text is YAML text
        task = f"python: {{interpreter: {python}, code: {code}{more}}}"
        command = self._command_of(task, params)
        script = self._folder / "script"
        script.write_bytes(command.script)
        argv = [str(script) if item == SCRIPT else item for item in command.argv]
        env = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", **command.env}
        return subprocess.run(
            argv,
            capture_output=True,
            encoding="utf-8",
            env=env,
            cwd=self._folder,
            check=False,
            stdin=subprocess.DEVNULL,
        )


@pytest.fixture
def run(command_of: Any, tmp_path: Path) -> Runner:
    return Runner(command_of, tmp_path)


@pytest.mark.parametrize("python", PYTHONS)
def test_code_is_main_and_finds_typed_params(run: Runner, python: str) -> None:
    """On any Python from 3.6 on, inline code is ``__main__``, with typed params and a sensible sys.argv."""
    done = run(
        """
          import sys, pickle, os
          def f(): return params["n"] + 1
          class C: pass
          print(__name__, f(), params["text"], params["items"], params["yes"])
          print(sys.argv[1:], os.path.basename(sys.argv[0]))
          print(type(pickle.loads(pickle.dumps(C()))).__name__, "BARBOSSA_PARAMS" in os.environ)
          print(sorted(name for name in globals() if not name.startswith("__")))
        """,
        {"n": 41, "text": "é 'x'", "items": [1, "two"], "yes": True},
        python=python,
        more=", args: [a b, 5]",
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "__main__ 42 é 'x' [1, 'two'] True",
        "['a b', '5'] script",
        "C False",
        "['C', 'f', 'os', 'params', 'pickle', 'sys']",
    ]


@pytest.mark.parametrize("python", PYTHONS)
def test_a_traceback_shows_the_authors_lines_alone(run: Runner, python: str) -> None:
    """Line numbers are those of the code, the lines are shown, and nothing of the bootstrap is."""
    done = run(
        """
        def fail():
            raise ValueError("no")

        try:
            1 / 0
        except ZeroDivisionError:
            fail()
        """,
        python=python,
    )
    assert done.returncode == 1
    assert "<string>" not in done.stderr
    assert 'File "<task python-1>", line 7, in <module>\n    fail()' in done.stderr
    assert 'File "<task python-1>", line 2, in fail\n    raise ValueError("no")' in done.stderr
    assert "ZeroDivisionError" in done.stderr
    assert done.stderr.endswith("ValueError: no\n")


@pytest.mark.parametrize("python", PYTHONS)
def test_an_error_of_syntax_comes_before_anything_runs(run: Runner, python: str) -> None:
    """Code that is not Python fails with its line, and nothing of it has run."""
    done = run("print('ran')\nif True\n    pass\n", python=python)
    assert (done.returncode, done.stdout) == (1, "")
    assert "<string>" not in done.stderr
    assert 'File "<task python-1>", line 2' in done.stderr
    assert "if True" in done.stderr
    assert "SyntaxError" in done.stderr


@pytest.mark.parametrize(
    ("code", "exit_code"), [("raise SystemExit(7)", 7), ("import sys; sys.exit('x')", 1), ("import os; os._exit(3)", 3)]
)
def test_exit_codes_are_the_codes_own(run: Runner, code: str, exit_code: int) -> None:
    """The bootstrap changes no exit code."""
    assert run(code).returncode == exit_code


def test_output_comes_line_by_line(run: Runner) -> None:
    """What was printed before a hard end is not lost in a buffer."""
    assert run("import os\nprint('one')\nos._exit(0)").stdout == "one\n"


def test_the_working_folder_is_not_imported_from(run: Runner, tmp_path: Path) -> None:
    """A file that lies where the task runs cannot take the place of a module."""
    (tmp_path / "json.py").write_text("raise RuntimeError('taken over')")
    (tmp_path / "linecache.py").write_text("raise RuntimeError('taken over')")
    assert run("import json\nprint(json.dumps([1]))").stdout == "[1]\n"


def test_a_future_import_and_a_docstring_work(run: Runner) -> None:
    """The code begins at its first line, for Python too."""
    assert run('"""Doc."""\nfrom __future__ import annotations\nprint(__doc__)').stdout == "Doc.\n"


def test_multiprocessing_works(run: Runner) -> None:
    """Functions of the code can be sent to children."""
    code = """
    import multiprocessing
    def double(x): return 2 * x
    if __name__ == "__main__":
        context = multiprocessing.get_context("fork")
        with context.Pool(1) as pool:
            print(pool.map(double, [1, 2]))
    """
    assert run(code).stdout == "[2, 4]\n"


def test_a_file_is_run_with_its_arguments(command_of: Any) -> None:
    """A named file is run as it is; its arguments may be expressions."""
    command = command_of(
        "python: {file: /opt/x.py, args: [--days, '{{ params.d }}'], interpreter: python3.12}", {"d": 7}
    )
    assert command.argv == ("python3.12", "-u", "/opt/x.py", "--days", "7")
    assert command.script is None
    assert command.env == {"BARBOSSA_PARAMS": '{"d":7}'}


def test_arguments_of_inline_code_may_be_expressions(command_of: Any) -> None:
    """Code is never rendered; arguments are."""
    command = command_of("python: {code: 'x = {1: 2}', args: ['{{ params.d }}']}", {"d": "a b"})
    assert command.argv[-3:] == (SCRIPT, "<task python-1>", "a b")
    assert command.script == b"x = {1: 2}"
