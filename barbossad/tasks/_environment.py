"""Make the environment of a task from nothing, so that no variable of the daemon's own ever reaches it."""

from __future__ import annotations

import pwd
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from barbossad.model.definition import TaskDefinition, WorkflowDefinition
from barbossad.model.names import SecretName
from barbossad.tasks._api import TaskError
from barbossad.validation import RefusalError, shown
from barbossad.variables import check_travels
from barbossad.workflows import expressions

DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFacts:
    """Which attempt it is, or of which run where it is the run itself that looks at its environment."""

    run_id: str
    task_id: str | None = None
    number: int = 0
    scheduled_for: str | None = None
    """The nominal time of the schedule that asked for its run, RFC 3339."""


def base(user: pwd.struct_passwd | None, configured: Mapping[str, str]) -> dict[str, str]:
    """Return what every task of a user gets; ``configured`` is ``tasks.environment`` of the settings, and wins.

    None is a user that is made for the attempt: it has no home, and its name is known to its launcher alone.
    """
    account = {"USER": user.pw_name, "LOGNAME": user.pw_name} if user else {}
    return {
        "PATH": DEFAULT_PATH,
        "HOME": (user and user.pw_dir) or "/",
        **account,
        "SHELL": (user and user.pw_shell) or "/bin/sh",
        "LANG": "C.UTF-8",
        **configured,
    }


def build(
    start: Mapping[str, str],
    definition: WorkflowDefinition,
    own: Mapping[str, str],
    facts: AttemptFacts,
    scope: Mapping[str, Any],
) -> dict[str, str]:
    """Return the environment of a task, or of a run; ``start`` is ``base`` with ``params.environment`` over it.

    Then come the workflow's ``env`` and ``own``, the task's, rendered, and Barbossa's names, which nothing overrides.
    ``env`` in their expressions is what was there before. Raise BarbossaError if one has no value.
    """
    environment = dict(start)
    for entries in (definition.env, own):
        if entries:
            seen = {**scope, "env": dict(environment)}
            for name, text in entries.items():
                environment[name] = _rendered(name, text, seen)
    environment["BARBOSSA_RUN_ID"] = facts.run_id
    if facts.task_id is not None:
        environment["BARBOSSA_TASK_ID"] = facts.task_id
        environment["BARBOSSA_ATTEMPT_NUMBER"] = str(facts.number)
    environment["BARBOSSA_WORKFLOW"] = definition.name
    if facts.scheduled_for is not None:
        environment["BARBOSSA_SCHEDULED_FOR"] = facts.scheduled_for
    return environment


def secrets(task: TaskDefinition, get: Callable[[SecretName], str]) -> dict[str, str]:
    """Return the variables of a task that are secrets; no expression ever sees them. Raise BarbossaError."""
    given: dict[str, str] = {}
    for variable, name in task.secrets.items():
        try:
            given[variable] = check_travels(get(name), name=variable)
        except RefusalError as error:
            raise TaskError(f"the secret {name!r} {error}") from error
    return given


def working_dir(task: TaskDefinition, environment: Mapping[str, str], scope: Mapping[str, Any]) -> str:
    """Return the folder in which a task starts: its own, rendered, or its user's home. Raise BarbossaError."""
    if task.working_dir is None:
        return environment["HOME"]
    folder = _rendered("working_dir", task.working_dir, {**scope, "env": environment})
    if not folder.startswith("/"):
        raise TaskError(f"'working_dir' must be an absolute path, not {shown(folder)}")
    return folder


def _rendered(name: str, text: str, scope: Mapping[str, Any]) -> str:
    if expressions.MARK not in text:
        return text
    try:
        return check_travels(expressions.render_text(text, scope), name=name)
    except RefusalError as error:
        raise TaskError(f"{name!r} {error}") from error
