"""Wait for a while, or until an instant."""

from __future__ import annotations

import asyncio
import re
import time
from datetime import datetime
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, WithJsonSchema, model_validator

from barbossad.tasks._api import TaskOutputs, TaskParams, WorkerContext
from barbossad.units import Duration
from barbossad.validation import RefusalError, kind_of, shown

SUMMARY: Final = "Wait for a while, or until an instant"

EXAMPLE: Final = """\
- wait: 10s
- id: settle
  wait: {duration: 1h30m}
- id: window
  wait: {until: "2030-01-31T02:00:00+01:00"}
"""

BARE: Final = {str: "duration", int: "duration", float: "duration"}

REPEATABLE: Final = True

LOOK_SECONDS: Final = 30.0
"""How often a wait for an instant looks at the clock, which may be set meanwhile."""

_INSTANT: Final = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,6})?(?P<zone>[Zz]|[+-]\d\d:\d\d)?", flags=re.ASCII
)
_HINT: Final = "write 2030-01-31T02:00:00Z, or +01:00 in place of Z"


def _instant(value: Any) -> datetime:
    if not isinstance(value, str):
        raise RefusalError(f"must be an instant, not {kind_of(value)}", _HINT)
    match = _INSTANT.fullmatch(value)
    if match and not match["zone"]:
        raise RefusalError(f"does not say in which time zone it is: {shown(value)}", _HINT)
    try:
        return datetime.fromisoformat(value.upper() if match else "")
    except ValueError:
        raise RefusalError(f"is no instant: {shown(value)}", _HINT) from None


class Params(TaskParams):
    """A duration or an instant."""

    duration: Duration | None = Field(None, description="How long; begun anew where the task is repeated")
    until: (
        Annotated[datetime, BeforeValidator(_instant), WithJsonSchema({"type": "string", "format": "date-time"})] | None
    ) = Field(None, description="An instant of RFC 3339; one that has passed is waited for no longer")

    @model_validator(mode="after")
    def _one_of_both(self) -> Params:
        if (self.duration is None) == (self.until is None):
            raise RefusalError("needs either 'duration' or 'until'", "write one of them")
        return self


class Outputs(TaskOutputs):
    """How it went."""

    waited_seconds: float = Field(description="How long it was")


async def run(_ctx: WorkerContext, params: Params) -> Outputs:
    """Sleep; a cancelled wait ends at once."""
    started = time.monotonic()
    if params.duration is not None:
        await asyncio.sleep(params.duration)
    else:
        assert params.until is not None
        instant = params.until.timestamp()
        while (rest := instant - time.time()) > 0:  # noqa: ASYNC110 (nothing tells that the clock was set)
            await asyncio.sleep(min(rest, LOOK_SECONDS))
    return Outputs(waited_seconds=round(time.monotonic() - started, 3))
