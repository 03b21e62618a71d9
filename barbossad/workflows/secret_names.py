"""Secrets in ``env``: a lone ``{{ secrets.name }}`` there is another way to write an entry of ``secrets``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from barbossad.document import Path
from barbossad.model.flow import TaskKind
from barbossad.model.names import SECRET_NAME, SecretName

_LONE: Final = re.compile(
    rf"""\s*\{{\{{-?\s*secrets(?:\.(?P<plain>{SECRET_NAME.pattern})|\[\s*(['"])(?P<quoted>{SECRET_NAME.pattern})\2\s*\])"""
    r"\s*-?\}\}\s*"
)


def lone(text: object) -> SecretName | None:
    """Return the secret that a text stands for, if it is nothing else."""
    found = _LONE.fullmatch(text) if isinstance(text, str) and "secrets" in text else None
    return SecretName(found["plain"] or found["quoted"]) if found else None


def may_stand(path: Path) -> bool:
    """Say whether ``path`` is that of an entry of the workflow's, the defaults' or a task's ``env``."""
    holder = path[:-2]
    return path[-2:-1] == ("env",) and (
        holder in {(), ("defaults",)} or isinstance(holder[-1], int) or holder[-1] == "rollback"
    )


def in_env(env: object) -> dict[str, SecretName]:
    """Return the variables of an ``env`` that get a secret, each with its name."""
    items = env.items() if isinstance(env, Mapping) else ()
    return {variable: name for variable, text in items if (name := lone(text)) is not None}


def without(env: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of an ``env`` that get no secret."""
    return {variable: text for variable, text in env.items() if lone(text) is None}


def refusal(text: str, path: Path, kind: TaskKind) -> tuple[str, str]:
    """Return what is wrong with an expression that looks at secrets where none may go, and the way to mend it."""
    name = re.search(r"secrets\.([a-z0-9][a-z0-9_-]*)", text)
    written = f"{{{{ secrets.{name[1] if name else 'NAME'} }}}}"
    misnamed = re.fullmatch(r"\s*\{\{\s*secrets\.([\w-]+)\s*\}\}\s*", text)
    if may_stand(path) and misnamed:
        return f"{misnamed[1]!r} is no name of a secret", "use up to 63 small letters, digits, - and _"
    if may_stand(path):
        return (
            "a secret stands in env alone, without other text or a filter",
            f'write {path[-1]}: "{written}", and make of it what you need in the task',
        )
    remedy = {
        TaskKind.CALL: "name it in the workflow that this task runs, under secrets",
        TaskKind.APPROVAL: "remove it: who is asked would read it",
        TaskKind.GROUP: f'write env: {{VALUE: "{written}"}} at the task in the group that needs it',
        TaskKind.PROCESS: f'write env: {{VALUE: "{written}"}} at the task, which finds it in its variable VALUE',
    }
    return "a secret goes to an environment variable alone", remedy[kind]


def all_of(holder: Any) -> dict[str, SecretName]:
    """Return the secrets of a workflow, its defaults or a task, whichever way they are written."""
    named = {variable: SecretName(name) for variable, name in holder.secrets.items()}
    return {**in_env(holder.env), **named}
