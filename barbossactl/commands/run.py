"""``run``: look at runs, wait for them, cancel them."""

from __future__ import annotations

from typing import Any

import click

from barbossactl import output
from barbossactl.commands._common import (
    connect,
    example,
    json_option,
    resolve_run,
    run_argument,
    workflow_option,
)
from barbossactl.exits import RUN_EXITS, CommandError, DaemonError, Exit
from barbossactl.lazy import LazyGroup
from barbossactl.output import Column, Kind
from barbossactl.values import COUNT

RECENT_RUNS = 20

_COMMANDS = {
    "start": "start:start",
    "get": "run_get:get",
    "show": "run_get:get",
    "outputs": "run_outputs:outputs",
    "definition": "run_diff:definition",
    "diff": "run_diff:diff",
    "list": "run:list_runs",
    "wait": "run:wait",
    "logs": "logs:logs",
    "cancel": "run:cancel",
    "pause": "run_control:pause",
    "resume": "run_control:resume",
    "retry": "run_control:retry",
    "approve": "run_control:approve",
    "reject": "run_control:reject",
    "delete": "run:delete",
}

_STATES = ("queued", "running", "paused", "succeeded", "failed", "timed_out", "cancelled", "interrupted")

_COLUMNS = [
    Column("id", Kind.WORD),
    Column("workflow", Kind.NAME),
    Column("state", Kind.STATE),
    Column("started", Kind.INSTANT),
    Column("took", Kind.SECONDS, spare=1),
    Column("trigger", Kind.WORD, spare=2),
    Column("reason"),
]


@click.group(
    "run", cls=LazyGroup, commands_at=_COMMANDS, epilog=example("barbossactl run start nightly-backup -p keep_days=3")
)
def group() -> None:
    """Start and watch runs. Wherever a run's id is asked for, last is the newest one that no other run called."""


@click.command("list", epilog=example("barbossactl run list --workflow nightly-backup --state failed"))
@workflow_option
@click.option("--state", type=click.Choice(_STATES), help="Only runs in this state.")
@click.option("--limit", type=COUNT, default=RECENT_RUNS, show_default=True, help="At most so many.")
@click.option("--all", "is_all", is_flag=True, help="All there are, whatever --limit says.")
@json_option
@click.pass_context
def list_runs(
    context: click.Context, *, workflow: str | None, state: str | None, limit: int, is_all: bool, as_json: bool
) -> None:
    """List runs, the newest first.

    Columns: id, workflow, state, start, seconds taken, trigger, reason.
    """
    asked = {"workflow": workflow, "state": state}
    _list(
        context,
        {key: value for key, value in asked.items() if value is not None},
        limit=None if is_all else limit,
        as_json=as_json,
        empty="there is no such run",
    )


@click.command(epilog=example("barbossactl ps", "barbossactl ps --all"))
@click.option("--all", "is_all", is_flag=True, help=f"The newest {RECENT_RUNS} runs, ended ones too.")
@json_option
@click.pass_context
def ps(context: click.Context, is_all: bool, as_json: bool) -> None:
    """List the runs that are under way.

    Columns: id, workflow, state, start, seconds taken, trigger, reason.
    """
    _list(
        context,
        {} if is_all else {"active": True},
        limit=RECENT_RUNS if is_all else None,
        as_json=as_json,
        empty="there is no run yet" if is_all else "nothing is running; barbossactl ps --all shows what was",
    )


@click.command(epilog=example("barbossactl run wait last --timeout 10m && echo done"))
@run_argument
@click.option("--timeout", "limit", metavar="DURATION", help="Give up after this long (90, 5m, 1h30m): exit 6.")
@json_option
@click.pass_context
def wait(context: click.Context, run: str, limit: str | None, as_json: bool) -> int:
    """Wait until a run has ended; the exit code tells how it did.

    0 succeeded, 1 failed, 5 cancelled, 6 timed out. Ctrl-C leaves with 130, and the run goes on.
    """
    from barbossactl import ending, params
    from barbossactl.records import run_from

    limit_seconds = None if limit is None else params.seconds(limit)
    with connect(context) as client:
        run_id = resolve_run(client, run)
        answer = ending.wait(client, run_id, limit_seconds=limit_seconds, is_whole=as_json)
        if as_json:
            output.as_json(answer)
        else:
            ending.tell(client, run_from(answer))
    return RUN_EXITS[answer["state"]]


