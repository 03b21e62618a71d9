"""Run Python code, or a Python file, in an interpreter of one's choice.

Inline code is not compiled at load: the interpreter may be newer than ours, and compiling a stranger's code could
bring the daemon down. The bootstrap compiles it before anything of it runs, so an error of syntax comes first too.
"""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator, Field, model_validator

from barbossad.process.launcher import SCRIPT
from barbossad.tasks._api import Argument, Command, TaskContext, TaskParams
from barbossad.validation import RefusalError, shown
from barbossad.variables import check_travels
from barbossad.workflows import params as workflow_params
from barbossad.workflows.contract import Code, Remedy, refuse_expressions

SUMMARY: Final = "Run Python code, or a Python file, in an interpreter of one's choice"

EXAMPLE: Final = """\
- id: report
  python: |
    import os, shutil
    usage = shutil.disk_usage(params["target"])
    with open(os.environ["BARBOSSA_OUTPUT"], "a") as outputs:
        print(f"free={usage.free}", file=outputs)
- id: tool
  python: {file: /opt/tools/report.py, args: [--days, "{{ params.keep_days }}"]}
"""

BARE: Final = {str: "code"}

_REMEDY: Final = Remedy(param="params['NAME']", env="os.environ['NAME']", braces='"{" "{"')

PARAMS_VARIABLE: Final = "BARBOSSA_PARAMS"
_FILE: Final = re.compile(r"(?:\S*/python3? |python3? )?[\w./~-]+\.py")
"""A file, perhaps with its interpreter before it, where its code is expected: no program says that and no more."""

MAX_CODE_BYTES: Final = 1024 * 1024

BOOTSTRAP: Final = """\
import sys
def start():
    sys.path[:] = [folder for folder in sys.path if folder]
    import json, linecache, os
    path, name = sys.argv[1:3]
    with open(path, "rb") as file:
        text = file.read().decode("utf-8")
    linecache.cache[name] = (len(text), None, text.splitlines(True), name)
    def hook(kind, error, trace):
        import traceback
        while trace and trace.tb_frame.f_code.co_filename == "<string>":
            trace = trace.tb_next
        traceback.print_exception(kind, error, trace)
    sys.excepthook = hook
    sys.argv[:] = [path] + sys.argv[3:]
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(line_buffering=True)
    names = sys.modules["__main__"].__dict__
    del names["sys"], names["start"]
    names["__file__"] = path
    names["params"] = json.loads(os.environb.pop(b"BARBOSSA_PARAMS").decode("utf-8"))
    exec(compile(text, name, "exec", dont_inherit=True), names)
start()
"""
"""Runs inline code from its file, for any Python from 3.6 on.

The code is ``__main__`` itself, finds its params in ``params``, and tracebacks show its own lines alone, also after its
file is gone. The working folder is not on ``sys.path``, as it is not for a script: what lies there is not imported.
"""


def _code(code: str) -> str:
    if not code.strip():
        raise RefusalError("is empty", "write the code")
    if "\0" in code:
        raise RefusalError("holds a NUL character, which no code can")
    if len(code.encode(errors="replace")) > MAX_CODE_BYTES:
        raise RefusalError(f"is longer than {MAX_CODE_BYTES} bytes", "put it into a file and name that under file")
    if _FILE.fullmatch(code.strip()):
        raise RefusalError(f"is code, and this names a file: {shown(code.strip())}", "write {file: /path/to/it.py}")
    return refuse_expressions(code, _REMEDY)


def _interpreter(interpreter: str) -> str:
    check_travels(interpreter)
    if not re.fullmatch(r"[^\s-][^\n]*", interpreter):
        raise RefusalError(f"is no interpreter: {shown(interpreter)}", "write its name or path alone")
    return interpreter


def _file(file: str) -> str:
    check_travels(file)
    if not file.startswith("/"):
        raise RefusalError(f"must be an absolute path, not {shown(file)}", "write it from / on")
    return file


class Params(TaskParams):
    """Code or a file."""

    code: Annotated[Code, AfterValidator(_code)] | None = Field(
        None, description="Python code; it finds the workflow's params, typed, in the dict params"
    )
    file: Annotated[str, AfterValidator(_file)] | None = Field(None, description="Path of a Python file")
    args: list[Argument] = Field([], description="Arguments, in sys.argv from 1 on; expressions are welcome")
    interpreter: Annotated[str, AfterValidator(_interpreter)] = Field(
        "python3", description="Path of a Python from 3.6 on, or its name on the task's PATH"
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> Params:
        if (self.code is None) == (self.file is None):
            raise RefusalError("needs either 'code' or 'file'", "write the code as text, or the path under file")
        return self


def command(ctx: TaskContext, params: Params) -> Command:
    """Return the interpreter with the code's file, or with the named one; params go along as JSON."""
    env = {PARAMS_VARIABLE: workflow_params.as_json(ctx.params)}
    if params.file is not None:
        return Command(argv=(params.interpreter, "-u", params.file, *params.args), env=env)
    assert params.code is not None
    name = f"<task {ctx.task_id}>"
    return Command(
        argv=(params.interpreter, "-c", BOOTSTRAP, SCRIPT, name, *params.args), script=params.code.encode(), env=env
    )
