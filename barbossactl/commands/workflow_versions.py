"""``workflow versions``, ``diff`` and ``rollback``: what a workflow was, and how to have that again."""

from __future__ import annotations

import click

from barbossactl import output
from barbossactl.commands._common import (
    connect,
    example,
    json_option,
    tell_of_file,
    version_argument,
    workflow_argument,
)
from barbossactl.output import Column, Kind


@click.command(epilog=example("barbossactl workflow versions nightly-backup"))
@workflow_argument()
@json_option
@click.pass_context
def versions(context: click.Context, name: str, as_json: bool) -> None:
    """List every version that a workflow has had, the newest first.

    Columns: version, whether it is the one in force, when it was applied, by whom.
    """
    from barbossactl import listing

    columns = [
        Column("version", Kind.WORD),
        Column("current", Kind.WORD),
        Column("applied", Kind.INSTANT),
        Column("by"),
    ]
    keys = ("version", "current", "applied_at", "applied_by")
    with connect(context) as client:
        found = listing.items(client, "workflow.versions", {"name": name}, limit=None)
        listing.show(found, columns, lambda item: [item[key] for key in keys], as_json=as_json, empty="none")


@click.command(
    epilog=example(
        "barbossactl workflow diff nightly-backup",
        "barbossactl workflow diff nightly-backup 3f1c9a0b7d2e4f58 9b0c1d2e3f405162",
    )
)
@workflow_argument()
@version_argument("v1", "[V1]", required=False)
@version_argument("v2", "[V2]", required=False)
@json_option
@click.pass_context
def diff(context: click.Context, name: str, v1: str | None, v2: str | None, as_json: bool) -> None:
    """Show how two versions of a workflow differ, as a unified diff.

    Without V2 the one in force is compared with V1, and without V1 with the one that was applied before it.
    """
    asked = {"name": name, "from": v1, "to": v2}
    with connect(context) as client:
        answer = client.call("workflow.diff", {key: value for key, value in asked.items() if value is not None})
    if as_json:
        output.as_json(answer)
    elif answer["changed"]:
        output.document(answer["diff"])
    else:
        output.talk(f"{output.plain(answer['from'])} and {output.plain(answer['to'])} are the same")


@click.command(epilog=example("barbossactl workflow rollback nightly-backup 3f1c9a0b7d2e4f58"))
@workflow_argument()
@version_argument("version", "VERSION", required=True)
@json_option
@click.pass_context
def rollback(context: click.Context, name: str, version: str, as_json: bool) -> None:
    """Put a version in force again that a workflow has had.

    Runs that have started keep theirs. Of a workflow that is kept as a file on the daemon's host, mend the file too:
    the daemon applies it whenever it reads its files.
    """
    with connect(context) as client:
        answer = client.call("workflow.rollback", {"name": name, "version": version})
    if as_json:
        output.as_json(answer)
    else:
        output.talk(f"{output.plain(answer['name'])} is at version {output.plain(answer['version'])} again")
        tell_of_file(answer, "puts another version in force")
