"""What came of fires: ``schedule history`` and ``schedule stats``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from barbossactl import output
from barbossactl.commands._common import connect, example, json_option, schedule_argument, schedule_argument_of
from barbossactl.output import Column, Kind
from barbossactl.values import COUNT, NumberRange

_STATES = ["queued", "started", "retrying", "succeeded", "failed", "skipped", "missed", "refused"]


@click.command(epilog=example("barbossactl schedule history nightly-backup", "barbossactl schedule history -n 100"))
@schedule_argument_of(is_required=False)
@click.option("--state", type=click.Choice(_STATES), help="Only fires that came to this.")
@click.option("-n", "--limit", type=COUNT, default=50, show_default=True, help="How many.")
@json_option
@click.pass_context
def history(context: click.Context, name: str | None, state: str | None, limit: int, as_json: bool) -> None:
    """List fires, the newest first: those that had a run, and those that were let pass, with the reason.

    NAME is a schedule, also one that was removed, or a workflow: then all schedules that it has or had.

    Columns: schedule, nominal time, state, number of fires, run, seconds late, reason.
    """
    from barbossactl import listing

    columns = [
        Column("schedule", Kind.NAME),
        Column("for", Kind.INSTANT),
        Column("state", Kind.STATE),
        Column("fires", Kind.WORD, spare=2),
        Column("run", Kind.WORD),
        Column("late", Kind.SECONDS, spare=1),
        Column("reason"),
    ]
    given = {"name": name, "state": state}
    asked = {key: value for key, value in given.items() if value is not None}
    with connect(context) as client:
        found = listing.items(client, "schedule.history", asked, limit=limit)
        listing.show(found, columns, _row, as_json=as_json, empty="nothing has fired yet")


@click.command(epilog=example("barbossactl schedule stats nightly-backup --days 90"))
@schedule_argument
@click.option("--days", type=NumberRange(0.01, 3660), default=30, show_default=True, help="How far back.")
@json_option
@click.pass_context
def stats(context: click.Context, name: str, days: float, as_json: bool) -> None:
    """Show how often a schedule fired and what came of it, how late it was, and how long its runs took."""
    with connect(context) as client:
        found = client.call("schedule.statistics", {"name": name, "days": days})
    if as_json:
        output.as_json(found)
    else:
        output.fields(_figures(found))


def _row(item: dict[str, Any]) -> list[object]:
    late = item["late_seconds"] if item["run"] else None
    return [item["schedule"], item["nominal_at"], item["state"], item["count"], item["run"], late, item["reason"]]


def _figures(found: dict[str, Any]) -> Iterator[tuple[Column, object]]:
    rate = found["success_rate"]
    yield Column("schedule", Kind.NAME), found["schedule"]
    yield Column("days"), f"{found['days']:g}"
    if not found["fires"]:
        yield Column("fires"), "none: it has not fired in this time"
    for state, count in found["fires"].items():
        yield Column(state), count
    yield Column("success rate"), None if rate is None else f"{rate:.1%}"
    for skip in found["skips"]:
        yield Column("let pass"), f"{skip['count']}: {skip['reason']}"
    yield Column("late, median", Kind.SECONDS), found["lateness_p50_seconds"]
    yield Column("late, 99 of 100", Kind.SECONDS), found["lateness_p99_seconds"]
    yield Column("duration, median", Kind.SECONDS), found["duration_p50_seconds"]
    yield Column("duration, 99 of 100", Kind.SECONDS), found["duration_p99_seconds"]
