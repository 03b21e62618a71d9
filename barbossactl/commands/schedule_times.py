"""When schedules fire: ``next``, ``schedule explain`` and ``schedule preview``."""

from __future__ import annotations

from typing import Any

import click

from barbossactl import output, text
from barbossactl.commands._common import (
    connect,
    example,
    json_option,
    label_option,
    schedule_argument,
    timing_options,
    workflow_option,
)
from barbossactl.output import Column, Kind
from barbossactl.values import GIVEN


@click.command("next", epilog=example("barbossactl next", "barbossactl next -n 5 --workflow nightly-backup"))
@click.option("-n", "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many fires.")
@workflow_option
@label_option
@json_option
@click.pass_context
def next_fires(context: click.Context, limit: int, workflow: str | None, label: str | None, as_json: bool) -> None:
    """Show the next fires of all schedules, the first first.

    Columns: when it is due (your time, with what is left until then), schedule, the time of its own zone (on a
    terminal only where that is not yours), and why it will be skipped, if it will.
    """
    given = {"limit": limit, "workflow": workflow, "label": label}
    asked = {name: value for name, value in given.items() if value is not None}
    with connect(context) as client:
        found = client.call("schedule.next", asked)
    if as_json:
        output.as_json(found)
        return
    columns = [
        Column("due", Kind.INSTANT),
        Column("schedule", Kind.NAME),
        Column("there", Kind.WORD),
        Column("skipped"),
    ]
    rows = [[item["due_at"], item["schedule"], item["local"], item["skip"]] for item in found["items"]]
    if output.is_terminal():
        _leave_out_own_time(rows)
    output.table(columns, rows, empty="nothing is due; barbossactl schedule list shows what there is")


@click.command(epilog=example("barbossactl schedule explain nightly-backup"))
@schedule_argument
@click.option("-n", "--count", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many fires.")
@json_option
@click.pass_context
def explain(context: click.Context, name: str, count: int, as_json: bool) -> None:
    """Say in plain words what makes a schedule or trigger fire.

    Of one that fires by the clock, its next fires are shown, and those around the next changes of the clocks.
    """
    with connect(context) as client:
        found = client.call("schedule.explain", {"name": name, "count": count})
    if as_json:
        output.as_json(found)
        return
    for sentence in found["words"]:
        output.line(output.plain(sentence))
    _list("the next fires", found["next"])
    _list_skipped(found["skipped"])
    for change in found["changes"]:
        _list(
            f"around {_instant(change['at'])}, when the clocks go from {change['before']} to {change['after']}",
            change["fires"],
        )


@click.command(
    epilog=example(
        "barbossactl schedule preview '0 2 * * *' --timezone Europe/London --count 5",
        "barbossactl schedule preview --every 15m --within 'Mon-Fri 08:00-18:00' --timezone UTC",
    )
)
@click.argument("cron", metavar="[CRON]", required=False, type=GIVEN)
@timing_options
@click.option("--after", metavar="INSTANT", type=GIVEN, help="From when on, RFC 3339; by default now.")
@click.option("-n", "--count", type=click.IntRange(1, 1000), default=10, show_default=True, help="How many instants.")
@json_option
@click.pass_context
def preview(
    context: click.Context, /, cron: str | None, after: str | None, count: int, as_json: bool, **timing: Any
) -> None:
    """Show when an expression would fire that is not saved yet.

    In a pipe: one instant a line, RFC 3339.
    """
    given = {"cron": cron, "after": after, "count": count, **{name: value for name, value in timing.items() if value}}
    asked = {name: list(value) if isinstance(value, tuple) else value for name, value in given.items() if value}
    with connect(context) as client:
        found = client.call("schedule.preview", asked)
    if as_json:
        output.as_json(found)
        return
    if output.is_terminal():
        for sentence in found["words"]:
            output.talk(output.plain(sentence))
    output.table([Column("at", Kind.INSTANT)], ([at] for at in found["items"]), empty="it never fires after that")
    if output.is_terminal():
        _list_skipped(found["skipped"])


def _leave_out_own_time(rows: list[list[Any]]) -> None:
    """Leave out the time there where it is the viewer's own."""
    for row in rows:
        due, there = text.parse_instant(row[0]), row[2]
        if due is not None and there.endswith(f"({due.astimezone().isoformat()[-6:]})"):
            row[2] = None


def _list(title: str, lines: list[str]) -> None:
    if lines:
        output.line()
        output.line(f"{title}:")
        for line in lines:
            output.line(f"  {output.plain(line)}")


def _list_skipped(skipped: list[dict[str, Any]]) -> None:
    _list("skipped on the way", [f"{_instant(one['at'])}  {one['reason']}" for one in skipped[:10]])
    if len(skipped) > 10:
        output.line(f"  and {len(skipped) - 10} more")


def _instant(at: str) -> str:
    """Return an instant as a column of instants shows it."""
    return text.moment(at) if output.is_terminal() else at
