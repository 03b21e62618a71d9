"""The workflow file as its author writes it: which keys there are, and which come with later versions."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, WithJsonSchema

from barbossad.model.names import PARAM_NAME, SECRET_NAME, TASK_ID, WORKFLOW_NAME
from barbossad.units import Duration, PositiveDuration
from barbossad.validation import RefusalError, proposal, shown
from barbossad.variables import Environment, Text, VariableName
from barbossad.workflows.isolation import Confined
from barbossad.workflows.part import Source

MAX_TASKS: Final = 10_000
MAX_FAULTS: Final = 200
"""More are counted, not listed, and nothing is proposed for them."""

MAX_TEXT_CHARACTERS: Final = 65_536

LATER_IN_WORKFLOW: Final = frozenset(
    {"concurrency", "schedules", "on_failure", "on_cancel", "on_exit", "priority", "warn_after", "lock"}
)
"""Keys of the published language that this version does not have yet."""

LATER_IN_TASK: Final = frozenset(
    {
        *("when", "trigger", "retry", "continue_on_error"),
        *("for_each", "max_parallel", "repeat", "expect", "creates", "unless"),
        *("lock", "priority", "warn_after", "artifacts", "rollback", "host", "output"),
        *("file", "service", "git", "http", "health_check", "database", "notify", "condition", "parallel"),
        *("backup", "workflow", "approval"),
    }
)
"""Keys of a task, and types, of the published language that this version does not have yet."""

LATER_IN_DEFAULTS: Final = frozenset({"retry"})

MEANT: Final[Mapping[str, str]] = {
    **dict.fromkeys(("run", "command", "cmd", "script", "bash", "sh", "exec"), "shell"),
    **dict.fromkeys(("needs", "after", "requires", "dependencies", "depends"), "depends_on"),
    **dict.fromkeys(("cwd", "chdir", "dir", "workdir", "directory"), "working_dir"),
    **dict.fromkeys(("environment", "vars", "variables"), "env"),
    **dict.fromkeys(("secret", "credentials", "passwords"), "secrets"),
    **dict.fromkeys(("steps", "jobs", "stages"), "tasks"),
    **dict.fromkeys(("inputs", "parameters", "args", "arguments"), "params"),
    **dict.fromkeys(("code", "py"), "python"),
    **dict.fromkeys(("sleep", "pause", "delay"), "wait"),
    **dict.fromkeys(("name", "title"), "id"),
    **dict.fromkeys(("user", "username", "become_user", "uid"), "run_as"),
    **dict.fromkeys(("resources", "ulimit", "limit"), "limits"),
}
"""What a key of another tool is called here; proposed where that key exists."""


def key_hint(key: str, known: Collection[str]) -> str:
    """Return which known key an unknown one was probably meant to be, or all of them."""
    meant = MEANT.get(key)
    return f"did you mean {meant!r}?" if meant in known else proposal(key, known)


MEANT_TYPES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("str", "text", "varchar"), "string"),
    **dict.fromkeys(("int", "long"), "integer"),
    **dict.fromkeys(("float", "double", "decimal"), "number"),
    **dict.fromkeys(("bool", "flag"), "boolean"),
    **dict.fromkeys(("enum", "select", "option"), "choice"),
    **dict.fromkeys(("file", "folder", "dir", "directory", "filename"), "path"),
    **dict.fromkeys(("array", "tuple"), "list"),
    **dict.fromkeys(("dict", "object", "mapping"), "map"),
    **dict.fromkeys(("time", "timeout", "timedelta"), "duration"),
    "password": "secret",
}
"""What a type of a param is called elsewhere."""


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _slug(name: str) -> str:
    """Return the usable name that is nearest to one that is not."""
    return re.sub(r"[^A-Za-z0-9_]+", "-", name).strip("-_")[:63] or "my-name"


def _folder(folder: str) -> str:
    if "{{" not in folder and not folder.startswith("/"):
        raise RefusalError(f"is not an absolute path: {shown(folder)}", "write it from / on; ~ is not expanded")
    return folder


def _param_type(name: Any) -> Any:
    if isinstance(name, str) and name.lower() in MEANT_TYPES:
        raise RefusalError(f"cannot be {shown(name)}", f"did you mean {MEANT_TYPES[name.lower()]!r}?")
    return name


def _workflow_name(name: str) -> str:
    if not WORKFLOW_NAME.fullmatch(name):
        raise RefusalError(
            f"is not usable: {shown(name)}",
            f"use up to 63 small letters, digits, - and _, such as {_slug(name).lower()}",
        )
    return name


def _task_id(name: str) -> str:
    if not TASK_ID.fullmatch(name):
        raise RefusalError(
            f"is not usable: {shown(name)}", f"use up to 63 letters, digits, - and _, such as {_slug(name)}"
        )
    return name


def _param_name(name: str) -> str:
    if not PARAM_NAME.fullmatch(name):
        raise RefusalError("is no name of a param", "use up to 63 letters, digits and _, and no digit first")
    return name


def _secret_name(name: str) -> str:
    if not SECRET_NAME.fullmatch(name):
        raise RefusalError(
            "is no name of a secret",
            "write the name, not the value: up to 63 small letters, digits, - and _",
        )
    return name


def _pattern(pattern: re.Pattern[str]) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": f"^{pattern.pattern}$"})


Prose = Annotated[str, StringConstraints(max_length=MAX_TEXT_CHARACTERS)]


Secrets = dict[VariableName, Annotated[str, AfterValidator(_secret_name), _pattern(SECRET_NAME)]]
"""From environment variables to the names of secrets. A name that is none may be a value, so it is never told."""


class ParamSource(Source):
    """One typed parameter."""

    type: Annotated[
        Literal["string", "integer", "number", "boolean", "choice", "path", "duration", "list", "map", "secret"],
        BeforeValidator(_param_type),
    ] = Field(description="What values it takes, such as string or integer")
    description: Prose = Field("", description="What it is for")
    default: Any = Field(None, description="Its value where none is given; without one, a value must be given")
    choices: list[Any] | None = Field(None, description="For choice: the values it may have")
    pattern: str | None = Field(None, description="For string: a regular expression that the whole value matches")
    minimum: Any = Field(None, description="For integer, number and duration: the least value")
    maximum: Any = Field(None, description="For integer, number and duration: the greatest value")
    min_length: Annotated[int, Field(ge=0)] | None = Field(None, description="Least characters or items")
    max_length: Annotated[int, Field(ge=0)] | None = Field(None, description="Most characters or items")


class Defaults(Confined):
    """What holds for every task that does not say otherwise."""

    timeout: PositiveDuration | None = Field(None, description="How long an attempt may take")
    grace: Duration | None = Field(None, description="From SIGTERM to SIGKILL")
    env: Environment = Field({}, description="Environment variables")
    secrets: Secrets = Field({}, description="Environment variables that get a secret: its name for each")
    working_dir: Annotated[Text, AfterValidator(_folder)] | None = Field(
        None, description="Folder to start in, an absolute path"
    )


_ONE_OR_MANY: Final = WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]})


class TaskSource(Confined):
    """The keys that every task has, beside the one that names its type."""

    id: Annotated[str, AfterValidator(_task_id), _pattern(TASK_ID)] | None = Field(
        None, description="Its name; by default type and position, as shell-2"
    )
    description: Prose = Field("", description="What it does")
    depends_on: Annotated[list[str], BeforeValidator(_one_or_many), _ONE_OR_MANY] = Field(
        [], description="Tasks that it waits for; without this key the one written before it; [] starts at once"
    )
    timeout: PositiveDuration | None = Field(None, description="How long an attempt may take")
    grace: Duration | None = Field(None, description="From SIGTERM to SIGKILL, 10s by default")
    env: Environment = Field({}, description="Environment variables")
    secrets: Secrets = Field(
        {}, description="Environment variables that get a secret, beside the workflow's: its name for each"
    )
    working_dir: Annotated[Text, AfterValidator(_folder)] | None = Field(
        None, description="Folder to start in, an absolute path"
    )


class TemplateSource(Source):
    """What a template says of itself."""

    title: str = Field(description="Its name for people")
    summary: str = Field("", description="What it does, in a sentence")
    category: str = Field("", description="Where it is listed")
    requires: list[str] = Field([], description="Programs and packages that it needs on the host")


class WorkflowSource(Source):
    """A whole file."""

    name: Annotated[str, AfterValidator(_workflow_name), _pattern(WORKFLOW_NAME)] = Field(description="Its unique name")
    description: Prose = Field("", description="What it is for")
    labels: dict[str, Text] = Field({}, description="Words to find it by")
    params: dict[Annotated[str, AfterValidator(_param_name)], Any] = Field(
        {}, description="Typed parameters, checked before anything runs"
    )
    """Each is a ``ParamSource``, validated on its own so that one fault does not hide the next."""

    env: Environment = Field({}, description="Environment variables of every task")
    secrets: Secrets = Field({}, description="Environment variables of every task that get a secret: its name for each")
    timeout: PositiveDuration | None = Field(None, description="How long the whole run may take")
    defaults: Defaults = Field(Defaults(), description="What holds for every task that does not say otherwise")
    template: TemplateSource | None = Field(None, description="What makes the file a template")
    tasks: Annotated[list[Any], Field(min_length=1, max_length=MAX_TASKS)] = Field(
        description="What is done, in this order unless depends_on says otherwise"
    )
    """Each is a ``TaskSource`` and the key of its type, read by ``entries``."""


TASK_KEYS: Final = frozenset(TaskSource.model_fields)
"""The keys that every task has."""
