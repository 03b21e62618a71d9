"""What a run would do, without doing it."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import Field, model_validator
from typing_extensions import TypedDict

from barbossad.errors import ConflictError
from barbossad.model.definition import WorkflowDefinition
from barbossad.model.flow import TaskKind
from barbossad.model.names import VersionId
from barbossad.operations.fields import Name, Version, schema_of, shaped
from barbossad.operations.registry import Params, define
from barbossad.operations.services import Call
from barbossad.operations.workflows import MAX_YAML_REQUEST_BYTES
from barbossad.planning import plan as plans
from barbossad.planning import words as plan_words
from barbossad.planning.plan import Plan, PlannedTask
from barbossad.planning.values import Surroundings
from barbossad.planning.verdicts import Verdict
from barbossad.security.access import Role
from barbossad.validation import RefusalError
from barbossad.workflows import params as workflow_params

QUICK_TASKS: Final = 100
"""The plan of so many tasks is made at once; that of more goes to a thread of its own."""

_HASH: Final = re.compile(r"[0-9a-f]{16}")
PlanHash = Annotated[
    str,
    shaped(_HASH, "the hash of a plan", "it has 16 hexadecimal digits and stands in what `barbossactl plan` shows"),
    schema_of(_HASH),
    Field(description="The hash of a plan that workflow.plan gave"),
]


class PlanParams(Params):
    """What to plan a run of: a workflow, or the text of one that need not be in force."""

    name: Name | None = None
    yaml: str | None = Field(None, description="The text of a workflow file instead")
    params: dict[str, Any] = Field({}, description="Values of the workflow's parameters, as for run.start")
    version: Version | None = Field(None, description="A version of it; the one in force if not said")

    @model_validator(mode="after")
    def _one_of_both(self) -> PlanParams:
        if (self.name is None) == (self.yaml is None):
            what = "needs either 'name' or 'yaml'" if self.name is None else "has both 'name' and 'yaml'"
            raise RefusalError(what, "name a workflow, or give the text of one")
        if self.version is not None and self.name is None:
            raise RefusalError("has 'version', but no 'name' whose version that is", "remove it")
        return self


class LoopView(TypedDict):
    """What a task is done for; ``total`` is None where the list is not known yet."""

    written: Any
    total: int | None
    shown: int
    max_parallel: int | None
    fail_fast: bool


class LaterView(TypedDict):
    """A value that stands as it is written, and what must have happened before it is known."""

    place: str
    known_when: list[str]


class PlannedView(TypedDict):
    """One task, or one item of a loop, as it would run; ``verdict`` is run, skip or maybe, and ``why`` says why."""

    id: str
    type: str
    kind: str
    description: str
    section: str
    depth: int
    parent: str | None
    branch: str | None
    verdict: str
    why: list[str]
    depends_on: list[str]
    trigger: str
    after: str
    when: str | None
    condition: str | None
    params: dict[str, Any]
    command: list[str] | None
    env: dict[str, str]
    secrets: dict[str, str]
    working_dir: str | None
    user: str | None
    confinement: dict[str, Any]
    timeout_seconds: float | None
    warn_after_seconds: float | None
    retry: str | None
    repeat: str | None
    expect: str | None
    continue_on_error: bool
    max_parallel: int | None
    locks: list[str]
    priority: int
    loop: LoopView | None
    item: Any
    later: list[LaterView]
    problems: list[str]


class PlanCounts(TypedDict):
    """Tasks of the run proper, by what would become of them if nothing fails."""

    run: int
    skip: int
    maybe: int


class PlanView(TypedDict):
    """What a run would do; ``hash`` changes with anything of it."""

    workflow: str
    version: str
    hash: str
    params: dict[str, Any]
    env: dict[str, str]
    timeout_seconds: float | None
    concurrency: str | None
    locks: list[str]
    priority: int
    counts: PlanCounts
    tasks: list[PlannedView]


@define("workflow.plan", Role.OPERATOR, max_request_bytes=MAX_YAML_REQUEST_BYTES)
async def plan(call: Call, params: PlanParams) -> PlanView:
    """Show what a run would do, in order, without doing any of it.

    Of each task: whether it would run, with what, as whom and within which limits; what would be skipped and why; and
    what can only be known when something else has happened, as it is written. Of secrets only names are shown.
    `run.start` takes the hash and refuses if anything of the plan has changed by then.
    """
    workflows = call.services.workflows
    if params.yaml is not None:
        definition = await call.services.workflow_reader.compiled(params.yaml)
    else:
        name = workflows.record(params.name or "").name
        definition = await workflows.definition(name, VersionId(params.version) if params.version else None)
    return _view(await make(call, definition, workflow_params.bind(definition, params.params)))


async def make(call: Call, definition: WorkflowDefinition, bound: Mapping[str, Any]) -> Plan:
    """Return the plan of a run with these bound params."""
    services = call.services
    surroundings = Surroundings(
        task_types=services.task_types,
        settings=services.config.tasks,
        host_name=socket.gethostname(),
        has_default_profile=services.launcher.has_default_profile,
    )
    if len(definition.tasks) <= QUICK_TASKS and not any(task.for_each for task in definition.tasks):
        return plans.make(definition, bound, surroundings)
    return await services.aside.run(plans.make, definition, bound, surroundings)


async def require(call: Call, definition: WorkflowDefinition, bound: Mapping[str, Any], known: str) -> None:
    """Raise ConflictError unless the plan is the one that the caller knows."""
    found = (await make(call, definition, bound)).hash
    if found != known:
        raise ConflictError(
            f"the plan of workflow {definition.name!r} is {found} now, not {known}: nothing was started;"
            f" look at it again (barbossactl plan {definition.name}, with the same params)"
        )


def _view(found: Plan) -> PlanView:
    definition = found.definition
    return {
        "workflow": definition.name,
        "version": definition.version,
        "hash": found.hash,
        "params": dict(found.params),
        "env": dict(found.env),
        "timeout_seconds": definition.timeout_seconds,
        "concurrency": plan_words.concurrency(definition.concurrency),
        "locks": list(definition.locks),
        "priority": definition.priority,
        "counts": {
            "run": found.count(Verdict.RUN),
            "skip": found.count(Verdict.SKIP),
            "maybe": found.count(Verdict.MAYBE),
        },
        "tasks": [_task(planned) for planned in found.tasks],
    }


def _task(planned: PlannedTask) -> PlannedView:
    task, content = planned.task, planned.content
    return {
        "id": planned.id,
        "type": task.type,
        "kind": task.kind.value,
        "description": task.description,
        "section": task.section.value,
        "depth": planned.depth,
        "parent": planned.parent,
        "branch": task.branch.value if task.branch else None,
        "verdict": planned.verdict.value,
        "why": list(planned.why),
        "depends_on": list(task.depends_on),
        "trigger": task.trigger.value,
        "after": plan_words.after(task),
        "when": task.when,
        "condition": task.condition,
        "params": dict(content.params),
        "command": list(content.command) if content.command is not None else None,
        "env": dict(content.env),
        "secrets": dict(content.secrets),
        "working_dir": content.working_dir,
        "user": content.user,
        "confinement": dict(content.confinement),
        "timeout_seconds": task.timeout_seconds,
        "warn_after_seconds": task.warn_after_seconds,
        "retry": plan_words.retry(task.retry),
        "repeat": plan_words.repeat(task.repeat),
        "expect": task.expect,
        "continue_on_error": task.continue_on_error,
        "max_parallel": task.max_parallel if task.kind is TaskKind.GROUP else None,
        "locks": list(task.locks),
        "priority": task.priority,
        "loop": _loop(planned),
        "item": planned.item,
        "later": [{"place": place, "known_when": list(waits)} for place, waits in content.later.items()],
        "problems": list(content.problems),
    }


def _loop(planned: PlannedTask) -> LoopView | None:
    loop = planned.loop
    if loop is None:
        return None
    return {
        "written": loop.written,
        "total": loop.total,
        "shown": min(loop.total or 0, plans.MOST_ITEMS),
        "max_parallel": loop.max_parallel,
        "fail_fast": loop.fail_fast,
    }
