"""Show workflows that were made of something else, write them into files, put them in force."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from barbossactl import faults, output, text
from barbossactl.client import Client
from barbossactl.exits import CommandError, DaemonError, Exit

Item = dict[str, Any]
"""A workflow: ``name``, ``yaml``, ``source`` and ``notes``."""


def check(*, is_applied: bool, is_sure: bool, folder: str | None, is_forced: bool) -> None:
    """Refuse options that do not go together. Raise ``CommandError``."""
    if is_forced and folder is None:
        raise CommandError("--force is for -o FOLDER", exit_code=Exit.USAGE)
    if is_sure and not is_applied:
        raise CommandError("--yes is for --apply", exit_code=Exit.USAGE)
    if is_applied and not is_sure and not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise CommandError(
            "--apply asks before it applies, and there is nobody here to ask",
            hint="look at what it prints, then add --yes",
            exit_code=Exit.USAGE,
        )


def show(items: Sequence[Item]) -> None:
    """Print the files, parted as YAML parts documents."""
    for number, item in enumerate(items):
        if number:
            output.line("---")
        output.document(item["yaml"])


def tell(answer: dict[str, Any]) -> None:
    """Tell what is to be known; what holds for several is told once."""
    for note in answer["notes"]:
        output.talk(text.escape_cell(note))
    of: dict[str, list[str]] = {}
    for item in answer["items"]:
        for note in item["notes"]:
            of.setdefault(note, []).append(item["name"])
    for note, names in of.items():
        output.talk(text.escape_cell(f"{', '.join(names)}: {note}"))


def write(items: Sequence[Item], folder: str, *, is_forced: bool, is_quiet: bool) -> bool:
    """Write each into a file of its own and print where; return whether all were.

    A file that is there already is left as it is unless ``is_forced``. Raise ``CommandError`` if one cannot be written.
    """
    is_whole = True
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"cannot make the folder {folder}: {error.strerror or error}") from error
    for item in items:
        path = Path(folder, f"{_checked(item['name'])}.yaml")
        try:
            with path.open("w" if is_forced else "x", encoding="utf-8") as file:
                file.write(item["yaml"])
        except FileExistsError:
            is_whole = False
            output.talk(text.escape_cell(f"{path} is there already and was not written; --force writes over it"))
        except OSError as error:
            raise CommandError(f"cannot write {path}: {error.strerror or error}") from error
        else:
            if not is_quiet:
                output.line(text.escape_cell(str(path)))
    return is_whole


def _checked(name: str) -> str:
    """Return a name that may be that of a file. Raise ``CommandError`` for what a daemon should not have answered."""
    if not re.fullmatch("[a-z0-9][a-z0-9_-]*", name):
        raise CommandError(f"the daemon's answer names a workflow {name!r}, which is no name of one")
    return name


def question(items: Sequence[Item]) -> str:
    """Return what is asked before they are put in force."""
    names = ", ".join(text.escape_cell(item["name"]) for item in items)
    return f"Apply {text.count(len(items), 'workflow')} ({names})?"


def apply(client: Client, items: Sequence[Item], *, is_quiet: bool) -> bool:
    """Put them in force; return whether all are."""
    is_whole = True
    for item in items:
        try:
            answer = client.call("workflow.apply", {"yaml": item["yaml"]})
        except DaemonError as error:
            if error.kind != "invalid_workflow":
                raise
            is_whole = False
            for fault in error.data.get("faults") or [{"message": str(error)}]:  # type: ignore[attr-defined]
                output.talk(faults.sentence(fault, item["name"]))
            continue
        item["version"], item["changed"] = answer["version"], answer["changed"]
        if not is_quiet:
            what = "applied" if answer["changed"] else "unchanged"
            output.talk(f"{output.plain(answer['name'])} is {what}, version {output.plain(answer['version'])}")
    return is_whole
