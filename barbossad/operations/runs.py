"""Runs: start, look at, wait for, read the output of, cancel."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field
from typing_extensions import TypedDict

from barbossad.errors import ConflictError, InvalidWorkflowError, NotFoundError, TimedOutError
from barbossad.model.definition import WorkflowDefinition
from barbossad.model.names import RunId, TaskId, run_number
from barbossad.model.records import LogRecord, RunRecord
from barbossad.model.states import RUN_ENDED, RunState, TriggerType
from barbossad.operations.fields import Limit, Name, RunIdText, TaskIdText
from barbossad.operations.registry import Params, define
from barbossad.operations.services import Call
from barbossad.operations.views import RunSummary, RunView, run_summary, run_view
from barbossad.process import logs
from barbossad.process.launcher import LiveLog
from barbossad.security.access import Role
from barbossad.store.runs import RunDetails
from barbossad.validation import proposal
from barbossad.workflows import params as workflow_params

Seconds = Annotated[float, Field(ge=0, le=3600, description="How long to wait at most")]
State = Literal["queued", "running", "succeeded", "failed", "timed_out", "cancelled", "interrupted"]


class StartParams(Params):
    """What to run."""

    workflow: Name
    params: dict[str, Any] = Field(
        {}, description="Values of the workflow's parameters; text is converted to their types"
    )
    idempotency_key: str | None = Field(
        None, min_length=1, max_length=128, description="A second call with the same key gives the run of the first"
    )


class RunParams(Params):
    """A run."""

    run_id: RunIdText


class WaitParams(RunParams):
    """A run, and how long to wait for its end (for ever if not said)."""

    timeout_seconds: Annotated[float, Field(ge=0, description="How long to wait at most")] | None = None


class WatchParams(RunParams):
    """A run, and the revision of it that is known."""

    after: int = Field(0, ge=0, le=2**53, description="The revision that the caller knows")
    wait_seconds: Seconds = 30.0


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


class ListParams(Params):
    """Which runs to list; ``active`` are those that have not ended."""

    workflow: Name | None = None
    state: State | None = None
    active: bool = False
    cursor: RunIdText | None = None
    limit: Limit = 50


class LogParams(RunParams):
    """Whose output to read, and from where."""

    task: TaskIdText
    attempt: int | None = Field(None, ge=1, le=1_000_000, description="Which try; the last if not said")
    cursor: str | None = Field(None, pattern="^[0-9]{1,18}$", description="next_cursor of the page before")
    limit: Limit = 1000
    stream: Literal["stdout", "stderr"] | None = None
    wait_seconds: Annotated[float, Field(ge=0, le=300, description="How long to wait for more, if there is none")] = 0.0


class RunPage(TypedDict):
    """A piece of the listing of runs."""

    items: list[RunSummary]
    next_cursor: str | None


class Watched(TypedDict):
    """A run and its revision."""

    run: RunView
    revision: int


class LogItem(TypedDict):
    """A line of output; ``partial``: the next one of its stream goes on where this one stops."""

    at: str
    stream: str
    text: str
    partial: bool


class LogPage(TypedDict):
    """A piece of a task's output; ``finished``: the attempt has ended and nothing is left to read."""

    items: list[LogItem]
    next_cursor: str
    finished: bool


@define("run.start", Role.OPERATOR)
async def start(call: Call, params: StartParams) -> RunView:
    """Start a run of a workflow's version in force; the answer comes when it is recorded."""
    services = call.services
    record = services.workflows.record(params.workflow)
    definition = await services.workflows.runnable(record.name)
    started = await services.engine.start_run(
        definition,
        params=workflow_params.bind(definition, params.params),
        trigger=TriggerType.MANUAL,
        requested_by=call.caller.name,
        idempotency_key=params.idempotency_key,
    )
    return await (_shown(call, started) if isinstance(started, RunDetails) else _view(call, started))


@define("run.get", Role.VIEWER)
def get(call: Call, params: RunParams) -> RunView | Awaitable[RunView]:
    """Show a run with its tasks and their attempts."""
    return _shown_now(call, _details(call, RunId(params.run_id)))


