"""Hold all schedules with a label, and release them: ``schedule hold``, ``release`` and ``holds``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import click

from barbossactl import output
from barbossactl.commands._common import Command, connect, example, json_option
from barbossactl.exits import CommandError, Exit
from barbossactl.output import Column, Kind
from barbossactl.values import GIVEN


def _labels(command: Command) -> Command:
    """Give a command a label: as an argument, or with ``--label`` as the listings have it."""
    named = click.option(
        "--label", "named", metavar="LABEL", type=GIVEN, help="The same as LABEL alone, as the listings have it."
    )
    return click.argument("label", metavar="[LABEL]", required=False, type=GIVEN)(named(command))


@click.command(
    epilog=example(
        "barbossactl schedule hold team=infra --reason 'the disks are changed' --until 2h",
        "barbossactl schedule hold --all --reason 'the house moves'",
    )
)
@_labels
@click.option("--all", "is_all", is_flag=True, help="All schedules, whatever their label.")
@click.option("--reason", metavar="TEXT", required=True, help="Why, for those who wonder what does not run.")
@click.option("--until", metavar="TIME", help="For how long (2h), or until when (RFC 3339); else until released.")
@click.pass_context
def hold(
    context: click.Context, *, label: str | None, named: str | None, is_all: bool, reason: str, until: str | None
) -> None:
    """Let the fires of all workflows with LABEL pass: key=value, or key for whatever value.

    They are recorded as skipped with the reason, and not caught up.
    """
    asked: dict[str, Any] = {"label": _label(label, named, is_all=is_all), "reason": reason}
    if until is not None:
        asked["until"] = _until(until)
    with connect(context) as client:
        client.call("schedule.hold", asked)
    output.talk(f"{_words(asked['label'])} are held; end it: {_release(asked['label'])}")


@click.command(epilog=example("barbossactl schedule release team=infra"))
@_labels
@click.option("--all", "is_all", is_flag=True, help="End the hold of all schedules.")
@click.pass_context
def release(context: click.Context, label: str | None, named: str | None, is_all: bool) -> None:
    """End a hold."""
    held = _label(label, named, is_all=is_all)
    with connect(context) as client:
        client.call("schedule.release", {"label": held})
    output.talk(f"{_words(held)} are no longer held")


@click.command(epilog=example("barbossactl schedule holds"))
@json_option
@click.pass_context
def holds(context: click.Context, as_json: bool) -> None:
    """List what is held.

    Columns: label (all: every schedule), reason, since when, until when, by whom.
    """
    columns = [
        Column("label", Kind.NAME),
        Column("reason"),
        Column("since", Kind.INSTANT),
        Column("until", Kind.INSTANT),
        Column("by"),
    ]
    with connect(context) as client:
        found = client.call("schedule.holds", {})
    if as_json:
        output.as_json(found)
        return
    output.table(columns, map(_row, found["items"]), empty="nothing is held")


def _row(held: dict[str, Any]) -> list[object]:
    return [held["label"] or "all", held["reason"], held["held_at"], held["until_at"], held["by"]]


def _label(label: str | None, named: str | None, *, is_all: bool) -> str:
    given = [one for one in (label, named) if one is not None]
    if len(given) + is_all != 1:
        raise CommandError("a label and --all exclude each other" if given and is_all else
                           "one label is held at a time" if given else "a label is missing",
                           hint="give LABEL, as team=infra, or --all", exit_code=Exit.USAGE)  # fmt: skip
    return given[0] if given else ""


def _until(until: str) -> str:
    """Return an instant; what is none is a length of time from now."""
    from barbossactl import params

    try:
        try:
            instant = datetime.fromisoformat(until)
        except ValueError:
            instant = datetime.now(UTC) + timedelta(seconds=params.seconds(until))
        if instant.tzinfo is None:
            instant = instant.astimezone()  # as the clock on the wall
        return instant.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    except (OverflowError, ValueError) as error:
        raise CommandError(f"--until {until} is beyond what a calendar holds", exit_code=Exit.USAGE) from error


def _words(label: str) -> str:
    return f"schedules of workflows with the label {output.plain(label)}" if label else "all schedules"


def _release(label: str) -> str:
    import shlex

    return f"barbossactl schedule release {shlex.quote(label) if label else '--all'}"
