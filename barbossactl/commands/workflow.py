"""``workflow``: check files, put them in force, look at what is there."""

from __future__ import annotations

import sys
from typing import Any

import click

from barbossactl import output
from barbossactl.client import Client
from barbossactl.commands._common import connect, example, json_option, tell_of_file, workflow_argument
from barbossactl.exits import DaemonError, Exit
from barbossactl.lazy import LazyGroup
from barbossactl.output import Column, Kind

_COMMANDS = {
    "apply": "workflow:apply",
    "validate": "validate:validate",
    "plan": "plan:plan",
    "list": "workflow:list_workflows",
    "get": "workflow_get:get",
    "versions": "workflow_versions:versions",
    "diff": "workflow_versions:diff",
    "rollback": "workflow_versions:rollback",
    "delete": "workflow:delete",
    "enable": "workflow:enable",
    "disable": "workflow:disable",
}


@click.group("workflow", cls=LazyGroup, commands_at=_COMMANDS, epilog=example("barbossactl workflow apply backup.yaml"))
def group() -> None:
    """Define workflows."""


@click.command(epilog=example("barbossactl apply backup.yaml cleanup.yaml"))
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(readable=False))
@json_option
@click.pass_context
def apply(context: click.Context, files: tuple[str, ...], as_json: bool) -> int:
    """Put workflow files in force; - reads stdin.

    Each file that is valid is applied, whatever is wrong with the others; then the exit code is 2.
    In a pipe: name, version, and applied or unchanged.
    """
    told: list[dict[str, Any]] = []
    with connect(context) as client:
        for file in files:
            told.append({"file": file, **_apply(client, file)})
            if not as_json:
                _tell_applied(told[-1])
    if as_json:
        output.listing_as_json(told)
    return Exit.USAGE if any("faults" in one for one in told) else Exit.SUCCEEDED


@click.command("list", epilog=example("barbossactl ls"))
@json_option
@click.pass_context
def list_workflows(context: click.Context, as_json: bool) -> None:
    """List the workflows.

    Columns: name, enabled, tasks, state of the last run, its end, description.
    """
    from barbossactl import listing

    columns = [
        Column("name", Kind.NAME),
        Column("enabled", Kind.WORD, spare=1),
        Column("tasks", Kind.WORD, spare=2),
        Column("last run", Kind.STATE),
        Column("ended", Kind.INSTANT),
        Column("description"),
    ]
    with connect(context) as client:
        found = listing.items(client, "workflow.list", {}, limit=None)
        listing.show(found, columns, _row, as_json=as_json, empty="there is no workflow; barbossactl apply FILE")


@click.command(epilog=example("barbossactl workflow delete nightly-backup"))
@workflow_argument()
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def delete(context: click.Context, name: str, yes: bool) -> int:
    """Delete a workflow; its runs stay. On a terminal it asks first."""
    with connect(context) as client:
        is_asked = sys.stdin.isatty() and sys.stderr.isatty() and not yes
        if is_asked and not click.confirm(f"Delete the workflow {output.plain(name)}?", err=True):
            output.talk("nothing was deleted")
            return Exit.FAILED
        answer = client.call("workflow.delete", {"name": name})
    output.talk(f"{output.plain(name)} is deleted")
    tell_of_file(answer, "puts it in force again")
    return Exit.SUCCEEDED


@click.command(epilog=example("barbossactl workflow enable nightly-backup"))
@workflow_argument()
@click.pass_context
def enable(context: click.Context, name: str) -> None:
    """Let a workflow start again."""
    with connect(context) as client:
        client.call("workflow.enable", {"name": name})
    output.talk(f"{output.plain(name)} is enabled")


@click.command(epilog=example("barbossactl workflow disable nightly-backup"))
@workflow_argument()
@click.pass_context
def disable(context: click.Context, name: str) -> None:
    """Keep a workflow from starting; runs that are under way go on."""
    with connect(context) as client:
        client.call("workflow.disable", {"name": name})
    output.talk(f"{output.plain(name)} is disabled")


def _apply(client: Client, file: str) -> dict[str, Any]:
    """Return what became of one file; one that cannot be read says nothing of the others."""
    from barbossactl import params

    try:
        document = params.read_text(file)
    except params.FileError as error:
        return {"faults": [{"message": error.reason}]}
    try:
        answer: dict[str, Any] = client.call("workflow.apply", {"yaml": document})
    except DaemonError as error:
        if error.kind != "invalid_workflow":
            raise
        return {"faults": error.data.get("faults") or [{"message": str(error)}]}
    return answer


def _tell_applied(told: dict[str, Any]) -> None:
    from barbossactl import faults

    for fault in told.get("faults", ()):
        output.talk(faults.sentence(fault, told["file"]))
    if "name" in told:
        what = "applied" if told["changed"] else "unchanged"
        if output.is_terminal():
            output.line(f"{output.plain(told['name'])} is {what}, version {output.plain(told['version'])}")
        else:
            output.line("\t".join(output.plain(value) for value in (told["name"], told["version"], what)))
        tell_of_file(told, "puts another version in force")


def _row(item: dict[str, Any]) -> list[object]:
    last = item.get("last_run") or {}
    return [
        item["name"],
        item["enabled"],
        item["tasks"],
        last.get("state"),
        last.get("finished_at"),
        (item.get("description") or "").partition("\n")[0],
    ]
