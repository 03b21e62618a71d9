"""The workflow file as its author writes it: which keys there are."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, WithJsonSchema

from barbossad.model.names import PARAM_NAME, SECRET_NAME, TASK_ID, WORKFLOW_NAME
from barbossad.units import Duration, PositiveDuration
from barbossad.validation import RefusalError, shown
from barbossad.variables import Environment, Text, VariableName
from barbossad.workflows.contract import MOST_MEMBERS
from barbossad.workflows.flow_keys import (
    TEXTS,
    ConcurrencySource,
    Condition,
    Items,
    Locks,
    Parallel,
    Paths,
    Priority,
    Probe,
    RepeatSource,
    RetryKey,
    TriggerName,
    check_map,
    distinct,
    one_or_many,
)
from barbossad.workflows.isolation import Confined
from barbossad.workflows.part import Source
from barbossad.workflows.words import MEANT_TYPES

MAX_TASKS: Final = MOST_MEMBERS
"""Of one list."""

MAX_TASKS_IN_ALL: Final = 20_000
"""Groups, their members, and the tasks that follow the run's end included."""

MOST_ENTRIES: Final = 1000
"""Of ``schedules``, and of ``triggers``."""

MAX_GROUP_DEPTH: Final = 8
MAX_FAULTS: Final = 200
"""More are counted, not listed, and nothing is proposed for them."""

MAX_TEXT_CHARACTERS: Final = 65_536

RESERVED_IDS: Final = frozenset({"rollback", "on_success", "on_failure", "on_cancel", "on_exit"})
"""Each begins the ids of the tasks of a section."""


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
    if name in RESERVED_IDS:
        raise RefusalError(
            f"cannot be {name!r}: ids of tasks that follow a run's end begin so", f"choose another, such as my-{name}"
        )
    return name


def _output_name(name: str) -> str:
    if not PARAM_NAME.fullmatch(name):
        raise RefusalError("is no name of an output", "use up to 63 letters, digits and _, and no digit first")
    return name


def _param_name(name: str) -> str:
    if not PARAM_NAME.fullmatch(name):
        raise RefusalError("is no name of a param", "use up to 63 letters, digits and _, and no digit first")
    return name


def _secret_name(name: str) -> str:
    if not SECRET_NAME.fullmatch(name):
        raise RefusalError(
            "gets something that is no name of a secret",
            "write the secret's name after it, not what it holds: up to 63 small letters, digits, - and _",
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
    retry: RetryKey | None = Field(None, description="How often a task is tried; its own retry wins key by key")
    grace: Duration | None = Field(None, description="From SIGTERM to SIGKILL")
    env: Environment = Field({}, description="Environment variables")
    secrets: Secrets = Field({}, description="Environment variables that get a secret: its name for each")
    working_dir: Annotated[Text, AfterValidator(_folder)] | None = Field(
        None, description="Folder to start in, an absolute path"
    )


class TaskSource(Confined):
    """The keys that every task has, beside the one that names its type."""

    id: Annotated[str, AfterValidator(_task_id), _pattern(TASK_ID)] | None = Field(
        None, description="Its name; by default type and position, as shell-2"
    )
    description: Prose = Field("", description="What it does")
    depends_on: Annotated[list[str], AfterValidator(distinct), BeforeValidator(one_or_many), WithJsonSchema(TEXTS)] = (
        Field([], description="Tasks that it waits for; without this key the one written before it; [] starts at once")
    )
    trigger: TriggerName | None = Field(
        None, description="What must have become of the tasks that it waits for; by default all_success"
    )
    when: Condition | None = Field(None, description="It runs only if this holds, and is skipped otherwise")
    for_each: Items | None = Field(
        None,
        description="Runs once for each item of a list, a map or what an expression gives; each is item there",
    )
    max_parallel: Parallel | None = Field(None, description="With for_each: how many items are worked on at once")
    fail_fast: bool | None = Field(
        None, description="With for_each: end the work on the other items when that on one has failed"
    )
    creates: Paths | None = Field(None, description="Absolute paths; where all of them are there, it is skipped")
    unless: Probe | None = Field(None, description="A shell script; where it exits with 0, the task is skipped")
    timeout: PositiveDuration | None = Field(None, description="How long an attempt may take")
    warn_after: PositiveDuration | None = Field(
        None, description="When it has taken this long it is told of, and goes on"
    )
    grace: Duration | None = Field(None, description="From SIGTERM to SIGKILL, 10s by default")
    retry: RetryKey | None = Field(None, description="How often it is tried, as a number or with delays between")
    repeat: RepeatSource | None = Field(None, description="Done again after each success, until something holds")
    expect: Condition | None = Field(None, description="Must hold after it succeeded, or else it has failed")
    continue_on_error: bool = Field(False, description="Its failure is recorded, and the tasks that wait for it go on")
    lock: Locks | None = Field(
        None, description="Names of which each is held by one at a time, over all workflows; it waits for them"
    )
    priority: Priority | None = Field(
        None,
        description="Of tasks that wait for a slot or a lock the highest goes first; by default as the workflow's",
    )
    output: Literal["json"] | None = Field(
        None, description="json: what it prints, one JSON object, gives outputs too; of other JSON the output is value"
    )
    rollback: Any = Field(None, description="Tasks that take back what it did, run if the run does not succeed")
    """One task or a list of them, read by ``outline``."""

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


Entries = Annotated[list[Any], Field(max_length=MOST_ENTRIES)]
HookTasks = Annotated[list[Any], Field(max_length=MAX_TASKS)]


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
    warn_after: PositiveDuration | None = Field(
        None, description="When a run has taken this long it is told of, and goes on"
    )
    concurrency: Annotated[ConcurrencySource, BeforeValidator(check_map)] | None = Field(
        None, description="How many of its runs may go on at once"
    )
    lock: Locks | None = Field(
        None, description="Names of which each is held by one at a time, over all workflows; a run waits for them"
    )
    priority: Priority | None = Field(
        None, description="Of runs that wait, and of their tasks, the highest goes first; 0 by default"
    )
    schedules: Entries = Field([], description="What starts runs of it by time")
    triggers: Entries = Field([], description="What starts runs of it by events")
    """Each entry is a ``ScheduleEntry`` or a ``TriggerEntry``, read by ``schedules``."""

    defaults: Defaults = Field(Defaults(), description="What holds for every task that does not say otherwise")
    template: TemplateSource | None = Field(None, description="What makes the file a template")
    tasks: Annotated[list[Any], Field(min_length=1, max_length=MAX_TASKS)] = Field(
        description="What is done, in this order unless depends_on says otherwise"
    )
    """Each is a ``TaskSource`` and the key of its type, read by ``outline``."""

    on_success: HookTasks = Field([], description="Tasks that follow a run that succeeded")
    on_failure: HookTasks = Field([], description="Tasks that follow a run that failed or timed out, after rollbacks")
    on_cancel: HookTasks = Field([], description="Tasks that follow a run that was cancelled, after rollbacks")
    on_exit: HookTasks = Field([], description="Tasks that follow every run, last of all")
    outputs: dict[Annotated[str, AfterValidator(_output_name)], Any] = Field(
        {}, description="What a task that runs this workflow gets as its outputs; expressions are welcome"
    )


TASK_KEYS: Final = frozenset(TaskSource.model_fields)
"""The keys that every task has."""
