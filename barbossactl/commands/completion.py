"""``completion``: the script that makes a shell complete commands, workflows, runs and tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from barbossactl import output
from barbossactl.commands._common import example

if TYPE_CHECKING:
    from click.shell_completion import ShellComplete

_SCRIPT_OF = {"bash": "BashComplete", "zsh": "ZshComplete", "fish": "FishComplete"}


@click.command(
    epilog=example(
        'eval "$(barbossactl completion bash)"                        # in ~/.bashrc',
        'eval "$(barbossactl completion zsh)"                         # in ~/.zshrc',
        "barbossactl completion fish > ~/.config/fish/completions/barbossactl.fish",
    )
)
@click.argument("shell", type=click.Choice(list(_SCRIPT_OF)))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script of a shell."""
    from click import shell_completion

    root = context.find_root()
    kind: type[ShellComplete] = getattr(shell_completion, _SCRIPT_OF[shell])
    script = kind(root.command, {}, "barbossactl", "_BARBOSSACTL_COMPLETE")
    output.line((script.source_template % script.source_vars()).strip())
