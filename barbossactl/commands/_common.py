"""What commands share: the connection, the option ``--json``, arguments that complete themselves."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from barbossactl import output
from barbossactl.client import Client
from barbossactl.exits import CommandError, Exit
from barbossactl.values import GIVEN
from barbossad import wire

Command = TypeVar("Command", bound=Callable[..., Any])

_RUN_ID: Final = re.compile("[0-9a-hjkmnp-tv-z]{10}")

LAST: Final = "last"
"""The word that stands for the newest run that no other run called."""

LOOKED_THROUGH: Final = 100
"""So many runs are looked through for one that no other called; then the newest of all is meant."""


def socket_path(context: click.Context) -> Path:
    """Return the socket that the command line or the environment names."""
    named = context.find_root().params.get("socket_path")
    return named if isinstance(named, Path) else wire.client_socket_path()


def connect(context: click.Context) -> Client:
    """Return a connection to the daemon."""
    return Client(socket_path(context))


def resolve_run(client: Client, word: str) -> str:
    """Return a run's id: ``word`` itself, or for ``last`` that of the newest run that no other called.

    Raise ``CommandError`` for neither.
    """
    if word != LAST:
        if not _RUN_ID.fullmatch(word):
            raise CommandError(f"{word!r} is no run's id", hint="barbossactl ps --all lists them", exit_code=Exit.USAGE)
        return word
    items = client.call("run.list", {"limit": LOOKED_THROUGH})["items"]
    if not items:
        raise CommandError("there is no run yet", hint="start one: barbossactl start NAME")
    own = next((item for item in items if not item.get("parent")), items[0])
    return str(own["id"])


def tell_of_file(answer: dict[str, Any], what: str) -> None:
    """Say so if a file on the daemon's host undoes what was done when it is read again; ``what`` it does then."""
    if file := answer.get("kept_file"):
        output.talk(f"its file {output.plain(file)} {what} at the next reload or start: mend or remove it too")


def example(*commands: str) -> str:
    """Return the end of a command's help, which shows how it is used."""
    return "\n".join(["\b", "Example:", *(f"  {command}" for command in commands)])


