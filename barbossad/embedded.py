"""Barbossa in a script of your own: the same engine, store and operations, without a daemon or a socket.

::

    async with Barbossa.open(state_dir) as barbossa:
        workflow = barbossa.engine.create_workflow(text)
        result = await barbossa.engine.execute_workflow(workflow, TriggerType.MANUAL)
        print(result.run.state)
"""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final

from barbossad import config as configs
from barbossad.assembly import open_services
from barbossad.clock import SystemClock
from barbossad.errors import Fault, InvalidParamsError, NotFoundError
from barbossad.model.definition import WorkflowDefinition
from barbossad.model.names import RUN_ID, RunId, TaskId, WorkflowName
from barbossad.model.records import Page, RunRecord
from barbossad.model.schedules import ScheduleRecord
from barbossad.model.states import TriggerType
from barbossad.operations import planning, run_control, runs, schedules, showing
from barbossad.operations.registry import Asked, checked
from barbossad.operations.services import Call, Services
from barbossad.planning.plan import Plan
from barbossad.process.output import logs
from barbossad.process.output.logs import LogEntry
from barbossad.recurrence import zones
from barbossad.security.access import Caller, Role
from barbossad.store.run_details import RunDetails
from barbossad.workflows import params as workflow_params
from barbossad.workflows.templates import Templates

LINES_A_PAGE: Final = 10_000


