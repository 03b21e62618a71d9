"""The outputs of one task of a run, whole: what a run shows of all of them is bounded."""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field
from typing_extensions import TypedDict

from barbossad import wire
from barbossad.errors import ConflictError
from barbossad.model.names import RunId
from barbossad.operations import showing
from barbossad.operations.fields import RunParams, TaskIdText
from barbossad.operations.registry import define
from barbossad.operations.services import Call
from barbossad.security.access import Role
from barbossad.wire import Encoded

MOST_BYTES: Final = wire.MAX_MESSAGE_BYTES - wire.MAX_REQUEST_BYTES - 4096
"""As JSON; the rest of an answer is for its id and what else stands in it."""


class OutputsParams(RunParams):
    """A run, and which of its tasks."""

    task: TaskIdText | None = Field(None, description="Whose outputs; those of the run itself if not said")


class OutputsView(TypedDict):
    """The outputs of a task, or of the run where ``task`` is null; those of a loop are the list of its items'."""

    run_id: str
    task: str | None
    outputs: Any


@define("run.outputs", Role.VIEWER)
async def outputs(call: Call, params: OutputsParams) -> OutputsView | Encoded:
    """Read the outputs of one task of a run whole, or those of the run itself.

    A run shows up to 2 MiB of the outputs of its tasks, and in ``left_out`` which are not shown. Outputs of more than
    15 MiB, as loops may have, are read item by item.
    """
    run_id, task = RunId(params.run_id), params.task
    services = call.services
    found = await services.shown_runs.outputs(run_id, task or "")
    if found is None:
        await (showing.look(call, run_id) if task is None else showing.look_at(call, run_id, task))
        return {"run_id": run_id, "task": task, "outputs": {}}
    text = found.encode()
    if len(text) > MOST_BYTES:
        whose = f"task {task} of run {run_id}" if task else f"run {run_id}"
        raise ConflictError(
            f"the outputs of {whose} have {len(text)} bytes, and an answer at most {MOST_BYTES};"
            " read those of single tasks or items: TASK[0], TASK[1], and so on"
        )
    return wire.encoded({"run_id": run_id, "task": task, "outputs": Encoded(text)})
