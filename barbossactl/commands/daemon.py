"""``daemon``: is it there, how is it, read your files again."""

from __future__ import annotations

from typing import Any

import click

from barbossactl import output
from barbossactl.commands._common import connect, example, json_option
from barbossactl.exits import Exit, LostError
from barbossactl.lazy import LazyGroup
from barbossactl.output import Column, Kind
from barbossactl.values import NumberRange

PING_TIMEOUT_SECONDS = 10.0
_WAIT_SECONDS = 30.0
_LONGEST_WAIT_SECONDS = 30 * 86400.0

_COMMANDS = {
    "ping": "daemon:ping",
    "status": "daemon:status",
    "reload": "daemon:reload",
    "drain": "daemon:drain",
    "backup": "daemon:backup",
}


@click.group("daemon", cls=LazyGroup, commands_at=_COMMANDS, epilog=example("barbossactl daemon ping"))
def group() -> None:
    """Look after the daemon."""


@click.command(epilog=example("barbossactl daemon ping && echo it is there"))
@json_option
@click.pass_context
def ping(context: click.Context, as_json: bool) -> None:
    """Ask the daemon for a sign of life.

    In a pipe: version, pid, uptime in seconds.
    """
    with connect(context) as client:
        answer = client.call("daemon.ping", {}, timeout=PING_TIMEOUT_SECONDS)
    if as_json:
        output.as_json(answer)
    elif output.is_terminal():
        from barbossactl import text

        version = text.escape_cell(str(answer["version"]))
        up = text.duration(answer["uptime_seconds"])
        output.line(f"barbossad {version} is there: pid {answer['pid']}, up for {up}")
    else:
        output.line("\t".join(output.plain(answer[key]) for key in ("version", "pid", "uptime_seconds")))


@click.command(epilog=example("barbossactl status", "barbossactl status --json | jq .tasks.running"))
@json_option
@click.pass_context
def status(context: click.Context, as_json: bool) -> None:
    """Show how the daemon is.

    Its state, runs, tasks, store and launcher; in a pipe a field and its value a line.
    """
    with connect(context) as client:
        answer = client.call("daemon.status", {})
    if as_json:
        output.as_json(answer)
        return
    launcher, store, runs, tasks = (answer[part] for part in ("launcher", "store", "runs", "tasks"))
    output.fields(
        [
            (Column("state", Kind.STATE), answer["state"]),
            (Column("version"), answer["version"]),
            (Column("pid"), answer["pid"]),
            (Column("uptime", Kind.SECONDS), answer["uptime_seconds"]),
            (Column("runs"), f"{runs['active']} active, {runs['queued']} queued"),
            (Column("tasks"), f"{tasks['running']} running of {tasks['limit']}, {tasks['waiting']} waiting"),
            (Column("workflows"), answer["workflows"]),
            (Column("schedules"), _schedules(answer.get("schedules") or {})),
            (Column("next fire", Kind.INSTANT), (answer.get("schedules") or {}).get("next_at")),
            (Column("launcher"), launcher["name"]),
            (Column("therefore"), "; ".join(launcher["lacks"])),
            (Column("store"), store["path"]),
            (Column("store size", Kind.BYTES), store["size_bytes"]),
            (Column("store state"), "healthy" if store["healthy"] else f"not healthy: {store['reason']}"),
            (Column("store reserve", Kind.BYTES), store.get("reserve_bytes")),
            (Column("rolled back"), store.get("rolled_back")),
            (Column("logs"), (answer.get("logs") or {}).get("reason")),
            (Column("socket"), answer["socket"]),
            (Column("config"), answer["config"]["path"]),
            (Column("not in force"), answer["config"].get("reason")),
            (Column("runs as"), answer["user"]),
            (Column("your role"), answer["role"]),
        ]
    )


@click.command(epilog=example("barbossactl daemon reload"))
@json_option
@click.pass_context
def reload(context: click.Context, as_json: bool) -> int:
    """Have the daemon read its files again.

    These are its config and the workflows kept as files.

    A broken file is reported, and what was in force before it stays; the exit code is then 2.
    """
    with connect(context) as client:
        answer: dict[str, Any] = client.call("daemon.reload", {})
    if as_json:
        output.as_json(answer)
    else:
        from barbossactl import faults, text

        for change in answer["changed"]:
            output.line(f"changed: {text.escape_cell(str(change))}")
        waiting = answer.get("needing_restart") or []
        for setting in waiting:
            output.talk(f"in force after a restart of the daemon: {text.escape_cell(str(setting))}")
        for fault in answer["faults"]:
            output.talk(faults.sentence(fault))
        if not (answer["changed"] or waiting or answer["faults"]):
            output.talk("nothing has changed")
    return Exit.USAGE if answer["faults"] else Exit.SUCCEEDED


@click.command(epilog=example("barbossactl daemon drain && systemctl stop barbossad.socket"))
@click.option("--end", is_flag=True, help="Start work again.")
@click.option("--no-wait", is_flag=True, help="Do not wait for what runs.")
@click.option("--timeout", type=NumberRange(min=0), metavar="SECONDS", help="Wait at most so long; then exit with 6.")
@json_option
@click.pass_context
def drain(context: click.Context, end: bool, no_wait: bool, timeout: float | None, as_json: bool) -> int:
    """Have the daemon start nothing new, and wait for what runs.

    Runs that are asked for meanwhile are recorded and wait. A restart of the daemon ends draining, as --end does; who
    waits is told of it, and the exit code is not 0 then.
    """
    left = 0.0 if no_wait or end else _LONGEST_WAIT_SECONDS if timeout is None else timeout
    with connect(context) as client:
        while True:
            wait = min(left, _WAIT_SECONDS)
            asked = {"end": end, "wait_seconds": wait}
            try:
                answer = client.call("daemon.drain", asked, timeout=wait + PING_TIMEOUT_SECONDS)
            except LostError as error:
                hint = "if it was restarted it drains no more: see barbossactl status, and drain again"
                raise LostError(str(error), hint=hint) from error
            left -= wait
            if not answer["draining"] or answer["done"] or left <= 0:
                break
    if as_json:
        output.as_json(answer)
    elif end:
        output.talk("work is started again")
    elif answer["done"]:
        output.talk(f"nothing runs; tasks that wait: {answer['waiting']}")
    elif answer["draining"]:
        output.talk(f"nothing new is started; tasks that still run: {answer['running']}")
    else:
        output.talk(f"somebody has ended draining: work is started again; tasks that run: {answer['running']}")
    if end or no_wait or answer["done"]:
        return Exit.SUCCEEDED
    return Exit.TIMED_OUT if answer["draining"] else Exit.FAILED


@click.command(epilog=example("barbossactl daemon backup", 'cp "$(barbossactl daemon backup)" /mnt/backup/'))
@json_option
@click.pass_context
def backup(context: click.Context, as_json: bool) -> None:
    """Copy the state file while the daemon works on.

    The copy is checked; its path is printed. It lies in the folder backups beside the state file, and stays until
    somebody removes it. Output that is in files of its own is not in it.
    """
    with connect(context) as client:
        answer = client.call("daemon.backup", {}, timeout=_LONGEST_WAIT_SECONDS)
    if as_json:
        output.as_json(answer)
    else:
        output.line(output.plain(answer["path"]))


def _schedules(counts: dict[str, Any]) -> str | None:
    if not counts:
        return None
    held = f", {counts['holds']} held labels" if counts["holds"] else ""
    return f"{counts['count']}, {counts['enabled']} enabled{held}"
