"""``plan``: what a run would do, without doing it."""

from __future__ import annotations

from typing import Any

import click

from barbossactl import output
from barbossactl.commands._common import connect, example, json_option, params_option, workflow_argument
from barbossactl.exits import CommandError, DaemonError, Exit
from barbossactl.values import GIVEN


@click.command(
    epilog=example(
        "barbossactl plan nightly-backup -p keep_days=3",
        "barbossactl plan --file backup.yaml",
        "barbossactl start nightly-backup -p keep_days=3 --plan 3f1c9a0b7d2e4f58",
    )
)
@workflow_argument(required=False)
@params_option
@click.option("--params-file", metavar="FILE", help="Parameters as a JSON object; - reads stdin. -p goes over them.")
@click.option("--version", metavar="VERSION", type=GIVEN, help="This version rather than the one in force.")
@click.option("--file", metavar="FILE", help="A workflow file, which need not be applied, rather than NAME.")
@json_option
@click.pass_context
def plan(
    context: click.Context,
    *,
    name: str | None,
    pairs: tuple[str, ...],
    params_file: str | None,
    version: str | None,
    file: str | None,
    as_json: bool,
) -> int:
    """Show what a run would do, in order, without doing any of it.

    Of each task: whether it would run, with what, as whom and within which limits; what would be skipped and why; what
    can only be known later, as it is written. Of secrets only names are shown. start --plan HASH refuses if anything
    of this has changed by then. The exit code is 1 if a task would fail as things are.

    In a pipe each line is one of: a field and its value; task, id, verdict (run, skip, maybe), type, section, depth,
    user, why.
    """
    from barbossactl import params, planned

    if (name is None) == (file is None):
        raise CommandError("plan takes either NAME or --file FILE", exit_code=Exit.USAGE)
    asked: dict[str, Any] = {"params": params.gather(pairs, params_file)}
    asked |= {"name": name} if file is None else {"yaml": params.read_text(file)}
    asked |= {} if version is None else {"version": version}
    with connect(context) as client:
        try:
            answer = client.call("workflow.plan", asked)
        except DaemonError as error:
            if file is None or error.kind != "invalid_workflow":
                raise
            return _tell_faults(file, error)
    if as_json:
        output.as_json(answer)
    elif output.is_terminal():
        for line in planned.lines(answer):
            output.line(line)
    else:
        _print(answer)
    return Exit.FAILED if any(task["problems"] for task in answer["tasks"]) else Exit.SUCCEEDED


def _tell_faults(file: str, error: DaemonError) -> int:
    from barbossactl import faults

    found: Any = error.data.get("faults") or [{"message": str(error)}]
    for fault in found:
        output.talk(faults.sentence(fault, file))
    return Exit.USAGE


def _print(answer: dict[str, Any]) -> None:
    for key in ("hash", "workflow", "version", "params", "env"):
        output.line(f"{key}\t{output.plain(answer[key])}")
    for task in answer["tasks"]:
        why = "; ".join([*task["why"], *(f"problem: {problem}" for problem in task["problems"])])
        cells = [task["id"], task["verdict"], task["type"], task["section"], task["depth"], task["user"], why]
        output.line("\t".join(["task", *(output.plain(cell) for cell in cells)]))
