"""The worker as a launcher starts it, with a task type of somebody else's: what it reports, and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from barbossad.process.launcher import OUTPUT_LIMIT, EndCause, ProcessEnd
from barbossad.tasks import _outputs, _worker
from barbossad.tasks._api import WorkerContext
from barbossad.tasks._job import Job
from barbossad.tasks._report import Report
from tests.helpers import foreign
from tests.helpers.launching import Bench, Watched, make_local
from tests.helpers.waiting import eventually_async

CONTEXT = WorkerContext(run_id="0abcdefghj", task_id="odd", attempt=2)
LIMIT_SECONDS = 30


class Workers:
    """Starts workers through a real launcher and reads what they report."""

    def __init__(self, bench: Bench, site_packages: Path) -> None:
        self.bench = bench
        self.site_packages = site_packages

    def start(self, do: str, value: Any = None, *, module: str = "probe_type", **more: Any) -> Watched:
        """Start a worker."""
        params = {"do": do} if value is None else {"do": do, "value": value}
        job = Job(
            module=module,
            params=more.pop("params", params),
            context=CONTEXT,
            search_path=(str(self.site_packages),),
            report_limit_bytes=OUTPUT_LIMIT,
        )
        return self.bench.launch(job.encode().decode(), argv=_worker.ARGV, **more)

    async def run(self, do: str, value: Any = None, **more: Any) -> tuple[ProcessEnd, Report]:
        """Return the end of one and what it reported."""
        end = await self.start(do, value, **more).end()
        return end, _outputs.of_worker(end)

    async def says(self, watched: Watched, text: str) -> None:
        """Wait until it has printed something."""
        await eventually_async(
            lambda: text in self.bench.text(watched.process.log.snapshot()), LIMIT_SECONDS, f"it says {text!r}"
        )


@pytest.fixture
async def workers(tmp_path: Path) -> AsyncIterator[Workers]:
    foreign.install(tmp_path / "site")
    bench = make_local(tmp_path)
    await bench.launcher.start()
    yield Workers(bench, tmp_path / "site")
    await bench.launcher.close()
    assert list(bench.runtime_dir.iterdir()) == [], "files of ended attempts stay"


async def test_outputs_keep_their_types(workers: Workers) -> None:
    """What the coroutine returns is what later tasks see; half a character, which no text can hold, is replaced."""
    end, report = await workers.run("typed")
    assert (end.cause, end.exit_code) == (EndCause.EXITED, 0)
    assert report.outputs == {
        "number": 1.5,
        "count": 3,
        "yes": True,
        "none": None,
        "text": "é\n\0",
        "half": "x?y",
        "list": [1, "a", None],
        "map": {"a": {"b": [True]}},
    }


async def test_a_task_may_have_no_outputs(workers: Workers) -> None:
    """Nothing returned is a success without outputs, and says so."""
    assert (await workers.run("nothing"))[1] == Report(outputs={})


async def test_a_type_says_itself_why_it_failed(workers: Workers) -> None:
    """A TaskError is the reason, word for word, and no traceback stands in the log."""
    end, report = await workers.run("fail", "the disk of /srv is full")
    assert (end.exit_code, report.failure) == (1, "the disk of /srv is full")
    assert workers.bench.text(end.log) == ""


@pytest.mark.parametrize(("message", "reason"), [("no such thing", "ValueError: no such thing"), ("", "ValueError")])
async def test_any_other_error_is_told_with_its_traceback(workers: Workers, message: str, reason: str) -> None:
    """The reason has type and message; the log shows the type's own lines, not the worker's or asyncio's."""
    end, report = await workers.run("crash", message)
    log = workers.bench.text(end.log, "stderr")
    assert (end.exit_code, report.failure) == (1, reason)
    assert log.startswith("Traceback")
    assert 'probe_type.py", line' in log
    assert log.endswith(f"\n{reason}\n")
    assert "worker.py" not in log
    assert "asyncio" not in log


@pytest.mark.parametrize("do", ["close", "close_fds"])
async def test_an_error_is_told_where_nothing_can_be_printed(workers: Workers, do: str) -> None:
    """A task that has closed its output has no traceback, but its reason."""
    end, report = await workers.run(do, "no such thing")
    assert report.failure == "ValueError: no such thing"
    assert end.exit_code in {1, 120}, "120: Python found that it could not flush"


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("set", "its output 'things' cannot be written as JSON: Object of type set is not JSON serializable"),
        ("nan", "its output 'n' cannot be written as JSON: Out of range float values are not JSON compliant"),
        ("name", "'a b' cannot be the name of an output"),
        ("number", "5 cannot be the name of an output"),
        ("circle", "its output 'c' cannot be written as JSON: Circular reference detected"),
        ("deep", "its output 'd' is nested deeper than 32 levels"),
        ("list", "its outputs must be a mapping, not list"),
        ("much", "its outputs are larger than 1048576 bytes; put large data into a file and output its path"),
    ],
)
async def test_outputs_that_cannot_be_handed_on_fail_the_task(workers: Workers, what: str, reason: str) -> None:
    """Each is refused with a sentence that names the output and the way out."""
    end, report = await workers.run("returned", what)
    assert (end.exit_code, report.outputs) == (1, None)
    assert (report.failure or "").startswith(reason)


