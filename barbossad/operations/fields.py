"""The parameters that several operations share: names, ids and pages."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Final

from pydantic import AfterValidator, Field, WithJsonSchema

from barbossad.engine import keys
from barbossad.model.names import RUN_ID, TASK_PATH, VERSION_ID, WORKFLOW_NAME
from barbossad.operations.registry import Params
from barbossad.recurrence import moments
from barbossad.validation import RefusalError, shown

POSITION: Final = re.compile(r"[0-9]{1,18}")


def shaped(pattern: re.Pattern[str], what: str, hint: str) -> AfterValidator:
    """Return what refuses text of another shape, in words."""

    def check(value: str) -> str:
        if not pattern.fullmatch(value):
            raise RefusalError(f"is not {what}: {shown(value)}", hint)
        return value

    return AfterValidator(check)


def schema_of(pattern: re.Pattern[str]) -> WithJsonSchema:
    """Return how a schema says what ``shaped`` takes."""
    return WithJsonSchema({"type": "string", "pattern": f"^{pattern.pattern}$"})


Name = Annotated[
    str,
    shaped(WORKFLOW_NAME, "the name of a workflow", "names have lower-case letters, digits, - and _"),
    schema_of(WORKFLOW_NAME),
    Field(description="Name of a workflow"),
]
Version = Annotated[
    str,
    shaped(VERSION_ID, "a version", "versions have 16 hexadecimal digits"),
    schema_of(VERSION_ID),
    Field(description="A version, named by its content"),
]
RunIdText = Annotated[
    str,
    shaped(RUN_ID, "the id of a run", "ids have 10 characters, as `barbossactl ps --all` shows them"),
    schema_of(RUN_ID),
    Field(description="Id of a run"),
]
TaskIdText = Annotated[
    str,
    shaped(TASK_PATH, "the id of a task", "ids have letters, digits, - and _"),
    schema_of(TASK_PATH),
    Field(description="Id of a task"),
]


def _of_a_client(key: str) -> str:
    if key.startswith(keys.OF_CALLS):
        raise RefusalError(f"begins with {shown(keys.OF_CALLS)}", "such keys belong to runs that other runs call")
    return key


IdempotencyKey = Annotated[
    Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_of_a_client)] | None,
    Field(description="A second call with the same key gives the run of the first"),
]


def milliseconds(instant: str) -> int:
    """Return an RFC 3339 instant as milliseconds since the epoch. Raise ValueError if it is none."""
    return int(_aware(instant).timestamp() * 1000)


def _aware(instant: str) -> datetime:
    found = datetime.fromisoformat(instant)
    if found.tzinfo is None:
        raise ValueError(f"{instant!r} has no offset from UTC")
    return found


def _instant(value: str) -> str:
    try:
        found = _aware(value)
    except ValueError:
        raise RefusalError(f"is not an instant: {shown(value)}", "write RFC 3339, as answers have it") from None
    moments.check_year(found, value)
    return value


Instant = Annotated[str, AfterValidator(_instant), Field(max_length=40, description="An instant, RFC 3339")]
Limit = Annotated[int, Field(ge=1, le=1000, description="Items a page at most")]
Position = Annotated[
    str,
    shaped(POSITION, "where a page ended", "give next_cursor of the page before as it is, or leave it out"),
    schema_of(POSITION),
]
"""A cursor that is a number."""

Cursor = Annotated[str | None, Field(max_length=64, description="next_cursor of the page before")]


class RunParams(Params):
    """A run."""

    run_id: RunIdText


class NameParams(Params):
    """A workflow."""

    name: Name
