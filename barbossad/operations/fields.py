"""The types of parameters that several operations share: names, ids and pages."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field, WithJsonSchema

from barbossad.model.names import RUN_ID, TASK_ID, VERSION_ID, WORKFLOW_NAME
from barbossad.validation import RefusalError, shown


def _shaped(pattern: re.Pattern[str], what: str, hint: str) -> Any:
    """Return what checks and describes text of one shape."""

    def check(value: str) -> str:
        if not pattern.fullmatch(value):
            raise RefusalError(f"is not {what}: {shown(value)}", hint)
        return value

    return Annotated[str, AfterValidator(check), WithJsonSchema({"type": "string", "pattern": f"^{pattern.pattern}$"})]


_NAME: Final = _shaped(WORKFLOW_NAME, "the name of a workflow", "names have lower-case letters, digits, - and _")
_VERSION: Final = _shaped(VERSION_ID, "a version", "versions have 16 hexadecimal digits")
_RUN: Final = _shaped(RUN_ID, "the id of a run", "ids have 10 characters, as `barbossactl ps --all` shows them")
_TASK: Final = _shaped(TASK_ID, "the id of a task", "ids have letters, digits, - and _")

Name = Annotated[_NAME, Field(description="Name of a workflow")]
Version = Annotated[_VERSION, Field(description="A version, named by its content")]
RunIdText = Annotated[_RUN, Field(description="Id of a run")]
TaskIdText = Annotated[_TASK, Field(description="Id of a task")]
Limit = Annotated[int, Field(ge=1, le=1000, description="Items a page at most")]
Cursor = Annotated[str | None, Field(max_length=64, description="next_cursor of the page before")]
