"""A command group that imports a command when it is called."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click

from barbossactl.exits import Exit


class LazyGroup(click.Group):
    """A group whose commands are named by place, ``module:object`` in ``barbossactl.commands``."""

    def __init__(self, *args: Any, commands_at: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._commands_at = commands_at

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Answer a call without any command with the help."""
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help())
            ctx.exit(Exit.USAGE)
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        """Return the names in the order of the table, which goes from the general to the everyday."""
        return list(self._commands_at)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 (likewise)
        """Import the command. Return None for a name that is not in the table."""
        place = self._commands_at.get(cmd_name)
        if place is None:
            return None
        module, _, attribute = place.partition(":")
        command: click.Command = getattr(importlib.import_module(f"barbossactl.commands.{module}"), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that ``args`` begin with; for an unknown one, propose the nearest."""
        is_word = bool(args) and not args[0].startswith("-") and not ctx.resilient_parsing
        if is_word and args[0] not in self._commands_at:
            import difflib

            near = difflib.get_close_matches(args[0], self._commands_at, n=1)
            proposal = f", but {near[0]!r}" if near else ""
            ctx.fail(f"there is no command {args[0]!r}{proposal}")
        return super().resolve_command(ctx, args)
