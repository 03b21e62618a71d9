"""What steers a run that is there: cancel, pause, answer what it asks, try again, delete."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Annotated, Any

from pydantic import Field
from typing_extensions import TypedDict

from barbossad.engine import retrying
from barbossad.errors import ConflictError, NotFoundError, UnavailableError
from barbossad.model.flow import TaskKind
from barbossad.model.names import RunId, run_number
from barbossad.model.states import RUN_ENDED, TaskState, TriggerType, WaitsFor
from barbossad.operations import approvals, repeated, showing
from barbossad.operations.fields import IdempotencyKey, RunParams, TaskIdText
from barbossad.operations.fitting import without_tasks
from barbossad.operations.registry import define
from barbossad.operations.services import Call
from barbossad.operations.views import RunView
from barbossad.security.access import Role
from barbossad.store.run_details import RunDetails
from barbossad.wire import Encoded
from barbossad.workflows import params as workflow_params

Reason = Annotated[str | None, Field(max_length=500, description="Why, for those who read the history")]


class ReasonParams(RunParams):
    """A run, and why."""

    reason: Reason = None


class RetryParams(RunParams):
    """A run that has ended, from where it is tried again, and what is given to it anew."""

    from_: TaskIdText = Field(
        retrying.FAILED, alias="from", description="From where: failed, start, or the id of a task"
    )
    params: dict[str, Any] = Field({}, description="Values that differ from those of the run")
    idempotency_key: IdempotencyKey = None


class ApproveParams(RunParams):
    """A task that waits for a person, and what that person says."""

    task: TaskIdText
    approve: bool = Field(True, description="True: go on, or try it again; false: it fails, or ends as interrupted")
    comment: Annotated[str | None, Field(max_length=500, description="Why, for those who read the history")] = None
    values: dict[str, Any] = Field({}, description="Values of the form that an approval comes with")


class Deleted(TypedDict):
    """The run that is no more."""

    id: str
    deleted: bool


@define("run.cancel", Role.OPERATOR, less=without_tasks)
async def cancel(call: Call, params: ReasonParams) -> RunView | Encoded:
    """Cancel a run: its tasks get SIGTERM and, after their grace, SIGKILL; what has not started never will.

    The answer comes when that is recorded; ``run.wait`` tells when its processes are gone. Where the state file refuses
    changes the run is ended all the same, and the error says that it is not recorded yet.
    """
    run_id = RunId(params.run_id)
    reason = _words("cancelled", call, params.reason)
    cancelling = call.services.engine.cancel(run_id, reason)
    if not await _recorded(call, cancelling, f"run {run_id} is being ended"):
        details = await showing.look(call, run_id)
        raise ConflictError(f"run {run_id} has ended already: {details.run.state}")
    return await showing.view(call, run_id)


@define("run.pause", Role.OPERATOR, less=without_tasks)
async def pause(call: Call, params: ReasonParams) -> RunView | Encoded:
    """Pause a run: what runs goes on, nothing else of it starts, nor of the runs that it called, until it is resumed.

    While it is paused the run's own timeout does not go on.
    """
    run_id = RunId(params.run_id)
    pausing = call.services.engine.pause(run_id, _words("paused", call, params.reason))
    if not await _recorded(call, pausing, f"run {run_id} is paused"):
        state = (await showing.look(call, run_id)).run.state
        raise ConflictError(f"run {run_id} is {state}: only a run that is queued or running can be paused")
    return await showing.view(call, run_id)


@define("run.resume", Role.OPERATOR, less=without_tasks)
async def resume(call: Call, params: ReasonParams) -> RunView | Encoded:
    """Go on with a run that was paused, and with the runs that it called."""
    run_id = RunId(params.run_id)
    resuming = call.services.engine.unpause(run_id, _words("resumed", call, params.reason))
    if not await _recorded(call, resuming, f"run {run_id} is resumed"):
        state = (await showing.look(call, run_id)).run.state
        raise ConflictError(f"run {run_id} is not paused: it is {state}")
    return await showing.view(call, run_id)


@define("run.retry", Role.OPERATOR, less=without_tasks)
async def retry(call: Call, params: RetryParams) -> RunView | Encoded:
    """Try a run again that has ended: a new run of the same version, with the same params where none are given.

    From ``failed`` on, what had succeeded or was skipped is taken over as done, as far as nothing that it depends on
    runs again; what was rolled back is not done. From a task on, that task and all that depends on it run again too.
    From the ``start`` nothing is taken over. An approval is asked again, and what comes after it runs again, where
    something after it runs with an edited param, does again what it had done, or may have run in an earlier retry.
    The new run says of which it is a retry (``retry_of``).
    """
    return await showing.started(call, await retried(call, params))


async def retried(call: Call, params: RetryParams) -> RunId | RunDetails:
    """Record the retry of a run, and return it; its id alone if an earlier call with the same key made it."""
    key = params.idempotency_key
    try:
        before = await showing.whole(call, RunId(params.run_id))
    except NotFoundError:  # it was deleted, since an earlier call maybe
        made = None if key is None else await call.services.runs.find_retry(RunId(params.run_id), key)
        if made is None:
            raise
        return made
    run = before.run
    return await repeated.started(call, run.workflow, key, _retried(call, params, before), retry_of=run.id)


async def _retried(call: Call, params: RetryParams, before: RunDetails) -> RunId | RunDetails:
    services, run = call.services, before.run
    if run.state not in RUN_ENDED:
        raise ConflictError(f"run {run.id} is {run.state}; it can be retried when it has ended")
    if not services.workflows.record(run.workflow).is_enabled:
        raise ConflictError(
            f"workflow {run.workflow!r} is disabled; `barbossactl workflow enable {run.workflow}` allows runs again"
        )
    definition = await services.workflows.definition(run.workflow, run.version)
    given = workflow_params.bind(definition, {**run.params, **params.params})
    edited = {name for name, value in given.items() if run.params.get(name) != value}
    async with services.retrying:
        is_first = not await services.runs.is_retried(run)
        kept = retrying.kept(definition, run.id, before.tasks, params.from_, edited, is_first=is_first)
        return await services.engine.start_run(
            definition,
            params=given,
            trigger=TriggerType.RETRY,
            requested_by=call.caller.name,
            idempotency_key=params.idempotency_key,
            retry_of=run.id,
            scheduled_for_ms=run.scheduled_for_ms,
            kept=retrying.with_attempts(kept, before.attempts),
        )


@define("run.approve", Role.OPERATOR, less=without_tasks)
async def approve(call: Call, params: ApproveParams) -> RunView | Encoded:
    """Approve or reject what a task waits for.

    That is an approval, with the values of its form, or another attempt of a task that was interrupted
    (``on_interrupt: ask``). An approval that names users or groups can be answered by those alone.
    """
    engine, run_id = call.services.engine, RunId(params.run_id)
    progress = engine.progress(run_id)
    index = progress.index.get(params.task) if progress else None
    filled: dict[str, Any] = {}
    subject = f"task {params.task!r} of run {run_id}"
    is_approval = False
    if progress is not None and index is not None and progress.cells[index].record.waits_for is WaitsFor.PERSON:
        is_approval = progress.cells[index].task.kind is TaskKind.APPROVAL
        form: tuple[Any, ...] = ()
        if is_approval:
            request = call.services.preparation.approval(progress, index)
            approvals.require_named(request, call.caller, subject)
            form = request.form
        filled = approvals.fill_in(form, params.values, subject, is_whole=params.approve)
    elif index is None:
        await showing.require_task(call, await showing.look(call, run_id), params.task)
    verb = "approved" if params.approve else "rejected"
    answering = engine.answer(
        run_id,
        params.task,
        is_approved=params.approve,
        words=_words(verb if is_approval else f"another attempt {verb}", call, params.comment),
        by=call.caller.name,
        values=filled,
    )
    if not await _recorded(call, answering, f"{subject} has its answer"):
        shown = await showing.view_of_task(call, run_id, params.task)
        state, why = shown["state"], shown["reason"]
        if state == TaskState.WAITING:
            raise ConflictError(f"{subject} asks nobody now: {why}")
        raise ConflictError(f"{subject} waits for nobody: it is {state}")
    return await showing.view(call, run_id)


@define("run.delete", Role.ADMIN)
async def delete(call: Call, params: RunParams) -> Deleted:
    """Delete a run that has ended, with its tasks, attempts, output and events; its id is never given again.

    That it was deleted, and by whom, is an event.
    """
    run_id = RunId(params.run_id)
    if not await call.services.pruner.delete_run(run_number(run_id), by=call.caller.name):
        details = await showing.look(call, run_id)
        raise ConflictError(f"run {run_id} is {details.run.state}; cancel it, and delete it when it has ended")
    return {"id": run_id, "deleted": True}


async def _recorded(call: Call, change: Coroutine[Any, Any, bool], done: str) -> bool:
    """Return what a change of a run returns when it is recorded.

    Raise UnavailableError if the store refuses that meanwhile: it is a fact all the same, as ``done`` has it.
    """
    changing = asyncio.ensure_future(change)
    refusal = call.services.database.refusal()
    try:
        await asyncio.wait((changing, refusal), return_when=asyncio.FIRST_COMPLETED)
        if changing.done():
            return changing.result()
    finally:
        changing.cancel()  # it is the answer alone that nobody waits for any more
    raise UnavailableError(
        f"{done}, but the state file refuses changes ({refusal.result()}); it is recorded as soon as it takes them"
    )


def _words(verb: str, call: Call, why: str | None) -> str:
    return f"{verb} by {call.caller.name}" + (f": {why}" if why else "")
