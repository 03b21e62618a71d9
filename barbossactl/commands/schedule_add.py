"""``schedule add``: a schedule or trigger beside those of a workflow's file."""

from __future__ import annotations

from typing import Any

import click

from barbossactl import output
from barbossactl.commands._common import (
    connect,
    example,
    json_option,
    params_option,
    timing_options,
    workflow_argument,
)
from barbossactl.exits import CommandError, Exit
from barbossactl.values import GIVEN

_KINDS = ("cron", "every", "at", "boot", "file", "after_workflow", "unit")
_EXPECT = ("start_within", "max_duration", "min_duration")


@click.command(
    epilog=example(
        "barbossactl schedule add nightly-backup --cron '0 2 * * *' --timezone Europe/London",
        "barbossactl schedule add import --file /srv/in -p 'incoming={{ trigger.path }}'",
    )
)
@workflow_argument()
@click.option(
    "--name", "own_name", metavar="NAME", type=GIVEN, help="Its name in the workflow; by default added-1 and so on."
)
@click.option(
    "--cron", metavar="EXPRESSION", type=GIVEN, help="A cron expression of 5 fields, or 6 with seconds first."
)
@timing_options
@click.option("--boot", is_flag=True, help="After each boot of the host.")
@click.option("--file", metavar="PATH", type=GIVEN, help="When a file at or below PATH is made or changed.")
@click.option("--after-workflow", metavar="NAME", type=GIVEN, help="When a run of another workflow has succeeded.")
@click.option("--unit", metavar="UNIT", type=GIVEN, help="When a unit of systemd has failed.")
@params_option
@click.option("--jitter", metavar="TIME", type=GIVEN, help="How much later it may be, the same each time.")
@click.option("--overlap", type=click.Choice(["skip", "queue", "replace", "allow"]), help="While the last run goes on.")
@click.option("--queue-depth", type=click.IntRange(1), help="With --overlap queue: how many fires may wait.")
@click.option("--catch-up", type=click.Choice(["none", "last", "all"]), help="What is run of missed fires.")
@click.option("--catch-up-window", metavar="TIME", type=GIVEN, help="How far back missed fires are caught up.")
@click.option("--disable-after", type=click.IntRange(1), metavar="N", help="Disable it after N failures in a row.")
@click.option("--retry", type=click.IntRange(1), metavar="N", help="Runs in all, if the first ones fail.")
@click.option("--start-within", metavar="TIME", type=GIVEN, help="Tell if a run has not begun by then.")
@click.option("--max-duration", metavar="TIME", type=GIVEN, help="Tell if a run takes longer.")
@click.option("--min-duration", metavar="TIME", type=GIVEN, help="Tell if a run succeeds sooner.")
@json_option
@click.pass_context
def add(
    context: click.Context, /, name: str, own_name: str | None, pairs: tuple[str, ...], as_json: bool, **keys: Any
) -> None:
    """Add a schedule or trigger to a workflow, beside those of its file.

    It stays when the file is applied again. Exactly one of --cron, --every, --at, --boot, --file, --after-workflow
    and --unit says what makes it fire; --cron takes the daemon's time zone where none is given.
    """
    from barbossactl import params

    asked = {key: list(value) if isinstance(value, tuple) else value for key, value in keys.items() if value}
    if sum(1 for kind in _KINDS if kind in asked) != 1:
        raise CommandError(
            "one thing makes a schedule fire",
            hint="give one of --cron, --every, --at, --boot, --file, --after-workflow and --unit",
            exit_code=Exit.USAGE,
        )
    expect = {key: asked.pop(key) for key in _EXPECT if key in asked}
    if expect:
        asked["expect"] = expect
    if pairs:
        asked["params"] = params.gather(pairs, None)
    if own_name is not None:
        asked["name"] = own_name
    with connect(context) as client:
        if "cron" in asked and "timezone" not in asked:
            asked["timezone"] = client.call("schedule.preview", {"cron": asked["cron"], "count": 1})["timezone"]
            output.talk(f"times are those of {output.plain(asked['timezone'])}, the zone of the daemon's host")
        found = client.call("schedule.add", {"workflow": name, **asked})
    if as_json:
        output.as_json(found)
        return
    output.line(output.plain(found["id"]))
    if found["kind"] in {"cron", "every", "at"} and found["enabled"] and not found["next_at"]:
        output.talk("it never fires: all of its instants have passed")
        return
    if output.is_terminal():
        output.talk(f"look at it: barbossactl schedule explain {output.plain(found['id'])}")
