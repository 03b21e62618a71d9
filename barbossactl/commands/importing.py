"""``import``: turn crontabs and timers of systemd into workflows, shown first."""

from __future__ import annotations

from typing import Any

import click

from barbossactl import output
from barbossactl.client import Client
from barbossactl.commands._common import Command, connect, example, json_option
from barbossactl.exits import Exit
from barbossactl.lazy import LazyGroup
from barbossactl.values import GIVEN

_COMMANDS = {"cron": "importing:cron", "timers": "importing:timers"}


@click.group("import", cls=LazyGroup, commands_at=_COMMANDS, epilog=example("barbossactl import cron /etc/crontab"))
def group() -> None:
    """Turn crontabs and systemd timers into workflows."""


def _what_becomes_of_it(command: Command) -> Command:
    """Give a command the options that say what is done with the workflows, beside showing them."""
    for option in (
        json_option,
        click.option("--force", is_flag=True, help="With -o: write over files that are there."),
        click.option(
            "-o", "--output", "folder", metavar="FOLDER", type=GIVEN, help="Write each into FOLDER as NAME.yaml."
        ),
        click.option("--yes", is_flag=True, help="With --apply: do not ask."),
        click.option("--apply", "is_applied", is_flag=True, help="Put them in force, when you have said yes."),
        click.option(
            "--timezone", metavar="ZONE", type=GIVEN, help="Time zone of times that name none; by default the daemon's."
        ),
    ):
        command = option(command)
    return command


@click.command(
    epilog=example(
        "barbossactl import cron /etc/crontab",
        "barbossactl import cron ada -o workflows",
        "crontab -l | barbossactl import cron - --apply --yes",
    )
)
@click.argument("source", metavar="FILE|USER")
@click.option("--user", metavar="USER", type=GIVEN, help="Whose crontab the file is; tasks run as that user.")
@click.option(
    "--system/--no-system",
    "is_system",
    default=None,
    help="Whether each line names a user. By default so in /etc/crontab and /etc/cron.d.",
)
@_what_becomes_of_it
@click.pass_context
def cron(context: click.Context, /, source: str, user: str | None, is_system: bool | None, **chosen: Any) -> int:
    """Turn a crontab into workflows, one for each line: that of a file (- is stdin), or of a user.

    Prints the workflows; what is to be known of them goes to stderr. A line that cannot be imported is told with the
    reason, and the others are imported; the exit code is 1 then. cron itself is left as it is: switch off there what
    is in force here.
    """
    from barbossactl import crontabs

    found = crontabs.read(source, user=user, is_system=is_system)
    asked = {"text": found.text, "user": found.user, "system": found.is_system, "source": found.name}
    return _import(context, "import.cron", asked, found.name, **chosen)


@click.command(epilog=example("barbossactl import timers", "barbossactl import timers logrotate fstrim -o workflows"))
@click.argument("names", metavar="[NAME...]", nargs=-1)
@_what_becomes_of_it
@click.pass_context
def timers(context: click.Context, /, names: tuple[str, ...], **chosen: Any) -> int:
    """Turn timers of systemd into workflows that start the same units: those named, or all that are loaded.

    Prints the workflows; what is to be known of them goes to stderr. A timer that cannot be imported is told with the
    reason; the exit code is 1 then. The timers are left as they are: the notes say how to switch them off.
    """
    return _import(context, "import.timers", {"names": list(names)}, None, **chosen)


def _import(  # noqa: PLR0917 (the options that both commands have)
    context: click.Context,
    operation: str,
    asked: dict[str, Any],
    file: str | None,
    timezone: str | None,
    is_applied: bool,
    yes: bool,
    folder: str | None,
    force: bool,
    as_json: bool,
) -> int:
    from barbossactl import faults, imports

    imports.check(is_applied=is_applied, is_sure=yes, folder=folder, is_forced=force)
    given = {name: value for name, value in {**asked, "timezone": timezone}.items() if value is not None}
    with connect(context) as client:
        answer: dict[str, Any] = client.call(operation, given)
        items = answer["items"]
        is_whole = not answer["faults"]
        if folder is not None:
            is_whole &= imports.write(items, folder, is_forced=force, is_quiet=as_json)
        elif not as_json:
            imports.show(items)
        imports.tell(answer)
        if not items and is_whole:
            output.talk("there is nothing to import")
        for fault in answer["faults"]:
            output.talk(f"not imported: {faults.sentence(fault, file)}")
        if is_applied and items:
            is_whole &= _apply(client, items, is_sure=yes, is_quiet=as_json)
    if as_json:
        output.as_json(answer)
    return Exit.SUCCEEDED if is_whole else Exit.FAILED


def _apply(client: Client, items: list[dict[str, Any]], *, is_sure: bool, is_quiet: bool) -> bool:
    from barbossactl import imports

    if not is_sure and not click.confirm(imports.question(items), err=True):
        output.talk("nothing was applied")
        return False
    return imports.apply(client, items, is_quiet=is_quiet)
