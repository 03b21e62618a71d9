"""How runs and tasks ended, in words."""

from __future__ import annotations

from typing import Any

import pytest

from barbossactl import report
from barbossactl.exits import RUN_EXITS, DaemonError, Exit
from barbossactl.pieces import Source, Tails
from barbossactl.records import RUN_ENDED, OutputPiece, Run, Task, run_from
from barbossad import wire


def task(state: str = "failed", *, reason: str | None = None, tries: int = 1, **attempt: Any) -> dict[str, Any]:
    attempts = [{"number": number + 1, "state": state, **attempt} for number in range(tries)]
    return {"id": "build", "type": "shell", "state": state, "reason": reason, "attempts": attempts}


def run(state: str, *tasks: dict[str, Any], reason: str | None = None) -> Run:
    return run_from(
        {
            "id": "0a1b2c3d4e",
            "workflow": "w",
            "version": "v",
            "state": state,
            "reason": reason,
            "started_at": "2026-03-01T12:00:00Z",
            "finished_at": "2026-03-01T12:00:02.300Z",
            "tasks": list(tasks),
        }
    )


def only_task(value: dict[str, Any]) -> Task:
    return run("failed", value).tasks[0]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (task(exit_code=7), "exit code 7"),
        (task(exit_code=7, tries=3), "exit code 7 (3 attempts)"),
        (task("timed_out", signal=15, reason="killed by SIGTERM: it did not end within its timeout of 300ms", tries=3),
         "killed by SIGTERM: it did not end within its timeout of 300ms (3 attempts)"),
        (task("waiting", exit_code=7, reason="exit code 7; attempt 2 of 2 in 3s"), "exit code 7; attempt 2 of 2 in 3s"),
        (task("waiting", exit_code=7, reason="exit code 7; attempt 3 of 3", tries=2), "exit code 7; attempt 3 of 3"),
        (task("running", tries=2), "attempt 2"),
        (task("running", reason="another attempt approved by ada", tries=2),
         "attempt 2; another attempt approved by ada"),
        (task("waiting", reason="stopped; it waits for a person to approve another attempt, or to reject it", tries=2),
         "stopped; it waits for a person to approve another attempt, or to reject it"),
        (task("cancelled", tries=2), "2 attempts"),
        (task(exit_code=7, reason="ended with code 7, at last"), "ended with code 7, at last"),
        (task(exit_code=7, reason="ended with exit code 7"), "ended with exit code 7"),
        (task(exit_code=7, reason="exit code 77 elsewhere"), "exit code 7; exit code 77 elsewhere"),
        (task(exit_code=7, reason="7 files are missing"), "exit code 7; 7 files are missing"),
        (task(signal=9), "killed by SIGKILL"),
        (task(signal="9"), "killed by SIGKILL"),
        (task(signal=9, reason="out of memory"), "killed by SIGKILL; out of memory"),
        (task(signal=200), "killed by signal 200"),
        (task(reason="cannot \x1b[2J start"), "cannot \\x1b[2J start"),
        (task(), ""),
    ],
)  # fmt: skip
def test_the_cause_names_code_signal_and_reason(value: dict[str, Any], words: str) -> None:
    """The cause says the exit code or the signal, and the reason where it adds something."""
    assert report.cause(only_task(value)) == words


@pytest.mark.parametrize(
    ("ended", "words"),
    [
        (run("succeeded"), "run 0a1b2c3d4e succeeded in 2.3 s"),
        (run("succeeded", task()), "run 0a1b2c3d4e succeeded in 2.3 s, with 1 failed task that it allows"),
        (run("timed_out"), "run 0a1b2c3d4e timed out in 2.3 s"),
        (run("cancelled", reason="by ada"), "run 0a1b2c3d4e was cancelled in 2.3 s: by ada"),
    ],
)
def test_a_run_is_summed_up_in_one_line(ended: Run, words: str) -> None:
    """One line says how a run ended and how long it took."""
    assert report.summary(ended) == words


def test_the_report_names_task_code_and_last_lines() -> None:
    """A failed run is explained by its failed tasks, their causes and what they printed last."""
    tails = Tails()
    printed = OutputPiece(at="", stream="stderr", text="cc: \x1b[1mno such file", is_partial=False)
    tails.add(Source("build", 1), [printed])
    upstream = {"id": "ship", "type": "shell", "state": "upstream_failed", "attempts": []}
    assert list(report.explain(run("failed", task(exit_code=7), upstream), tails)) == [
        "task build failed: exit code 7",
        "  | cc: \\x1b[1mno such file",
        "1 task did not run because of that",
        "all of it: barbossactl run get 0a1b2c3d4e; barbossactl logs 0a1b2c3d4e",
    ]


def test_many_failed_tasks_are_counted() -> None:
    """A report of hundreds of failed tasks stays short."""
    lines = list(report.explain(run("failed", *[task(exit_code=1)] * 200), Tails()))
    assert "and 195 more failed tasks" in lines
    assert len(lines) < 12


def test_every_end_of_a_run_has_an_exit_code() -> None:
    """No state in which a run can end is without an exit code, and only success is 0."""
    assert set(RUN_EXITS) == RUN_ENDED
    assert [state for state, code in RUN_EXITS.items() if code == 0] == ["succeeded"]


def test_exit_codes_are_the_published_ones() -> None:
    """Scripts rely on these numbers."""
    assert {code.name: code.value for code in Exit} == {
        "SUCCEEDED": 0,
        "FAILED": 1,
        "USAGE": 2,
        "UNREACHABLE": 3,
        "REFUSED": 4,
        "CANCELLED": 5,
        "TIMED_OUT": 6,
        "INTERRUPTED": 130,
    }


@pytest.mark.parametrize("kind", list(wire.ERRORS))
def test_an_error_exits_as_the_wire_table_says(kind: str) -> None:
    """Each kind of error has the exit code of the one table; a kind that is not known yet exits 1."""
    assert DaemonError(kind, "no", {}).exit_code == wire.ERRORS[kind].exit_code
    assert DaemonError("from_the_future", "no", {}).exit_code is Exit.FAILED