def json_option(command: Command) -> Command:
    """Give a command the flag ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def workflow_argument(*, required: bool = True) -> Callable[[Command], Command]:
    """Give a command the argument NAME, which completes to the workflows of the daemon."""
    return click.argument(
        "name",
        metavar="NAME" if required else "[NAME]",
        required=required,
        type=GIVEN,
        callback=_no_file,
        shell_complete=_complete("workflows"),
    )


def _no_file(_context: click.Context, _argument: click.Parameter, name: str | None) -> str | None:
    """Tell whoever gives a file where a name is wanted how the one becomes the other."""
    if name is not None and name.endswith((".yaml", ".yml")):
        raise CommandError(
            f"{name!r} is a file, and here goes the name that stands in it",
            hint=f"put it in force first: barbossactl apply {name}",
            exit_code=Exit.USAGE,
        )
    return name


def version_argument(name: str, metavar: str, *, required: bool) -> Callable[[Command], Command]:
    """Give a command a version, which completes to those of the workflow before it."""
    return click.argument(name, metavar=metavar, required=required, type=GIVEN, shell_complete=_complete("versions"))


def run_argument(command: Command) -> Command:
    """Give a command the argument RUN, which completes to the newest runs."""
    return run_argument_named("run", "RUN")(command)


def run_argument_named(name: str, metavar: str) -> Callable[[Command], Command]:
    """Give a command an argument that is a run, where it takes more than one."""
    return click.argument(name, metavar=metavar, shell_complete=_complete("runs"))


def task_argument(command: Command) -> Command:
    """Give a command the argument [TASK], which completes to the tasks of the run before it."""
    return _task_argument("tasks")(command)


def asking_argument(command: Command) -> Command:
    """Give a command the argument [TASK], which completes to the tasks that wait in the run before it."""
    return _task_argument("asking")(command)


def _task_argument(what: str) -> Callable[[Command], Command]:
    return click.argument("task", metavar="[TASK]", required=False, type=GIVEN, shell_complete=_complete(what))


def since_option(command: Command) -> Command:
    """Give a command ``--from``, which completes to where the run before it can be tried again."""
    return click.option(
        "--from",
        "since",
        metavar="WHERE",
        default="failed",
        show_default=True,
        type=GIVEN,
        shell_complete=_complete("retry_points"),
        help="failed, start, or the id of a task, which then runs again with all that depends on it.",
    )(command)


def params_option(command: Command) -> Command:
    """Give a command ``-p name=value``, which completes to the params of the workflow before it."""
    return click.option(
        "-p",
        "--param",
        "pairs",
        metavar="NAME=VALUE",
        multiple=True,
        shell_complete=_complete("params"),
        help="A parameter of the workflow; name:=JSON for a list or a map. May be repeated.",
    )(command)


def workflow_option(command: Command) -> Command:
    """Give a command ``--workflow NAME``, which completes to the workflows of the daemon."""
    return click.option(
        "--workflow",
        metavar="NAME",
        type=GIVEN,
        shell_complete=_complete("workflows"),
        help="Only those of this workflow.",
    )(command)


def schedule_argument(command: Command) -> Command:
    """Give a command the argument NAME, which completes to the schedules of the daemon."""
    return schedule_argument_of(is_required=True)(command)


def schedule_argument_of(*, is_required: bool) -> Callable[[Command], Command]:
    """Give a command a schedule, which it may need or not."""
    metavar = "NAME" if is_required else "[NAME]"
    return click.argument(
        "name", metavar=metavar, required=is_required, type=GIVEN, shell_complete=_complete("schedules")
    )


def label_option(command: Command) -> Command:
    """Give a command ``--label``."""
    return click.option(
        "--label", metavar="LABEL", type=GIVEN, help="Only of workflows with this label, as team=infra."
    )(command)


def timing_options(command: Command) -> Command:
    """Give a command the keys of a schedule that decide when it fires, beside cron."""
    for option in (
        click.option("--on-holiday", type=click.Choice(["skip", "before", "after"]), help="What a holiday does to it."),
        click.option(
            "--holidays", metavar="COUNTRY", type=GIVEN, help="Holidays of a country or part of it, as GB or GB-SCT."
        ),
        click.option(
            "--blackout", metavar="WINDOW", type=GIVEN, multiple=True, help="Skipped then, as 22:00-06:00. Repeatable."
        ),
        click.option(
            "--within", metavar="WINDOW", type=GIVEN, multiple=True, help="Only then, as 'Mon-Fri 08:00-18:00'."
        ),
        click.option("--dst", type=click.Choice(["once", "skip", "last", "both"]), help="When the clocks change."),
        click.option("--anchor", metavar="INSTANT", type=GIVEN, help="With --every: an instant of the row."),
        click.option("--timezone", metavar="ZONE", type=GIVEN, help="An IANA time zone, as Europe/London."),
        click.option("--at", metavar="INSTANT", type=GIVEN, multiple=True, help="Once, at an instant. Repeatable."),
        click.option("--every", metavar="TIME", type=GIVEN, help="An interval, as 15m."),
    ):
        command = option(command)
    return command


def _complete(what: str) -> Callable[[click.Context, click.Parameter, str], list[Any]]:
    def complete(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[Any]:
        from barbossactl import completion

        return completion.proposals(what, socket_path(context), _given(context), incomplete)

    return complete


def _given(context: click.Context) -> dict[str, Any]:
    """Return what stands on the command line; before an option without its value click has not sorted arguments yet."""
    names = [parameter.name for parameter in context.command.params if isinstance(parameter, click.Argument)]
    waiting = dict(zip(names, context.args, strict=False))
    return {**context.params, **{name: value for name, value in waiting.items() if context.params.get(name) is None}}
