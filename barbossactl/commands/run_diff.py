"""``run diff`` and ``run definition``: what a run ran, and in what two of them differ."""

from __future__ import annotations

from typing import Any, Final

import click

from barbossactl import output, text
from barbossactl.commands._common import connect, example, json_option, resolve_run, run_argument, run_argument_named
from barbossactl.output import Column, Kind

NOTABLE_PART: Final = 0.1
NOTABLE_SECONDS: Final = 0.1
"""A duration that differs by less than this, or by less than this part of it, is not worth a line."""


@click.command(epilog=example("barbossactl run diff 01m84g5xkc last"))
@run_argument_named("run", "A")
@run_argument_named("other", "B")
@json_option
@click.pass_context
def diff(context: click.Context, run: str, other: str, as_json: bool) -> None:
    """Show in what run B differs from run A, line by line; last is the newest.

    Columns: what, of which task or param, in A, in B. What may differ: the workflow, its version, the trigger, params,
    env, states, reasons, attempts, outputs, and durations by more than a tenth. Then comes the unified diff of the
    files that they ran.
    """
    with connect(context) as client:
        asked = {"run_id": resolve_run(client, run), "other": resolve_run(client, other)}
        answer: dict[str, Any] = client.call("run.diff", asked)
    if as_json:
        output.as_json(answer)
        return
    rows = [[one["what"], one["name"] or None, one["from"], one["to"]] for one in answer["differences"]]
    rows += [_duration(one) for one in answer["durations"] if _is_notable(one)]
    sides = [Column(f"in {answer['run_id']}"), Column(f"in {answer['other']}")]
    columns = [Column("what", Kind.WORD), Column("of", Kind.NAME), *sides]
    output.table(columns, rows, empty="they do not differ")
    if answer["diff"]:
        output.line()
        output.document(answer["diff"])


@click.command(epilog=example("barbossactl run definition last > as-it-ran.yaml"))
@run_argument
@json_option
@click.pass_context
def definition(context: click.Context, run: str, as_json: bool) -> None:
    """Print the workflow file that a run ran, whatever is in force by now."""
    with connect(context) as client:
        answer = client.call("run.definition", {"run_id": resolve_run(client, run)})
    if as_json:
        output.as_json(answer)
    else:
        output.document(answer["yaml"])


def _duration(took: dict[str, Any]) -> list[object]:
    values = [took["from_seconds"], took["to_seconds"]]
    if output.is_terminal():
        values = [None if value is None else text.duration(value) for value in values]
    return ["took", took["task"] or None, *values]


def _is_notable(took: dict[str, Any]) -> bool:
    before, after = took["from_seconds"], took["to_seconds"]
    if before is None or after is None:
        return False  # that it did not run in one of them is told by its state
    change: float = abs(after - before)
    return change >= NOTABLE_SECONDS and change >= NOTABLE_PART * max(before, after)
