"""What steers a run that is there: cancel it, answer what it asks, delete it."""

from __future__ import annotations

from pydantic import Field
from typing_extensions import TypedDict

from barbossad.errors import ConflictError
from barbossad.model.names import RunId, run_number
from barbossad.operations import showing
from barbossad.operations.fields import RunParams, TaskIdText
from barbossad.operations.registry import define
from barbossad.operations.services import Call
from barbossad.operations.views import RunView
from barbossad.security.access import Role


class CancelParams(RunParams):
    """A run, and why it is cancelled."""

    reason: str | None = Field(None, max_length=500, description="Why, for those who read the history")


class ApproveParams(RunParams):
    """A task that waits for a person, and what that person says."""

    task: TaskIdText
    approve: bool = Field(True, description="True: try it again; false: it ends as interrupted")
    comment: str | None = Field(None, max_length=500, description="Why, for those who read the history")


class Deleted(TypedDict):
    """The run that is no more."""

    id: str
    deleted: bool


@define("run.cancel", Role.OPERATOR)
async def cancel(call: Call, params: CancelParams) -> RunView:
    """Cancel a run: its tasks get SIGTERM and, after their grace, SIGKILL; what has not started never will.

    The answer comes when that is recorded; ``run.wait`` tells when its processes are gone.
    """
    run_id = RunId(params.run_id)
    reason = f"cancelled by {call.caller.name}" + (f": {params.reason}" if params.reason else "")
    if not await call.services.engine.cancel(run_id, reason):
        details = showing.details(call, run_id)
        raise ConflictError(f"run {run_id} has ended already: {details.run.state}")
    return await showing.view(call, run_id)


@define("run.delete", Role.ADMIN)
async def delete(call: Call, params: RunParams) -> Deleted:
    """Delete a run that has ended, with its tasks, attempts, output and events; its id is never given again.

    That it was deleted, and by whom, is an event.
    """
    run_id = RunId(params.run_id)
    if not await call.services.pruner.delete_run(run_number(run_id), by=call.caller.name):
        details = showing.details(call, run_id)
        raise ConflictError(f"run {run_id} is {details.run.state}; cancel it, and delete it when it has ended")
    return {"id": run_id, "deleted": True}


@define("run.approve", Role.OPERATOR)
async def approve(call: Call, params: ApproveParams) -> RunView:
    """Approve or reject what a task waits for: another attempt of one that was interrupted (``on_interrupt: ask``)."""
    run_id = RunId(params.run_id)
    verb = "approved" if params.approve else "rejected"
    words = f"another attempt {verb} by {call.caller.name}" + (f": {params.comment}" if params.comment else "")
    if not await call.services.engine.answer(run_id, params.task, is_approved=params.approve, words=words):
        details = showing.details(call, run_id)
        record = details.tasks.get(params.task)
        state = record.state if record else "pending"
        raise ConflictError(f"task {params.task!r} of run {run_id} waits for nobody: it is {state}")
    return await showing.view(call, run_id)