@define("run.list", Role.VIEWER)
async def listing(call: Call, params: ListParams) -> RunPage:
    """List runs, the newest first."""
    page = await call.services.runs.page(
        workflow=params.workflow,
        state=RunState(params.state) if params.state else None,
        is_active=params.active,
        before=RunId(params.cursor) if params.cursor else None,
        limit=params.limit,
    )
    return {"items": [run_summary(run) for run in page.items], "next_cursor": page.next_cursor}


@define("run.wait", Role.VIEWER)
async def wait(call: Call, params: WaitParams) -> RunView:
    """Answer when the run has ended and that is recorded."""
    run_id = RunId(params.run_id)
    limit = contextlib.nullcontext() if params.timeout_seconds is None else asyncio.timeout(params.timeout_seconds)
    try:
        async with limit:
            ended = await call.services.engine.wait(run_id)
    except TimeoutError:
        raise TimedOutError(f"run {run_id} has not ended after {params.timeout_seconds:g} s; it goes on") from None
    return await (_shown(call, ended) if ended else _view(call, run_id))


@define("run.watch", Role.VIEWER)
async def watch(call: Call, params: WatchParams) -> Watched:
    """Answer when the run has changed beyond the revision that the caller knows, or the time is up.

    A run that has ended is answered at once.
    """
    run_id = RunId(params.run_id)
    deadline = asyncio.get_running_loop().time() + params.wait_seconds
    while True:
        changed = call.services.engine.next_change(run_id)
        revision = await call.services.runs.revision(run_id)
        details = _details(call, run_id)
        is_new = revision > params.after or details.run.state in RUN_ENDED
        if is_new or changed is None or asyncio.get_running_loop().time() >= deadline:
            if changed is not None:
                changed.cancel()
            return {"run": await _shown(call, details), "revision": revision}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await changed


@define("run.cancel", Role.OPERATOR)
async def cancel(call: Call, params: CancelParams) -> RunView:
    """Cancel a run: its tasks get SIGTERM and, after their grace, SIGKILL; what has not started never will.

    The answer comes when that is recorded; ``run.wait`` tells when its processes are gone.
    """
    run_id = RunId(params.run_id)
    reason = f"cancelled by {call.caller.name}" + (f": {params.reason}" if params.reason else "")
    if not await call.services.engine.cancel(run_id, reason):
        details = _details(call, run_id)
        raise ConflictError(f"run {run_id} has ended already: {details.run.state}")
    return await _view(call, run_id)


@define("run.delete", Role.ADMIN)
async def delete(call: Call, params: RunParams) -> Deleted:
    """Delete a run that has ended, with its tasks, attempts, output and events; its id is never given again.

    That it was deleted, and by whom, is an event.
    """
    run_id = RunId(params.run_id)
    if not await call.services.pruner.delete_run(run_number(run_id), by=call.caller.name):
        details = _details(call, run_id)
        raise ConflictError(f"run {run_id} is {details.run.state}; cancel it, and delete it when it has ended")
    return {"id": run_id, "deleted": True}


@define("run.approve", Role.OPERATOR)
async def approve(call: Call, params: ApproveParams) -> RunView:
    """Approve or reject what a task waits for: another attempt of one that was interrupted (``on_interrupt: ask``)."""
    run_id = RunId(params.run_id)
    verb = "approved" if params.approve else "rejected"
    words = f"another attempt {verb} by {call.caller.name}" + (f": {params.comment}" if params.comment else "")
    if not await call.services.engine.answer(run_id, params.task, is_approved=params.approve, words=words):
        details = _details(call, run_id)
        record = details.tasks.get(params.task)
        state = record.state if record else "pending"
        raise ConflictError(f"task {params.task!r} of run {run_id} waits for nobody: it is {state}")
    return await _view(call, run_id)


