"""``logs``: what the tasks of a run have printed."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator
from typing import Any

import click

from barbossactl import output
from barbossactl.client import Client
from barbossactl.commands._common import connect, example, resolve_run, run_argument, task_argument
from barbossactl.exits import CommandError, Exit
from barbossactl.pieces import Source, last_lines
from barbossactl.printer import LogPrinter, LogStyle
from barbossactl.records import OutputPiece, Run, piece_from, run_from
from barbossactl.values import MOST

PIECES_A_CALL = 1000


@click.command(epilog=example("barbossactl logs last", "barbossactl logs 3fk29x0hdm build --follow"))
@run_argument
@task_argument
@click.option("-f", "--follow", is_flag=True, help="Go on with what is printed until the end.")
@click.option("--stream", type=click.Choice(["stdout", "stderr"]), help="Only this stream.")
@click.option("--attempt", type=click.IntRange(1), help="This attempt of TASK rather than the last.")
@click.option("-n", "--tail", type=click.IntRange(0, MOST), metavar="N", help="Only the last N lines.")
@click.option("-t", "--times", is_flag=True, help="Begin each line with its local time.")
@click.option("--raw", is_flag=True, help="Do not escape control characters; with TASK, the output as it is kept.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line.")
@click.pass_context
def logs(
    context: click.Context,
    *,
    run: str,
    task: str | None,
    follow: bool,
    stream: str | None,
    attempt: int | None,
    tail: int | None,
    times: bool,
    raw: bool,
    as_json: bool,
) -> int:
    r"""Print the output of a run, or of one task of it.

    Without TASK each line begins with its task (task | text), all tasks in the order of time.

    What is kept is text: bytes that are no UTF-8, and NUL, stand as \xNN there, which --raw prints as such. All else is
    printed with TASK and --raw as it was, also a last line without an end. A program that prints other data writes it
    to a file.
    """
    if attempt is not None and task is None:
        raise CommandError("--attempt needs a TASK", exit_code=Exit.USAGE)
    if follow and tail is not None:
        raise CommandError("--follow and --tail exclude each other", exit_code=Exit.USAGE)
    style = LogStyle(names=task is None, times=times, raw=raw, json=as_json)
    with connect(context) as client:
        run_id = resolve_run(client, run)
        if follow:
            _follow(client, run_id, style, task=task, attempt=attempt, stream=stream)
        else:
            found = run_from(client.call("run.get", {"run_id": run_id}))
            has_some = _print(client, run_id, _sources(found, task, attempt), style, stream=stream, tail=tail)
            if found.tasks_left_out:
                if task is None:
                    output.talk(f"that of {found.tasks_left_out} more tasks is printed by task: logs {run_id} TASK")
            elif not has_some:
                output.talk(_why_nothing(found, task, attempt, stream))
    return Exit.SUCCEEDED


def _why_nothing(run: Run, task: str | None, attempt: int | None, stream: str | None) -> str:
    """Say that there is no output, and whether some may come."""
    wanted = [one for one in run.tasks if task in {None, one.id}]
    subject = f"run {run.id}" if task is None else f"task {task} of run {run.id}"
    what = f"output on {stream}" if stream else "output"
    if attempt is not None:
        return f"attempt {attempt} of {subject} has no {what}"
    if not (run.is_ended or all(one.ended_at for one in wanted)):
        words = " ".join(filter(None, ("barbossactl logs", run.id, task, "--follow")))
        return f"{subject} has no {what} yet; {words} waits for it"
    if any(one.is_kept for one in wanted):
        return f"{subject} has no {what}: that of what was done before is with run {run.retry_of}"
    return f"{subject} has no {what}: it ended without"


def _follow(
    client: Client, run_id: str, style: LogStyle, *, task: str | None, attempt: int | None, stream: str | None
) -> None:
    from barbossactl.follow import Follower, Wanted
    from barbossactl.interrupts import Interrupts
    from barbossactl.plain import LogView

    view = LogView(style)
    wanted = Wanted(task=task, attempt=attempt, stream=stream)
    with Interrupts() as interrupts:
        follower = Follower(client, run_id, view, wanted=wanted, interrupts=interrupts, on_interrupt=_leave)
        view.finish(follower.follow())


def _leave() -> None:
    raise KeyboardInterrupt


def _sources(run: Run, task: str | None, attempt: int | None) -> list[Source]:
    """Return whose output is wanted. Raise ``CommandError`` for a task or an attempt that is not there."""
    found = [one for one in run.tasks if task in {None, one.id}]
    if not found and task is not None and run.tasks_left_out:
        return [Source(task, attempt or 0)]
    if not found:
        names = ", ".join(one.id for one in run.tasks[:10])
        raise CommandError(f"run {run.id} has no task {task!r}", hint=f"it has: {names}")
    sources = [Source(one.id, tried.number) for one in found for tried in one.attempts[-1:] if not tried.is_silent]
    if attempt is None:
        return sources
    numbers = [tried.number for tried in found[0].attempts]
    if attempt not in numbers:
        raise CommandError(
            f"task {task!r} of run {run.id} has no attempt {attempt}", hint=f"it has {len(numbers)} so far"
        )
    return [Source(found[0].id, attempt)]


def _print(
    client: Client, run_id: str, sources: list[Source], style: LogStyle, *, stream: str | None, tail: int | None
) -> bool:
    """Print what the sources have, of all of it the last ``tail`` lines; return whether they have anything."""
    read = [_pieces(client, run_id, source, stream) for source in sources]
    merged: Any = heapq.merge(*read, key=lambda pair: pair[1].at)
    first = next(merged, None)
    if first is None:
        return False
    merged = itertools.chain([first], merged)
    if tail is not None:
        merged = last_lines(merged, tail)
    printer = LogPrinter(style)
    for source, piece in merged:
        printer.print(source, [piece])
    printer.finish()
    return True


def _pieces(client: Client, run_id: str, source: Source, stream: str | None) -> Iterator[tuple[Source, OutputPiece]]:
    asked: dict[str, Any] = {
        "run_id": run_id,
        "task": source.task,
        "limit": PIECES_A_CALL,
    }
    if source.attempt:  # else the last one
        asked["attempt"] = source.attempt
    if stream is not None:
        asked["stream"] = stream
    while True:
        page = client.call("run.logs", asked)
        for item in page["items"]:
            yield source, piece_from(item)
        if page["finished"] or page["next_cursor"] in {None, asked.get("cursor")}:  # the end, or nothing more so far
            return
        asked["cursor"] = page["next_cursor"]
