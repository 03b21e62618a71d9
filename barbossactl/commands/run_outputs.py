"""``run outputs``: what a task of a run has put out, whole."""

from __future__ import annotations

import click

from barbossactl import output
from barbossactl.commands._common import connect, example, resolve_run, run_argument, task_argument


@click.command(epilog=example("barbossactl run outputs last build", "barbossactl run outputs last | jq -r .version"))
@run_argument
@task_argument
@click.option("--json", is_flag=True, expose_value=False, help="Print JSON, as it does anyway.")
@click.pass_context
def outputs(context: click.Context, run: str, task: str | None) -> None:
    """Print the outputs of a task of a run as JSON, or those of the run itself.

    They are whole, also where run get leaves them out for their length. Those of a loop are the list of its items'; of
    a single one: TASK[0], TASK[1], and so on.
    """
    with connect(context) as client:
        asked = {"run_id": resolve_run(client, run)}
        answer = client.call("run.outputs", asked if task is None else {**asked, "task": task})
    output.as_json(answer["outputs"])
