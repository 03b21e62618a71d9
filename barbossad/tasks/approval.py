"""Wait until a person says yes or no."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from barbossad.document import Document
from barbossad.errors import Fault
from barbossad.model.flow import ApprovalRequest, TaskKind
from barbossad.model.names import PARAM_NAME
from barbossad.tasks._api import TaskError, TaskParams
from barbossad.units import PositiveDuration
from barbossad.validation import RefusalError
from barbossad.workflows import declarations
from barbossad.workflows.contract import FORM
from barbossad.workflows.flow_keys import TEXTS, distinct, one_or_many

SUMMARY: Final = "Wait until a person says yes or no; what they fill in becomes the outputs"

EXAMPLE: Final = """\
- approval: Really delete everything under {{ params.target }}?
- id: window
  approval:
    message: When may the database go down?
    users: [anne]
    groups: [dba]
    deadline: 8h
    form:
      minutes: {type: integer, default: 10, minimum: 1, maximum: 60}
      reason:  {type: string, description: What to tell the users}
- shell: [echo, "{{ tasks.window.outputs.minutes }}"]
"""

KIND: Final = TaskKind.APPROVAL

BARE: Final = {str: "message"}

_ANSWER: Final = frozenset({"by", "words"})
"""Outputs that every approval has: who answered, and that in words, with the comment."""

MAX_MESSAGE_CHARACTERS: Final = 4096


def _message(message: str) -> str:
    if not message.strip():
        raise RefusalError("is empty", "write what is asked")
    return message


def _field(name: str) -> str:
    if not PARAM_NAME.fullmatch(name):
        raise RefusalError("is no name of a field", "use up to 63 letters, digits and _, and no digit first")
    if name in _ANSWER:
        raise RefusalError(
            "cannot be the name of a field: that output says who answered, or how", f"choose another, such as my_{name}"
        )
    return name


Names = Annotated[list[str], AfterValidator(distinct), BeforeValidator(one_or_many), WithJsonSchema(TEXTS)]


class Params(TaskParams):
    """What is asked, and of whom."""

    message: Annotated[str, AfterValidator(_message)] = Field(
        max_length=MAX_MESSAGE_CHARACTERS, description="What is asked; expressions are welcome"
    )
    users: Names = Field([], description="Who may answer; nobody named here or by groups: whoever may run workflows")
    groups: Names = Field([], description="Groups of the host whose members may answer")
    deadline: PositiveDuration | None = Field(
        None, description="How long to wait for an answer, after which it has timed out; by default for ever"
    )
    form: Annotated[dict[Annotated[str, AfterValidator(_field)], Any], FORM] = Field(
        {},
        description="Typed fields that are filled in with a yes, declared as params are; beside them the outputs have"
        " `by`, who answered, and `words`, that in words",
    )

    def request(self) -> ApprovalRequest:
        """Return what the engine is asked for. Raise TaskError if the form declares what is no field."""
        faults: list[Fault] = []
        form = declarations.declare_all(self.form, ("form",), Document(""), faults, what="field")
        if faults:
            raise TaskError("; ".join(map(str, faults)))
        return ApprovalRequest(
            message=self.message,
            deadline_seconds=self.deadline,
            users=tuple(self.users),
            groups=tuple(self.groups),
            form=tuple(form),
        )