@click.command(epilog=example('barbossactl cancel last --reason "wrong disk"'))
@run_argument
@click.option("--reason", metavar="TEXT", help="Why; it is kept with the run.")
@click.option("--no-wait", is_flag=True, help="Do not wait until its tasks have ended.")
@json_option
@click.pass_context
def cancel(context: click.Context, run: str, reason: str | None, no_wait: bool, as_json: bool) -> int:
    """Cancel a run.

    Its tasks are asked to end, and killed if they do not; the command returns when they are gone.
    """
    from barbossactl import ending, report
    from barbossactl.records import run_from

    with connect(context) as client:
        run_id = resolve_run(client, run)
        asked = {"run_id": run_id} if reason is None else {"run_id": run_id, "reason": reason}
        try:
            answer = client.call("run.cancel", asked)
        except DaemonError as error:
            if error.kind != "conflict":
                raise
            raise CommandError(str(error), hint=f"see how it ended: barbossactl run get {run_id}") from error
        if not no_wait:
            answer = ending.wait(client, run_id, is_whole=as_json)
    if as_json:
        output.as_json(answer)
        return Exit.SUCCEEDED if answer["state"] == "cancelled" or no_wait else Exit.FAILED
    ended = run_from(answer)
    if not ended.is_ended:
        output.talk(f"run {ended.id} is being cancelled")
        return Exit.SUCCEEDED
    output.talk(report.summary(ended))
    return Exit.SUCCEEDED if ended.state == "cancelled" else Exit.FAILED


@click.command(epilog=example("barbossactl run delete 01m84g5xkc"))
@run_argument
@json_option
@click.pass_context
def delete(context: click.Context, run: str, as_json: bool) -> None:
    """Delete a run that has ended, with its output.

    Nothing of it is left but the event that says who deleted it. What is old goes by itself (retention in the config).
    """
    with connect(context) as client:
        run_id = resolve_run(client, run)
        try:
            answer = client.call("run.delete", {"run_id": run_id})
        except DaemonError as error:
            if error.kind != "conflict":
                raise
            raise CommandError(str(error), hint=f"barbossactl cancel {run_id}") from error
    if as_json:
        output.as_json(answer)
    else:
        output.talk(f"run {run_id} is deleted")


def _list(context: click.Context, asked: dict[str, Any], *, limit: int | None, as_json: bool, empty: str) -> None:
    from barbossactl import listing

    with connect(context) as client:
        found = listing.items(client, "run.list", asked, limit=limit)
        listing.show(found, _COLUMNS, _row, as_json=as_json, empty=empty)


def _row(item: dict[str, Any]) -> list[object]:
    from barbossactl import text

    took = text.seconds_between(item.get("started_at"), item.get("finished_at"))
    return [
        item["id"],
        item["workflow"],
        item["state"],
        item.get("started_at"),
        None if took is None else round(took, 3),
        item.get("trigger"),
        _why(item),
    ]


def _why(item: dict[str, Any]) -> str:
    """Return why a run waits, or ended as it did, and how many of its tasks failed that were allowed to."""
    from barbossactl import text

    words = [str(item.get("waiting") or item.get("reason") or "")]
    if item.get("outcome") and item["state"] not in RUN_EXITS:
        words.insert(0, f"{item['outcome']}, cleaning up")
    if item.get("warnings"):
        words.append(text.count(int(item["warnings"]), "warning"))
    return "; ".join(word for word in words if word)
