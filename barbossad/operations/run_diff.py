"""What a run ran, and in what two runs differ."""

from __future__ import annotations

import bisect
import itertools
from typing import Any, Final

from typing_extensions import TypedDict

from barbossad import wire
from barbossad.errors import NotFoundError
from barbossad.model.names import RunId
from barbossad.model.records import RunRecord
from barbossad.operations import fitting, showing
from barbossad.operations.fields import RunIdText, RunParams
from barbossad.operations.registry import define
from barbossad.operations.services import Call
from barbossad.operations.texts import difference
from barbossad.planning import comparing
from barbossad.planning.comparing import Difference, Side, Took
from barbossad.security.access import Role
from barbossad.store.run_details import RunDetails
from barbossad.wire import Encoded

TOLD_BYTES: Final = 16 * 1024
"""Where runs are large, the size of a longer value is told in its place."""


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
    """In what two runs differ; ``diff`` is the unified diff of the files that they ran, empty if they are the same.

    ``left_out`` is how many differences and durations there are beyond what one answer tells.
    """

    run_id: str
    other: str
    differences: list[DifferenceView]
    durations: list[DurationView]
    left_out: int
    diff: str


@define("run.definition", Role.VIEWER)
async def definition(call: Call, params: RunParams) -> RanText:
    """Show the workflow file that a run ran, as it was applied, whatever is in force by now."""
    run = (await showing.look(call, RunId(params.run_id))).run
    version = await call.services.workflows.version(run.workflow, run.version)
    return {"workflow": run.workflow, "version": run.version, "yaml": version.text}


@define("run.diff", Role.VIEWER)
async def diff(call: Call, params: RunDiffParams) -> RunDiff | Encoded:
    """Tell in what a run differs from another: its file, params, environment, states, durations and outputs.

    Where the runs are large, values of more than some KiB are told by their size.
    """
    before, after = [await _side(call, run_id) for run_id in (params.run_id, params.other)]
    first, second = before.details.run, after.details.run
    names = (f"{first.workflow} {first.version}", f"{second.workflow} {second.version}")
    texts = ["", ""] if names[0] == names[1] else [await _text(call, run) for run in (first, second)]
    text = await difference(*texts, names=names)
    if not all(_is_quick(side.details) for side in (before, after)):
        return await call.services.showing.run(_written, before, after, text)
    return {
        "run_id": first.id,
        "other": second.id,
        "differences": [_difference(found) for found in comparing.compare(before, after)],
        "durations": [_duration(took) for took in comparing.durations(before, after)],
        "left_out": 0,
        "diff": text,
    }


def _difference(found: Difference) -> DifferenceView:
    return {"what": found.aspect.value, "name": found.name, "from": found.before, "to": found.after}


def _duration(took: Took) -> DurationView:
    return {"task": took.task, "from_seconds": took.before, "to_seconds": took.after}


def _is_quick(details: RunDetails) -> bool:
    return len(details.tasks) <= showing.QUICK_TASKS and fitting.is_light(details)


def _written(before: Side, after: Side, text: str) -> Encoded:
    """Return the answer for large runs, as much of it as fits; of long values their size is told."""
    rest = {"run_id": before.details.run.id, "other": after.details.run.id, "diff": text}
    pieces = [
        [wire.encode(_short(_difference(found)))[:-1] for found in comparing.compare(before, after)],
        [wire.encode(_duration(took))[:-1] for took in comparing.durations(before, after)],
    ]
    left = wire.MAX_MESSAGE_BYTES - fitting.SPARE_BYTES - len(wire.encode(rest))
    left_out, lists = 0, []
    for found in pieces:
        ends = list(itertools.accumulate(len(piece) + 1 for piece in found))
        count = bisect.bisect_right(ends, left)
        left -= ends[count - 1] if count else 0
        left_out += len(found) - count
        lists.append(Encoded(b"[" + b",".join(found[:count]) + b"]"))
    return wire.encoded({**rest, "differences": lists[0], "durations": lists[1], "left_out": left_out})


def _short(view: DifferenceView) -> DifferenceView:
    return {**view, "from": _told(view["from"]), "to": _told(view["to"])}


def _told(value: Any) -> Any:
    """Return a value, or how long it is where it is long."""
    if value is None or isinstance(value, int):
        return value
    size = len(wire.encode(value)) - 1
    return value if size <= TOLD_BYTES else f"({size} bytes)"


async def _side(call: Call, run_id: str) -> Side:
    details = await showing.whole(call, RunId(run_id))
    return Side(details=details, definition=await showing.definition(call, details.run))


async def _text(call: Call, run: RunRecord) -> str:
    try:
        return (await call.services.workflows.version(run.workflow, run.version)).text
    except NotFoundError:
        return ""
