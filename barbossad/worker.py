"""Run one task in a process of its own: ``python -I -m barbossad.worker JOB``.

JOB is a file (``tasks._job``) that names the task type's module and holds its params; what became of the task is
reported through ``$BARBOSSA_OUTPUT`` (``tasks._report``), and what it prints is its log. SIGTERM cancels the task, so
that it can tidy up, and a second one ends it at once. Only what the type itself needs is imported.
"""

from __future__ import annotations

import gc

gc.disable()  # of what is imported nothing becomes garbage; looking for it would take a tenth of the start

import asyncio
import contextlib
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Mapping
from io import TextIOWrapper
from types import FrameType, ModuleType
from typing import Any, Final

from barbossad.unplugged import unplugged

with unplugged():
    from pydantic import BaseModel, ValidationError

    from barbossad.errors import BarbossaError
    from barbossad.tasks import _report as report
    from barbossad.tasks._api import TaskError
    from barbossad.tasks._job import Job

OUTPUT_VARIABLE: Final = "BARBOSSA_OUTPUT"
FAILED: Final = 1
USAGE: Final = 2

_OWN_FILES: Final = (__file__, importlib.__file__, os.path.dirname(asyncio.__file__), "<frozen importlib")  # noqa: PTH120


class Worker:
    """One task on its way from its job to its report."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._pid = os.getpid()
        self._task: asyncio.Task[Any] | None = None
        self.signal_number = 0
        """The signal that asked for the end, if one did."""

    def run(self) -> bytes:
        """Run the task and return its report. What the task raises goes through."""
        for folder in self._job.search_path:
            if folder not in sys.path:
                sys.path.append(folder)
        with unplugged():
            module = importlib.import_module(self._job.module)
        try:
            params = module.Params.model_validate(self._job.params)
        except ValidationError as error:
            raise TaskError(f"its params are refused: {_faults(error)}") from error
        gc.freeze()
        gc.enable()
        with asyncio.Runner() as runner:
            returned = runner.run(self._run(module, params))
        return report.encode(_outputs(module, returned), self._job.report_limit_bytes)

    async def _run(self, module: ModuleType, params: BaseModel) -> Any:
        self._task = asyncio.current_task()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        try:
            return await module.run(self._job.context, params)
        finally:
            if os.getpid() != self._pid:  # a copy that the task made of itself has nothing to report, and no loop
                os._exit(FAILED)

    def _stop(self, number: int, _frame: FrameType | None) -> None:
        """Cancel the task; end at once where that was done before, or there is nothing to cancel any more."""
        assert self._task is not None
        if self.signal_number or self._task.done():
            die(number)
        self.signal_number = number
        self._task.get_loop().call_soon_threadsafe(self._task.cancel)


def main() -> int:
    """Run the task that the command line names and report; return the exit code."""
    if len(sys.argv) != 2 or OUTPUT_VARIABLE not in os.environ:
        print(f"usage: {OUTPUT_VARIABLE}=FILE python -I -m barbossad.worker JOB", file=sys.stderr)  # noqa: T201
        return USAGE
    output = os.environ.pop(OUTPUT_VARIABLE)  # the report is nobody else's to write: programs do not inherit it
    for stream in (sys.stdout, sys.stderr):
        assert isinstance(stream, TextIOWrapper)
        stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    worker: Worker | None = None
    try:
        with open(sys.argv[1], "rb") as file:  # noqa: PTH123 (pathlib is not needed for anything else)
            worker = Worker(Job.decode(file.read()))
        text, code = worker.run(), 0
    except BaseException as error:  # noqa: BLE001 (whatever it was, it is reported, and the process ends)
        if worker is not None and worker.signal_number and isinstance(error, asyncio.CancelledError):
            with _unless_closed():
                sys.stdout.flush()
            die(worker.signal_number)
        text, code = report.encode_failure(_reason(error)), FAILED
    _write(output, text)
    gc.freeze()  # what is left goes with the process
    return code


def die(number: int) -> None:
    """End by a signal, as a program that knows nothing of signals would."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _reason(error: BaseException) -> str:
    """Return why a task failed; show where, unless it said so itself."""
    if isinstance(error, BarbossaError):
        return str(error)
    if isinstance(error, SystemExit):
        return f"it called sys.exit({error.code!r}) instead of returning its outputs"
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_OWN_FILES):
        trace = trace.tb_next
    with _unless_closed():
        traceback.print_exception(type(error), error, trace)
    message = str(error)
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def _unless_closed() -> contextlib.AbstractContextManager[None]:
    """Do without what cannot be printed, because the task has closed where that would go."""
    return contextlib.suppress(ValueError, OSError)


def _outputs(module: ModuleType, returned: object) -> Mapping[str, Any]:
    """Return the outputs of a task as JSON has them. Raise TaskError if they are none, or not those declared."""
    model: type[BaseModel] | None = getattr(module, "Outputs", None)
    if isinstance(returned, BaseModel):
        return returned.model_dump(mode="json", by_alias=True)
    outputs = {} if returned is None else returned
    if not isinstance(outputs, Mapping):
        raise TaskError(f"its outputs must be a mapping, not {type(outputs).__name__}")
    if model is None:
        return outputs
    try:
        return model.model_validate(outputs).model_dump(mode="json", by_alias=True)
    except ValidationError as error:
        raise TaskError(f"its outputs are not as declared: {_faults(error)}") from error


def _faults(error: ValidationError) -> str:
    items = error.errors(include_url=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in items)


def _write(path: str, text: bytes) -> None:
    """Put the report in place of whatever stands there."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(text)


if __name__ == "__main__":
    sys.exit(main())
