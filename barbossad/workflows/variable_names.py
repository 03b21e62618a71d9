"""See that no environment variable of a task is both a secret and something else: then it would be left open which."""

from __future__ import annotations

from collections.abc import Iterator

from barbossad.document import Document, Path
from barbossad.errors import Fault

_HINT = "a variable has one value; choose another name for one of them"


def given_twice(document: Document, value: dict[str, object], tasks: object) -> list[Fault]:
    """Return a fault for each name that stands under ``secrets`` and under ``env`` or ``params`` too.

    ``value`` is the file as it was written, ``tasks`` its list of tasks; faults of their form are told elsewhere.
    """
    return [
        document.fault(path, f"{path[-1]!r} is a secret, and {other} too", _HINT)
        for path, other in _clashes(value, tasks)
    ]


def _clashes(value: dict[str, object], tasks: object) -> Iterator[tuple[Path, str]]:
    defaults = value.get("defaults")
    secrets: set[str] = set()
    taken = dict.fromkeys(_names(value, "params"), "a param")
    for holder in (value, defaults):
        taken.update(dict.fromkeys(_names(holder, "env"), "an entry of env"))
    for at, holder in (((), value), (("defaults",), defaults)):
        path: Path = at
        for name in _names(holder, "secrets"):
            secrets.add(name)
            if name in taken:
                yield (*path, "secrets", name), taken[name]
    for position, task in enumerate(tasks if isinstance(tasks, list) else []):
        own = set(_names(task, "env"))
        for name in _names(task, "secrets"):
            if name in taken or name in own:
                yield ("tasks", position, "secrets", name), taken.get(name, "an entry of env")
        for name in _names(task, "env"):
            if name in secrets:
                yield ("tasks", position, "env", name), "an entry of env"


def _names(holder: object, key: str) -> list[str]:
    found = holder.get(key) if isinstance(holder, dict) else None
    return [name for name in found if isinstance(name, str)] if isinstance(found, dict) else []
