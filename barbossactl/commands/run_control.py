"""``pause``, ``resume``, ``retry``, ``approve``, ``reject``: steer a run that is there."""

from __future__ import annotations

import os
from typing import Any

import click

from barbossactl import output, text
from barbossactl.client import Client
from barbossactl.commands._common import (
    asking_argument,
    connect,
    example,
    json_option,
    resolve_run,
    run_argument,
    since_option,
)
from barbossactl.exits import CommandError, DaemonError, Exit

_REASON = click.option("--reason", metavar="TEXT", help="Why; it is kept with the run.")
_COMMENT = click.option("--comment", metavar="TEXT", help="Why; it is kept with the run.")


@click.command(epilog=example('barbossactl pause last --reason "the disk is being changed"'))
@run_argument
@_REASON
@json_option
@click.pass_context
def pause(context: click.Context, run: str, reason: str | None, as_json: bool) -> None:
    """Pause a run: what runs goes on, nothing else of it starts.

    So do the runs that it called. Its timeout does not go on meanwhile. Go on with it: barbossactl resume.
    """
    run_id, answer = _call(context, run, "run.pause", reason)
    if as_json:
        output.as_json(answer)
    else:
        output.talk(f"run {run_id} is paused; go on with it: barbossactl resume {run_id}")


@click.command(epilog=example("barbossactl resume last"))
@run_argument
@_REASON
@json_option
@click.pass_context
def resume(context: click.Context, run: str, reason: str | None, as_json: bool) -> None:
    """Go on with a run that was paused."""
    run_id, answer = _call(context, run, "run.resume", reason)
    if as_json:
        output.as_json(answer)
    else:
        output.talk(f"run {run_id} goes on")


@click.command(
    epilog=example(
        "barbossactl retry last",
        "barbossactl retry 01m84g5xkc --from archive -p keep_days=3",
        "barbossactl retry last --from start --detach",
    )
)
@run_argument
@since_option
@click.option("-p", "--param", "pairs", metavar="NAME=VALUE", multiple=True, help="A param that is to differ.")
@click.option("--params-file", metavar="FILE", help="Such params as a JSON object; - reads stdin. -p goes over them.")
@click.option("--detach", is_flag=True, help="Print the id of the new run and leave.")
@click.option("--wait", is_flag=True, help="Wait quietly; say only how a run that did not succeed has ended.")
@json_option
@click.pass_context
def retry(
    context: click.Context,
    *,
    run: str,
    since: str,
    pairs: tuple[str, ...],
    params_file: str | None,
    detach: bool,
    wait: bool,
    as_json: bool,
) -> int:
    """Try a run again that has ended, and follow the new run as start does.

    It is of the same version and has the same params but for those that are given. What had succeeded, and does not
    depend on what runs again, is taken over as done; what was rolled back is not. Exit codes are those of start.
    """
    from barbossactl import params, staying

    if detach and wait:
        raise CommandError("--detach and --wait exclude each other", exit_code=Exit.USAGE)
    with connect(context) as client:
        asked = {
            "run_id": resolve_run(client, run),
            "from": since,
            "params": params.gather(pairs, params_file),
            "idempotency_key": os.urandom(16).hex(),  # the call can be made again after a restart of the daemon
        }
        try:
            answer = staying.begin(client, "run.retry", asked)
        except DaemonError as error:
            if error.data.get("what") != "workflow":
                raise
            raise CommandError(
                f"the workflow {error.data.get('name')!r} of run {asked['run_id']} was deleted",
                hint=f"apply it again first (barbossactl run definition {asked['run_id']} prints what ran)",
            ) from error
        if not detach:
            return staying.stay(client, answer["id"], is_quiet=wait or as_json, as_json=as_json)
    return staying.leave(answer, as_json=as_json)


@click.command(
    epilog=example(
        "barbossactl approve last", 'barbossactl approve 01m84g5xkc deploy -v window=night --comment "as agreed"'
    )
)
@run_argument
@asking_argument
@click.option(
    "-v", "--value", "pairs", metavar="NAME=VALUE", multiple=True, help="A field of its form; name:=JSON for a list."
)
@_COMMENT
@click.option("--reject", is_flag=True, help="Say no, as reject does.")
@json_option
@click.pass_context
def approve(
    context: click.Context,
    *,
    run: str,
    task: str | None,
    pairs: tuple[str, ...],
    comment: str | None,
    reject: bool,
    as_json: bool,
) -> None:
    """Say yes to a task that waits for a person.

    That is an approval, or a task that was interrupted and asks whether to be tried again (on_interrupt: ask). TASK may
    be left out where only one waits. What is asked, and how to answer: barbossactl run get RUN.
    """
    _answer(context, run, task, pairs, comment=comment, is_approved=not reject, as_json=as_json)


@click.command(epilog=example('barbossactl reject last --comment "not this week"'))
@run_argument
@asking_argument
@_COMMENT
@json_option
@click.pass_context
def reject(context: click.Context, *, run: str, task: str | None, comment: str | None, as_json: bool) -> None:
    """Say no to a task that waits for a person: an approval fails, an interrupted task ends as that.

    TASK may be left out where only one waits.
    """
    _answer(context, run, task, (), comment=comment, is_approved=False, as_json=as_json)


def _call(context: click.Context, run: str, method: str, reason: str | None) -> tuple[str, dict[str, Any]]:
    with connect(context) as client:
        run_id = resolve_run(client, run)
        answer = client.call(method, {"run_id": run_id} if reason is None else {"run_id": run_id, "reason": reason})
    return run_id, answer


def _answer(
    context: click.Context,
    run: str,
    task: str | None,
    pairs: tuple[str, ...],
    *,
    comment: str | None,
    is_approved: bool,
    as_json: bool,
) -> None:
    from barbossactl import params

    values = params.gather(pairs, None, "-v")
    with connect(context) as client:
        run_id = resolve_run(client, run)
        task = _only_asking(client, run_id) if task is None else task
        asked: dict[str, Any] = {"run_id": run_id, "task": task, "approve": is_approved}
        asked |= {"values": values} if values else {}
        answer = client.call("run.approve", asked if comment is None else {**asked, "comment": comment})
    if as_json:
        output.as_json(answer)
    else:
        output.talk(f"task {text.escape_cell(task)} of run {run_id} is {'approved' if is_approved else 'rejected'}")


def _only_asking(client: Client, run_id: str) -> str:
    """Return the one task that waits for a person. Raise ``CommandError`` if there are more, or none."""
    from barbossactl.records import run_from

    asking = [task.id for task in run_from(client.call("run.get", {"run_id": run_id})).asking]
    if len(asking) == 1:
        return asking[0]
    if not asking:
        raise CommandError(f"no task of run {run_id} waits for a person", hint=f"barbossactl run get {run_id}")
    raise CommandError(
        f"{len(asking)} tasks of run {run_id} wait for a person: {', '.join(asking[:10])}",
        hint="name one of them",
        exit_code=Exit.USAGE,
    )
