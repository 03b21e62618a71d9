"""Runs: start, look at, list, wait for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable
from typing import Annotated, Any, Final, Literal

from pydantic import Field
from typing_extensions import TypedDict

from barbossad import wire
from barbossad.clock import rfc3339
from barbossad.errors import TimedOutError
from barbossad.model.names import RunId
from barbossad.model.records import RunRecord
from barbossad.model.states import RUN_ENDED, RunState, TriggerType
from barbossad.operations import planning, repeated, showing
from barbossad.operations.fields import IdempotencyKey, Instant, Limit, Name, RunIdText, RunParams, milliseconds
from barbossad.operations.fitting import without_tasks
from barbossad.operations.planning import PlanHash
from barbossad.operations.registry import Params, define
from barbossad.operations.services import Call
from barbossad.operations.views import RunSummary, RunView, run_summary
from barbossad.security.access import Role
from barbossad.store.run_details import RunDetails
from barbossad.wire import Encoded
from barbossad.workflows import params as workflow_params

RECORDED_LATE_MS: Final = 10_000
"""An end may be recorded so much later than it was."""

Seconds = Annotated[float, Field(ge=0, le=3600, description="How long to wait at most")]
State = Literal["queued", "running", "paused", "succeeded", "failed", "timed_out", "cancelled", "interrupted"]


class StartParams(Params):
    """What to run."""

    workflow: Name
    params: dict[str, Any] = Field(
        {}, description="Values of the workflow's parameters; text is converted to their types"
    )
    idempotency_key: IdempotencyKey = None
    plan: PlanHash | None = Field(None, description="Refuse if the hash that workflow.plan gave is another one now")


BRIEF = Field(False, description="Of loops of many items tell only of those that failed, run or wait for a person")


class GetParams(RunParams):
    """A run, and how much of it."""

    brief: bool = BRIEF


class WaitParams(RunParams):
    """A run, and how long to wait for its end (for ever if not said)."""

    brief: bool = BRIEF
    timeout_seconds: Annotated[float, Field(ge=0, description="How long to wait at most")] | None = None


class WatchParams(RunParams):
    """A run, and the revision of it that is known."""

    after: int = Field(0, ge=0, le=2**53, description="The revision that the caller knows")
    wait_seconds: Seconds = 30.0
    since: Instant | None = Field(
        None, description="Leave out the items of long loops that went well and ended long before this (told_at)"
    )


class ListParams(Params):
    """Which runs to list; ``active`` are those that have not ended."""

    workflow: Name | None = None
    state: State | None = None
    active: bool = False
    cursor: RunIdText | None = None
    limit: Limit = 50


class RunPage(TypedDict):
    """A piece of the listing of runs."""

    items: list[RunSummary]
    next_cursor: str | None


class Watched(TypedDict):
    """A run and its revision, as they were at ``told_at``."""

    run: RunView
    revision: int
    told_at: str | None


@define("run.start", Role.OPERATOR, less=without_tasks)
async def start(call: Call, params: StartParams) -> RunView | Encoded:
    """Start a run of a workflow's version in force; the answer comes when it is recorded."""
    key = params.idempotency_key
    return await showing.started(call, await repeated.started(call, params.workflow, key, _start(call, params)))


async def _start(call: Call, params: StartParams) -> RunId | RunDetails:
    services = call.services
    record = services.workflows.record(params.workflow)
    definition = await services.workflows.runnable(record.name)
    bound = workflow_params.bind(definition, params.params)
    if params.plan is not None:
        await planning.require(call, definition, bound, params.plan)
    return await services.engine.start_run(
        definition,
        params=bound,
        trigger=TriggerType.MANUAL,
        requested_by=call.caller.name,
        idempotency_key=params.idempotency_key,
    )


@define("run.get", Role.VIEWER, less=without_tasks)
def get(call: Call, params: GetParams) -> RunView | Encoded | Awaitable[RunView | Encoded]:
    """Show a run with its tasks and their attempts."""
    return showing.view_now(call, RunId(params.run_id), forget_before_ms=_forget_before_ms(call, params))


def _forget_before_ms(call: Call, params: GetParams | WaitParams) -> int:
    return call.services.clock.now_ms() + 1 if params.brief else 0


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
    items = [run_summary(run, _waiting(call, run)) for run in page.items]
    return {"items": items, "next_cursor": page.next_cursor}


def _waiting(call: Call, run: RunRecord) -> str | None:
    """Return why a run does not go on, None where it does or has ended."""
    is_waiting = run.state in {RunState.QUEUED, RunState.PAUSED}
    return call.services.engine.why(run.id).get("") if is_waiting else None


@define("run.wait", Role.VIEWER, less=without_tasks)
async def wait(call: Call, params: WaitParams) -> RunView | Encoded:
    """Answer when the run has ended and that is recorded."""
    run_id = RunId(params.run_id)
    limit = contextlib.nullcontext() if params.timeout_seconds is None else asyncio.timeout(params.timeout_seconds)
    try:
        async with limit:
            ended = await call.services.engine.wait(run_id)
    except TimeoutError:
        raise TimedOutError(f"run {run_id} has not ended after {params.timeout_seconds:g} s; it goes on") from None
    before_ms = _forget_before_ms(call, params)
    if ended is None:
        return await showing.view(call, run_id, forget_before_ms=before_ms)
    return await showing.shared(call, ended, forget_before_ms=before_ms)


def _less(watched: Watched) -> Watched:
    return {**watched, "run": without_tasks(watched["run"])}


@define("run.watch", Role.VIEWER, less=_less)
async def watch(call: Call, params: WatchParams) -> Watched | Encoded:
    """Answer when the run has changed beyond the revision that the caller knows, or the time is up.

    A run that has ended is answered at once.
    """
    run_id = RunId(params.run_id)
    deadline = asyncio.get_running_loop().time() + params.wait_seconds
    while True:
        changed = call.services.engine.next_change(run_id)
        told_at_ms = call.services.clock.now_ms()
        revision = await call.services.runs.revision(run_id)
        details = await showing.look(call, run_id)
        if details.run.state in RUN_ENDED:  # perhaps since; nothing comes after its end
            revision = await call.services.runs.revision(run_id)
        is_new = revision > params.after or details.run.state in RUN_ENDED
        if is_new or changed is None or asyncio.get_running_loop().time() >= deadline:
            if changed is not None:
                changed.cancel()
            before_ms = max(milliseconds(params.since) - RECORDED_LATE_MS, 0) if params.since else 0
            run = await showing.shown(call, details, forget_before_ms=before_ms)
            at = rfc3339(told_at_ms)
            if isinstance(run, Encoded):
                return wire.encoded({"run": run, "revision": revision, "told_at": at})
            return {"run": run, "revision": revision, "told_at": at}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await changed
