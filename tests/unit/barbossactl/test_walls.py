"""What the command line may import, and what every command owes its reader."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from barbossactl.cli import cli
from tests.helpers.cli_process import ROOT

MODULES = sorted((ROOT / "barbossactl").rglob("*.py"))


def _imports(module: Path) -> Iterator[tuple[str, bool]]:
    """Yield the full name of each import and whether it stands at the top of the module."""
    tree = ast.parse(module.read_text())
    top = set(map(id, tree.body))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((f"{node.module}.{alias.name}", id(node) in top) for alias in node.names)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_of_barbossad_only_wire_is_imported(module: Path) -> None:
    """The command line imports nothing of the daemon's package but the wire protocol."""
    foreign = [name for name, _ in _imports(module) if name.split(".")[0] == "barbossad"]
    assert all(name == "barbossad.wire" or name.startswith("barbossad.wire.") for name in foreign)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_rich_is_imported_where_a_terminal_is(module: Path) -> None:
    """Only the live view and tables import rich at their top; they are themselves imported only on a terminal."""
    if module.name not in {"live.py", "tables.py"}:
        assert not [name for name, is_top in _imports(module) if is_top and name.startswith(("rich", "asyncio"))]


def _imported_by(*arguments: str) -> set[str]:
    code = (
        f"import sys; from barbossactl import cli; cli.run({list(arguments)!r}); print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"BARBOSSA_SOCKET": "/nonexistent/socket"},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stderr.splitlines()[-1].split())


def test_ping_imports_nothing_slow() -> None:
    """``daemon ping`` loads neither rich nor asyncio, and of the daemon only the wire protocol."""
    loaded = _imported_by("daemon", "ping")
    assert {name for name in loaded if name.split(".")[0] == "barbossad"} == {"barbossad", "barbossad.wire"}
    assert not loaded & {"rich", "asyncio", "pydantic", "yaml", "importlib.metadata", "http"}


def test_a_group_loads_only_the_command_that_is_called() -> None:
    """The commands of other nouns are not imported."""
    loaded = {name for name in _imported_by("daemon", "ping") if name.startswith("barbossactl.commands.")}
    assert loaded == {"barbossactl.commands._common", "barbossactl.commands.daemon"}


def _commands(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None, name
            yield from _commands(found, (*path, name))


ALL = list(_commands(cli, ("barbossactl",)))


@pytest.mark.parametrize(
    ("path", "command"), ALL, ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_every_command_shows_an_example(path: tuple[str, ...], command: click.Command) -> None:
    """The help of each command says what it does and shows an example that begins with the program's name."""
    help_text = command.get_help(click.Context(command, info_name=path[-1]))
    assert command.help
    assert "Example:\n    " in help_text
    assert "barbossactl " in help_text.partition("Example:")[2]


@pytest.mark.parametrize(
    ("path", "command"), ALL, ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_examples_are_real(path: tuple[str, ...], command: click.Command) -> None:
    """Each example calls a command that there is."""
    known = {known_path for known_path, _ in ALL}
    for line in str(command.epilog).splitlines():
        if line.startswith("  barbossactl "):
            words = tuple(line.split()[:3])
            assert words in known or words[:2] in known, line


def test_short_forms_are_the_long_ones() -> None:
    """A short form is the same command as the long one, so that the two cannot differ."""
    by_path = dict(ALL)
    pairs = {
        "start": ("run", "start"),
        "status": ("daemon", "status"),
        "logs": ("run", "logs"),
        "cancel": ("run", "cancel"),
        "apply": ("workflow", "apply"),
        "validate": ("workflow", "validate"),
        "plan": ("workflow", "plan"),
        "retry": ("run", "retry"),
        "pause": ("run", "pause"),
        "resume": ("run", "resume"),
        "approve": ("run", "approve"),
        "reject": ("run", "reject"),
        "ls": ("workflow", "list"),
    }
    for short, long in pairs.items():
        assert by_path["barbossactl", short] is by_path[("barbossactl", *long)]
