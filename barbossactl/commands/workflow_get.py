"""``workflow get``: one workflow, in words or as the file it was applied from."""

from __future__ import annotations

from typing import Any

import click

from barbossactl import output
from barbossactl.commands._common import connect, example, json_option, workflow_argument
from barbossactl.output import Column, Kind


@click.command(
    epilog=example(
        "barbossactl workflow get nightly-backup",
        "barbossactl workflow get nightly-backup --yaml > nightly-backup.yaml",
    )
)
@workflow_argument()
@click.option("--version", metavar="VERSION", help="This version rather than the one in force.")
@click.option("--yaml", "as_yaml", is_flag=True, help="Print the file it was applied from.")
@json_option
@click.pass_context
def get(context: click.Context, name: str, version: str | None, as_yaml: bool, as_json: bool) -> None:
    """Show a workflow: its params, its tasks, its state.

    In a pipe each line is one of: a field and its value; param, name, type, required, default,
    description; task, id, type, what it depends on.
    """
    asked = {"name": name} if version is None else {"name": name, "version": version}
    with connect(context) as client:
        answer: dict[str, Any] = client.call("workflow.get", asked)
    if as_json:
        output.as_json(answer)
    elif as_yaml:
        output.document(answer["yaml"])
    else:
        output.fields(_fields(answer))
        _show_params(answer["params"])
        _show_tasks(answer["tasks"])


def _fields(answer: dict[str, Any]) -> list[tuple[Column, object]]:
    schedules = answer.get("schedules") or {}
    labels = output.pairs(answer.get("labels") or {})
    return [
        (Column("name"), answer["name"]),
        (Column("description"), (answer.get("description") or "").strip()),
        (Column("enabled"), answer["enabled"]),
        (Column("version"), answer["version"]),
        (Column("applied", Kind.INSTANT), answer.get("applied_at")),
        (Column("by"), answer.get("applied_by")),
        (Column("labels"), labels),
        (Column("schedules"), schedules.get("count") or None),
        (Column("next fire", Kind.INSTANT), schedules.get("next_at")),
    ]


def _show_params(params: list[dict[str, Any]]) -> None:
    rows = [
        [
            param["name"],
            param["type"],
            bool(param.get("required")),
            param.get("default"),
            param.get("description"),
        ]
        for param in params
    ]
    columns = [
        Column("param", Kind.NAME),
        Column("type", Kind.WORD),
        Column("required", Kind.WORD, spare=1),
        Column("default"),
        Column("description"),
    ]
    _show_rows("param", columns, rows)


def _show_tasks(tasks: list[dict[str, Any]]) -> None:
    depths: dict[str, int] = {}
    for task in tasks:
        depths[task["id"]] = depths.get(task.get("parent") or "", -1) + 1
    margin = "  " if output.is_terminal() else ""
    rows = [
        [margin * depths[task["id"]] + task["id"], task["type"], ", ".join(task.get("depends_on") or ())]
        for task in tasks
    ]
    _show_rows("task", [Column("task", Kind.NAME), Column("type", Kind.WORD), Column("after")], rows)


def _show_rows(tag: str, columns: list[Column], rows: list[list[Any]]) -> None:
    """Print a table under the fields; in a pipe each row begins with what it is."""
    if not rows:
        return
    if output.is_terminal():
        output.line()
        output.table(columns, rows, empty="")
    else:
        output.table(columns, [[tag, *row] for row in rows], empty="")
