"""What a run ran, and in what two runs differ."""

from __future__ import annotations

from typing import Any

from typing_extensions import TypedDict

from barbossad.errors import NotFoundError
from barbossad.model.names import RunId
from barbossad.model.records import RunRecord
from barbossad.operations import showing
from barbossad.operations.fields import RunIdText, RunParams
from barbossad.operations.registry import define
from barbossad.operations.services import Call
from barbossad.operations.texts import difference
from barbossad.planning import comparing
from barbossad.planning.comparing import Side
from barbossad.security.access import Role


class RunDiffParams(RunParams):
    """A run and the one to compare it with."""

    other: RunIdText


class RanText(TypedDict):
    """The file that a run ran."""

    workflow: str
    version: str
    yaml: str


DifferenceView = TypedDict("DifferenceView", {"what": str, "name": str, "from": Any, "to": Any})
DifferenceView.__doc__ = "One thing that differs; ``name`` is the task or the param, empty where it is the run."


class DurationView(TypedDict):
    """How long a task took in each; ``task`` is empty where it is the run."""

    task: str
    from_seconds: float | None
    to_seconds: float | None


class RunDiff(TypedDict):
    """In what two runs differ; ``diff`` is the unified diff of the files that they ran, empty if they are the same."""

    run_id: str
    other: str
    differences: list[DifferenceView]
    durations: list[DurationView]
    diff: str


@define("run.definition", Role.VIEWER)
async def definition(call: Call, params: RunParams) -> RanText:
    """Show the workflow file that a run ran, as it was applied, whatever is in force by now."""
    run = showing.details(call, RunId(params.run_id)).run
    version = await call.services.workflows.version(run.workflow, run.version)
    return {"workflow": run.workflow, "version": run.version, "yaml": version.text}


@define("run.diff", Role.VIEWER)
async def diff(call: Call, params: RunDiffParams) -> RunDiff:
    """Tell in what a run differs from another: its file, params, environment, states, durations and outputs."""
    before, after = [await _side(call, run_id) for run_id in (params.run_id, params.other)]
    first, second = before.details.run, after.details.run
    names = (f"{first.workflow} {first.version}", f"{second.workflow} {second.version}")
    texts = ["", ""] if names[0] == names[1] else [await _text(call, run) for run in (first, second)]
    return {
        "run_id": first.id,
        "other": second.id,
        "differences": [
            {"what": found.aspect.value, "name": found.name, "from": found.before, "to": found.after}
            for found in comparing.compare(before, after)
        ],
        "durations": [
            {"task": took.task, "from_seconds": took.before, "to_seconds": took.after}
            for took in comparing.durations(before, after)
        ],
        "diff": await difference(*texts, names=names),
    }


async def _side(call: Call, run_id: str) -> Side:
    details = showing.details(call, RunId(run_id))
    return Side(details=details, definition=await showing.definition(call, details.run))


async def _text(call: Call, run: RunRecord) -> str:
    try:
        return (await call.services.workflows.version(run.workflow, run.version)).text
    except NotFoundError:
        return ""
