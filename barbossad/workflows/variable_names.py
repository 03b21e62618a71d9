"""See that no environment variable of a task is both a secret and something else: then it would be left open which."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from barbossad.document import Document, Path
from barbossad.errors import Fault
from barbossad.model.flow import TaskKind
from barbossad.workflows import secret_names
from barbossad.workflows.entries import Entry

_HINT = "a variable has one value; choose another name for one of them"


def given_twice(document: Document, value: dict[str, object], tasks: Sequence[Entry]) -> list[Fault]:
    """Return a fault for each name that is a secret, and an entry of ``env`` or a param too.

    ``value`` is the file as it was written; faults of its form are told elsewhere.
    """
    return [
        document.fault(path, f"{path[-1]!r} is a secret, and {other} too", _HINT)
        for path, other in _clashes(value, tasks)
    ]


def _clashes(value: dict[str, object], tasks: Sequence[Entry]) -> Iterator[tuple[Path, str]]:
    defaults = value.get("defaults")
    secrets: set[str] = set()
    taken = dict.fromkeys(_names(value, "params"), "a param")
    for holder in (value, defaults):
        taken.update(dict.fromkeys(_plain(holder), "an entry of env"))
    for at, holder in (((), value), (("defaults",), defaults)):
        path: Path = at
        for key, name in _secrets(holder):
            secrets.add(name)
            if name in taken:
                yield (*path, key, name), taken[name]
    for task in tasks:
        if task.kind is not TaskKind.PROCESS or not ("env" in task.raw or "secrets" in task.raw):
            continue
        own = set(_plain(task.raw))
        seen: set[str] = set()
        for key, name in _secrets(task.raw):
            if name in taken or name in own or name in seen:
                yield (*task.path, key, name), taken.get(name, "an entry of env")
            seen.add(name)
        for name in own:
            if name in secrets:
                yield (*task.path, "env", name), "an entry of env"


def _names(holder: object, key: str) -> list[str]:
    found = holder.get(key) if isinstance(holder, dict) else None
    return [name for name in found if isinstance(name, str)] if isinstance(found, dict) else []


def _plain(holder: object) -> list[str]:
    """Return the names under ``env`` that get no secret."""
    names = _names(holder, "env")
    secrets = secret_names.in_env(holder["env"]) if names and isinstance(holder, dict) else {}
    return [name for name in names if name not in secrets]


def _secrets(holder: object) -> Iterator[tuple[str, str]]:
    """Yield the variables that get a secret, each with the key that it stands under."""
    for name in _names(holder, "secrets"):
        yield "secrets", name
    if isinstance(holder, dict):
        for name in secret_names.in_env(holder.get("env")):
            yield "env", name
