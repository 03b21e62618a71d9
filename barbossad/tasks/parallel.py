"""Run tasks side by side."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field

from barbossad.model.flow import TaskKind
from barbossad.tasks._api import TaskParams
from barbossad.validation import RefusalError
from barbossad.workflows.contract import GroupShape, MemberList, Members

SUMMARY: Final = "Run tasks side by side"

EXAMPLE: Final = """\
- id: checks
  parallel:
    max_parallel: 2
    fail_fast: true
    tasks:
      - id: lint
        shell: make lint
      - id: test
        shell: make test
      - id: report
        depends_on: [lint, test]
        shell: make report
- parallel:
    - shell: sync /srv/a
    - shell: sync /srv/b
"""

KIND: Final = TaskKind.GROUP

BARE: Final = {list: "tasks"}


def _tasks(tasks: list[Any]) -> list[Any]:
    if not tasks:
        raise RefusalError("is empty", "list the tasks that run side by side")
    return tasks


class Params(TaskParams):
    """The tasks."""

    max_parallel: int | None = Field(None, ge=1, le=10_000, description="How many of them run at once; by default all")
    fail_fast: bool = Field(False, description="End the others when one has failed")
    tasks: Annotated[MemberList, AfterValidator(_tasks), Members(in_order=False)] = Field(
        description="The tasks; they start at once, except for those that say depends_on"
    )

    def shape(self) -> GroupShape:
        """Return what the engine needs to know of it."""
        return GroupShape(max_parallel=self.max_parallel, fail_fast=self.fail_fast)