async def test_outputs_up_to_the_limit_are_taken(workers: Workers) -> None:
    """A megabyte is a megabyte, in whatever alphabet."""
    assert (await workers.run("returned", "enough"))[1].outputs == {"text": "é" * (2**19 - 100)}


async def test_what_is_printed_is_the_log_in_its_order(workers: Workers) -> None:
    """Lines of print, of the raw descriptor and of programs come as they were written; no text breaks print."""
    end, report = await workers.run("order")
    assert report.outputs == {}
    assert workers.bench.text(end.log, "stdout") == "one é \\udc80\ntwo\nthree\nfour\nfive\n"
    assert workers.bench.text(end.log, "stderr") == "to stderr\n"


async def test_what_a_task_is_told(workers: Workers, tmp_path: Path) -> None:
    """Which attempt it is, its params and its folder; the interpreter obeys nothing of the task's environment."""
    (tmp_path / "json.py").write_text("raise RuntimeError('taken over')")
    env = {"PYTHONPATH": str(tmp_path), "PYTHONSTARTUP": "/x", "PYTHONWARNINGS": "error", "PATH": "/usr/bin:/bin"}
    _, report = await workers.run("told", {"a": [1]}, env=env, working_dir=str(tmp_path))
    assert report.outputs is not None
    assert report.outputs["context"] == ["0abcdefghj", "odd", 2]
    assert (report.outputs["value"], report.outputs["folder"]) == ({"a": [1]}, str(tmp_path))
    assert (report.outputs["isolated"], report.outputs["first"] == str(tmp_path)) == (1, False)


async def test_programs_that_a_task_starts_cannot_report(workers: Workers) -> None:
    """The report's path is not in their environment, and what stands in the file is replaced as a whole."""
    assert (await workers.run("children"))[1] == Report(outputs={"a": 1})
    told = (await workers.run("told"))[1].outputs
    assert told is not None
    assert told["output"] is None


async def test_a_cancelled_task_tidies_up(workers: Workers) -> None:
    """SIGTERM cancels the coroutine, its finally blocks run, and the process ends as the signal would have ended it."""
    watched = workers.start("tidy")
    await workers.says(watched, "waiting")
    watched.process.stop(LIMIT_SECONDS)
    end = await watched.end()
    assert (end.cause, end.signal) == (EndCause.SIGNALLED, signal.SIGTERM)
    assert workers.bench.text(end.log) == "waiting\ntidied up\n"


async def test_a_failure_while_tidying_up_is_told(workers: Workers) -> None:
    """What goes wrong on the way out is not lost."""
    watched = workers.start("tidy", "the lock stays")
    await workers.says(watched, "waiting")
    watched.process.stop(LIMIT_SECONDS)
    assert _outputs.of_worker(await watched.end()).failure == "the lock stays"


async def test_a_task_may_end_well_when_it_is_asked_to_end(workers: Workers) -> None:
    """Like a program that catches SIGTERM; the engine decides what it means."""
    watched = workers.start("quits")
    await workers.says(watched, "waiting")
    watched.process.stop(LIMIT_SECONDS)
    end = await watched.end()
    assert (end.exit_code, _outputs.of_worker(end).outputs) == (0, {"came": "half way"})


@pytest.mark.parametrize(("do", "sign"), [("stubborn", "not yet"), ("blocked", "waiting")])
async def test_a_second_signal_ends_what_will_not_end(workers: Workers, do: str, sign: str) -> None:
    """Whether it catches its cancellation or never comes to it."""
    watched = workers.start(do)
    await workers.says(watched, "waiting")
    pid = (await watched.start()).pid
    assert pid is not None
    os.kill(pid, signal.SIGTERM)
    await workers.says(watched, sign)
    await eventually_async(lambda: not _is_pending(pid, signal.SIGTERM), LIMIT_SECONDS, "the first has come")
    os.kill(pid, signal.SIGTERM)
    end = await watched.end()
    assert (end.cause, end.signal) == (EndCause.SIGNALLED, signal.SIGTERM)


async def test_what_will_not_end_is_killed_after_its_grace(workers: Workers) -> None:
    """As every other task."""
    watched = workers.start("stubborn")
    await workers.says(watched, "waiting")
    watched.process.stop(0.05)
    end = await watched.end()
    assert (end.cause, end.signal) == (EndCause.SIGNALLED, signal.SIGKILL)


@pytest.mark.parametrize("code", [0, 3, None, "bye"])
async def test_to_end_the_program_is_no_success(workers: Workers, code: Any) -> None:
    """sys.exit returns no outputs, so it is a failure, with 0 too."""
    _, report = await workers.run("sys_exit", code)
    assert report.failure == f"it called sys.exit({code!r}) instead of returning its outputs"


