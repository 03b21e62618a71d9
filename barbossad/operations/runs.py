"""Runs: start, look at, list, wait for."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable
from typing import Annotated, Any, Literal

from pydantic import Field
from typing_extensions import TypedDict

from barbossad.errors import TimedOutError
from barbossad.model.names import RunId
from barbossad.model.records import RunRecord
from barbossad.model.states import RUN_ENDED, RunState, TriggerType
from barbossad.operations import planning, showing
from barbossad.operations.fields import Limit, Name, RunIdText, RunParams
from barbossad.operations.planning import PlanHash
from barbossad.operations.registry import Params, define
from barbossad.operations.services import Call
from barbossad.operations.views import RunSummary, RunView, run_summary
from barbossad.security.access import Role
from barbossad.store.runs import RunDetails
from barbossad.workflows import params as workflow_params

Seconds = Annotated[float, Field(ge=0, le=3600, description="How long to wait at most")]
State = Literal["queued", "running", "paused", "succeeded", "failed", "timed_out", "cancelled", "interrupted"]


class StartParams(Params):
    """What to run."""

    workflow: Name
    params: dict[str, Any] = Field(
        {}, description="Values of the workflow's parameters; text is converted to their types"
    )
    idempotency_key: str | None = Field(
        None, min_length=1, max_length=128, description="A second call with the same key gives the run of the first"
    )
    plan: PlanHash | None = Field(None, description="Refuse if the hash that workflow.plan gave is another one now")


class WaitParams(RunParams):
    """A run, and how long to wait for its end (for ever if not said)."""

    timeout_seconds: Annotated[float, Field(ge=0, description="How long to wait at most")] | None = None


class WatchParams(RunParams):
    """A run, and the revision of it that is known."""

    after: int = Field(0, ge=0, le=2**53, description="The revision that the caller knows")
    wait_seconds: Seconds = 30.0


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
    """A run and its revision."""

    run: RunView
    revision: int


@define("run.start", Role.OPERATOR)
async def start(call: Call, params: StartParams) -> RunView:
    """Start a run of a workflow's version in force; the answer comes when it is recorded."""
    services = call.services
    record = services.workflows.record(params.workflow)
    definition = await services.workflows.runnable(record.name)
    bound = workflow_params.bind(definition, params.params)
    if params.plan is not None:
        await planning.require(call, definition, bound, params.plan)
    started = await services.engine.start_run(
        definition,
        params=bound,
        trigger=TriggerType.MANUAL,
        requested_by=call.caller.name,
        idempotency_key=params.idempotency_key,
    )
    return await (showing.shown(call, started) if isinstance(started, RunDetails) else showing.view(call, started))


@define("run.get", Role.VIEWER)
def get(call: Call, params: RunParams) -> RunView | Awaitable[RunView]:
    """Show a run with its tasks and their attempts."""
    return showing.shown_now(call, showing.details(call, RunId(params.run_id)))


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
    return await (showing.shown(call, ended) if ended else showing.view(call, run_id))


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
        details = showing.details(call, run_id)
        is_new = revision > params.after or details.run.state in RUN_ENDED
        if is_new or changed is None or asyncio.get_running_loop().time() >= deadline:
            if changed is not None:
                changed.cancel()
            return {"run": await showing.shown(call, details), "revision": revision}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                await changed
