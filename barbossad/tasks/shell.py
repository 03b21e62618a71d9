"""Run a shell script, or a program with its arguments."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator, Field, model_validator

from barbossad.process.launcher import SCRIPT
from barbossad.tasks._api import Argument, Command, TaskContext, TaskParams
from barbossad.validation import RefusalError, shown
from barbossad.workflows.contract import IN_SHELL, Code, refuse_expressions

SUMMARY: Final = "Run a shell script, or a program with its arguments"

EXAMPLE: Final = """\
- id: count
  shell: |
    files=$(find "$target" -type f | wc -l)
    echo "files=$files" >> "$BARBOSSA_OUTPUT"
- id: list
  shell: [ls, -l, "{{ params.target }}"]
- id: bash
  shell: {script: "set -o pipefail; sort words | uniq -c", shell: /bin/bash}
"""

BARE: Final = {str: "script", list: "argv"}

MAX_SCRIPT_BYTES: Final = 1024 * 1024

_SHEBANG: Final = re.compile(r"#![ \t]*(?P<program>\S+)(?:[ \t]+(?P<argument>[^\n]*?))?[ \t]*(?:\n|\Z)")


def _script(script: str) -> str:
    if not script.strip():
        raise RefusalError("is empty", "write the commands")
    if "\0" in script:
        raise RefusalError("holds a NUL character, which no script can")
    if len(script.encode(errors="replace")) > MAX_SCRIPT_BYTES:
        raise RefusalError(f"is longer than {MAX_SCRIPT_BYTES} bytes", "put it into a file and run that")
    if script.startswith("#!") and not _SHEBANG.match(script):
        raise RefusalError("begins with #! but names no program", "write #!/bin/sh or leave the line out")
    return refuse_expressions(script, IN_SHELL)


def _argv(argv: list[str]) -> list[str]:
    if not argv or not argv[0]:
        raise RefusalError("names no program", "write [program, argument, …]")
    return argv


def _shell(shell: str) -> str:
    if not re.fullmatch(r"/?[A-Za-z0-9._+/-]+", shell) or shell.startswith("-"):
        raise RefusalError(f"is no shell: {shown(shell)}", "write its path alone, such as /bin/bash")
    return shell


class Params(TaskParams):
    """A script or an argument list."""

    script: Annotated[Code, AfterValidator(_script)] | None = Field(
        None, description="Text of a script; every param and env entry is an environment variable in it"
    )
    argv: Annotated[list[Argument], AfterValidator(_argv)] | None = Field(
        None, description="A program and its arguments, run without a shell; expressions are welcome"
    )
    shell: Annotated[str, AfterValidator(_shell)] = Field(
        "/bin/sh", description="What runs the script, unless its first line names that (#!)"
    )
    stop_on_error: bool = Field(True, description="End the script at the first command that fails (sh -e)")

    @model_validator(mode="after")
    def _one_of_both(self) -> Params:
        if (self.script is None) == (self.argv is None):
            raise RefusalError("needs either 'script' or 'argv'", "write the script as text, or the program as a list")
        given = self.model_fields_set & {"shell", "stop_on_error"}
        if given and self.argv is not None:
            raise RefusalError(f"has {sorted(given)[0]!r}, but a list is run without a shell", "remove it")
        if given and self.script is not None and self.script.startswith("#!"):
            raise RefusalError(
                f"has {sorted(given)[0]!r}, but the script's first line says already what runs it",
                "remove one of them; set -e in the script stops at errors",
            )
        return self


def command(_ctx: TaskContext, params: Params) -> Command:
    """Return the shell with the script's file, or the program itself."""
    if params.argv is not None:
        return Command(argv=tuple(params.argv))
    assert params.script is not None
    script = params.script if params.script.endswith("\n") else params.script + "\n"
    shebang = _SHEBANG.match(script)
    if shebang:
        # As the kernel would read the line (execve(2)), which it cannot where /run is mounted noexec.
        options = (shebang["argument"],) if shebang["argument"] else ()
        return Command(argv=(shebang["program"], *options, SCRIPT), script=script.encode())
    options = ("-e",) if params.stop_on_error else ()
    return Command(argv=(params.shell, *options, SCRIPT), script=script.encode())
