"""``start``: start a workflow and stay with the run to its end."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from barbossactl import output, staying, text
from barbossactl.commands._common import connect, example, json_option, params_option, workflow_argument
from barbossactl.exits import CommandError, Exit
from barbossactl.values import GIVEN


@click.command(
    epilog=example(
        'barbossactl start nightly-backup -p keep_days=3 -p \'hosts:=["a", "b"]\'',
        "id=$(barbossactl start nightly-backup --detach)",
    )
)
@workflow_argument()
@params_option
@click.option("--params-file", metavar="FILE", help="Parameters as a JSON object; - reads stdin. -p goes over them.")
@click.option("--detach", is_flag=True, help="Print the id of the run and leave.")
@click.option("--wait", is_flag=True, help="Wait quietly; say only how a run that did not succeed has ended.")
@click.option(
    "--plan", "plan_hash", metavar="HASH", type=GIVEN, help="Refuse if the plan is another one now (barbossactl plan)."
)
@click.option(
    "--idempotency-key",
    metavar="KEY",
    type=GIVEN,
    help="Start nothing if this workflow has a run with this key; take that one instead, and say so.",
)
@json_option
@click.pass_context
def start(
    context: click.Context,
    *,
    name: str,
    pairs: tuple[str, ...],
    params_file: str | None,
    detach: bool,
    wait: bool,
    plan_hash: str | None,
    idempotency_key: str | None,
    as_json: bool,
) -> int:
    """Start a workflow and follow the run.

    States and output are shown as they come: live on a terminal; in a pipe as lines, the output on stdout
    and the states on stderr.

    The exit code tells how the run ended: 0 succeeded, 1 failed, 2 wrong usage or parameters, 3 no daemon,
    4 refused, 5 cancelled, 6 timed out, 130 left with Ctrl-C. Ctrl-C asks whether to cancel the run.
    A secret does not belong on a command line, which others can see: use --params-file.
    With --json the run is printed as JSON, with --detach as it started, else as it ended.
    """
    from barbossactl import params

    if detach and wait:
        raise CommandError("--detach and --wait exclude each other", exit_code=Exit.USAGE)
    asked: dict[str, Any] = {
        "workflow": name,
        "params": params.gather(pairs, params_file),
        "idempotency_key": os.urandom(16).hex() if idempotency_key is None else idempotency_key,
    }
    asked_at = datetime.now(UTC)
    if plan_hash is not None:
        asked["plan"] = plan_hash
    with connect(context) as client:
        answer = staying.begin(client, "run.start", asked)
        if idempotency_key is not None:
            _tell_earlier(answer, asked_at)
        if not detach:
            return staying.stay(client, answer["id"], is_quiet=wait or as_json, as_json=as_json)
    return staying.leave(answer, as_json=as_json)


def _tell_earlier(run: dict[str, Any], asked_at: datetime) -> None:
    """Tell of a run that was there before it was asked for. The daemon has the same clock, in whole milliseconds."""
    created_at = text.parse_instant(str(run.get("created_at")))
    if created_at is not None and created_at < asked_at - timedelta(milliseconds=1):
        when = text.moment(run["created_at"])
        output.talk(f"nothing is started: run {output.plain(run['id'])} of {when} has this key already")
