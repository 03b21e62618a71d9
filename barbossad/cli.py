"""The command line of the daemon."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final

import click

from barbossad import __version__, streams
from barbossad import config as configs
from barbossad import log as logs
from barbossad.errors import BarbossaError, Fault, InvalidConfigError

THREAD_SECONDS: Final = 10.0
"""How long threads may take to end when all else has: nothing is recorded any more."""

log = logging.getLogger(__name__)

_USER = click.option(
    "--user", "is_user", is_flag=True, help="Be a daemon of your own, with its state in your XDG folders."
)
_CONFIG = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Read this file instead of /etc/barbossa/barbossad.yaml (with --user: ~/.config/barbossa/barbossad.yaml).",
)


class _Program(click.Group):
    """A group that has its standard streams before it reads its command line: faults of that are told, too."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the command line."""
        streams.open_closed()
        return super().main(*args, **extra)


@click.group(cls=_Program, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="barbossad", message="%(prog)s %(version)s")
@_USER
@_CONFIG
@click.pass_context
def main(context: click.Context, config_path: Path | None, *, is_user: bool) -> None:
    """Run the automation daemon in the foreground, until SIGTERM. SIGHUP reloads its files.

    \b
    barbossad --user            a daemon of your own
    barbossad                   the system's (systemctl start barbossad does this)
    barbossad check-config      tell every fault of the config file
    barbossad check FILE...     tell every fault of workflow files
    barbossad schema            print the JSON Schema of workflow files
    """  # noqa: D301 (\b is click's mark for lines that stay as they are)
    context.obj = (config_path, is_user)
    if context.invoked_subcommand is not None:
        return
    logs.set_up("info")
    try:
        config = configs.load(config_path, user=is_user)
    except InvalidConfigError as error:
        for fault in error.faults:
            log.critical("%s", _line(error.subject, fault), extra={"action": "config_refused"})
        sys.exit(_refused())
    logs.set_level(config.logging.level)
    from barbossad.daemon import serve  # noqa: PLC0415 (--version and check-config need none of it)

    try:
        run_to_the_end(serve(config, config_path, is_user=is_user))
    except BarbossaError:  # which it has told
        sys.exit(1)


def _refused() -> int:
    """Return the exit status of a daemon whose config is refused: 2, for systemd not to start it again.

    A service for which systemd keeps the pipes of tasks would lose them by that, and with them the tasks: it ends
    with 1, and its unit tries again, now and then, until the config is mended.
    """
    from barbossad.process.systemd import kept  # noqa: PLC0415 (not needed where all is well)
    from barbossad.systemd import Manager  # noqa: PLC0415

    manager = Manager()
    if kept.tasks_wait(manager):
        return 1
    manager.turn_away()
    return 2


def run_to_the_end(work: Coroutine[Any, Any, None], *, thread_seconds: float = THREAD_SECONDS) -> None:
    """Run the daemon; afterwards end this process even if a thread hangs in a system call, on a dead disk, say."""
    with asyncio.Runner() as runner:
        try:
            runner.run(work)
        finally:
            timer = threading.Timer(thread_seconds, _give_up)
            timer.daemon = True
            timer.start()


def _give_up() -> None:
    log.critical("a thread hangs in a system call; the process ends without it", extra={"action": "thread_left"})
    logging.shutdown()
    os._exit(1)


@main.command("check-config")
@_USER
@_CONFIG
@click.pass_context
def check_config(context: click.Context, config_path: Path | None, *, is_user: bool) -> None:
    """Read the config file and tell every fault with its place; exit 2 if there is one."""
    outer_path, outer_user = context.obj
    path, is_user = config_path or outer_path, is_user or outer_user
    try:
        configs.load(path, user=is_user)
    except InvalidConfigError as error:
        for fault in error.faults:
            click.echo(_line(error.subject, fault), err=True)
        sys.exit(2)
    named = path or configs.default_path(user=is_user)
    click.echo(f"{named}: {'good' if named.exists() else 'not there; the defaults are in force'}")


@main.command("check")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, each fault with the line of the file it is in.")
def check(files: tuple[str, ...], *, as_json: bool) -> None:
    """Read workflow files, - being stdin, and tell every fault with its place; exit 2 if there is one.

    Needs no running daemon. barbossactl validate does this, and shows the places.
    """
    from barbossad import checking  # noqa: PLC0415 (see above)

    checked = checking.check(files)
    if as_json:
        click.echo(json.dumps({"items": [one.as_dict() for one in checked]}))
    else:
        for one in checked:
            for fault in one.faults:
                click.echo(_line(one.file, fault))
            if not one.faults:
                click.echo(f"{one.file}: valid")
    sys.exit(2 if any(one.faults for one in checked) else 0)


@main.command("schema")
def schema() -> None:
    """Print the JSON Schema of workflow files, for editors that complete and check YAML."""
    from barbossad import checking  # noqa: PLC0415 (see above)

    click.echo(json.dumps(checking.schema(), indent=2))


def _line(file: str, fault: Fault) -> str:
    """Return a fault as compilers write it, so that editors can jump to it."""
    place = f":{fault.line}:{fault.column}" if fault.line else ""
    hint = f" ({fault.hint})" if fault.hint else ""
    return f"{file}{place}: {fault.message}{hint}"
