"""The entry point: global options, command groups imported when called, every end turned into an exit code."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final, NoReturn

import click

from barbossactl import output, streams
from barbossactl.commands._common import example
from barbossactl.exits import CommandError, Exit
from barbossactl.lazy import LazyGroup

PROGRAM: Final = "barbossactl"

_COMMANDS: Final = {
    "daemon": "daemon:group",
    "workflow": "workflow:group",
    "run": "run:group",
    "schedule": "schedule:group",
    "plan": "plan:plan",
    "start": "start:start",
    "status": "daemon:status",
    "ps": "run:ps",
    "show": "run_get:get",
    "logs": "logs:logs",
    "cancel": "run:cancel",
    "retry": "run_control:retry",
    "pause": "run_control:pause",
    "resume": "run_control:resume",
    "approve": "run_control:approve",
    "reject": "run_control:reject",
    "apply": "workflow:apply",
    "validate": "validate:validate",
    "schema": "validate:schema",
    "ls": "workflow:list_workflows",
    "next": "schedule_times:next_fires",
    "import": "importing:group",
    "completion": "completion:completion",
}
"""From a command's name to the module of ``barbossactl.commands`` and the object in it."""


def _show_version(context: click.Context, _option: click.Parameter, is_wanted: bool) -> None:
    if not is_wanted or context.resilient_parsing:
        return
    from importlib.metadata import PackageNotFoundError, version

    try:
        number = version("barbossa")
    except PackageNotFoundError:
        number = "(not installed)"
    output.line(f"{PROGRAM} {number}")
    context.exit()


@click.group(
    cls=LazyGroup,
    commands_at=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=example("barbossactl apply backup.yaml", "barbossactl start backup -p keep_days=3", "barbossactl ps"),
)
@click.option(
    "--socket",
    "socket_path",
    metavar="PATH",
    type=click.Path(path_type=Path, readable=False),  # whether it may be used shows when it is
    help="Talk to the daemon that listens here.  [env: BARBOSSA_SOCKET]",
)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version)
def cli(socket_path: Path | None) -> None:
    """Start workflows, watch runs and look after barbossad, from the command line."""


def main() -> NoReturn:
    """Run the command line and leave the process with its exit code."""
    streams.open_closed()
    streams.watch_output()
    sys.stderr.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = _abandon_stdout()
    except streams.OutputError as error:
        code = _tell_unwritten(error)
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code; whatever goes wrong is one line on stderr."""
    try:
        return cli.main(arguments, prog_name=PROGRAM, standalone_mode=False) or Exit.SUCCEEDED
    except (click.Abort, KeyboardInterrupt):
        return Exit.INTERRUPTED
    except BrokenPipeError:
        return _abandon_stdout()
    except streams.OutputError as error:
        return _tell_unwritten(error)
    except (click.ClickException, CommandError) as error:
        return _tell(error, arguments)
    except Exception as error:
        if os.environ.get("BARBOSSA_DEBUG"):
            raise
        output.error(_unforeseen(error), "BARBOSSA_DEBUG=1 in the environment shows where")
        return Exit.FAILED


def _tell(error: click.ClickException | CommandError, arguments: list[str]) -> int:
    if isinstance(error, CommandError):
        output.error(str(error), error.hint)
        return error.exit_code
    if isinstance(error, click.UsageError):
        where = error.ctx.command_path if error.ctx else _command_path(arguments)
        message = error.format_message().rstrip(".").replace("\n\t", " ")  # click lists choices so
        way = "params are given as -p NAME=VALUE; " if _is_stray_param(error, message) else ""
        output.error(message, f"{way}see: {where} --help")
        return Exit.USAGE
    output.error(error.format_message())
    return Exit.FAILED


def _command_path(arguments: list[str]) -> str:
    """Return the command that a command line begins with: click does not say whose option has no value."""
    names = [PROGRAM]
    command: click.Command = cli
    for word in arguments:
        found = command.get_command(click.Context(command), word) if isinstance(command, click.Group) else None
        if found is None:
            break
        names.append(word)
        command = found
    return " ".join(names)


def _is_stray_param(error: click.UsageError, message: str) -> bool:
    """Say whether a word too many is a param of a run, written without its option."""
    takes_params = error.ctx is not None and any(param.name == "pairs" for param in error.ctx.command.params)
    return takes_params and message.startswith("Got unexpected extra argument") and "=" in message


def _tell_unwritten(error: streams.OutputError) -> int:
    code = _abandon_stdout()
    output.error(f"cannot write the output: {error.strerror or error}")
    return code


def _unforeseen(error: Exception) -> str:
    if isinstance(error, KeyError | TypeError | IndexError):  # what reading a strange answer raises
        return f"the daemon's answer is not what this barbossactl expects ({type(error).__name__}: {error})"
    return f"{type(error).__name__}: {error}"


def _abandon_stdout() -> int:
    streams.abandon(sys.stdout)
    return Exit.FAILED
