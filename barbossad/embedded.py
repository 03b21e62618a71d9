"""Barbossa in a script of your own: the same engine and store, without a daemon or a socket.

::

    async with Barbossa.open(state_dir) as barbossa:
        workflow = barbossa.engine.create_workflow(text)
        result = await barbossa.engine.execute_workflow(workflow, TriggerType.MANUAL)
        print(result.run.state)
"""

from __future__ import annotations

import contextlib
import getpass
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final

from barbossad import config as configs
from barbossad.assembly import open_services
from barbossad.clock import SystemClock
from barbossad.model.definition import WorkflowDefinition
from barbossad.model.names import TaskId
from barbossad.model.states import TriggerType
from barbossad.operations.services import Services
from barbossad.process import logs
from barbossad.process.logs import LogEntry
from barbossad.store.runs import RunDetails
from barbossad.workflows import params as workflow_params
from barbossad.workflows.templates import Templates

LINES_A_PAGE: Final = 10_000


class EmbeddedEngine:
    """Makes workflows and runs them."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._templates = Templates()

    def create_workflow(self, text: str) -> WorkflowDefinition:
        """Return the text of a workflow file as a workflow. Raise InvalidWorkflowError with every fault."""
        return self._services.workflows.load(text)

    def create_workflow_from_template(self, name: str, params: Mapping[str, Any]) -> WorkflowDefinition:
        """Return a workflow made of a template, ``params`` being the defaults of its parameters.

        Raise NotFoundError for the template, InvalidParamsError or InvalidWorkflowError for the parameters.
        """
        return self.create_workflow(self._templates.create_workflow(name, params))

    async def execute_workflow(
        self, workflow: WorkflowDefinition, trigger: TriggerType, params: Mapping[str, Any] | None = None
    ) -> RunDetails:
        """Put the workflow in force, run it, and return the run with its tasks and attempts when it has ended.

        Raise InvalidParamsError if a parameter is missing or not acceptable; a run that fails is no exception.
        """
        await self._services.workflows.apply(workflow.text, by=getpass.getuser())
        started = await self._services.engine.start_run(
            workflow,
            params=workflow_params.bind(workflow, params or {}),
            trigger=trigger,
            requested_by=getpass.getuser(),
        )
        assert isinstance(started, RunDetails)  # without a key a run is always a new one
        return await self._services.engine.wait(started.run.id) or started

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


class Barbossa:
    """An embedded Barbossa, open."""

    def __init__(self, services: Services) -> None:
        self.engine = EmbeddedEngine(services)

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
                try:
                    yield cls(services)
                finally:
                    await services.engine.stop(config.shutdown_grace)
