"""``run get``: one run and its tasks."""

from __future__ import annotations

from typing import Any

import click

from barbossactl import output, report, text
from barbossactl.commands._common import connect, example, json_option, resolve_run, run_argument
from barbossactl.output import Column, Kind
from barbossactl.records import Attempt, Run, Task, run_from

_COLUMNS = [
    Column("task", Kind.NAME),
    Column("type"),
    Column("state", Kind.STATE),
    Column("tries"),
    Column("exit"),
    Column("took", Kind.SECONDS),
    Column("reason"),
]
_ATTEMPT_COLUMNS = [
    Column("task", Kind.NAME),
    Column("try"),
    Column("state", Kind.STATE),
    Column("processor", Kind.SECONDS),
    Column("memory", Kind.BYTES),
    Column("read", Kind.BYTES),
    Column("written", Kind.BYTES),
    Column("in force"),
]


@click.command(epilog=example("barbossactl run get last"))
@run_argument
@json_option
@click.pass_context
def get(context: click.Context, run: str, as_json: bool) -> None:
    """Show a run: its state, its params, how each of its tasks did, and what held for each attempt.

    In a pipe each line is one of: a field and its value; task, id, type, state, number of tries,
    exit code, seconds taken, reason; attempt, task, number, state, processor seconds, most memory, bytes
    read and written, user, limits and sandbox in force.
    """
    with connect(context) as client:
        answer: dict[str, Any] = client.call("run.get", {"run_id": resolve_run(client, run)})
    if as_json:
        output.as_json(answer)
        return
    found = run_from(answer)
    output.fields(_fields(found, answer.get("params") or {}))
    is_terminal = output.is_terminal()
    if is_terminal and found.tasks:
        output.line()
    rows = [[*([] if is_terminal else ["task"]), *_row(task)] for task in found.tasks]
    output.table(_COLUMNS, rows, empty="it has no task")
    tries = [
        [*([] if is_terminal else ["attempt"]), task.id, *_attempt_row(attempt)]
        for task in found.tasks
        for attempt in task.attempts
    ]
    if is_terminal and tries:
        output.line()
    if tries:
        output.table(_ATTEMPT_COLUMNS, tries, empty="")


def _fields(run: Run, params: dict[str, Any]) -> list[tuple[Column, object]]:
    return [
        (Column("run"), run.id),
        (Column("workflow"), run.workflow),
        (Column("version"), run.version),
        (Column("state", Kind.STATE), run.state),
        (Column("reason"), run.reason),
        (Column("trigger"), run.trigger),
        (Column("params"), " ".join(f"{name}={output.plain(value)}" for name, value in params.items())),
        (Column("created", Kind.INSTANT), run.created_at),
        (Column("started", Kind.INSTANT), run.started_at),
        (Column("ended", Kind.INSTANT), run.finished_at),
        (Column("took", Kind.SECONDS), _rounded(text.seconds_between(run.started_at, run.finished_at))),
    ]


def _row(task: Task) -> list[object]:
    attempt = task.last_attempt
    return [
        task.id,
        task.type,
        task.state,
        len(task.attempts),
        attempt.exit_code if attempt else None,
        _rounded(text.seconds_between(task.started_at, task.finished_at)),
        report.cause(task) if task.state != "succeeded" else None,
    ]


def _attempt_row(attempt: Attempt) -> list[object]:
    return [
        attempt.number,
        attempt.state,
        _rounded(attempt.cpu_seconds),
        attempt.peak_memory_bytes,
        attempt.io_read_bytes,
        attempt.io_write_bytes,
        "; ".join(f"{name.replace('_', ' ')} {output.words(value)}" for name, value in attempt.in_force.items()),
    ]


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
