"""Run another workflow and wait for its end."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field

from barbossad.model.flow import CallRequest, TaskKind
from barbossad.model.names import WORKFLOW_NAME, WorkflowName
from barbossad.tasks._api import TaskParams
from barbossad.validation import RefusalError, shown

SUMMARY: Final = "Run another workflow and wait for its end; its `outputs` become those of the task"

EXAMPLE: Final = """\
- workflow: nightly-backup
- id: restore
  workflow:
    name: restore-archive
    params: {source: "{{ params.target }}", days: 3}
"""

KIND: Final = TaskKind.CALL

BARE: Final = {str: "name"}


def _name(name: str) -> str:
    if not WORKFLOW_NAME.fullmatch(name):
        raise RefusalError(f"is no name of a workflow: {shown(name)}", "names have small letters, digits, - and _")
    return name


class Params(TaskParams):
    """Which one, with what."""

    name: Annotated[str, AfterValidator(_name)] = Field(description="Name of the workflow")
    params: dict[str, Any] = Field({}, description="Values of its params; expressions are welcome")

    def request(self) -> CallRequest:
        """Return what the engine is asked for."""
        return CallRequest(workflow=WorkflowName(self.name), params=self.params)