@pytest.mark.parametrize(
    ("code", "failure"), [(0, "it exited with 0 but its report cannot be read: there is none"), (3, None)]
)
async def test_who_vanishes_has_not_succeeded(workers: Workers, code: int, failure: str | None) -> None:
    """An exit code of 0 without a report is no evidence; another exit code speaks for itself."""
    end, report = await workers.run("exit", code)
    assert (end.exit_code, report) == (code, Report(failure=failure))


async def test_a_fork_does_not_report(workers: Workers) -> None:
    """A copy of the process that comes back from the coroutine ends there; the report is the first one's."""
    _, report = await workers.run("fork")
    assert report.outputs == {"from": "the parent", "status": 1}


async def test_a_cancellation_that_nobody_asked_for_is_a_failure(workers: Workers) -> None:
    """Only a signal makes it an end by that signal."""
    end, report = await workers.run("cancel_itself")
    assert (end.exit_code, report.failure) == (1, "CancelledError")


async def test_params_are_validated_in_the_worker_too(workers: Workers) -> None:
    """The files on the disk may be newer than the daemon: what they would not take is refused, and said."""
    _, report = await workers.run("", params={"do": "dance", "more": 1})
    assert (report.failure or "").startswith("its params are refused: do: Input should be 'typed'")
    assert "more: Extra inputs are not permitted" in (report.failure or "")


async def test_a_type_that_is_gone_is_told(workers: Workers) -> None:
    """A package that was taken off the host since the daemon started."""
    end, report = await workers.run("typed", module="probe_gone")
    assert report.failure == "ModuleNotFoundError: No module named 'probe_gone'"
    assert "worker.py" not in workers.bench.text(end.log, "stderr")


async def test_declared_outputs_are_held_against_what_is_returned(workers: Workers) -> None:
    """A type that declares its outputs gives those, converted, and no others."""
    for name, body in {"good": '{"size": 5}', "short": "{}", "other": '{"size": 5, "more": 1}'}.items():
        (workers.site_packages / f"{name}.py").write_text(
            "from barbossad.tasks import TaskOutputs, TaskParams\n"
            "class Params(TaskParams): pass\n"
            "class Outputs(TaskOutputs):\n    size: float\n    unit: str = 'MB'\n"
            f"async def run(ctx, params): return {body}\n"
        )
    assert (await workers.run("", module="good", params={}))[1].outputs == {"size": 5.0, "unit": "MB"}
    short = (await workers.run("", module="short", params={}))[1].failure
    assert short == "its outputs are not as declared: size: Field required"
    other = (await workers.run("", module="other", params={}))[1].failure
    assert other == "its outputs are not as declared: more: Extra inputs are not permitted"


MAY_IMPORT = {
    *("barbossad", "barbossad.errors", "barbossad.model", "barbossad.model.names", "barbossad.tasks"),
    *("barbossad.tasks._api", "barbossad.tasks._job", "barbossad.tasks._report", "barbossad.tasks.wait"),
    *("barbossad.units", "barbossad.unplugged", "barbossad.validation", "barbossad.variables"),
}
MAY_IMPORT_OF_OTHERS = {"pydantic", "pydantic_core", "annotated_types", "typing_extensions", "typing_inspection"}
LOOK = """\
import sys
from barbossad.tasks.wait import Params
async def run(ctx, params):
    found = {name: getattr(module, "__file__", None) or "" for name, module in sys.modules.items()}
    return {"spared": "importlib.metadata._adapters" not in sys.modules,
            "ours": sorted(name for name in found if name.partition(".")[0] == "barbossad"),
            "others": sorted({name.partition(".")[0] for name, path in found.items() if "/site-packages/" in path})}
"""


async def test_the_worker_imports_what_its_type_needs_and_nothing_else(workers: Workers) -> None:
    """No store, no HTTP, no templates, no YAML: each would be paid for at every start of every task."""
    (workers.site_packages / "look.py").write_text(LOOK)
    outputs = (await workers.run("", module="look", params={"duration": 0}))[1].outputs
    assert outputs is not None
    assert outputs["spared"] is True
    assert set(outputs["ours"]) == MAY_IMPORT
    assert set(outputs["others"]) - {"_distutils_hack"} <= MAY_IMPORT_OF_OTHERS  # that one comes by a .pth file


def test_the_worker_by_hand_says_how_it_is_used() -> None:
    """It is no command for people; whoever tries it is told."""
    done = subprocess.run([*_worker.ARGV[:-1]], env={}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.split()[0]) == (2, "usage:")


def _is_pending(pid: int, number: signal.Signals) -> bool:
    """Say whether a signal has been sent to a process but not come to it: ``ShdPnd`` of proc(5)."""
    status = Path(f"/proc/{pid}/status").read_text()
    pending = int(next(line for line in status.splitlines() if line.startswith("ShdPnd")).split()[1], 16)
    return bool(pending >> (number - 1) & 1)