@define("run.logs", Role.VIEWER)
async def log(call: Call, params: LogParams) -> LogPage:
    """Read what a task printed, from a cursor on; with ``wait_seconds`` wait for more."""
    cursor = int(params.cursor or 0)
    try:
        async with asyncio.timeout(params.wait_seconds):
            found = await _until_more(call, params, cursor)
    except TimeoutError:
        found = await _output(call, params)
    where = (call.services.logs, found.record, cursor, params.limit, params.stream)
    # What is in memory is read here: small logs are then answered in the order in which they were asked for.
    if found.record.path is None:
        page = logs.read(*where)
    else:
        async with call.services.log_reading:
            page = await asyncio.to_thread(logs.read, *where)
    items: list[LogItem] = [
        {"at": entry.at, "stream": entry.stream, "text": entry.text, "partial": entry.is_partial}
        for entry in page.items
    ]
    next_cursor = max(page.next_cursor, cursor)
    is_end = next_cursor >= found.record.end_cursor or (not items and next_cursor == cursor)
    finished = found.has_ended and is_end
    return {"items": items, "next_cursor": str(next_cursor), "finished": finished}


@dataclass(frozen=True, slots=True)
class _Output:
    """Where an attempt's output is: growing (``live``), recorded, or between the two for a moment."""

    record: LogRecord
    live: LiveLog | None = None
    has_ended: bool = False


async def _until_more(call: Call, params: LogParams, cursor: int) -> _Output:
    """Return the output when there is some past the cursor, or there will be none.

    What a process printed at its end is returned as it stands in memory: a follower sees it before the next task's.
    """
    run_id = RunId(params.run_id)
    while True:
        changed = call.services.engine.next_change(run_id)
        found = await _output(call, params)
        if found.has_ended or found.record.end_cursor > cursor or changed is None:
            if changed is not None:
                changed.cancel()
            return found
        if found.live is not None:
            changed.cancel()
            await found.live.changed(cursor)
            record = found.live.snapshot()
            if record.end_cursor > cursor:
                return _Output(record, live=found.live)
        else:
            await changed


async def _output(call: Call, params: LogParams) -> _Output:
    """Find the output of a task's attempt, the last one if none is named. Raise NotFoundError."""
    run_id, task_id = RunId(params.run_id), TaskId(params.task)
    process = call.services.engine.process(run_id, task_id)
    details = _details(call, run_id)
    definition = await _definition(call, details.run)
    known = definition.positions if definition else details.tasks
    if task_id not in known:
        raise NotFoundError(f"task of run {run_id}", task_id, proposal(task_id, known, noun="its tasks"))
    tries = details.attempts.get(task_id, ())
    if params.attempt is not None and params.attempt > max(len(tries), 1):
        raise NotFoundError(f"attempt of task {task_id!r}", str(params.attempt), f"it had {len(tries)}")
    number = params.attempt or len(tries)
    if process is not None and number == len(tries) and tries[-1].finished_at_ms is None:
        return _Output(process.log.snapshot(), live=process.log)
    if number and tries[number - 1].finished_at_ms is not None:
        return _Output(call.services.runs.log(run_id, task_id, number) or LogRecord(), has_ended=True)
    task = details.tasks.get(task_id)
    has_ended = details.run.state in RUN_ENDED or (task is not None and task.finished_at_ms is not None)
    return _Output(LogRecord(), has_ended=has_ended)


def _details(call: Call, run_id: RunId) -> RunDetails:
    details = call.services.runs.get(run_id)
    if details is None:
        raise NotFoundError("run", run_id, "`barbossactl ps --all` lists the newest")
    return details


async def _view(call: Call, run_id: RunId) -> RunView:
    return await _shown(call, _details(call, run_id))


def _shown_now(call: Call, details: RunDetails) -> RunView | Awaitable[RunView]:
    """Return a run as it is shown: at once where its definition is at hand."""
    definition = call.services.workflows.at_hand(details.run.workflow, details.run.version)
    return _shown(call, details) if definition is None else _shown_as(call, details, definition)


async def _shown(call: Call, details: RunDetails) -> RunView:
    return _shown_as(call, details, await _definition(call, details.run))


def _shown_as(call: Call, details: RunDetails, definition: WorkflowDefinition | None) -> RunView:
    engine = call.services.engine
    return run_view(details, definition, engine.progress(details.run.id), engine.why(details.run.id))


async def _definition(call: Call, run: RunRecord) -> WorkflowDefinition | None:
    """Return what the run ran; None if this version of Barbossa no longer understands it."""
    try:
        return await call.services.workflows.definition(run.workflow, run.version)
    except InvalidWorkflowError:
        return None
