"""Find a run and show it: what every operation about runs begins and ends with."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable

from barbossad.engine.progress import RunProgress
from barbossad.errors import BarbossaError, InvalidWorkflowError, NotFoundError
from barbossad.model.definition import WorkflowDefinition
from barbossad.model.flow import ApprovalRequest, TaskKind
from barbossad.model.names import RunId
from barbossad.model.records import RunRecord
from barbossad.model.states import WaitsFor
from barbossad.operations.nodes import nodes
from barbossad.operations.services import Call
from barbossad.operations.views import RunView, run_view
from barbossad.store.runs import RunDetails
from barbossad.validation import proposal


def details(call: Call, run_id: RunId) -> RunDetails:
    """Return a run as the store has it. Raise NotFoundError."""
    found = call.services.runs.get(run_id)
    if found is None:
        raise NotFoundError("run", run_id, "`barbossactl ps --all` lists the newest")
    return found


async def require_task(call: Call, found: RunDetails, task_id: str) -> None:
    """Raise NotFoundError unless a run has that task, or will have: with the name that was probably meant."""
    ran = await definition(call, found.run)
    if task_id not in found.tasks and not (ran and task_id in ran.positions):
        known = [node.id for node in nodes(ran, found.tasks)]
        raise NotFoundError(f"task of run {found.run.id}", task_id, proposal(task_id, known, noun="its tasks"))


async def view(call: Call, run_id: RunId, *, forget_before_ms: int = 0) -> RunView:
    """Return a run as it is shown. Raise NotFoundError."""
    return await shown(call, details(call, run_id), forget_before_ms=forget_before_ms)


def shown_now(call: Call, found: RunDetails, *, forget_before_ms: int = 0) -> RunView | Awaitable[RunView]:
    """Return a run as it is shown: at once where its definition is at hand."""
    ran = call.services.workflows.at_hand(found.run.workflow, found.run.version)
    if ran is None:
        return shown(call, found, forget_before_ms=forget_before_ms)
    return _shown_as(call, found, ran, forget_before_ms)


async def shown(call: Call, found: RunDetails, *, forget_before_ms: int = 0) -> RunView:
    """Return a run as it is shown, without the items of long loops that went well before an instant."""
    return _shown_as(call, found, await definition(call, found.run), forget_before_ms)


def _shown_as(call: Call, found: RunDetails, ran: WorkflowDefinition | None, forget_before_ms: int) -> RunView:
    engine = call.services.engine
    progress = engine.progress(found.run.id)
    asked = _asked(call, found, progress) if progress is not None else {}
    return run_view(found, ran, progress, engine.why(found.run.id), asked, forget_before_ms=forget_before_ms)


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
