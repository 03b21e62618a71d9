"""``run get``: one run and its tasks."""

from __future__ import annotations

from typing import Any

import click

from barbossactl import asking, output, report, text, tree
from barbossactl.commands._common import connect, example, json_option, resolve_run, run_argument
from barbossactl.output import Column, Kind
from barbossactl.records import Attempt, Run, run_from

_COLUMNS = [
    Column("task", Kind.NAME),
    Column("type", Kind.WORD, spare=2),
    Column("state", Kind.STATE),
    Column("tries", Kind.WORD, spare=3),
    Column("exit", Kind.WORD, spare=1),
    Column("took", Kind.SECONDS),
    Column("reason"),
]
_ATTEMPT_COLUMNS = [
    Column("task", Kind.NAME),
    Column("try", Kind.WORD),
    Column("state", Kind.STATE),
    Column("processor", Kind.SECONDS, spare=1),
    Column("memory", Kind.BYTES, spare=2),
    Column("read", Kind.BYTES, spare=3),
    Column("written", Kind.BYTES, spare=4),
    Column("in force"),
]


@click.command(epilog=example("barbossactl run get last"))
@run_argument
@click.option("--all", "is_whole", is_flag=True, help="All items of loops, however many.")
@json_option
@click.pass_context
def get(context: click.Context, run: str, is_whole: bool, as_json: bool) -> None:
    """Show a run: its state, its params, how each of its tasks did, and what held for each attempt.

    What is in a group or a loop stands indented beneath it. Of a loop of many items those are shown that failed, run or
    wait for a person, and counts of all. What waits for a person is told with the command that answers.

    In a pipe each line is one of: a field and its value; task, id, type, state, number of tries,
    exit code, seconds taken, reason, the group or loop that it is in; items, loop, counts; attempt, task, number,
    state, processor seconds, most memory, bytes read and written, user, limits and sandbox in force.
    """
    with connect(context) as client:
        answer: dict[str, Any] = client.call(
            "run.get", {"run_id": resolve_run(client, run), "brief": not (is_whole or as_json)}
        )
    if as_json:
        output.as_json(answer)
        return
    found = run_from(answer)
    output.fields(_fields(found, answer.get("params") or {}))
    rows = list(tree.rows(found, is_whole=is_whole))
    if output.is_terminal():
        _draw(rows)
    else:
        _print(rows)
    for line in (*report.left_out(found), *asking.lines(found)):
        output.talk(line)


def _draw(rows: list[tree.Row]) -> None:
    output.line()
    output.table(_COLUMNS, [_row(row) for row in rows], empty="it has no task")
    tries = [[row.task.id, *_attempt_row(attempt)] for row in rows for attempt in row.task.attempts]
    if tries:
        output.line()
        output.table(_ATTEMPT_COLUMNS, tries, empty="")


def _print(rows: list[tree.Row]) -> None:
    for row in rows:
        cells = ["task", row.task.id, *_row(row)[1:], row.task.parent]
        output.line("\t".join(output.plain(cell) for cell in cells))
        if row.words:
            output.line("\t".join(output.plain(cell) for cell in ("items", row.task.id, row.words)))
    for row in rows:
        for attempt in row.task.attempts:
            output.line("\t".join(output.plain(cell) for cell in ("attempt", row.task.id, *_attempt_row(attempt))))


def _fields(run: Run, params: dict[str, Any]) -> list[tuple[Column, object]]:
    return [
        (Column("run"), run.id),
        (Column("workflow"), run.workflow),
        (Column("version"), run.version),
        (Column("state", Kind.STATE), run.state),
        (Column("reason"), run.reason),
        (Column("waiting"), report.waiting(run)),
        (Column("warnings"), run.warnings or None),
        (Column("trigger"), run.trigger),
        (Column("called by"), run.caller),
        (Column("retry of"), run.retry_of),
        (Column("priority"), run.priority or None),
        (Column("params"), " ".join(f"{name}={output.plain(value)}" for name, value in params.items())),
        (Column("outputs"), " ".join(f"{name}={output.plain(value)}" for name, value in run.outputs.items())),
        (Column("created", Kind.INSTANT), run.created_at),
        (Column("started", Kind.INSTANT), run.started_at),
        (Column("ended", Kind.INSTANT), run.finished_at),
        (Column("took", Kind.SECONDS), _rounded(text.seconds_between(run.started_at, run.finished_at))),
    ]


def _row(row: tree.Row) -> list[object]:
    task, attempt = row.task, row.task.last_attempt
    words = [
        row.words if output.is_terminal() else "",
        report.cause(task) if task.state != "succeeded" or task.is_kept else "",
    ]
    words.append("took longer than it should" if task.is_late else "")
    return [
        "  " * row.depth + task.id,
        task.type,
        task.state,
        len(task.attempts),
        attempt.exit_code if attempt else None,
        _rounded(text.seconds_between(task.started_at, task.finished_at)),
        "; ".join(word for word in words if word),
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
