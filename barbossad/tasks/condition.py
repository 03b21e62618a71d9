"""Run one of two lists of tasks."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field, model_validator

from barbossad.model.flow import Branch, TaskKind
from barbossad.tasks._api import TaskParams
from barbossad.validation import RefusalError
from barbossad.workflows.contract import GroupShape, MemberList, Members
from barbossad.workflows.flow_keys import Condition

SUMMARY: Final = "Run one list of tasks where something holds, and another where it does not"

EXAMPLE: Final = """\
- id: keep
  condition:
    if: "{{ params.keep_days > 30 }}"
    then:
      - id: pack
        shell: tar -czf "$target.tar.gz" "$target"
      - shell: rm -r "$target"
    else:
      - shell: touch "$target"
"""

KIND: Final = TaskKind.GROUP


class Params(TaskParams):
    """What decides, and the tasks of both branches."""

    if_: Condition = Field(alias="if", description="What decides: an expression, or true or false")
    then: Annotated[MemberList, Members(in_order=True, branch=Branch.THEN)] = Field(
        [], description="Tasks that run in order where it holds"
    )
    else_: Annotated[MemberList, Members(in_order=True, branch=Branch.ELSE)] = Field(
        [], alias="else", description="Tasks that run in order where it does not"
    )

    @model_validator(mode="after")
    def _does_something(self) -> Params:
        if not self.then and not self.else_:
            raise RefusalError("has no tasks", "list them under 'then', and under 'else' where there is another way")
        return self

    def shape(self) -> GroupShape:
        """Return what the engine needs to know of it."""
        return GroupShape(condition=self.if_)
