"""Find a run and show it: what every operation about runs begins and ends with."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from barbossad import wire
from barbossad.engine.progress import RunProgress
from barbossad.errors import BarbossaError, InvalidWorkflowError, NotFoundError
from barbossad.model.definition import WorkflowDefinition
from barbossad.model.flow import ApprovalRequest, TaskKind
from barbossad.model.names import RunId
from barbossad.model.records import RunRecord
from barbossad.model.states import WaitsFor
from barbossad.operations import fitting
from barbossad.operations.nodes import Node, nodes
from barbossad.operations.services import Call
from barbossad.operations.views import RunView, Shown, TaskView
from barbossad.store.run_details import RunDetails
from barbossad.store.shown_runs import Long
from barbossad.validation import proposal
from barbossad.wire import Encoded

SHARED_TASKS: Final = 100
"""The end of a run with more tasks is put in words once for all who wait for it."""

SHARED_SECONDS: Final = 1.0
"""How long that is kept for the next one: those who wait are woken in turns."""

QUICK_TASKS: Final = 1000
"""A run with so many tasks, each with one attempt, is told of at once; what there is of more is put together aside."""


def details(call: Call, run_id: RunId) -> RunDetails:
    """Return a run as the store has it. Raise NotFoundError."""
    return _known(call.services.runs.get(run_id), run_id)


async def whole(call: Call, run_id: RunId) -> RunDetails:
    """Return what ``details`` does, and hold up nobody if it is much."""
    return _known(await call.services.runs.read(run_id), run_id)


async def look(call: Call, run_id: RunId) -> RunDetails:
    """Return a run with as much of its outputs as is shown. Raise NotFoundError."""
    found = call.services.shown_runs.get(run_id)
    return _known(await call.services.shown_runs.read(run_id) if found is Long.LONG else found, run_id)


async def look_at(call: Call, run_id: RunId, task_id: str) -> RunDetails:
    """Return a run with one of its tasks alone, without outputs. Raise NotFoundError, also for the task."""
    found = _known(call.services.runs.of_task(run_id, task_id), run_id)
    if task_id not in found.tasks:
        ran = await definition(call, found.run)
        if not (ran and task_id in ran.positions):
            await require_task(call, await look(call, run_id), task_id)
    return found


def _known(found: RunDetails | None, run_id: RunId) -> RunDetails:
    if found is None:
        raise NotFoundError("run", run_id, "`barbossactl ps --all` lists the newest")
    return found


async def require_task(call: Call, found: RunDetails, task_id: str) -> None:
    """Raise NotFoundError unless a run has that task, or will have: with the name that was probably meant."""
    ran = await definition(call, found.run)
    if task_id not in found.tasks and not (ran and task_id in ran.positions):
        known = [node.id for node in nodes(ran, found.tasks)]
        raise NotFoundError(f"task of run {found.run.id}", task_id, proposal(task_id, known, noun="its tasks"))


async def view(call: Call, run_id: RunId, *, forget_before_ms: int = 0) -> RunView | Encoded:
    """Return a run as it is shown. Raise NotFoundError."""
    return await shown(call, await look(call, run_id), forget_before_ms=forget_before_ms)


async def view_of_task(call: Call, run_id: RunId, task_id: str) -> TaskView:
    """Return one task of a run as it is shown. Raise NotFoundError."""
    found = await look_at(call, run_id, task_id)
    shown = _prepared(call, found, await definition(call, found.run), 0)()
    return shown.task(next((node for node in shown.nodes if node.id == task_id), Node(task_id, None)))


def view_now(
    call: Call, run_id: RunId, *, forget_before_ms: int = 0
) -> RunView | Encoded | Awaitable[RunView | Encoded]:
    """Return a run as it is shown: at once where it is small and its definition at hand. Raise NotFoundError."""
    looked_up = call.services.shown_runs.get(run_id)
    if looked_up is not Long.LONG:
        found = _known(looked_up, run_id)
        ran = call.services.workflows.at_hand(found.run.workflow, found.run.version)
        if ran is not None and _is_quick(found, ran):
            return _prepared(call, found, ran, forget_before_ms)().view()
    return view(call, run_id, forget_before_ms=forget_before_ms)


async def shown(call: Call, found: RunDetails, *, forget_before_ms: int = 0) -> RunView | Encoded:
    """Return a run as it is shown, without the items of long loops that went well before an instant."""
    ran = await definition(call, found.run)
    prepared = _prepared(call, found, ran, forget_before_ms)
    return prepared().view() if _is_quick(found, ran) else await call.services.showing.run(_text, prepared)


def _text(prepared: Callable[[], Shown]) -> Encoded:
    return fitting.text(prepared())


async def shown_whole(call: Call, found: RunDetails, *, forget_before_ms: int = 0) -> RunView | Encoded:
    """Return a run with all of its outputs as it is shown, with as much of them as may be; it is recorded."""
    if not fitting.is_light(found):
        return await view(call, found.run.id, forget_before_ms=forget_before_ms)
    return await shown(call, found, forget_before_ms=forget_before_ms)


async def started(call: Call, run: RunId | RunDetails) -> RunView | Encoded:
    """Return a run that was just recorded as it is shown, or one that was there with the same key."""
    return await (shown_whole(call, run) if isinstance(run, RunDetails) else view(call, run))


async def shared(call: Call, ended: RunDetails, *, forget_before_ms: int = 0) -> RunView | Encoded:
    """Return what ``shown_whole`` does of a run that has ended, made once for all who wait for its end."""
    if len(ended.tasks) <= SHARED_TASKS:
        return await shown_whole(call, ended, forget_before_ms=forget_before_ms)
    known = call.services.shared
    key = (id(ended), bool(forget_before_ms))
    if key not in known:
        making = asyncio.create_task(_written(call, ended, forget_before_ms), name="run-shown")
        known[key] = ended, making
        asyncio.get_running_loop().call_later(SHARED_SECONDS, known.pop, key)
    return await asyncio.shield(known[key][1])


async def _written(call: Call, ended: RunDetails, forget_before_ms: int) -> Encoded:
    made = await shown_whole(call, ended, forget_before_ms=forget_before_ms)
    return made if isinstance(made, Encoded) else Encoded(wire.encode(made)[:-1])


def _is_quick(found: RunDetails, ran: WorkflowDefinition | None) -> bool:
    tasks = max(len(found.tasks), len(ran.tasks) if ran is not None else 0)
    return tasks + sum(map(len, found.attempts.values())) <= 2 * QUICK_TASKS


def _prepared(
    call: Call, found: RunDetails, ran: WorkflowDefinition | None, forget_before_ms: int
) -> Callable[[], Shown]:
    """Return what makes a run ready to be shown, in any thread: what the engine knows is asked here and now."""
    engine = call.services.engine
    progress = engine.progress(found.run.id)
    asked = _asked(call, found, progress) if progress is not None else {}
    why = engine.why(found.run.id)
    return partial(Shown, found, ran, progress, why, asked, forget_before_ms=forget_before_ms)


def _asked(call: Call, found: RunDetails, progress: RunProgress) -> dict[str, ApprovalRequest]:
    """Return what the tasks of a run ask that wait for a person; what cannot be said any more is left out."""
    asked = {}
    for task_id, record in found.tasks.items():
        index = progress.index.get(task_id) if record.waits_for is WaitsFor.PERSON else None
        if index is not None and progress.cells[index].task.kind is TaskKind.APPROVAL:
            with contextlib.suppress(BarbossaError):
                asked[task_id] = call.services.preparation.approval(progress, index)
    return asked


async def definition(call: Call, run: RunRecord) -> WorkflowDefinition | None:
    """Return what the run ran; None if this version of Barbossa no longer understands it."""
    try:
        return await call.services.workflows.begun(run.workflow, run.version)
    except InvalidWorkflowError:
        return None
