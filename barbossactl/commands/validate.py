"""``validate`` and ``schema``: what can be said of workflow files without a daemon."""

from __future__ import annotations

from typing import Any

import click

from barbossactl import output
from barbossactl.commands._common import connect, example, json_option
from barbossactl.exits import Exit


@click.command(epilog=example("barbossactl validate *.yaml", "barbossactl validate --json - < backup.yaml"))
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(readable=False))
@click.option("--daemon", "asks_daemon", is_flag=True, help="Ask the running daemon, which may know other task types.")
@json_option
@click.pass_context
def validate(context: click.Context, files: tuple[str, ...], asks_daemon: bool, as_json: bool) -> int:
    """Check workflow files and change nothing; - reads stdin. No daemon is needed.

    Every fault is a line FILE:LINE:COLUMN: message, then the line of the file with a mark under the place, then how
    to mend it. The exit code is 2 if there is one.
    """
    from barbossactl import faults, local

    told = _by_daemon(context, files) if asks_daemon else local.check(files)
    if as_json:
        output.listing_as_json(told)
    else:
        for one in told:
            for fault in one["faults"]:
                for line in faults.lines(fault, one["file"]):
                    output.line(line)
            if one["valid"]:
                output.line(f"{output.plain(one['file'])}: valid")
    return Exit.SUCCEEDED if all(one["valid"] for one in told) else Exit.USAGE


@click.command(epilog=example("barbossactl schema > workflow.schema.json"))
def schema() -> None:
    """Print the JSON Schema of workflow files, for editors that complete and check YAML. No daemon is needed.

    In an editor with the YAML language server, a file begins with: # yaml-language-server: $schema=FILE
    """
    from barbossactl import local

    output.as_json(local.schema())


def _by_daemon(context: click.Context, files: tuple[str, ...]) -> list[dict[str, Any]]:
    from barbossactl import params

    told: list[dict[str, Any]] = []
    with connect(context) as client:
        for file in files:
            try:
                document = params.read_text(file)
            except params.FileError as error:
                told.append({"file": file, "valid": False, "faults": [{"message": error.reason}]})
                continue
            answer: dict[str, Any] = client.call("workflow.validate", {"yaml": document})
            lines = dict(enumerate(document.split("\n"), start=1))
            found = [{**fault, "source": lines.get(fault.get("line"))} for fault in answer["faults"]]
            told.append({"file": file, "valid": answer["valid"], "faults": found})
    return told