class EmbeddedEngine:
    """Makes workflows, runs them and steers their runs.

    A run is a ``RunDetails``: its record, and those of its tasks and their attempts by task id. A run that fails is no
    exception. What is refused is one of ``barbossad.errors``, with a sentence that says what to do.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._templates = Templates()
        caller = Caller(uid=os.geteuid(), name=getpass.getuser(), role=Role.ADMIN, groups=frozenset(os.getgroups()))
        self._call = Call(services, caller)

    # -- workflows -----------------------------------------------------------------------------------------

    def create_workflow(self, text: str) -> WorkflowDefinition:
        """Return the text of a workflow file as a workflow. Raise InvalidWorkflowError with every fault."""
        return self._services.workflow_reader.load(text)

    def create_workflow_from_template(self, name: str, params: Mapping[str, Any]) -> WorkflowDefinition:
        """Return a workflow made of a template, ``params`` being the defaults of its parameters.

        Raise NotFoundError for the template, InvalidParamsError or InvalidWorkflowError for the parameters.
        """
        return self.create_workflow(self._templates.create_workflow(name, params))

    async def validate(self, text: str) -> list[Fault]:
        """Return everything that is wrong with the text of a workflow file; nothing where it can be loaded."""
        return await self._services.workflow_reader.check(text)

    async def apply_workflow(self, workflow: WorkflowDefinition) -> bool:
        """Put a workflow in force, so that tasks of others may call it; return whether that changed anything."""
        _, has_changed = await self._services.workflows.apply(workflow.text, by=self._call.caller.name)
        await self._services.scheduler.control.changed(workflow.name)
        return has_changed

    async def plan(self, workflow: WorkflowDefinition, params: Mapping[str, Any] | None = None) -> Plan:
        """Return what a run would do, without doing any of it. Raise InvalidParamsError."""
        return await planning.make(self._call, workflow, workflow_params.bind(workflow, params or {}))

    # -- runs ----------------------------------------------------------------------------------------------

    async def execute_workflow(
        self, workflow: WorkflowDefinition, trigger: TriggerType, params: Mapping[str, Any] | None = None
    ) -> RunDetails:
        """Put the workflow in force, run it, and return the run with its tasks and attempts when it has ended.

        Raise InvalidParamsError if a parameter is missing or not acceptable.
        """
        started = await self.start_workflow(workflow, trigger, params)
        return await self._services.engine.wait(started.run.id) or self.run(started.run.id)

    async def start_workflow(
        self, workflow: WorkflowDefinition, trigger: TriggerType, params: Mapping[str, Any] | None = None
    ) -> RunDetails:
        """Put the workflow in force and start a run; return it when it is recorded, while its tasks begin.

        Raise InvalidParamsError, or ConflictError if its concurrency group is full and its policy is ``skip``.
        """
        await self.apply_workflow(workflow)
        started = await self._services.engine.start_run(
            workflow,
            params=workflow_params.bind(workflow, params or {}),
            trigger=trigger,
            requested_by=self._call.caller.name,
        )
        assert isinstance(started, RunDetails)  # without a key a run is always a new one
        return started

    def run(self, run_id: RunId) -> RunDetails:
        """Return a run as it is recorded. Raise NotFoundError."""
        return showing.details(self._call, _checked_id(run_id))

    async def runs(
        self, workflow: WorkflowName | None = None, *, before: RunId | None = None, limit: int = 50
    ) -> Page[RunRecord]:
        """Return runs, the newest first; ``before`` is the ``next_cursor`` of the page before.

        Raise NotFoundError for a word that can be no run's id, InvalidParamsError for a limit below 1.
        """
        if limit < 1:
            fault = Fault(line=None, column=None, path="limit", message=f"'limit' must be at least 1, not {limit}")
            raise InvalidParamsError("runs", [fault])
        before = None if before is None else _checked_id(before)
        return await self._services.runs.page(workflow=workflow, before=before, limit=limit)

    async def wait(self, run_id: RunId, timeout_seconds: float | None = None) -> RunDetails:
        """Return a run when it has ended and that is recorded. Raise NotFoundError, or TimedOutError: it goes on."""
        await runs.wait(self._call, _asked(runs.WaitParams, "wait", run_id, {"timeout_seconds": timeout_seconds}))
        return self.run(run_id)

    def why(self, run_id: RunId) -> Mapping[str, str]:
        """Return why tasks of a run wait, in words, by id, and under the empty id why the run itself does."""
        return self._services.engine.why(run_id)

    # -- steering ------------------------------------------------------------------------------------------

    async def cancel(self, run_id: RunId, reason: str | None = None) -> RunDetails:
        """Cancel a run; ``wait`` tells when it has ended. Raise NotFoundError, or ConflictError if it has ended."""
        await run_control.cancel(self._call, _asked(run_control.ReasonParams, "cancel", run_id, {"reason": reason}))
        return self.run(run_id)

    async def pause(self, run_id: RunId) -> RunDetails:
        """Let nothing more of a run start. Raise NotFoundError, or ConflictError if it cannot be paused."""
        await run_control.pause(self._call, _asked(run_control.ReasonParams, "pause", run_id, {}))
        return self.run(run_id)

    async def resume(self, run_id: RunId) -> RunDetails:
        """Go on with a paused run. Raise NotFoundError, or ConflictError if it is not paused."""
        await run_control.resume(self._call, _asked(run_control.ReasonParams, "resume", run_id, {}))
        return self.run(run_id)

    async def approve(
        self,
        run_id: RunId,
        task_id: TaskId,
        *,
        values: Mapping[str, Any] | None = None,
        comment: str | None = None,
    ) -> RunDetails:
        """Say yes to a task that waits for a person, with the values of its form.

        Raise NotFoundError, ConflictError if it waits for nobody, InvalidParamsError for what is said, or
        PermissionDeniedError if others were asked.
        """
        return await self._answer(run_id, task_id, approve=True, values=dict(values or {}), comment=comment)

    async def reject(self, run_id: RunId, task_id: TaskId, *, comment: str | None = None) -> RunDetails:
        """Say no to a task that waits for a person; raises as ``approve`` does."""
        return await self._answer(run_id, task_id, approve=False, comment=comment)

    async def _answer(self, run_id: RunId, task_id: TaskId, **said: Any) -> RunDetails:
        asked = _asked(run_control.ApproveParams, "approve", run_id, {"task": task_id, **said})
        await run_control.approve(self._call, asked)
        return self.run(run_id)

    async def retry(self, run_id: RunId, since: str = "failed", params: Mapping[str, Any] | None = None) -> RunDetails:
        """Try a run again that has ended, from ``failed``, ``start`` or a task on; return the new run.

        ``params`` are values that differ from those of the run. Raise NotFoundError, ConflictError if it goes on or
        there is nothing to retry, InvalidParamsError.
        """
        wanted = {"from": since, "params": dict(params or {})}
        made = await run_control.retried(self._call, _asked(run_control.RetryParams, "retry", run_id, wanted))
        return made if isinstance(made, RunDetails) else self.run(made)

    async def output(self, result: RunDetails, task_id: str) -> list[LogEntry]:
        """Return what the last attempt of a task printed, record by record."""
        number = len(result.attempts.get(task_id, ()))
        record = self._services.runs.log(result.run.id, TaskId(task_id), number) if number else None
        entries: list[LogEntry] = []
        cursor = 0
        while record is not None:
            page = logs.read(self._services.logs, record, cursor, LINES_A_PAGE)
            entries += page.items
            if page.next_cursor == cursor:
                break
            cursor = page.next_cursor
        return entries


def _asked(params: type[Asked], what: str, run_id: RunId, said: Mapping[str, Any]) -> Asked:
    """Return the parameters of an operation on a run. Raise NotFoundError for the id, InvalidParamsError for others."""
    return checked(params, {"run_id": _checked_id(run_id), **said}, what)


def _checked_id(run_id: RunId) -> RunId:
    """Return the id of a run that there may be. Raise NotFoundError for a word that can be none."""
    if not isinstance(run_id, str) or not RUN_ID.fullmatch(run_id):
        raise NotFoundError("run", run_id, "ids have 10 characters, as `runs` returns them")
    return run_id


class EmbeddedScheduler:
    """Runs workflows by the clock for as long as Barbossa is open; what was missed meanwhile is caught up."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def add_scheduled_workflow(
        self,
        workflow_id: WorkflowName,
        cron: str,
        *,
        timezone: str | None = None,
        name: str | None = None,
        params: Mapping[str, Any] | None = None,
        **keys: Any,
    ) -> ScheduleRecord:
        """Have a workflow that is in force run at the times of a cron expression; it is kept until it is removed.

        ``timezone`` is the host's where it is not given. ``keys`` are those of an entry of ``schedules`` in a workflow
        file, such as ``overlap`` or ``catch_up``. The same call again changes nothing, and with other values takes the
        place of the one before. Raise NotFoundError for the workflow, InvalidParamsError for what else is wrong.
        """
        entry = {"cron": cron, "timezone": timezone or zones.host_zone(), **keys}
        if params is not None:
            entry["params"] = dict(params)
        if name is not None:
            entry["name"] = name
        return await schedules.put_once(self._services, workflow_id, entry, by=getpass.getuser())

    async def remove_scheduled_workflow(self, schedule_id: str) -> None:
        """Remove a schedule that was added. Raise NotFoundError, or ConflictError if it stands in a workflow's file."""
        await self._services.scheduler.control.remove(schedule_id, by=getpass.getuser())

    def schedules(self) -> list[ScheduleRecord]:
        """Return every schedule, by id."""
        return self._services.scheduler.board.records()

    def next_fire_ms(self, schedule_id: str) -> int | None:
        """Return when a schedule is due next, in milliseconds since the epoch. Raise NotFoundError."""
        coming = self._services.scheduler.board.coming(self._services.scheduler.board.find(schedule_id))
        return coming.due_ms if coming else None


class Barbossa:
    """An embedded Barbossa, open."""

    def __init__(self, services: Services) -> None:
        self.engine = EmbeddedEngine(services)
        self.scheduler = EmbeddedScheduler(services)

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, state_dir: Path | str) -> AsyncIterator[Barbossa]:
        """Open the state folder (made if missing) and recover what an earlier use left; end what runs on leaving.

        Raise AlreadyRunningError if a daemon or another script has it open.
        """
        state = Path(state_dir).absolute()
        with tempfile.TemporaryDirectory(prefix="barbossa-") as runtime:
            config = configs.Config(
                state_dir=state,
                runtime_dir=Path(runtime),
                socket=Path(runtime) / "unused.sock",
                workflows_dir=state / "workflows",
                secrets_dir=configs.defaults(user=True)["secrets_dir"],
            )
            async with open_services(config, SystemClock()) as services:
                loop = asyncio.create_task(services.scheduler.run(), name="scheduler")
                try:
                    yield cls(services)
                finally:
                    loop.cancel()
                    await asyncio.gather(loop, return_exceptions=True)
                    await services.engine.stop(config.shutdown_grace)
