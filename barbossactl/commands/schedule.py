"""``schedule``: what starts workflows by itself: look at it, switch it off and on, fire it by hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from barbossactl import output
from barbossactl.commands._common import (
    connect,
    example,
    json_option,
    label_option,
    schedule_argument,
    workflow_option,
)
from barbossactl.exits import CommandError, Exit
from barbossactl.lazy import LazyGroup
from barbossactl.output import Column, Kind

_COMMANDS = {
    "list": "schedule:list_schedules",
    "get": "schedule:get",
    "next": "schedule_times:next_fires",
    "explain": "schedule_times:explain",
    "preview": "schedule_times:preview",
    "add": "schedule_add:add",
    "remove": "schedule:remove",
    "enable": "schedule:enable",
    "disable": "schedule:disable",
    "trigger": "schedule:trigger",
    "history": "schedule_history:history",
    "stats": "schedule_history:stats",
    "hold": "schedule_holds:hold",
    "release": "schedule_holds:release",
    "holds": "schedule_holds:holds",
}
_LAST = (Column("last", Kind.STATE), Column("for", Kind.INSTANT))
_COLUMNS = (Column("schedule", Kind.NAME), Column("state"), Column("when"), Column("zone"), Column("next"), *_LAST)
_GLANCE = (Column("schedule", Kind.NAME), Column("when"), Column("next"), *_LAST)
_BY_CLOCK = ("cron", "every", "at")
_KINDS = (*_BY_CLOCK, "boot", "file", "workflow", "unit")


@click.group(
    "schedule",
    cls=LazyGroup,
    commands_at=_COMMANDS,
    epilog=example("barbossactl schedule list", "barbossactl schedule explain nightly-backup"),
)
def group() -> None:
    """Look at and steer what starts workflows by itself: schedules and triggers."""


@click.command("list", epilog=example("barbossactl schedule list --label team=infra"))
@workflow_option
@label_option
@click.option("--kind", type=click.Choice(_KINDS), help="Only those that this makes fire.")
@json_option
@click.pass_context
def list_schedules(
    context: click.Context, workflow: str | None, label: str | None, kind: str | None, as_json: bool
) -> None:
    """List schedules and triggers.

    Columns: id, state (enabled, disabled, held, over, or trouble), when, time zone, next, state and time of the last
    fire; on a terminal the zone stands with the time, and what keeps a schedule from firing where it would fire next.
    """
    from barbossactl import listing

    given = {"workflow": workflow, "label": label, "kind": kind}
    asked = {name: value for name, value in given.items() if value is not None}
    with connect(context) as client:
        found = listing.items(client, "schedule.list", asked, limit=None)
        empty = "there is no schedule; write one under schedules: in a workflow file, or barbossactl schedule add"
        columns, row = (_GLANCE, _glance) if output.is_terminal() else (_COLUMNS, _row)
        listing.show(found, columns, row, as_json=as_json, empty=empty)


@click.command(epilog=example("barbossactl schedule get nightly-backup"))
@schedule_argument
@json_option
@click.pass_context
def get(context: click.Context, name: str, as_json: bool) -> None:
    """Show one schedule: what makes it fire, what comes next, and what came last."""
    with connect(context) as client:
        found = client.call("schedule.get", {"name": name})
    if as_json:
        output.as_json(found)
    else:
        output.fields(_fields(found))


@click.command(epilog=example("barbossactl schedule remove nightly-backup/added-1"))
@schedule_argument
@click.pass_context
def remove(context: click.Context, name: str) -> None:
    """Remove a schedule that was added; its history stays."""
    with connect(context) as client:
        found = client.call("schedule.remove", {"name": name})
    output.talk(f"{output.plain(found['id'])} is removed")


@click.command(epilog=example("barbossactl schedule enable nightly-backup"))
@schedule_argument
@click.pass_context
def enable(context: click.Context, name: str) -> None:
    """Let a schedule fire again, from now on; its failures are forgiven."""
    with connect(context) as client:
        found = client.call("schedule.enable", {"name": name})
    output.talk(f"{output.plain(found['id'])} is enabled{_next_words(found)}")


@click.command(epilog=example("barbossactl schedule disable nightly-backup --reason 'the disk is full'"))
@schedule_argument
@click.option("--reason", metavar="TEXT", help="Why, for those who look at it later.")
@click.pass_context
def disable(context: click.Context, name: str, reason: str | None) -> None:
    """Let a schedule fire no more; a run that goes on is left alone."""
    asked = {"name": name} if reason is None else {"name": name, "reason": reason}
    with connect(context) as client:
        found = client.call("schedule.disable", asked)
    output.talk(f"{output.plain(found['id'])} is disabled; barbossactl schedule enable {output.plain(found['id'])}")


@click.command(
    epilog=example(
        "barbossactl schedule trigger nightly-backup", "barbossactl schedule trigger nightly-backup --detach"
    )
)
@schedule_argument
@click.option("--detach", is_flag=True, help="Print the id of the run and leave.")
@click.option("--wait", is_flag=True, help="Wait quietly; say only how a run that did not succeed has ended.")
@json_option
@click.pass_context
def trigger(context: click.Context, name: str, detach: bool, wait: bool, as_json: bool) -> int:
    """Fire a schedule now, with its params, and follow the run as start does; exit codes are those of start.

    Its rules for overlap hold. Where the run has to wait for the one before it, there is none yet to follow: that
    is said, with --json the fire that waits is printed, and the exit code is 0.
    """
    from barbossactl import staying

    if detach and wait:
        raise CommandError("--detach and --wait exclude each other", exit_code=Exit.USAGE)
    with connect(context) as client:
        answer = staying.begin(client, "schedule.trigger", {"name": name})
        run = answer["run"]
        if run is not None and not detach:
            return staying.stay(client, run["id"], is_quiet=wait or as_json, as_json=as_json)
    if run is not None:
        return staying.leave(run, as_json=as_json)
    if as_json:
        output.as_json(answer)
    schedule = output.plain(answer["fire"]["schedule"])
    output.talk(f"it waits for the run before it; what becomes of it: barbossactl schedule history {schedule}")
    return Exit.SUCCEEDED


def _state(item: dict[str, Any]) -> str:
    if not item["enabled"]:
        return "disabled"
    if item["held"]:
        return f"held: {item['held']['reason']}"
    if item["trouble"]:
        return f"trouble: {item['trouble']}"
    if item["kind"] in _BY_CLOCK and not item["next_at"]:
        return "over: no fire is left"
    return f"enabled, next skipped: {item['next_skip']}" if item["next_skip"] else "enabled"


def _row(item: dict[str, Any]) -> list[object]:
    last = item.get("last") or {}
    zone = item["timezone"] if item["kind"] in {"cron", "at"} else None
    return [item["id"], _state(item), item["when"], zone, item["next_at"], last.get("state"), last.get("nominal_at")]


def _glance(item: dict[str, Any]) -> list[object]:
    """Return a row for a person: as few columns as tell all, for each takes its share of a narrow terminal."""
    from barbossactl import text

    name, state, when, zone, next_at, *last = _row(item)
    following = text.moment(item["next_at"]) if next_at and item["enabled"] else ""
    kept_by = f"skipped: {item['next_skip']}" if item["next_skip"] and item["enabled"] else str(state)
    words = [following, "" if kept_by == "enabled" else kept_by]
    return [name, f"{when}, {zone}" if zone else when, ", ".join(filter(None, words)), *last]


def _fields(item: dict[str, Any]) -> Iterator[tuple[Column, object]]:
    last = item.get("last") or {}
    yield Column("schedule", Kind.NAME), item["id"]
    yield Column("description"), item["description"]
    yield Column("when"), item["when"]
    yield Column("time zone"), item["timezone"]
    yield Column("state"), _state(item)
    yield Column("disabled because"), item["disabled_reason"]
    yield Column("next", Kind.INSTANT), item["next_at"]
    yield Column("which is skipped"), item["next_skip"]
    yield Column("last", Kind.STATE), last.get("state")
    yield Column("for", Kind.INSTANT), last.get("nominal_at")
    yield Column("run"), last.get("run")
    yield Column("because"), last.get("reason")
    yield Column("failures in a row"), item["failures"] or None
    yield Column("overlap"), item["overlap"]
    yield Column("catch up"), item["catch_up"] if item["next_at"] else None
    yield Column("jitter", Kind.SECONDS), item["jitter_seconds"] or None
    yield Column("params"), item["params"] or None
    yield Column("labels"), output.pairs(item["labels"])
    yield Column("from"), "the workflow's file" if item["source"] == "file" else f"added by {item['added_by']}"


def _next_words(item: dict[str, Any]) -> str:
    from barbossactl import text

    return f"; it fires next at {text.moment(item['next_at'])}" if item["next_at"] else ""
